package executor

import (
	"context"
	"io"
	"sync"
)

// A logBuffer keeps the end of what a guest printed.
type logBuffer struct {
	mu      sync.Mutex
	kept    []byte
	start   int64         // where kept begins in the whole log
	closed  bool          // nothing follows
	changed chan struct{} // closed at the next change; nil if nobody waits
}

func (l *logBuffer) write(p []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.kept = append(l.kept, p...)
	if over := len(l.kept) - MaxLog; over > MaxLog {
		l.kept = append(l.kept[:0], l.kept[over:]...)
		l.start += int64(over)
	}
	l.wake()
}

func (l *logBuffer) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	l.wake()
}

func (l *logBuffer) wake() {
	if l.changed != nil {
		close(l.changed)
		l.changed = nil
	}
}

// read is Execution.Logs.
func (l *logBuffer) read(ctx context.Context, from int64) ([]byte, int64, error) {
	for {
		l.mu.Lock()
		oldest := l.start + int64(max(len(l.kept)-MaxLog, 0))
		at := max(from, oldest)
		if end := l.start + int64(len(l.kept)); at < end {
			p := append([]byte(nil), l.kept[at-l.start:]...)
			l.mu.Unlock()
			return p, at, nil
		}
		if l.closed {
			l.mu.Unlock()
			return nil, at, io.EOF
		}
		if l.changed == nil {
			l.changed = make(chan struct{})
		}
		changed := l.changed
		l.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, at, ctx.Err()
		}
	}
}
