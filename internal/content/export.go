package content

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/mustermesh/muster/proto"
)

// ExportOptions change how Export works. The zero value is the careful one.
type ExportOptions struct {
	Force    bool  // replace files that exist
	MaxBytes int64 // refuse a tree with more in its files (ErrTooMany); 0: no limit. A tree costs its maker nothing: one block may stand for a petabyte
}

// Export writes the tree root into the host directory dir, which is made if need
// be: directories with mode 0755, files with 0644, less the umask. If root is a
// file, dir is the path of that file. Nothing is written outside dir, and no
// symbolic link is followed inside. An existing file is an error that wraps
// fs.ErrExist, unless Force is set; what was written before the error stays.
func (s *Store) Export(ctx context.Context, root proto.CID, dir string, opts ExportOptions) error {
	t, err := s.OpenTree(ctx, root)
	if err != nil {
		return fmt.Errorf("export: %w", err)
	}
	if opts.MaxBytes > 0 && t.Size() > opts.MaxBytes {
		return fmt.Errorf("export %s: %w: %d bytes, and %d are allowed", root, ErrTooMany, t.Size(), opts.MaxBytes)
	}
	e := exporter{ctx: ctx, t: t, force: opts.Force}
	if f, ok := t.Find(""); ok {
		err = e.alone(f, dir)
	} else {
		err = e.tree(dir)
	}
	if err != nil {
		return fmt.Errorf("export %s to %s: %w", root, dir, err)
	}
	return nil
}

type exporter struct {
	ctx   context.Context // of the one Export call
	t     *Tree
	root  *os.Root
	force bool
}

func (e *exporter) open(dir string) (err error) {
	if err = os.MkdirAll(dir, 0o755); err == nil {
		e.root, err = os.OpenRoot(dir)
	}
	return err
}

func (e *exporter) alone(f Entry, path string) error {
	if err := e.open(filepath.Dir(path)); err != nil {
		return err
	}
	defer e.root.Close()
	return e.file(f, filepath.Base(path))
}

func (e *exporter) tree(dir string) error {
	if err := e.open(dir); err != nil {
		return err
	}
	defer e.root.Close()
	for _, f := range e.t.Entries() {
		var err error
		name := filepath.FromSlash(f.Path)
		if f.Dir {
			err = e.directory(name)
		} else {
			err = e.file(f, name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// directory makes the directory, or takes one that exists; not a link to one.
func (e *exporter) directory(name string) error {
	err := e.root.Mkdir(name, 0o755)
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	info, err := e.root.Lstat(name)
	if err == nil && !info.IsDir() {
		err = fmt.Errorf("%s is no directory: %w", name, fs.ErrExist)
	}
	return err
}

func (e *exporter) file(f Entry, name string) error {
	if e.force {
		if err := e.makeRoom(name); err != nil {
			return err
		}
	}
	out, err := e.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	err = e.copy(out, f)
	if err = errors.Join(err, out.Close()); err != nil {
		_ = e.root.Remove(name) // half a file helps nobody; err says why
	}
	return err
}

// makeRoom removes a file or link that is in the way; never a directory.
func (e *exporter) makeRoom(name string) error {
	info, err := e.root.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil && info.IsDir() {
		err = fmt.Errorf("%s is a directory: %w", name, fs.ErrExist)
	}
	if err != nil {
		return err
	}
	return e.root.Remove(name)
}

func (e *exporter) copy(out *os.File, f Entry) error {
	at := readerAt(func(p []byte, off int64) (int, error) { return e.t.ReadAt(e.ctx, f.Path, p, off) })
	buf := make([]byte, min(f.Size, chunkSize)+1)
	_, err := io.CopyBuffer(struct{ io.Writer }{out}, struct{ io.Reader }{io.NewSectionReader(at, 0, f.Size)}, buf)
	return err
}
