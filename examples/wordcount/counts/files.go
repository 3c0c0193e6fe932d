package counts

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
)

// ScanAll counts the words of every regular file of tree and says how many
// files there were.
func (t *Tally) ScanAll(tree fs.FS) (files int, err error) {
	err = eachFile(tree, func(name string, r io.Reader) error {
		files++
		return t.Scan(r)
	})
	return files, err
}

// ReadAll adds up every file of tree that is called FileName, however deep,
// and says how many files there were.
func (t *Tally) ReadAll(tree fs.FS) (files int, err error) {
	err = eachFile(tree, func(name string, r io.Reader) error {
		if path.Base(name) != FileName {
			return nil
		}
		files++
		return t.Read(r)
	})
	return files, err
}

// Save writes the tally to FileName in dir, which it makes if need be.
func (t *Tally) Save(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	f, err := os.Create(filepath.Join(dir, FileName))
	if err != nil {
		return err
	}
	if err := t.Write(f); err != nil {
		_ = f.Close() // the first error is the one to report
		return fmt.Errorf("write %s: %w", f.Name(), err)
	}
	return f.Close()
}

// eachFile calls do with every regular file of tree, in order of their names.
func eachFile(tree fs.FS, do func(name string, r io.Reader) error) error {
	return fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		f, err := tree.Open(name)
		if err != nil {
			return err
		}
		defer f.Close() // opened for reading: nothing to lose
		if err := do(name, f); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		return nil
	})
}
