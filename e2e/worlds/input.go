package main

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/mustermesh/muster/executor"
)

// A folder is an input on disk, listed in the order that its world has it in.
type folder struct {
	dir     string
	entries []executor.Entry
}

// layOut writes the input of p below the runner's folder, in an order of this
// world's own.
func (r *runner) layOut(p pair) (*folder, error) {
	f := &folder{dir: filepath.Join(r.Dir, "in", p.name)}
	if err := os.RemoveAll(f.dir); err != nil {
		return nil, err
	}
	names, rnd := slices.Sorted(maps.Keys(p.in)), r.random()
	rnd.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	for _, name := range names {
		path := filepath.Join(f.dir, filepath.FromSlash(name))
		err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, p.in[name], 0o600))
		if err != nil {
			return nil, err
		}
	}
	if len(names) == 0 {
		return f, nil
	}
	err := fs.WalkDir(os.DirFS(f.dir), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == "." {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		e := executor.Entry{Path: path, Dir: d.IsDir()}
		if !e.Dir {
			e.Size = info.Size()
		}
		f.entries = append(f.entries, e)
		return nil
	})
	rnd.Shuffle(len(f.entries), func(i, j int) { f.entries[i], f.entries[j] = f.entries[j], f.entries[i] })
	return f, err
}

// Entries lists everything in the folder.
func (f *folder) Entries(context.Context) ([]executor.Entry, error) { return f.entries, nil }

// ReadAt reads from a file of the folder.
func (f *folder) ReadAt(_ context.Context, path string, p []byte, off int64) (int, error) {
	file, err := os.Open(filepath.Join(f.dir, filepath.FromSlash(path)))
	if err != nil {
		return 0, err
	}
	defer file.Close() // opened for reading: nothing to lose
	return file.ReadAt(p, off)
}

func stdinOf(p pair) executor.Source {
	if p.stdin == nil {
		return nil
	}
	return bytes.NewReader(p.stdin)
}
