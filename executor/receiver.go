package executor

import (
	"fmt"
	"io"
	"path"
	"slices"
	"time"
)

// A receiver takes what a child sends while it runs a task. It believes
// nothing: quotas, paths and their order are checked once more.
type receiver struct {
	e              *execution
	sink           Sink
	left           uint64 // bytes that may still come
	stdout, stderr uint64
	last           string   // the path before this one
	dirs           []string // that contain last, outermost first
	entries        int
	words          int  // on progress
	after          bool // files have begun
	buf            []byte
}

func newReceiver(e *execution) *receiver {
	r := &receiver{e: e, sink: e.task.Sink, left: e.order.disk}
	if r.sink == nil {
		r.sink = discard{}
	}
	return r
}

// bad is an error about what the child did.
func bad(format string, args ...any) error {
	return fmt.Errorf("%w: %w: %s", ErrKilled, errProtocol, fmt.Sprintf(format, args...))
}

// ours is an error about what our own side did.
func ours(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %s: %w", ErrHost, what, err)
}

// take serves one frame.
func (r *receiver) take(t frameType, body []byte) error {
	switch t {
	case frameStdout, frameStderr:
		return r.stream(t, body)
	case frameProgress:
		return r.progress(body)
	case frameRead:
		return r.serve(body)
	case frameDir:
		d := decoder{b: body}
		p := d.str(MaxPath)
		if !d.ok() {
			return bad("directory")
		}
		if err := r.enter(p, true); err != nil {
			return err
		}
		return ours("keep directory", r.sink.Dir(p))
	case frameFile:
		p, size, err := decodeFile(body)
		if err != nil {
			return bad("file")
		}
		return r.file(p, size)
	}
	return bad("frame of type %d", t)
}

func (r *receiver) stream(t frameType, p []byte) error {
	if len(p) == 0 || uint64(len(p)) > r.left || r.last != "" {
		return bad("no output, or beyond the quota, or after the end")
	}
	r.left -= uint64(len(p))
	r.e.logs.write(t == frameStderr, p)
	if t == frameStdout {
		r.stdout += uint64(len(p))
		return ours("keep stdout", r.sink.Stdout(p))
	}
	r.stderr += uint64(len(p))
	return ours("keep stderr", r.sink.Stderr(p))
}

// progress keeps the guest's latest word, unless the child talks more than an
// honest one does.
func (r *receiver) progress(body []byte) error {
	d := decoder{b: body}
	fraction := d.u32()
	r.words++
	if d.bad || r.last != "" || int64(r.words) > 16+2*int64(time.Since(r.e.begun)/outputDelay) {
		return bad("progress malformed, too often, or after the end")
	}
	r.e.progress.set(fraction, cleanText(d.b))
	return nil
}

// serve answers a request for input.
func (r *receiver) serve(body []byte) error {
	q, err := decodeRead(body)
	if err != nil {
		return bad("read")
	}
	o := &r.e.order
	if q.file != stdinFile && (int64(q.file) >= int64(len(o.entries)) || o.entries[q.file].Dir) {
		return bad("read of no file")
	}
	if size := uint64(o.inputSize(q.file)); q.off > size || uint64(q.n) > size-q.off {
		return bad("read beyond the end")
	}
	n := 0
	r.buf = slices.Grow(r.buf[:0], int(q.n))
	p := r.buf[:q.n]
	if q.file == stdinFile {
		n, err = r.e.task.Stdin.ReadAt(p, int64(q.off))
	} else {
		n, err = r.e.task.Input.ReadAt(r.e.ctx, o.entries[q.file].Path, p, int64(q.off))
	}
	if n < len(p) {
		return ours("read input", fmt.Errorf("%d of %d bytes: %w", n, len(p), orEOF(err)))
	}
	if err := r.e.box.conn.send(frameData, p); err != nil {
		return fmt.Errorf("%w: %w", errEnded, err)
	}
	return nil
}

func orEOF(err error) error {
	if err == nil {
		return io.ErrUnexpectedEOF
	}
	return err
}

// enter checks that p may follow the path before it.
func (r *receiver) enter(p string, dir bool) error {
	o := &r.e.order
	if r.entries++; r.entries > maxNodes+MaxEntries+len(o.outputs) {
		return bad("too many outputs")
	}
	if checkPath(p) != nil || r.last != "" && comparePaths(r.last, p) >= 0 {
		return bad("path %.80q", p)
	}
	for len(r.dirs) > 0 && r.dirs[len(r.dirs)-1] != path.Dir(p) {
		r.dirs = r.dirs[:len(r.dirs)-1]
	}
	if len(r.dirs) == 0 && !slices.Contains(r.e.order.outputs, p) {
		return bad("path %.80q is outside of the outputs", p)
	}
	if r.last = p; dir {
		r.dirs = append(r.dirs, p)
	}
	return nil
}

// file passes one file on to the sink.
func (r *receiver) file(p string, size int64) error {
	if err := r.enter(p, false); err != nil {
		return err
	}
	if !r.after {
		r.after = true // what the guest left as it was comes from the input, and counts no quota
		for _, e := range r.e.order.entries {
			r.left += uint64(e.Size)
		}
	}
	if uint64(size) > r.left {
		return bad("files beyond the quota")
	}
	r.left -= uint64(size)
	f := &fileReader{r: r, left: size}
	err := ours("keep file", r.sink.File(p, size, f))
	if err == nil {
		_, err = io.Copy(io.Discard, f) // what the sink did not want
	}
	if f.err != nil {
		return f.err // the sink saw it too, but it is not its own
	}
	return err
}

// A fileReader is one file as it comes from the child, whose own reads of the
// input it serves in between.
type fileReader struct {
	r    *receiver
	left int64 // bytes that have not come yet
	got  []byte
	err  error
}

func (f *fileReader) Read(p []byte) (int, error) {
	for len(f.got) == 0 {
		if f.err != nil {
			return 0, f.err
		}
		if f.left == 0 {
			return 0, io.EOF
		}
		f.got, f.err = f.next()
	}
	n := copy(p, f.got)
	f.got = f.got[n:]
	return n, nil
}

func (f *fileReader) next() ([]byte, error) {
	t, body, err := f.r.e.box.conn.next()
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %w", errEnded, err)
	case t == frameRead:
		return nil, f.r.serve(body)
	case t != frameBytes || len(body) == 0 || int64(len(body)) > f.left:
		return nil, bad("frame of type %d inside a file", t)
	}
	f.left -= int64(len(body))
	return body, nil
}

type discard struct{}

func (discard) Stdout([]byte) error { return nil }
func (discard) Stderr([]byte) error { return nil }
func (discard) Dir(string) error    { return nil }

func (discard) File(_ string, _ int64, r io.Reader) error {
	_, err := io.Copy(io.Discard, r)
	return err
}
