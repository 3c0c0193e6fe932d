package p2p

import (
	"context"
	"fmt"

	"github.com/mustermesh/muster/proto"
)

// maxWalk is how many blocks a graph may have where nobody sets a lower limit.
const maxWalk = 1 << 20

// A walk puts the blocks of a graph in the order that both ends of a transfer
// know: depth first, links in order, each distinct block once. See the package
// comment.
type walk struct {
	stack []proto.CID // to be visited, the next one last
	seen  map[proto.CID]struct{}
	max   int
}

func newWalk(root proto.CID, max int) *walk {
	return &walk{stack: []proto.CID{root}, seen: make(map[proto.CID]struct{}), max: max}
}

// next gives the id of the next block; if it holds links, push them before the
// next call.
func (w *walk) next() (proto.CID, bool) {
	for len(w.stack) > 0 {
		id := w.stack[len(w.stack)-1]
		w.stack = w.stack[:len(w.stack)-1]
		if _, seen := w.seen[id]; !seen {
			w.seen[id] = struct{}{}
			return id, true
		}
	}
	return proto.CID{}, false
}

// push has links visited next. A graph can repeat its links in every block, so
// that what waits is bounded together with what was seen.
func (w *walk) push(links []proto.CID) error {
	for i := len(links) - 1; i >= 0; i-- {
		if _, seen := w.seen[links[i]]; !seen {
			w.stack = append(w.stack, links[i])
		}
	}
	if len(w.stack)+len(w.seen) > 2*w.max || len(w.seen) > w.max {
		return fmt.Errorf("%w: a graph of more than %d blocks", ErrTooLarge, w.max)
	}
	return nil
}

// descend loads the block that id names and pushes its links, unless it is raw.
func (w *walk) descend(ctx context.Context, blocks Blocks, id proto.CID) error {
	if id.IsRaw() {
		return nil
	}
	block, err := blocks.Get(ctx, id)
	if err != nil {
		return err
	}
	return w.follow(blocks, id, block)
}

func (w *walk) follow(blocks Blocks, id proto.CID, block []byte) error {
	links, err := blocks.Links(id, block)
	if err != nil {
		return fmt.Errorf("%w: links of %s: %w", ErrBadContent, id, err)
	}
	return w.push(links)
}
