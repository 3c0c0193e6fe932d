package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"

	"connectrpc.com/connect"

	"github.com/mustermesh/muster/node/api"
)

// checkFolder refuses a folder that has something in it already. "" and a folder
// that is not there are fine.
func checkFolder(dir string, force bool) error {
	if dir == "" || force {
		return nil
	}
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return err
	case len(entries) > 0:
		return fmt.Errorf("%s is not empty; choose another folder with -d, or write over what is there with --force", dir)
	}
	return nil
}

// fetch writes a stream of files into dir and gives their number. dir is made
// once there is something to put in.
func fetch(stream *connect.ServerStreamForClient[api.FileChunk], dir string, force bool) (n int, err error) {
	f := &folder{dir: dir, force: force}
	defer func() { err = errors.Join(err, f.close()) }()
	defer stream.Close()
	for stream.Receive() {
		if err := f.take(stream.Msg()); err != nil {
			return f.files, err
		}
	}
	return f.files, stream.Err()
}

// A folder puts files under a directory, and nowhere else, whatever their paths
// say: it works through an os.Root.
type folder struct {
	dir   string
	force bool
	root  *os.Root
	file  *os.File // being written
	path  string
	left  uint64 // bytes that the file still lacks
	files int
}

func (f *folder) take(c *api.FileChunk) error {
	if f.file == nil || c.Path != f.path {
		if err := f.begin(c); err != nil || c.Dir {
			return err
		}
	}
	if uint64(len(c.Data)) > f.left {
		return fmt.Errorf("%s: more data came than its %d bytes", f.path, c.Size)
	}
	if _, err := f.file.Write(c.Data); err != nil {
		return err
	}
	f.left -= uint64(len(c.Data))
	if c.Last {
		return f.finish()
	}
	return nil
}

func (f *folder) begin(c *api.FileChunk) error {
	if err := f.finish(); err != nil {
		return err
	}
	if !filepath.IsLocal(filepath.FromSlash(c.Path)) || path.Clean(c.Path) != c.Path {
		return fmt.Errorf("path %.200q is not inside the folder", c.Path)
	}
	if err := f.open(); err != nil {
		return err
	}
	if c.Dir {
		return f.root.MkdirAll(c.Path, 0o755)
	}
	if err := f.root.MkdirAll(path.Dir(c.Path), 0o755); err != nil {
		return err
	}
	mode := os.O_WRONLY | os.O_CREATE | os.O_EXCL
	if f.force {
		mode = os.O_WRONLY | os.O_CREATE | os.O_TRUNC
	}
	file, err := f.root.OpenFile(c.Path, mode, 0o644)
	if err != nil {
		return err
	}
	f.file, f.path, f.left = file, c.Path, c.Size
	f.files++
	return nil
}

func (f *folder) open() (err error) {
	if f.root != nil {
		return nil
	}
	if err := checkFolder(f.dir, f.force); err != nil {
		return err
	}
	if err := os.MkdirAll(f.dir, 0o755); err != nil {
		return err
	}
	f.root, err = os.OpenRoot(f.dir)
	return err
}

// finish closes the file being written, which must be whole.
func (f *folder) finish() error {
	if f.file == nil {
		return nil
	}
	err := f.file.Close()
	f.file = nil
	if f.left > 0 {
		return fmt.Errorf("%s: %d bytes are missing: %w", f.path, f.left, io.ErrUnexpectedEOF)
	}
	return err
}

func (f *folder) close() error {
	err := f.finish()
	if f.root != nil {
		err = errors.Join(err, f.root.Close())
	}
	return err
}
