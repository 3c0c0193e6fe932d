package executor

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
)

// loadHeader is the length of a frameModule besides the program.
const loadHeader = 9

// A loadOrder is the body of a frameModule.
type loadOrder struct {
	interpret bool
	keep      int64 // the most bytes of compiled code that the parent wants to have
	program   []byte
}

func (l loadOrder) header() []byte { return appendU64(appendBool(nil, l.interpret), uint64(l.keep)) }

func decodeLoad(body []byte) (loadOrder, error) {
	d := decoder{b: body}
	l := loadOrder{interpret: d.bool(), keep: int64(d.u64())}
	if d.bad || l.keep < 0 {
		return loadOrder{}, fmt.Errorf("%w: program", errProtocol)
	}
	l.program = d.b
	return l, nil
}

// sendCode gives the parent what was compiled, if it is at most limit bytes, for
// another child that is to run the same program.
func sendCode(conn *frameConn, module []byte, code io.Reader, limit int64) error {
	sized, ok := code.(interface{ Len() int })
	if !ok || limit == 0 {
		return nil
	}
	bones := skeleton(module)
	if bones == nil || int64(len(bones))+int64(sized.Len()) > limit {
		return nil
	}
	if err := conn.put(frameMade, bones); err != nil {
		return err
	}
	return copyCode(conn, code)
}

// copyCode sends code in parts, and its end. It reads, and thereby checks, the
// next parts while one is being sent.
func copyCode(conn *frameConn, code io.Reader) error {
	parts := make(chan []byte, 4) // so far ahead while the child is busy with the skeleton
	stop := make(chan struct{})
	var reader sync.WaitGroup
	var failed error
	reader.Go(func() { failed = splitCode(code, parts, stop) })
	err := putParts(conn, parts)
	close(stop)
	reader.Wait()
	if err != nil {
		return fmt.Errorf("%w: %w", errEnded, err)
	} else if failed != nil {
		return fmt.Errorf("read compiled code: %w", failed)
	}
	return conn.send(frameCode)
}

// splitCode reads code to its end, or until stop is closed, and closes parts.
func splitCode(code io.Reader, parts chan<- []byte, stop <-chan struct{}) error {
	defer close(parts)
	for {
		buf := make([]byte, maxCode)
		n, err := io.ReadFull(code, buf)
		if n > 0 {
			select {
			case parts <- buf[:n]:
			case <-stop:
				return nil
			}
		}
		if err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

func putParts(conn *frameConn, parts <-chan []byte) error {
	for p := range parts {
		if err := conn.put(frameCode, p); err != nil {
			return err
		}
	}
	return nil
}

// A codeReader reads the parts of compiled code as they come. It reads right
// into where the engine wants them, and fills what it is given: wazero reads the
// beginning at once or not at all.
type codeReader struct {
	conn *frameConn
	left int // bytes of the present part
	err  error
}

func (r *codeReader) Read(p []byte) (n int, err error) {
	for n < len(p) {
		if r.left == 0 {
			if err := r.part(); err != nil {
				if n > 0 {
					return n, nil
				}
				return 0, err
			}
		}
		k, err := io.ReadFull(r.conn.r, p[n:n+min(len(p)-n, r.left)])
		n, r.left = n+k, r.left-k
		if err != nil {
			r.err = io.ErrUnexpectedEOF
			return n, r.err
		}
	}
	return n, nil
}

// part begins the next part. Its error stays.
func (r *codeReader) part() error {
	if r.err != nil {
		return r.err
	}
	t, n, err := r.conn.header()
	switch {
	case err == io.EOF:
		r.err = io.ErrUnexpectedEOF
	case err != nil:
		r.err = err
	case t != frameCode:
		r.err = fmt.Errorf("%w: frame of type %d in compiled code", errProtocol, t)
	case n == 0:
		r.err = io.EOF
	}
	r.left = n
	return r.err
}

// A loading is what a parent hears of a child that compiles: at most one
// skeleton, its code, and that it is ready. It takes nothing after that.
//
// Why what a child says here may be kept, and given to children of others: the
// child was started shut in, has had no program before this one, and has run
// nothing of it. All that worked on the stranger's bytes is a decoder, a
// validator, a rewriter and a compiler written in memory-safe Go. A child that
// has run a guest is believed nothing, as the guest may have broken out of the
// engine into it. And should the bytes of a program subvert its compiler after
// all, the code is used for those very bytes alone (its key is their digest), in
// a child as shut in as the one where the program, run, could have done the same.
type loading struct {
	limit int64 // bytes that may still come
	code  *compiled
	whole bool // its end has come
}

// take takes one frame; ready tells that it was the last.
func (l *loading) take(t frameType, body []byte) (ready bool, err error) {
	switch {
	case t == frameBad:
		return false, &ProgramError{clip(string(body))}
	case t == frameReady && (l.code == nil || l.whole):
		return true, nil
	case t == frameMade && l.code == nil && l.room(body):
		l.code = &compiled{skeleton: slices.Clone(body)}
		return false, nil
	case t == frameCode && l.code != nil && !l.whole && l.room(body):
		if l.whole = len(body) == 0; !l.whole {
			l.code.parts = append(l.code.parts, slices.Clone(body))
		}
		return false, nil
	}
	return false, bad("frame of type %d while loading", t)
}

func (l *loading) room(body []byte) bool {
	l.limit -= int64(len(body))
	return l.limit >= 0
}
