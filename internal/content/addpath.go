package content

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
)

// AddOptions change how AddPath works. The zero value is good.
type AddOptions struct {
	MaxEntries int      // files and directories; 0: the store's Config.MaxEntries
	Progress   Progress // may be nil
}

// AddPath adds a file or a directory of the host with all that is below it,
// hidden files included; modes and times are left out. It follows hostPath
// itself if it is a symbolic link, and refuses one inside, as it refuses
// devices, pipes and sockets (ErrRefused, naming the path). Nothing outside
// hostPath is read even if somebody changes it meanwhile.
func (s *Store) AddPath(ctx context.Context, hostPath string, opts AddOptions) (Node, error) {
	limit := opts.MaxEntries
	if limit == 0 {
		limit = s.cfg.MaxEntries
	}
	a := s.newAdder(ctx, opts.Progress)
	defer a.release()
	t := &pathAdder{adder: a, left: limit, limit: limit}
	n, err := t.top(hostPath)
	if err == nil {
		err = a.out.flush()
	}
	if err != nil {
		return Node{}, fmt.Errorf("add %s: %w", hostPath, err)
	}
	return n, nil
}

type pathAdder struct {
	*adder
	left, limit int // entries
}

func (t *pathAdder) top(hostPath string) (Node, error) {
	info, err := os.Stat(hostPath)
	if err != nil {
		return Node{}, err
	}
	if info.IsDir() {
		root, err := os.OpenRoot(hostPath)
		if err != nil {
			return Node{}, err
		}
		defer root.Close()
		return t.directory(root, "", 0)
	}
	if !info.Mode().IsRegular() {
		return Node{}, refused(filepath.Base(hostPath), info.Mode())
	}
	f, err := os.OpenFile(hostPath, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return Node{}, err
	}
	return t.regular(f, info, filepath.Base(hostPath))
}

// directory adds the folder that root is; rel is its path, for errors.
func (t *pathAdder) directory(root *os.Root, rel string, level int) (Node, error) {
	if level > maxLevel {
		return Node{}, fmt.Errorf("%s: %w: more than %d directories inside each other", rel, ErrTooMany, maxLevel)
	}
	names, err := t.names(root)
	if err != nil {
		return Node{}, fmt.Errorf("%s: %w", rel, err)
	}
	children := make([]child, 0, len(names))
	for _, name := range names {
		path := filepath.Join(rel, name)
		if err := checkName(name); err != nil {
			return Node{}, fmt.Errorf("%q: %w: %w", path, ErrRefused, err)
		}
		n, err := t.entry(root, name, entryAt{path, level})
		if err != nil {
			return Node{}, err
		}
		children = append(children, child{name, n})
	}
	return t.out.dir(children)
}

// names gives the sorted names in root, and counts them.
func (t *pathAdder) names(root *os.Root) ([]string, error) {
	f, err := root.Open(".")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var names []string
	for {
		more, err := f.Readdirnames(1024)
		names = append(names, more...)
		if t.left -= len(more); t.left < 0 {
			return nil, fmt.Errorf("%w: more than %d files and directories", ErrTooMany, t.limit)
		}
		if errors.Is(err, io.EOF) {
			slices.Sort(names)
			return names, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// An entryAt says where in the tree an entry is.
type entryAt struct {
	path  string
	level int
}

func (t *pathAdder) entry(root *os.Root, name string, at entryAt) (Node, error) {
	if err := t.ctx.Err(); err != nil {
		return Node{}, err
	}
	if len(at.path) > maxPath {
		return Node{}, fmt.Errorf("%.80q…: %w: a path of %d bytes", at.path, ErrRefused, len(at.path))
	}
	info, err := root.Lstat(name)
	if err != nil {
		return Node{}, err
	}
	switch {
	case info.IsDir():
		return t.subdirectory(root, info, at)
	case info.Mode().IsRegular():
		f, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
		if err != nil {
			return Node{}, fmt.Errorf("%s: %w", at.path, err)
		}
		return t.regular(f, info, at.path)
	default:
		return Node{}, refused(at.path, info.Mode())
	}
}

func (t *pathAdder) subdirectory(root *os.Root, seen fs.FileInfo, at entryAt) (Node, error) {
	sub, err := root.OpenRoot(filepath.Base(at.path))
	if err != nil {
		return Node{}, fmt.Errorf("%s: %w", at.path, err)
	}
	defer sub.Close()
	now, err := sub.Stat(".")
	if err != nil {
		return Node{}, fmt.Errorf("%s: %w", at.path, err)
	}
	if !os.SameFile(seen, now) {
		return Node{}, fmt.Errorf("%s: %w: it changed while it was added", at.path, ErrRefused)
	}
	return t.directory(sub, at.path, at.level+1)
}

// regular adds f, and closes it. It was opened without waiting, so that a pipe
// that took the file's place cannot block us.
func (t *pathAdder) regular(f *os.File, seen fs.FileInfo, path string) (Node, error) {
	defer f.Close()
	now, err := f.Stat()
	if err != nil {
		return Node{}, fmt.Errorf("%s: %w", path, err)
	}
	if !now.Mode().IsRegular() || !os.SameFile(seen, now) {
		return Node{}, fmt.Errorf("%s: %w: it changed while it was added", path, ErrRefused)
	}
	n, err := t.file(f)
	if err != nil {
		return Node{}, fmt.Errorf("%s: %w", path, err)
	}
	return n, nil
}

func refused(path string, mode fs.FileMode) error {
	what := "a special file"
	switch {
	case mode&fs.ModeSymlink != 0:
		what = "a symbolic link; put the file itself in its place"
	case mode&fs.ModeNamedPipe != 0:
		what = "a named pipe"
	case mode&fs.ModeSocket != 0:
		what = "a socket"
	case mode&fs.ModeDevice != 0:
		what = "a device"
	}
	return fmt.Errorf("%s: %w: it is %s", path, ErrRefused, what)
}
