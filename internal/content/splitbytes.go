package content

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/ipfs/boxo/ipld/merkledag"
	"github.com/ipfs/boxo/ipld/unixfs"
	ipld "github.com/ipfs/go-ipld-format"

	"github.com/mustermesh/muster/proto"
)

// SplitBytes adds the pieces of n bytes, in order, of the file that c names; the
// last piece may be shorter. An empty file has no pieces. The pieces are what
// AddReader would make of the same bytes. Where n is a multiple of the chunk of
// 1 MiB and the file is laid out as AddReader does it, they share its blocks,
// which are then looked at but not read; else the bytes stream through constant
// memory. Errors wrap those of OpenFile, and ErrTooMany, before anything is
// added, beyond proto.MaxTasks or Config.MaxEntries pieces.
func (s *Store) SplitBytes(ctx context.Context, c proto.CID, n int64) ([]Node, error) {
	if n < 1 {
		return nil, errors.New("split bytes: a piece has at least one byte")
	}
	f, err := s.OpenFile(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("split bytes: %w", err)
	}
	most := s.maxPieces()
	if count := pieceCount(f.Size(), n); count > most {
		return nil, fmt.Errorf("split bytes of %s: %w: pieces of %d bytes of a file of %d make %d; at most %d: take pieces of %d bytes or more",
			c, ErrTooMany, n, f.Size(), count, most, pieceCount(f.Size(), most))
	}
	a := s.newAdder(ctx, nil)
	defer a.release()
	pieces, err := []Node(nil), errLayout
	if n%chunkSize == 0 && f.Size() > 0 {
		pieces, err = a.regroup(span{c, f.Size()}, n)
	}
	if errors.Is(err, errLayout) {
		pieces, err = a.cut(f, n)
	}
	if err == nil {
		err = a.out.flush()
	}
	if err != nil {
		return nil, fmt.Errorf("split bytes of %s: %w", c, err)
	}
	return pieces, nil
}

// maxPieces is how many pieces a file is split into at most: each becomes a task.
func (s *Store) maxPieces() int64 { return int64(min(s.cfg.MaxEntries, proto.MaxTasks)) }

// pieceCount gives how many pieces of n bytes make size bytes.
func pieceCount(size, n int64) int64 {
	count := size / n
	if size%n > 0 {
		count++
	}
	return count
}

// cut makes pieces of n bytes by reading f.
func (a *adder) cut(f *File, n int64) ([]Node, error) {
	var pieces []Node
	for left := f.Size(); left > 0; left -= n {
		p, err := a.file(io.LimitReader(f, n))
		if err != nil {
			return nil, err
		}
		pieces = append(pieces, p)
	}
	return pieces, nil
}

// errLayout says that a file is not laid out as AddReader does it, so that its
// chunks cannot be those of its pieces.
var errLayout = errors.New("another layout")

// regroup makes pieces of n bytes, a multiple of chunkSize, out of f's chunks.
func (a *adder) regroup(f span, n int64) ([]Node, error) {
	if pieceCount(f.size, chunkSize) > int64(a.out.s.cfg.MaxBlocks) {
		return nil, fmt.Errorf("%w: a file of more than %d chunks", ErrTooMany, a.out.s.cfg.MaxBlocks)
	}
	var pieces []Node
	t := stack{out: a.out}
	left := f.size
	err := a.chunks(f, maxFileDepth, func(chunk span) error {
		if chunk.size != min(left, chunkSize) {
			return errLayout
		}
		if left -= chunk.size; !chunk.cid.IsRaw() {
			return errLayout
		}
		if err := a.out.s.reuse(chunk); err != nil {
			return err
		}
		err := t.push(0, Node{CID: chunk.cid, Size: chunk.size, DAGSize: chunk.size})
		if err == nil && (left == 0 || (f.size-left)%n == 0) {
			var p Node
			p, err = t.finish()
			pieces = append(pieces, p)
		}
		return err
	})
	return pieces, err
}

// chunks visits the leaves of f in order and reads only what is above them. It
// gives errLayout where a subtree is empty or has bytes of its own, so that every
// visit makes progress in f.
func (a *adder) chunks(f span, depth int, visit func(span) error) error {
	if f.cid.IsRaw() {
		return visit(f)
	}
	if depth == 0 {
		return fmt.Errorf("%w: a file of more than %d levels", ErrTooMany, maxFileDepth)
	}
	block, err := a.out.s.Get(a.ctx, f.cid)
	if err != nil {
		return err
	}
	v, err := decode(f.cid, block)
	if err != nil {
		return err
	}
	if v.kind != kindFile || v.size != f.size {
		return fmt.Errorf("block %s: %w: it holds %d bytes of a file, not %d as its parent says", f.cid, ErrMalformed, v.size, f.size)
	}
	if len(v.data) > 0 {
		return errLayout
	}
	for i, l := range v.links {
		if v.sizes[i] == 0 {
			return errLayout
		}
		if err := a.chunks(span{l.cid, v.sizes[i]}, depth-1, visit); err != nil {
			return err
		}
	}
	return nil
}

// reuse keeps a block that is here from being collected while somebody holds,
// and checks that it has the size which its parent claims.
func (s *Store) reuse(chunk span) error {
	s.protect(chunk.cid)
	size, err := s.blockSize(chunk.cid)
	if err == nil && size != chunk.size {
		err = fmt.Errorf("%w: it has %d bytes, not %d as its parent says", ErrMalformed, size, chunk.size)
	}
	if err != nil {
		return fmt.Errorf("block %s: %w", chunk.cid, err)
	}
	return nil
}

// blockSize gives the bytes of a block, whose content it does not check.
func (s *Store) blockSize(c proto.CID) (int64, error) {
	block, found, err := s.kv.Get(blockKey(c))
	if found || err != nil {
		return int64(len(block)), err
	}
	info, err := os.Stat(s.path(c))
	if errors.Is(err, os.ErrNotExist) {
		return 0, ErrNotFound
	}
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// A stack lays a file out of chunks that exist, as boxo's balanced layout does:
// every node but the last of its level has fileWidth children, and all chunks
// are equally deep. It holds at most fileWidth nodes of each level.
type stack struct {
	out    *writer
	levels [][]Node
}

func (t *stack) push(level int, n Node) error {
	if level == len(t.levels) {
		t.levels = append(t.levels, nil)
	}
	if len(t.levels[level]) == fileWidth {
		if err := t.close(level); err != nil {
			return err
		}
	}
	t.levels[level] = append(t.levels[level], n)
	return nil
}

// close makes one node of a level's nodes and pushes it up.
func (t *stack) close(level int) error {
	n, err := t.parent(t.levels[level])
	if err != nil {
		return err
	}
	t.levels[level] = t.levels[level][:0]
	return t.push(level+1, n)
}

// finish gives the root of all that was pushed, and begins anew.
func (t *stack) finish() (Node, error) {
	for level := 0; ; level++ {
		if top := level == len(t.levels)-1; top && len(t.levels[level]) == 1 {
			root := t.levels[level][0]
			t.levels = nil
			return root, nil
		}
		if err := t.close(level); err != nil {
			return Node{}, err
		}
	}
}

func (t *stack) parent(children []Node) (Node, error) {
	file, nd := unixfs.NewFSNode(unixfs.TFile), &merkledag.ProtoNode{}
	if err := nd.SetCidBuilder(cidBuilder); err != nil {
		return Node{}, err
	}
	for _, c := range children {
		file.AddBlockSize(uint64(c.Size))
		if err := nd.AddRawLink("", &ipld.Link{Cid: toCid(c.CID), Size: uint64(c.DAGSize)}); err != nil {
			return Node{}, err
		}
	}
	data, err := file.GetBytes()
	if err != nil {
		return Node{}, err
	}
	nd.SetData(data)
	if err := t.out.Add(t.out.ctx, nd); err != nil {
		return Node{}, err
	}
	id, err := fromCid(nd.Cid())
	if err != nil {
		return Node{}, err
	}
	dagSize, err := nd.Size()
	return Node{CID: id, Size: int64(file.FileSize()), DAGSize: int64(dagSize)}, err
}
