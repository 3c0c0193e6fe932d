package content

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/mustermesh/muster/proto"
)

const (
	maxDepth   = 1024    // levels of any graph
	maxPending = 1 << 20 // links waiting to be followed
)

// A Link is one edge of a graph.
type Link struct {
	CID  proto.CID
	Size int64 // what the block claims that all blocks from CID down hold, in bytes; -1: nothing
}

// Links gives the ids that the block named c links to, in order, repetitions
// included; a raw block has none. The bytes need not have been checked, and
// there are never more links than fit into MaxBlock (about 50,000). Errors wrap
// ErrMalformed or ErrTooLarge.
func Links(c proto.CID, block []byte) ([]proto.CID, error) {
	edges, err := Edges(c, block)
	ids := make([]proto.CID, len(edges))
	for i, e := range edges {
		ids[i] = e.CID
	}
	return ids, err
}

// Edges is Links with the sizes that the block claims.
func Edges(c proto.CID, block []byte) ([]Link, error) {
	if len(block) > MaxBlock {
		return nil, fmt.Errorf("block %s: %w", c, ErrTooLarge)
	}
	if c.IsRaw() {
		return nil, nil
	}
	_, links, err := decodeLinks(block)
	if err != nil {
		return nil, fmt.Errorf("block %s: %w", c, err)
	}
	edges := make([]Link, len(links))
	for i, l := range links {
		edges[i] = Link{CID: l.cid, Size: l.tsize}
	}
	return edges, nil
}

// Blocks goes through the ids of all blocks from root down, each once, a parent
// before its children and in their order. It ends with an error, for the zero
// id or the one that failed, when a block that holds links is missing
// (ErrNotFound) or bad, or the graph is over the limits (ErrTooMany). Raw
// blocks are not looked at.
func (s *Store) Blocks(ctx context.Context, root proto.CID) iter.Seq2[proto.CID, error] {
	return func(yield func(proto.CID, error) bool) {
		w := walk{limit: s.cfg.MaxBlocks, get: func(c proto.CID) ([]byte, error) { return s.Get(ctx, c) }}
		w.visit = func(c proto.CID) error {
			if !yield(c, nil) {
				return errStop
			}
			return ctx.Err()
		}
		if err := w.run(root); err != nil && !errors.Is(err, errStop) {
			yield(proto.CID{}, err)
		}
	}
}

// Missing gives the ids from root down whose blocks are not here, in Blocks'
// order and at most limit of them. Below a missing block nothing is known: ask
// again when it is here. An empty answer means that the whole graph is here.
func (s *Store) Missing(ctx context.Context, root proto.CID, limit int) ([]proto.CID, error) {
	var missing []proto.CID
	w := walk{limit: s.cfg.MaxBlocks}
	w.get = func(c proto.CID) ([]byte, error) {
		block, err := s.Get(ctx, c)
		if errors.Is(err, ErrNotFound) || errors.Is(err, ErrCorrupt) {
			missing = append(missing, c)
			return nil, errSkip
		}
		return block, err
	}
	w.visit = func(c proto.CID) error {
		if len(missing) >= limit {
			return errStop
		}
		if !c.IsRaw() {
			return nil // get will tell
		}
		has, err := s.Has(ctx, c)
		if err == nil && !has {
			missing = append(missing, c)
		}
		return err
	}
	err := w.run(root)
	if errors.Is(err, errStop) {
		err = nil
	}
	return missing, err
}

var (
	errStop = errors.New("stop")
	errSkip = errors.New("skip")
)

// A walk goes through a graph that may be hostile: each block once, memory and
// depth bounded.
type walk struct {
	limit int                             // different blocks
	get   func(proto.CID) ([]byte, error) // errSkip: do not look below
	visit func(proto.CID) error           // errSkip: do not look below
	seen  map[proto.CID]struct{}          // may be given, to go on from an earlier walk
}

func (w *walk) run(root proto.CID) error {
	if w.seen == nil {
		w.seen = map[proto.CID]struct{}{}
	}
	stack := [][]proto.CID{{root}}
	pending := 1
	for len(stack) > 0 {
		top := len(stack) - 1
		if len(stack[top]) == 0 {
			stack = stack[:top]
			continue
		}
		c := stack[top][0]
		stack[top] = stack[top][1:]
		pending--
		below, err := w.enter(c)
		if err != nil {
			return err
		}
		if len(below) == 0 {
			continue
		}
		if pending += len(below); pending > maxPending || len(stack) >= maxDepth {
			return fmt.Errorf("graph at %s: %w: %d levels, %d links waiting", c, ErrTooMany, len(stack), pending)
		}
		stack = append(stack, below)
	}
	return nil
}

// enter visits c, unless it was before, and gives its children.
func (w *walk) enter(c proto.CID) ([]proto.CID, error) {
	if _, ok := w.seen[c]; ok {
		return nil, nil
	}
	if len(w.seen) >= w.limit {
		return nil, fmt.Errorf("graph at %s: %w: more than %d blocks", c, ErrTooMany, w.limit)
	}
	w.seen[c] = struct{}{}
	err := w.visit(c)
	if errors.Is(err, errSkip) || err == nil && c.IsRaw() {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	block, err := w.get(c)
	if errors.Is(err, errSkip) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return Links(c, block)
}
