package p2p

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/mustermesh/muster/proto"

	"golang.org/x/sync/errgroup"
)

// fetchLeaves gets leaves from all usable sources at once.
func (f *fetch) fetchLeaves(ctx context.Context, leaves []leaf) error {
	size := spanLeaves
	if f.usable() == 1 {
		size = spanAlone
	}
	b := newBoard(leaves, size, f.h.pace.block/15)
	g, ctx := errgroup.WithContext(ctx)
	stop := context.AfterFunc(ctx, b.wakeAll)
	defer stop()
	workers := 0
	for range streamsEach {
		for _, src := range f.sources {
			f.mu.Lock()
			gone := src.gone
			f.mu.Unlock()
			if gone || workers == streamsInAll {
				continue
			}
			workers++
			g.Go(func() error { return f.workLeaves(ctx, src, b) })
		}
	}
	if err := g.Wait(); err != nil {
		return err
	}
	if !b.finished() {
		return f.unavailable()
	}
	return nil
}

// workLeaves has src serve spans until none is left or src is given up.
func (f *fetch) workLeaves(ctx context.Context, src *source, b *board) error {
	for {
		spanCtx, cancel := context.WithCancelCause(ctx)
		s := b.take(ctx, src, cancel)
		if s == nil {
			cancel(nil)
			return ctx.Err()
		}
		first, count := s.ask()
		req := proto.ContentRequest{Root: f.req.Root, Grant: f.req.Grant, Mode: proto.ContentLeaves, First: first, Count: count}
		_, err := f.receive(spanCtx, src, req, s)
		if errors.Is(context.Cause(spanCtx), errSlower) {
			err = &sourceError{err: errSlower}
		}
		cancel(nil)
		b.giveBack(s)
		if err := f.judge(ctx, src, err); err != nil {
			return err
		}
		f.mu.Lock()
		gone := src.gone
		f.mu.Unlock()
		if gone {
			return nil
		}
	}
}

// errSlower is why a span is taken from a source altogether.
var errSlower = fmt.Errorf("%w: others had time", ErrTimeout)

// A board shares out missing leaves as spans. Its mutex guards the spans too.
type board struct {
	patience time.Duration // without a block, after which a span may be taken away

	mu     sync.Mutex
	change sync.Cond // a span was given back or stopped moving, or ctx ended
	todo   []*span
	active map[*span]struct{}
}

// A span is leaves whose numbers follow each other, and the sequence of the
// answer that holds them.
type span struct {
	b      *board
	src    *source // that serves it now
	cancel context.CancelCauseFunc
	leaves []leaf // those that are still to come; another worker may take the end
	asked  uint64 // by the request under way
	got    uint64
	moved  time.Time // when the last block came
	stolen bool      // it was taken away once, which is enough
}

func newBoard(leaves []leaf, size int, patience time.Duration) *board {
	b := &board{patience: patience, active: make(map[*span]struct{})}
	b.change.L = &b.mu
	for from := 0; from < len(leaves); {
		to := from + 1
		for to < len(leaves) && to-from < size && leaves[to].n == leaves[to-1].n+1 {
			to++
		}
		b.todo = append(b.todo, &span{b: b, leaves: leaves[from:to]})
		from = to
	}
	return b
}

// take gives src a span to fetch, or waits for one; nil: nothing is left, or ctx
// has ended. When all spans are under way it takes from another source, so that
// a slow one does not hold up the end. The span is to be given back.
func (b *board) take(ctx context.Context, src *source, cancel context.CancelCauseFunc) *span {
	b.mu.Lock()
	defer b.mu.Unlock()
	for ctx.Err() == nil && len(b.todo)+len(b.active) > 0 {
		s := b.next()
		if s == nil {
			s = b.split(src)
		}
		if s == nil {
			s = b.steal(src)
		}
		if s != nil {
			s.src, s.cancel, s.moved = src, cancel, time.Now()
			b.active[s] = struct{}{}
			return s
		}
		timer := time.AfterFunc(b.patience, b.wakeAll)
		b.change.Wait()
		timer.Stop()
	}
	return nil
}

func (b *board) next() *span {
	if len(b.todo) == 0 {
		return nil
	}
	s := b.todo[0]
	b.todo = b.todo[1:]
	return s
}

// split takes the second half of the longest span of another source.
func (b *board) split(src *source) *span {
	var long *span
	for s := range b.active {
		if s.src != src && (long == nil || len(s.leaves) > len(long.leaves)) {
			long = s
		}
	}
	if long == nil || len(long.leaves) < 2 {
		return nil
	}
	n := len(long.leaves)
	half := &span{b: b, leaves: long.leaves[(n+1)/2:], stolen: long.stolen}
	long.leaves = long.leaves[:(n+1)/2]
	return half
}

// steal takes all of a span of another source that has stopped moving.
func (b *board) steal(src *source) *span {
	for s := range b.active {
		if s.src != src && !s.stolen && len(s.leaves) > 0 && time.Since(s.moved) >= b.patience {
			whole := &span{b: b, leaves: s.leaves, stolen: true}
			s.leaves = nil
			s.cancel(errSlower)
			return whole
		}
	}
	return nil
}

// giveBack ends the work on s; what is left of it is for others.
func (b *board) giveBack(s *span) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.active, s)
	if len(s.leaves) > 0 {
		b.todo = append(b.todo, s)
	}
	b.change.Broadcast()
}

func (b *board) wakeAll() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.change.Broadcast()
}

func (b *board) finished() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.todo) == 0 && len(b.active) == 0
}

// ask gives what to request for s.
func (s *span) ask() (first, count uint64) {
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	s.asked, s.got = uint64(len(s.leaves)), 0
	return s.leaves[0].n, s.asked
}

func (s *span) want() (proto.CID, bool) {
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	if len(s.leaves) == 0 {
		return proto.CID{}, false
	}
	return s.leaves[0].id, true
}

// took moves on. What remains of a span that others took from begins with the
// block that want gave, unless they took it whole.
func (s *span) took([]byte) error {
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	s.got++
	s.moved = time.Now()
	if len(s.leaves) > 0 {
		s.leaves = s.leaves[1:]
	}
	return nil
}

func (s *span) ended() bool {
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	return s.got == s.asked
}
