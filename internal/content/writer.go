package content

import (
	"context"
	"fmt"

	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"

	"github.com/mustermesh/muster/proto"
)

// A writer takes the nodes that boxo makes and keeps their blocks, the small
// ones in batches. It is the part of boxo's DAGService that boxo uses to build.
type writer struct {
	ctx   context.Context // boxo gives context.TODO
	s     *Store
	small []Block
	bytes int
}

// Add keeps nd; its id was computed from its bytes a moment ago.
func (w *writer) Add(_ context.Context, nd ipld.Node) error {
	id, err := fromCid(nd.Cid())
	if err != nil {
		return err
	}
	b := Block{id, nd.RawData()}
	if len(b.Data) > MaxBlock {
		return fmt.Errorf("block %s of %d bytes: %w", id, len(b.Data), ErrTooLarge)
	}
	if len(b.Data) >= w.s.cfg.FileThreshold {
		return w.s.putVerified(w.ctx, []Block{b})
	}
	w.small = append(w.small, b)
	if w.bytes += len(b.Data); w.bytes < kvBatchBytes && len(w.small) < 1000 {
		return nil
	}
	return w.flush()
}

func (w *writer) flush() error {
	err := w.s.putVerified(w.ctx, w.small)
	w.small, w.bytes = nil, 0
	return err
}

// AddMany is Add for each of nds.
func (w *writer) AddMany(ctx context.Context, nds []ipld.Node) error {
	for _, nd := range nds {
		if err := w.Add(ctx, nd); err != nil {
			return err
		}
	}
	return nil
}

// Get is never called: what is built is held by its builder.
func (w *writer) Get(_ context.Context, c cid.Cid) (ipld.Node, error) {
	return nil, fmt.Errorf("%s: %w", c, ErrNotFound)
}

// GetMany is never called.
func (w *writer) GetMany(_ context.Context, cids []cid.Cid) <-chan *ipld.NodeOption {
	out := make(chan *ipld.NodeOption, 1) // one: the answer, so that nobody waits
	out <- &ipld.NodeOption{Err: fmt.Errorf("%d nodes: %w", len(cids), ErrNotFound)}
	close(out)
	return out
}

// Remove does nothing.
func (w *writer) Remove(context.Context, cid.Cid) error { return nil }

// RemoveMany does nothing.
func (w *writer) RemoveMany(context.Context, []cid.Cid) error { return nil }

var _ ipld.DAGService = (*writer)(nil)

// rawSize gives the DAGSize that a raw block must have; ok is false for others.
func rawSize(n Node) (size int64, ok bool) { return n.Size, n.CID.IsRaw() }

// dagSize finds out n.DAGSize, reading n's first block if need be.
func (s *Store) dagSize(ctx context.Context, n Node) (int64, error) {
	if size, ok := rawSize(n); ok {
		return size, nil
	}
	if n.DAGSize > 0 {
		return n.DAGSize, nil
	}
	block, err := s.Get(ctx, n.CID)
	if err != nil {
		return 0, err
	}
	return blockDAGSize(n.CID, block)
}

func blockDAGSize(c proto.CID, block []byte) (int64, error) {
	edges, err := Edges(c, block)
	total := int64(len(block))
	for _, e := range edges {
		if e.Size < 0 || total+e.Size > maxSize {
			return 0, fmt.Errorf("block %s: %w: its links claim no sizes, or too large ones", c, ErrMalformed)
		}
		total += e.Size
	}
	return total, err
}
