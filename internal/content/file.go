package content

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/mustermesh/muster/proto"
)

const (
	cachedLeaves = 2 // chunks kept by a reader, of up to MaxBlock each
	cachedInner  = 8 // decoded inner nodes kept by a reader
)

// A span is a part of a file: a block and how many bytes its parent says it
// stands for.
type span struct {
	cid  proto.CID
	size int64
}

// A reader reads files by their graphs and remembers the last blocks.
type reader struct {
	g Getter

	mu     sync.Mutex // guards the fields below; what they point to never changes
	leaves []cached
	inner  []cached
}

type cached struct {
	cid proto.CID
	v   *vertex
}

func newReader(g Getter) *reader { return &reader{g: g} }

// readAt is io.ReaderAt over the file f.
func (r *reader) readAt(ctx context.Context, f span, buf []byte, off int64) (n int, err error) {
	if off < 0 {
		return 0, errors.New("read content: negative offset")
	}
	for n < len(buf) && off < f.size {
		if err := ctx.Err(); err != nil { // what is remembered is read without asking the Getter
			return n, err
		}
		m, err := r.read(ctx, f, buf[n:], off)
		n, off = n+m, off+int64(m)
		if err != nil {
			return n, fmt.Errorf("file %s at %d: %w", f.cid, off, err)
		}
	}
	if n < len(buf) {
		return n, io.EOF
	}
	return n, nil
}

// read copies from the one piece that holds off, which is inside f.
func (r *reader) read(ctx context.Context, f span, buf []byte, off int64) (int, error) {
	for range maxFileDepth {
		v, err := r.vertex(ctx, f)
		if err != nil {
			return 0, err
		}
		if off < int64(len(v.data)) {
			return copy(buf, v.data[off:]), nil
		}
		off -= int64(len(v.data))
		i := 0
		for off >= v.sizes[i] { // ends: off is inside v, and the sizes add up to it
			off -= v.sizes[i]
			i++
		}
		f = span{v.links[i].cid, v.sizes[i]}
	}
	return 0, fmt.Errorf("%w: a file of more than %d levels", ErrTooMany, maxFileDepth)
}

func (r *reader) vertex(ctx context.Context, f span) (*vertex, error) {
	v := r.recall(f.cid)
	if v == nil {
		block, err := r.g.Get(ctx, f.cid)
		if err != nil {
			return nil, err
		}
		if v, err = decode(f.cid, block); err != nil {
			return nil, err
		}
		r.remember(f.cid, v)
	}
	if v.kind != kindFile || v.size != f.size {
		return nil, fmt.Errorf("block %s: %w: it holds %d bytes of a file, not %d as its parent says", f.cid, ErrMalformed, v.size, f.size)
	}
	return v, nil
}

func (r *reader) recall(c proto.CID) *vertex {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, list := range [][]cached{r.leaves, r.inner} {
		for _, e := range list {
			if e.cid == c {
				return e.v
			}
		}
	}
	return nil
}

func (r *reader) remember(c proto.CID, v *vertex) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(v.links) == 0 {
		r.leaves = prepend(r.leaves, cached{c, v}, cachedLeaves)
	} else {
		r.inner = prepend(r.inner, cached{c, v}, cachedInner)
	}
}

func prepend(list []cached, e cached, limit int) []cached {
	list = append([]cached{e}, list...)
	return list[:min(len(list), limit)]
}

// A File reads one file. It is an io.ReadSeekCloser and an io.ReaderAt; ReadAt
// is safe for concurrent use, Read and Seek are not.
type File struct {
	*io.SectionReader
}

// Close does nothing; it is there for those who must close what they read.
func (f *File) Close() error { return nil }

// OpenFile opens the file that c names; ctx ends all its reads. f.Size gives its
// length in bytes. Errors wrap ErrNotFound, ErrCorrupt and ErrMalformed, when c
// is no file or, in reads, is not what it claims.
func (s *Store) OpenFile(ctx context.Context, c proto.CID) (*File, error) {
	s.touch(c)
	block, err := s.Get(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("open file: %w", err)
	}
	v, err := decode(c, block)
	if err != nil {
		return nil, fmt.Errorf("open file: %w", err)
	}
	if v.kind != kindFile {
		return nil, fmt.Errorf("open file %s: %w: it is a directory", c, ErrMalformed)
	}
	r := newReader(s)
	r.remember(c, v)
	at := readerAt(func(p []byte, off int64) (int, error) { return r.readAt(ctx, span{c, v.size}, p, off) })
	return &File{io.NewSectionReader(at, 0, v.size)}, nil
}

type readerAt func(p []byte, off int64) (int, error)

func (f readerAt) ReadAt(p []byte, off int64) (int, error) { return f(p, off) }
