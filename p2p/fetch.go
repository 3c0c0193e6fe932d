package p2p

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/mustermesh/muster/proto"
)

const (
	firstLeaves   = 16  // leaves asked of the first source before the others join in
	spanLeaves    = 16  // leaves in one request to one of several sources
	spanAlone     = 512 // and to the only source
	streamsEach   = 2   // requests to one source at a time: one fills the pause of the other
	streamsInAll  = 8
	failuresOut   = 3 // tries in a row without a block after which a source is given up
	retryFirst    = 50 * time.Millisecond
	maxSources    = 16
	findProviders = 8
)

// Fetch gets what blocks lacks of the graph under req.Root from peers, verifies
// each block, and stores it. It returns nil when all is there; what was stored
// stays if it fails or ctx ends, and is not asked for again. Errors wrap
// [ErrUnavailable], [ErrTooLarge], [ErrBadContent], or what blocks gave.
func (h *Host) Fetch(ctx context.Context, req FetchRequest, blocks Blocks) error {
	if err := req.check(); err != nil {
		return err
	}
	f := &fetch{h: h, req: req, blocks: blocks, max: req.MaxBlocks}
	if f.max == 0 {
		f.max = maxWalk
	}
	return f.run(ctx)
}

// A fetch is one call of Fetch.
type fetch struct {
	h      *Host
	req    FetchRequest
	blocks Blocks
	max    int // blocks

	mu      sync.Mutex // guards the fields below
	bytes   int64
	sources []*source
}

// A source is a peer that may have the content. fetch.mu guards it.
type source struct {
	peer     proto.PeerID
	failures int // in a row, without a block between
	gone     bool
	err      error // the last failure
}

// run looks what is missing, asks for it, and looks again, until nothing is.
func (f *fetch) run(ctx context.Context) error {
	for {
		plan, err := f.survey(ctx, false)
		if err != nil || plan.complete() {
			return err
		}
		if err := f.findSources(ctx); err != nil {
			return err
		}
		if plan.at == nil {
			return f.fetchLeaves(ctx, plan.leaves)
		}
		src := f.best()
		if src == nil {
			return f.unavailable()
		}
		done, err := f.fetchNodes(ctx, src, plan)
		if err = f.judge(ctx, src, err); err != nil || done {
			return err
		}
	}
}

// fetchNodes asks src for what is missing from the first missing node on, and
// tells whether nothing is missing any more.
func (f *fetch) fetchNodes(ctx context.Context, src *source, plan *plan) (done bool, err error) {
	alone := f.usable() == 1
	req := proto.ContentRequest{Root: f.req.Root, Grant: f.req.Grant, Mode: proto.ContentNodes, First: plan.nodes}
	switch {
	case alone:
		if plan, err = f.survey(ctx, true); err != nil || plan.at == nil {
			return err == nil, err
		}
		req.Mode, req.First = proto.ContentAll, plan.all
	case plan.all == 0: // nothing is here: it may well be small
		req.Mode, req.Count = proto.ContentAll, firstLeaves
	}
	plan.at.mode = req.Mode
	end, err := f.receive(ctx, src, req, plan.at)
	return err == nil && end == proto.ContentDone && req.Mode == proto.ContentAll, err
}

// A plan says what a survey found missing.
type plan struct {
	all, nodes uint64 // blocks, and nodes among them, before the missing one
	at         *rest  // the walk, stopped at the missing one; nil: no node is missing
	leaves     []leaf // missing leaves, if no node is missing
}

func (p *plan) complete() bool { return p.at == nil && len(p.leaves) == 0 }

// A leaf is a raw block and its number among the leaves of the graph.
type leaf struct {
	n  uint64
	id proto.CID
}

// survey walks what is here up to the first missing node, or, if strict, the
// first missing block.
func (f *fetch) survey(ctx context.Context, strict bool) (*plan, error) {
	w := newWalk(f.req.Root, f.max)
	p := new(plan)
	for ; ; p.all++ {
		id, ok := w.next()
		if !ok {
			return p, nil
		}
		has, err := f.blocks.Has(ctx, id)
		if err != nil {
			return nil, fmt.Errorf("fetch %s: %w", f.req.Root, err)
		}
		switch {
		case !has && (strict || !id.IsRaw()):
			p.at = &rest{f: f, walk: w, cur: id}
			return p, nil
		case id.IsRaw():
			if !has {
				p.leaves = append(p.leaves, leaf{p.all - p.nodes, id})
			}
			continue
		}
		p.nodes++
		if err := w.descend(ctx, f.blocks, id); err != nil {
			return nil, fmt.Errorf("fetch %s: %w", f.req.Root, err)
		}
	}
}

// findSources settles whom to ask.
func (f *fetch) findSources(ctx context.Context) error {
	if f.sources != nil {
		return nil
	}
	from := f.req.From
	if len(from) == 0 {
		found, err := f.h.FindProviders(ctx, f.req.Root, findProviders)
		if err != nil {
			return fmt.Errorf("fetch %s: %w: %w", f.req.Root, ErrUnavailable, err)
		}
		for _, p := range found {
			from = append(from, p.ID)
		}
	}
	for _, p := range from {
		known := slices.ContainsFunc(f.sources, func(s *source) bool { return s.peer == p })
		if !known && p != f.h.id && len(f.sources) < maxSources {
			f.sources = append(f.sources, &source{peer: p})
		}
	}
	// Those at hand come first: to find out that a peer is gone takes seconds.
	slices.SortStableFunc(f.sources, func(a, b *source) int { return f.distance(a) - f.distance(b) })
	if len(f.sources) == 0 {
		return fmt.Errorf("fetch %s: %w: nobody to ask", f.req.Root, ErrUnavailable)
	}
	return nil
}

func (f *fetch) distance(s *source) int {
	if f.h.connected(toPeer(s.peer)) {
		return 0
	}
	return 1
}

// best gives the usable source that failed least, the first of several.
func (f *fetch) best() (best *source) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range f.sources {
		if !s.gone && (best == nil || s.failures < best.failures) {
			best = s
		}
	}
	return best
}

func (f *fetch) usable() (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range f.sources {
		if !s.gone {
			n++
		}
	}
	return n
}

func (f *fetch) unavailable() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	errs := []error{ErrUnavailable}
	for _, s := range f.sources {
		errs = append(errs, fmt.Errorf("%s: %w", s.peer, s.err))
	}
	return fmt.Errorf("fetch %s: %w", f.req.Root, errors.Join(errs...))
}

// A sourceError is the failure of a source; any other error of a request is ours
// or the content's, and no other source would help.
type sourceError struct {
	err   error
	final bool // asking the same peer again is no use
	lied  bool // it broke the protocol
}

func (e *sourceError) Error() string { return e.err.Error() }
func (e *sourceError) Unwrap() error { return e.err }

// judge notes how a request to src ended. It gives back an error that ends the
// fetch, and waits a little before a source is asked again.
func (f *fetch) judge(ctx context.Context, src *source, err error) error {
	var failed *sourceError
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case !errors.As(err, &failed):
		return fmt.Errorf("fetch %s: %w", f.req.Root, err)
	}
	if failed.lied {
		f.h.Misbehaved(src.peer, "bad content")
	}
	f.mu.Lock()
	src.failures++
	if errors.Is(err, ErrTimeout) {
		src.failures++ // it cost more time than others do
	}
	src.err = failed.err
	src.gone = src.gone || failed.final || src.failures >= failuresOut
	wait := retryFirst << src.failures
	gone := src.gone
	f.mu.Unlock()
	f.h.log.Debug("content source failed", "part", "p2p", "peer", src.peer, "err", failed.err)
	if gone {
		return nil
	}
	return sleep(ctx, jitter(wait))
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// store keeps a verified block and counts it.
func (f *fetch) store(ctx context.Context, src *source, id proto.CID, block []byte) error {
	if err := f.blocks.Put(ctx, id, block); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	src.failures = 0
	f.bytes += int64(len(block))
	if f.req.Progress != nil {
		f.req.Progress(f.bytes)
	}
	return nil
}

// room tells whether n more bytes may be stored.
func (f *fetch) room(n int) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.bytes+int64(n) > f.req.MaxBytes {
		return fmt.Errorf("%w: content of more than %d bytes", ErrTooLarge, f.req.MaxBytes)
	}
	return nil
}
