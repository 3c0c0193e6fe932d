package node

import (
	"context"
	"sync"

	"golang.org/x/sync/errgroup"
)

// A crew runs short pieces of work beside a Run, and lets it wait for them. It
// is of use between start and wait; before and after, and when too many pieces
// are under way, work is declined.
type crew struct {
	slots chan struct{}   // as many as may be under way
	ctx   context.Context // of the Run that owns the crew

	mu     sync.Mutex // orders starting and waiting
	group  *errgroup.Group
	closed bool
}

// newCrew makes a crew of at most so many pieces at a time, for one Run.
func newCrew(ctx context.Context, most int) *crew {
	g, ctx := errgroup.WithContext(ctx)
	return &crew{slots: make(chan struct{}, most), group: g, ctx: ctx}
}

// try starts f unless the crew is full or ending; it tells which.
func (c *crew) try(f func(ctx context.Context)) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || c.ctx.Err() != nil {
		return false
	}
	select {
	case c.slots <- struct{}{}:
	default:
		return false
	}
	c.group.Go(func() error {
		defer func() { <-c.slots }()
		f(c.ctx)
		return nil
	})
	return true
}

// wait takes no more work, and returns when all that was taken has ended.
func (c *crew) wait() error {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	return c.group.Wait()
}
