package sandbox

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strings"

	"github.com/mustermesh/muster/internal/content"
)

// An output collects what a guest makes into one tree: status, stdout, stderr,
// and the collected outputs below out/. docs/wire.md §5. It is an
// executor.Sink; one goroutine uses it.
type output struct {
	ctx            context.Context // of the execution; a Sink is given none
	content        *content.Store
	stdout, stderr *spool
	parts          []content.Part
	dirs           []string
	release        func() // of the hold on what was added; nil before
}

// Paths in an output root.
const (
	pathStatus = "status"
	PathStdout = "stdout"
	PathStderr = "stderr"
	PathOut    = "out"
)

func newOutput(ctx context.Context, c *content.Store, temp string) *output {
	return &output{ctx: ctx, content: c, stdout: &spool{dir: temp}, stderr: &spool{dir: temp}}
}

func (o *output) Stdout(p []byte) error { return o.stdout.write(p) }
func (o *output) Stderr(p []byte) error { return o.stderr.write(p) }

func (o *output) Dir(path string) error {
	o.dirs = append(o.dirs, PathOut+"/"+path)
	return nil
}

func (o *output) File(path string, size int64, r io.Reader) error {
	o.hold()
	n, err := o.content.AddReader(o.ctx, r)
	if err != nil {
		return err
	}
	o.parts = append(o.parts, content.Part{Path: PathOut + "/" + path, Node: n})
	return nil
}

// hold keeps what is added from the cache's trimming, until discard. It begins
// with the first file, not while the guest runs: that may be for days.
func (o *output) hold() {
	if o.release == nil {
		o.release = o.content.Hold()
	}
}

// root builds the tree.
func (o *output) root(ctx context.Context, status string) (content.Node, error) {
	o.hold()
	for _, f := range []struct {
		path string
		open func() (io.Reader, error)
	}{
		{pathStatus, func() (io.Reader, error) { return strings.NewReader(status), nil }},
		{PathStdout, o.stdout.open},
		{PathStderr, o.stderr.open},
	} {
		r, err := f.open()
		if err != nil {
			return content.Node{}, err
		}
		n, err := o.content.AddReader(ctx, r)
		if err != nil {
			return content.Node{}, err
		}
		o.parts = append(o.parts, content.Part{Path: f.path, Node: n})
	}
	if err := o.emptyDirs(ctx); err != nil {
		return content.Node{}, err
	}
	return o.content.BuildTree(ctx, o.parts)
}

// emptyDirs adds the directories in which nothing lies, out/ itself included.
func (o *output) emptyDirs(ctx context.Context) error {
	occupied := make(map[string]bool)
	mark := func(path string) {
		for i := strings.LastIndexByte(path, '/'); i > 0; i = strings.LastIndexByte(path[:i], '/') {
			if occupied[path[:i]] {
				return
			}
			occupied[path[:i]] = true
		}
	}
	for _, p := range o.parts {
		mark(p.Path)
	}
	for _, d := range o.dirs {
		mark(d)
	}
	for _, d := range append(o.dirs, PathOut) {
		if occupied[d] {
			continue
		}
		n, err := o.content.NewDir(ctx)
		if err != nil {
			return err
		}
		o.parts = append(o.parts, content.Part{Path: d, Node: n})
	}
	return nil
}

// discard removes what was spooled.
func (o *output) discard() {
	o.stdout.remove()
	o.stderr.remove()
	if o.release != nil {
		o.release()
	}
}

// spoolMemory is how much of a stream stays in memory, in bytes; the rest goes
// to a file.
const spoolMemory = 1 << 20

// A spool holds a stream until its end. The executor bounds its length.
type spool struct {
	dir  string
	mem  bytes.Buffer
	file *os.File
}

func (s *spool) write(p []byte) error {
	if s.file == nil && s.mem.Len()+len(p) <= spoolMemory {
		s.mem.Write(p)
		return nil
	}
	if s.file == nil {
		f, err := os.CreateTemp(s.dir, "stream-")
		if err != nil {
			return err
		}
		s.file = f
		if _, err := f.Write(s.mem.Bytes()); err != nil {
			return err
		}
	}
	_, err := s.file.Write(p)
	return err
}

func (s *spool) open() (io.Reader, error) {
	if s.file == nil {
		return &s.mem, nil
	}
	_, err := s.file.Seek(0, io.SeekStart)
	return s.file, err
}

func (s *spool) remove() {
	if s.file != nil {
		s.file.Close()
		if err := os.Remove(s.file.Name()); err != nil && !errors.Is(err, os.ErrNotExist) {
			return // the folder is emptied at the next start
		}
	}
}
