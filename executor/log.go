package executor

import (
	"context"
	"io"
	"sort"
	"sync"

	"github.com/mustermesh/muster/proto"
)

// maxTail is how many bytes one Tail gives at most.
const maxTail = 256 << 10

// A logBuffer keeps the end of what a guest printed: at least MaxLog bytes and
// MaxRuns runs, and up to twice as much, so that little is moved.
type logBuffer struct {
	mu     sync.Mutex
	kept   []byte
	start  int64     // where kept begins in the whole log
	runs   []run     // of kept
	size   [2]uint64 // of stdout and stderr so far
	closed bool      // nothing follows
	change change
}

// A run is a part of the log that belongs to one stream. It ends where the next
// begins.
type run struct {
	at     int64  // in the log
	offset uint64 // in the stream
	stderr bool
}

func (l *logBuffer) write(stderr bool, p []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	size := &l.size[0]
	if stderr {
		size = &l.size[1]
	}
	if n := len(l.runs); n == 0 || l.runs[n-1].stderr != stderr {
		l.runs = append(l.runs, run{l.end(), *size, stderr})
	}
	l.kept = append(l.kept, p...)
	*size += uint64(len(p))
	if len(l.kept) > 2*MaxLog || len(l.runs) > 2*MaxRuns {
		l.forget()
	}
	l.change.wake()
}

// forget lets go of what is not promised to be kept.
func (l *logBuffer) forget() {
	oldest := l.oldest()
	l.kept = append(l.kept[:0], l.kept[oldest-l.start:]...)
	l.start = oldest
	l.runs = append(l.runs[:0], l.runs[l.run(oldest):]...)
}

func (l *logBuffer) end() int64 { return l.start + int64(len(l.kept)) }

// oldest is where the log begins for readers.
func (l *logBuffer) oldest() int64 {
	at := l.start + int64(max(len(l.kept)-MaxLog, 0))
	if n := len(l.runs) - MaxRuns; n > 0 {
		at = max(at, l.runs[n].at)
	}
	return at
}

// run finds the run that at lies in.
func (l *logBuffer) run(at int64) int {
	return sort.Search(len(l.runs), func(i int) bool { return l.runs[i].at > at }) - 1
}

func (l *logBuffer) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	l.change.wake()
}

// read is Execution.Tail.
func (l *logBuffer) read(ctx context.Context, from int64) ([]Piece, int64, error) {
	for {
		l.mu.Lock()
		at := max(from, l.oldest())
		if at < l.end() {
			pieces, next := l.pieces(at)
			l.mu.Unlock()
			return pieces, next, nil
		}
		closed, changed := l.closed, l.change.wait()
		l.mu.Unlock()
		if closed {
			return nil, at, io.EOF
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, at, ctx.Err()
		}
	}
}

// pieces cuts the log from at on; there is something.
func (l *logBuffer) pieces(at int64) (list []Piece, next int64) {
	stop := min(l.end(), at+maxTail)
	for i := l.run(at); at < stop; {
		r, end := l.runs[i], stop
		if i+1 < len(l.runs) {
			end = min(end, l.runs[i+1].at)
		}
		if end-at > proto.MaxLogChunk {
			end = at + proto.MaxLogChunk
		} else {
			i++
		}
		data := append([]byte(nil), l.kept[at-l.start:end-l.start]...)
		list = append(list, Piece{r.stderr, r.offset + uint64(at-r.at), data})
		at = end
	}
	return list, at
}

// A change tells those who wait that something they look at has changed. Its
// methods need the lock that guards what they look at.
type change struct {
	next chan struct{} // closed at the next change; nil if nobody waits
}

func (c *change) wait() <-chan struct{} {
	if c.next == nil {
		c.next = make(chan struct{})
	}
	return c.next
}

func (c *change) wake() {
	if c.next != nil {
		close(c.next)
		c.next = nil
	}
}
