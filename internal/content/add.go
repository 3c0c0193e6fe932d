package content

import (
	"context"
	"fmt"
	"io"

	"github.com/ipfs/boxo/chunker"
	"github.com/ipfs/boxo/ipld/unixfs/importer/balanced"
	"github.com/ipfs/boxo/ipld/unixfs/importer/helpers"
	"github.com/ipfs/go-cid"
	multihash "github.com/multiformats/go-multihash"
)

// The profile unixfs-v1-2025.
const (
	chunkSize = 1 << 20
	fileWidth = 1024      // links of one file node
	dirLimit  = 256 << 10 // bytes of an encoded directory; a larger one becomes a HAMT
	dirFanout = 256       // of that HAMT
)

var cidBuilder = cid.Prefix{Version: 1, Codec: cid.DagProtobuf, MhType: multihash.SHA2_256, MhLength: -1}

// Progress is called while content is added, with the bytes read and the files
// finished so far. It must return quickly.
type Progress func(bytes int64, files int)

// AddReader adds what r gives as one file, in constant memory, a few chunks. The
// blocks may be collected at once unless the caller holds a Hold.
func (s *Store) AddReader(ctx context.Context, r io.Reader) (Node, error) {
	a := s.newAdder(ctx, nil)
	defer a.release()
	n, err := a.file(r)
	if err == nil {
		err = a.out.flush()
	}
	if err != nil {
		return Node{}, fmt.Errorf("add content: %w", err)
	}
	return n, nil
}

// An adder makes nodes out of bytes; it serves one call of one goroutine.
type adder struct {
	ctx      context.Context // of that call; io.Reader and boxo take none
	out      *writer
	progress Progress
	bytes    int64
	files    int
	release  func()
}

func (s *Store) newAdder(ctx context.Context, p Progress) *adder {
	if p == nil {
		p = func(int64, int) {}
	}
	return &adder{ctx: ctx, out: &writer{ctx: ctx, s: s}, progress: p, release: s.Hold()}
}

func (a *adder) file(r io.Reader) (Node, error) {
	in := &countingReader{a: a, r: r}
	params := helpers.DagBuilderParams{Maxlinks: fileWidth, RawLeaves: true, CidBuilder: cidBuilder, Dagserv: a.out}
	b, err := params.New(chunk.NewSizeSplitter(in, chunkSize))
	if err != nil {
		return Node{}, err
	}
	nd, err := balanced.Layout(b)
	if err != nil {
		return Node{}, err
	}
	dagSize, err := nd.Size()
	if err != nil {
		return Node{}, err
	}
	id, err := fromCid(nd.Cid())
	if err != nil {
		return Node{}, err
	}
	a.files++
	a.progress(a.bytes, a.files)
	return Node{CID: id, Size: in.n, DAGSize: int64(dagSize)}, nil
}

type countingReader struct {
	a *adder
	r io.Reader
	n int64
}

func (c *countingReader) Read(p []byte) (int, error) {
	if err := c.a.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := c.r.Read(p)
	c.n += int64(n)
	c.a.bytes += int64(n)
	if n > 0 {
		c.a.progress(c.a.bytes, c.a.files)
	}
	return n, err
}
