package telemetry

import (
	"bytes"
	"context"
	"log/slog"
	"sync"
)

// maxRecord bounds one record of a [RecentLog], in bytes; of a longer one the
// beginning is kept.
const maxRecord = 4 << 10

// A RecentLog is a slog.Handler that hands records on, and keeps the latest in
// memory, as lines of JSON, for a bundle. It keeps what the next handler takes, and
// Info and above in any case. Methods are safe for concurrent use.
type RecentLog struct {
	next slog.Handler
	line slog.Handler // writes into kept
	kept *ring
}

// NewRecentLog keeps n records, at least one, each of at most 4 KiB.
func NewRecentLog(next slog.Handler, n int) *RecentLog {
	kept := &ring{lines: make([][]byte, max(n, 1))}
	return &RecentLog{next: next, line: slog.NewJSONHandler(kept, &slog.HandlerOptions{Level: slog.LevelDebug - 4}), kept: kept}
}

// Enabled tells whether a record of this level is kept or handed on.
func (l *RecentLog) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelInfo || l.next.Enabled(ctx, level)
}

// Handle keeps r and hands it on. Values are turned into text now: nothing that
// they point to is kept.
func (l *RecentLog) Handle(ctx context.Context, r slog.Record) error {
	_ = l.line.Handle(ctx, r.Clone()) // a ring takes every line
	if !l.next.Enabled(ctx, r.Level) {
		return nil
	}
	return l.next.Handle(ctx, r)
}

// WithAttrs gives a handler that keeps into the same memory.
func (l *RecentLog) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &RecentLog{next: l.next.WithAttrs(attrs), line: l.line.WithAttrs(attrs), kept: l.kept}
}

// WithGroup gives a handler that keeps into the same memory.
func (l *RecentLog) WithGroup(name string) slog.Handler {
	return &RecentLog{next: l.next.WithGroup(name), line: l.line.WithGroup(name), kept: l.kept}
}

// Lines gives what is kept, the oldest first, one record a line.
func (l *RecentLog) Lines() []byte { return l.kept.all() }

// A ring holds the latest lines.
type ring struct {
	mu    sync.Mutex // guards what follows
	lines [][]byte   // each slot's memory is used again
	next  int
}

// Write takes one line, as slog's handlers write one record at a time.
func (r *ring) Write(line []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	slot := r.lines[r.next][:0]
	if len(line) > maxRecord {
		slot = append(append(slot, line[:maxRecord-len(cutMark)]...), cutMark...)
	} else {
		slot = append(slot, line...)
	}
	r.lines[r.next] = slot
	r.next = (r.next + 1) % len(r.lines)
	return len(line), nil
}

const cutMark = "…[cut]\n"

func (r *ring) all() []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out bytes.Buffer
	for i := range r.lines {
		out.Write(r.lines[(r.next+i)%len(r.lines)])
	}
	return out.Bytes()
}
