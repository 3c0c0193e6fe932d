package overlay

import (
	"context"
	"sync"

	"golang.org/x/sync/errgroup"
)

// Workers run short pieces of work beside a Run, which waits for them. They
// are of use until Wait; afterwards, and when too many pieces are under way,
// work is declined. Safe for concurrent use.
type Workers struct {
	slots chan struct{}   // as many as may be under way
	ctx   context.Context // of the Run that owns the workers

	mu     sync.Mutex // orders starting and waiting
	group  *errgroup.Group
	closed bool
}

// NewWorkers makes workers for at most so many pieces at a time, for one Run.
func NewWorkers(ctx context.Context, most int) *Workers {
	g, ctx := errgroup.WithContext(ctx)
	return &Workers{slots: make(chan struct{}, most), group: g, ctx: ctx}
}

// Context gives the context of the pieces; it ends with the Run that owns them.
func (w *Workers) Context() context.Context { return w.ctx }

// Try starts f unless as many as may be are under way, or the end has begun; it tells which.
func (w *Workers) Try(f func(ctx context.Context)) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed || w.ctx.Err() != nil {
		return false
	}
	select {
	case w.slots <- struct{}{}:
	default:
		return false
	}
	w.group.Go(func() error {
		defer func() { <-w.slots }()
		f(w.ctx)
		return nil
	})
	return true
}

// Wait takes no more work, and returns when all that was taken has ended.
func (w *Workers) Wait() error {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	return w.group.Wait()
}
