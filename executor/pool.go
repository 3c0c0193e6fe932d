package executor

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// A pool keeps the boxes: at most max, each idle, or busy with one task. Some of
// the idle ones are spares, without a program: when a box has been opened and
// there is room, as many are made as there should be; what nobody needs for as
// long as any idle box may wait goes, and is not made again before the next.
type pool struct {
	max   int
	spare int           // how many spares there should be
	limit time.Duration // that a box may be idle
	start func(ctx context.Context, spare *box, key boxKey, p Program) (*box, error)
	bare  func() (*box, error) // makes a spare

	mu      sync.Mutex
	boxes   map[*box]struct{}
	running map[*box]*execution // the busy ones that have a task
	opening int                 // being started for a task
	making  int                 // spares that are being started
	makers  sync.WaitGroup      // that start them
	changed chan struct{}       // closed, and replaced, when a waiter should look again
	closed  bool
}

func newPool(cfg Config, start func(context.Context, *box, boxKey, Program) (*box, error)) *pool {
	return &pool{
		max: cfg.MaxChildren, spare: cfg.Spare, limit: cfg.IdleTimeout, start: start,
		boxes: map[*box]struct{}{}, running: map[*box]*execution{}, changed: make(chan struct{}),
	}
}

// take gives a box for key that is the caller's until give or drop. It waits
// for a place until ctx ends.
func (p *pool) take(ctx context.Context, key boxKey, program Program) (*box, error) {
	for {
		b, open, changed, err := p.reserve(key)
		switch {
		case err != nil || b != nil && !open:
			return b, err
		case open:
			if b != nil && (b.key != boxKey{} || !b.alive()) {
				b.kill() // evicted
				b = nil
			}
			return p.open(ctx, b, key, program)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: all %d are in use: %w", ErrBusy, p.max, ctx.Err())
		}
	}
}

// reserve gives an idle box of key, or a place for a new one (open, with a spare
// to be used for it, or a box to be killed: a dead one, or the one idle for
// longest), or a channel to wait on.
func (p *pool) reserve(key boxKey) (b *box, open bool, changed <-chan struct{}, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, false, nil, ErrClosed
	}
	if b = p.latest(key); b != nil {
		p.wake(b)
		if b.alive() {
			return b, false, nil, nil
		}
	} else if b = p.latest(boxKey{}); b != nil {
	} else if p.room() {
		p.opening++
		return nil, true, nil, nil
	} else if b = p.idle(func(b, best *box) bool { return best == nil || b.since.Before(best.since) }); b == nil {
		return nil, false, p.changed, nil
	}
	p.wake(b)
	delete(p.boxes, b)
	p.opening++
	return b, true, nil, nil
}

// room tells whether there may be one more.
func (p *pool) room() bool { return len(p.boxes)+p.opening+p.making < p.max }

// latest gives the box of key that is idle for the shortest time.
func (p *pool) latest(key boxKey) *box {
	return p.idle(func(b, best *box) bool { return b.key == key && (best == nil || b.since.After(best.since)) })
}

// idle gives the best of the idle boxes.
func (p *pool) idle(better func(b, best *box) bool) (best *box) {
	for b := range p.boxes {
		if b.idle && better(b, best) {
			best = b
		}
	}
	return best
}

func (p *pool) wake(b *box) {
	b.idle = false
	b.timer.Stop()
}

func (p *pool) open(ctx context.Context, spare *box, key boxKey, program Program) (*box, error) {
	b, err := p.start(ctx, spare, key, program)
	p.mu.Lock()
	p.opening--
	closed := p.closed
	if err == nil && !closed {
		p.boxes[b] = struct{}{}
		p.refill()
	}
	p.notify()
	p.mu.Unlock()
	if err == nil && closed {
		b.kill()
		return nil, ErrClosed
	}
	return b, err
}

// refill has the spares made that are missing, as far as there is room. It is
// called with the mutex held.
func (p *pool) refill() {
	there := p.making
	for b := range p.boxes {
		if b.key == (boxKey{}) {
			there++
		}
	}
	for ; there < p.spare && p.room(); there++ {
		p.making++
		p.makers.Go(func() {
			b, err := p.bare()
			p.mu.Lock()
			p.making--
			p.notify()
			p.mu.Unlock()
			if err == nil {
				p.keep(b)
			}
		})
	}
}

// keep makes a box that has no program a spare, or kills it if there is no room.
func (p *pool) keep(b *box) {
	p.mu.Lock()
	if !p.closed && p.spare > 0 && p.room() {
		p.boxes[b] = struct{}{}
	}
	p.mu.Unlock()
	p.give(b) // kills what is not in the pool
}

func (p *pool) notify() {
	close(p.changed)
	p.changed = make(chan struct{})
}

// busy says that e runs in b; false if b is to be killed instead, because its
// lease ended in the meantime.
func (p *pool) busy(b *box, e *execution) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, ok := p.boxes[b]; !ok {
		return false
	}
	p.running[b] = e
	return true
}

// give puts a box back that is ready for the next task.
func (p *pool) give(b *box) {
	p.mu.Lock()
	delete(p.running, b)
	_, ok := p.boxes[b]
	if ok {
		b.idle, b.since = true, time.Now()
		if b.timer == nil {
			b.timer = time.AfterFunc(p.limit, func() { p.expire(b) })
		} else {
			b.timer.Reset(p.limit)
		}
	}
	p.notify()
	p.mu.Unlock()
	if !ok {
		b.kill()
	}
}

func (p *pool) expire(b *box) {
	p.mu.Lock()
	idle := b.idle && time.Since(b.since) >= p.limit
	if idle {
		b.idle = false
		delete(p.boxes, b)
		p.notify()
	}
	p.mu.Unlock()
	if idle {
		b.kill()
	}
}

// drop kills a box.
func (p *pool) drop(b *box) {
	b.kill()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.running, b)
	delete(p.boxes, b)
	p.notify()
}

// has tells whether there is a box for key.
func (p *pool) has(key boxKey) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for b := range p.boxes {
		if b.key == key {
			return true
		}
	}
	return false
}

// clear takes away the boxes that match, and returns when they are dead.
func (p *pool) clear(match func(boxKey) bool) {
	var idle []*box
	var running []*execution
	p.mu.Lock()
	for b := range p.boxes {
		if !match(b.key) {
			continue
		}
		delete(p.boxes, b) // whoever has it will kill it
		if b.idle {
			p.wake(b)
			idle = append(idle, b)
		} else if e := p.running[b]; e != nil {
			running = append(running, e)
		}
	}
	p.notify()
	p.mu.Unlock()
	for _, b := range idle {
		b.kill()
	}
	for _, e := range running {
		e.Stop()
	}
}

func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.clear(func(boxKey) bool { return true })
	p.makers.Wait()
}
