package content

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/ipfs/boxo/ipld/merkledag"
	"github.com/ipfs/boxo/ipld/unixfs"

	"github.com/mustermesh/muster/proto"
)

// bytesKept gives the bytes of all blocks.
func (s *testStore) bytesKept(t testing.TB) int {
	t.Helper()
	c, err := s.GC(t.Context(), 1<<62)
	if err != nil {
		t.Fatal(err)
	}
	return int(c.Before)
}

func TestSplitBytes(t *testing.T) {
	s := openStore(t)
	const mib = 1 << 20
	for _, c := range []struct {
		name       string
		size       int
		n          int64
		want, last int
	}{
		{"nothing", 0, 1, 0, 0},
		{"nothing, by chunks", 0, mib, 0, 0},
		{"one byte", 1, 1, 1, 1},
		{"pieces of a byte", 5, 1, 5, 1},
		{"a short last piece", 10, 3, 4, 1},
		{"even", 9, 3, 3, 3},
		{"one piece", 10, 11, 1, 10},
		{"one piece as large as numbers", 10, 1<<63 - 1, 1, 10},
		{"one piece of chunks as large as numbers", 3*mib + 1, 1<<63 - mib, 1, 3*mib + 1},
		{"a chunk a piece", 3 * mib, mib, 3, mib},
		{"a chunk a piece, the last short", 3*mib + 7, mib, 4, 7},
		{"two chunks a piece", 5*mib + 7, 2 * mib, 3, mib + 7},
		{"as many chunks as there are", 4 * mib, 4 * mib, 1, 4 * mib},
		{"less than a chunk", 7, mib, 1, 7},
		{"beside the chunks", 3 * mib, mib + 1, 3, mib - 2},
		{"half chunks", 2*mib + 1, mib / 2, 5, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := random(c.size)
			pieces, err := s.SplitBytes(t.Context(), s.addBytes(t, in).CID, c.n)
			if err != nil || len(pieces) != c.want {
				t.Fatalf("%d pieces, %v; want %d", len(pieces), err, c.want)
			}
			for i, p := range pieces {
				size := min(c.n, int64(len(in)))
				if want := s.addBytes(t, in[:size]); p != want {
					t.Errorf("piece %d: got %+v, want %+v", i, p, want)
				}
				if in = in[size:]; i == len(pieces)-1 && (int(size) != c.last || len(in) > 0) {
					t.Errorf("the last piece has %d bytes, want %d; %d are left", size, c.last, len(in))
				}
			}
		})
	}
}

// TestSplitBytesSharesChunks counts what a split adds beside the file itself.
func TestSplitBytesSharesChunks(t *testing.T) {
	for _, c := range []struct {
		name      string
		n         int64
		low, high int // bytes
	}{
		{"a chunk a piece: nothing", 1 << 20, 0, 0},
		{"two chunks a piece: a node each", 2 << 20, 1, 1000},
		{"beside the chunks: all but the first again", 1<<20 + 1, 5 << 20, 5<<20 + 1000},
	} {
		s := openStore(t)
		n := s.addBytes(t, random(6<<20))
		before := s.bytesKept(t)
		if _, err := s.SplitBytes(t.Context(), n.CID, c.n); err != nil {
			t.Fatal(err)
		}
		if got := s.bytesKept(t) - before; got < c.low || got > c.high {
			t.Errorf("%s: got %d bytes, want %d to %d", c.name, got, c.low, c.high)
		}
	}
}

// TestSplitBytesLaysOutAsAddReader takes a file of more chunks than one node has
// children: in one piece it must have the id that AddReader gave it, and a piece
// of as many chunks as one node has children must be one node.
func TestSplitBytesLaysOutAsAddReader(t *testing.T) {
	const mib = 1 << 20
	s := openStore(t)
	whole, err := s.AddReader(t.Context(), io.LimitReader(zeros{}, (fileWidth+1)*mib+5))
	if err != nil {
		t.Fatal(err)
	}
	pieces, err := s.SplitBytes(t.Context(), whole.CID, 1<<40)
	if err != nil || len(pieces) != 1 || pieces[0] != whole {
		t.Errorf("in one piece: got %+v, %v; want %+v", pieces, err, whole)
	}
	pieces, err = s.SplitBytes(t.Context(), whole.CID, fileWidth*mib)
	if err != nil || len(pieces) != 2 {
		t.Fatalf("got %+v, %v; want two pieces", pieces, err)
	}
	block, err := s.Get(t.Context(), pieces[0].CID)
	if err != nil {
		t.Fatal(err)
	}
	links, err := Links(pieces[0].CID, block)
	if err != nil || len(links) != fileWidth || !links[0].IsRaw() {
		t.Errorf("a full node: got %d links, %v; want %d chunks", len(links), err, fileWidth)
	}
}

// TestStackIsBalanced goes to depths that no test could fill with bytes: the
// shape is checked from above.
func TestStackIsBalanced(t *testing.T) {
	s := openStore(t)
	chunk := s.addBytes(t, make([]byte, chunkSize))
	st := stack{out: &writer{ctx: t.Context(), s: s.Store}}
	const full = fileWidth * fileWidth
	for range full + 1 {
		if err := st.push(0, chunk); err != nil {
			t.Fatal(err)
		}
	}
	root, err := st.finish()
	if err != nil || st.out.flush() != nil || root.Size != (full+1)*chunkSize {
		t.Fatalf("got %+v, %v", root, err)
	}
	at := func(c proto.CID, i int) (proto.CID, int) {
		block, err := s.Get(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		links, err := Links(c, block)
		if err != nil {
			t.Fatal(err)
		}
		return links[i], len(links)
	}
	c, n := at(root.CID, 1)
	for level, want := range []int{2, 1, 1} {
		if n != want {
			t.Errorf("level %d: the last node has %d children, want %d", level, n, want)
		}
		if !c.IsRaw() {
			c, n = at(c, 0)
		}
	}
	if c != chunk.CID {
		t.Errorf("got %s at the bottom, want the chunk %s", c, chunk.CID)
	}
}

// leaf keeps a chunk as older tools of the IPFS world do, with a node around it.
func (s *testStore) leaf(t *testing.T, chunk []byte) Node {
	t.Helper()
	file, nd := unixfs.NewFSNode(unixfs.TFile), &merkledag.ProtoNode{}
	file.SetData(chunk)
	data, err := file.GetBytes()
	if err != nil {
		t.Fatal(err)
	}
	nd.SetData(data)
	if err := nd.SetCidBuilder(cidBuilder); err != nil {
		t.Fatal(err)
	}
	id, err := fromCid(nd.Cid())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Put(t.Context(), id, nd.RawData()); err != nil {
		t.Fatal(err)
	}
	return Node{CID: id, Size: int64(len(chunk)), DAGSize: int64(len(nd.RawData()))}
}

func TestSplitBytesTakesOtherLayouts(t *testing.T) {
	s := openStore(t)
	in := random(5<<20 + 3)
	half := s.addBytes(t, in[:3<<19]) // a chunk and a half
	rest := s.addBytes(t, in[3<<19:]) // begins beside the chunks
	st := stack{out: &writer{ctx: t.Context(), s: s.Store}}
	for _, n := range []Node{half, rest} {
		if err := st.push(0, n); err != nil {
			t.Fatal(err)
		}
	}
	odd, err := st.finish()
	if err != nil || st.out.flush() != nil {
		t.Fatal(err)
	}
	inner, err := st.parent([]Node{s.leaf(t, in[:1<<20]), s.leaf(t, in[1<<20:2<<20]), s.leaf(t, in[2<<20:2<<20+9])})
	if err != nil || st.out.flush() != nil {
		t.Fatal(err)
	}
	large := proto.RawCID(in[:3<<19])
	if err := s.Put(t.Context(), large, in[:3<<19]); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		cid proto.CID
		in  []byte
	}{"chunks that are no raw blocks": {inner.CID, in[:2<<20+9]}, "nodes that are not full": {odd.CID, in}, "one large block": {large, in[:3<<19]}} {
		pieces, err := s.SplitBytes(t.Context(), c.cid, 1<<20)
		if err != nil {
			t.Fatal(name, err)
		}
		if want := (len(c.in) + 1<<20 - 1) >> 20; len(pieces) != want {
			t.Errorf("%s: got %d pieces, want %d", name, len(pieces), want)
		}
		for i, p := range pieces {
			end := min((i+1)<<20, len(c.in))
			if want := s.addBytes(t, c.in[i<<20:end]); p != want {
				t.Errorf("%s: piece %d: got %+v, want %+v", name, i, p, want)
			}
		}
	}
}

func TestSplitBytesRefuses(t *testing.T) {
	s := openStore(t)
	some := s.addBytes(t, random(3<<20)).CID
	for _, n := range []int64{0, -1, -1 << 63} {
		if _, err := s.SplitBytes(t.Context(), some, n); err == nil {
			t.Errorf("pieces of %d bytes", n)
		}
	}
	if _, err := s.SplitBytes(t.Context(), s.build(t, map[string]string{"a": "b"}).CID, 1); !errors.Is(err, ErrMalformed) {
		t.Errorf("a directory: got %v, want ErrMalformed", err)
	}
	if _, err := s.SplitBytes(t.Context(), proto.RawCID([]byte("gone")), 1); !errors.Is(err, ErrNotFound) {
		t.Errorf("a file that is not here: got %v, want ErrNotFound", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, n := range []int64{1 << 20, 1000} {
		if _, err := s.SplitBytes(ctx, some, n); !errors.Is(err, context.Canceled) {
			t.Errorf("given up: got %v", err)
		}
	}
}

func TestSplitBytesIsBoundedBeforeItAddsAnything(t *testing.T) {
	s := openStore(t)
	n := s.addBytes(t, lines(300_001))
	before := s.bytesKept(t)
	_, err := s.SplitBytes(t.Context(), n.CID, 3)
	want := "pieces of 3 bytes of a file of 300001 make 100001; at most 100000: take pieces of 4 bytes or more"
	if !errors.Is(err, ErrTooMany) || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
	if after := s.bytesKept(t); after != before {
		t.Errorf("%d bytes were added all the same", after-before)
	}
	if _, err := s.SplitLines(t.Context(), s.addBytes(t, bytes.Repeat([]byte("\n"), proto.MaxTasks+1)).CID, 1); !errors.Is(err, ErrTooMany) {
		t.Errorf("lines: got %v, want ErrTooMany", err)
	}
	few := s.cfg
	few.MaxEntries, few.MaxBlocks = 2, 2
	small, err := Open(s.dir, s.kv, few)
	if err != nil {
		t.Fatal(err)
	}
	if pieces, err := small.SplitBytes(t.Context(), s.addBytes(t, random(6)).CID, 3); err != nil || len(pieces) != 2 {
		t.Errorf("as many as there may be: got %d, %v", len(pieces), err)
	}
	if _, err := small.SplitBytes(t.Context(), s.addBytes(t, random(9)).CID, 3); !errors.Is(err, ErrTooMany) {
		t.Errorf("three pieces of two: got %v, want ErrTooMany", err)
	}
	if _, err := small.SplitBytes(t.Context(), s.addBytes(t, random(3<<20)).CID, 2<<20); !errors.Is(err, ErrTooMany) {
		t.Errorf("three chunks of two: got %v, want ErrTooMany", err)
	}
}

// A stranger's file whose node tells lies about its chunks.
func TestSplitBytesBelievesNoSizes(t *testing.T) {
	s := openStore(t)
	short := s.addBytes(t, random(1<<20-1))
	gone := Node{CID: proto.RawCID(pattern(1 << 20)), Size: 1 << 20, DAGSize: 1 << 20}
	for name, c := range map[string]struct {
		chunk Node
		want  error
	}{
		"a chunk that is shorter":    {Node{CID: short.CID, Size: 1 << 20, DAGSize: 1 << 20}, ErrMalformed},
		"a chunk that is not here":   {gone, ErrNotFound},
		"a node that holds less":     {Node{CID: s.addBytes(t, random(2<<20)).CID, Size: 3 << 20, DAGSize: 1}, ErrMalformed},
		"a directory for a node":     {Node{CID: s.build(t, map[string]string{"a": ""}).CID, Size: 1 << 20, DAGSize: 1}, ErrMalformed},
		"a small block for a chunk":  {Node{CID: s.add(t, "x").CID, Size: 1 << 20, DAGSize: 1}, ErrMalformed},
		"an empty node, and no more": {Node{CID: s.add(t, "").CID, Size: 1 << 20, DAGSize: 1}, ErrMalformed},
	} {
		st := stack{out: &writer{ctx: t.Context(), s: s.Store}}
		root, err := st.parent([]Node{c.chunk, c.chunk})
		if err != nil || st.out.flush() != nil {
			t.Fatal(err)
		}
		for _, n := range []int64{1 << 20, 1000} {
			if pieces, err := s.SplitBytes(t.Context(), root.CID, n); !errors.Is(err, c.want) {
				t.Errorf("%s, pieces of %d: got %d, %v; want %v", name, n, len(pieces), err, c.want)
			}
		}
	}
}

// A file of empty subtrees, each of which is twice the one below: a walk that
// followed them all would never end.
func TestSplitBytesIsNotHeldUpByNothing(t *testing.T) {
	s := openStore(t)
	st := stack{out: &writer{ctx: t.Context(), s: s.Store}}
	n, err := st.parent(nil)
	for range maxFileDepth - 2 {
		if err != nil {
			t.Fatal(err)
		}
		n, err = st.parent([]Node{n, n, n, n})
		n.DAGSize = 1 // else it would be too large to be stated
	}
	root, err := st.parent([]Node{n, s.addBytes(t, random(1<<20))})
	if err != nil || st.out.flush() != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	pieces, err := s.SplitBytes(ctx, root.CID, 1<<20)
	if want := s.addBytes(t, random(1<<20)); err != nil || len(pieces) != 1 || pieces[0] != want {
		t.Errorf("got %+v, %v; want %+v", pieces, err, want)
	}
}

// TestSplitBytesKeepsWhatItShares collects while the pieces are held, and after
// one of them was pinned.
func TestSplitBytesKeepsWhatItShares(t *testing.T) {
	s := openStore(t)
	n := s.addBytes(t, random(4<<20))
	release := s.Hold()
	pieces, err := s.SplitBytes(t.Context(), n.CID, 2<<20)
	if err != nil {
		t.Fatal(err)
	}
	whole := func(i, want int) {
		t.Helper()
		if missing, err := s.Missing(t.Context(), pieces[i].CID, 10); err != nil || len(missing) != want {
			t.Errorf("piece %d lacks %v, %v; want %d blocks", i, missing, err, want)
		}
	}
	if _, err := s.GC(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	whole(0, 0)
	whole(1, 0)
	if err := s.Pin(t.Context(), pieces[1].CID, "test"); err != nil {
		t.Fatal(err)
	}
	release()
	if _, err := s.GC(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	whole(0, 1)
	whole(1, 0)
}

func FuzzSplitBytes(f *testing.F) {
	f.Add([]byte("some bytes"), int64(3))
	f.Add([]byte(""), int64(1<<20))
	f.Fuzz(func(t *testing.T, in []byte, n int64) {
		s := openStore(t)
		pieces, err := s.SplitBytes(t.Context(), s.addBytes(t, in).CID, n)
		if (n < 1) != (err != nil) && !errors.Is(err, ErrTooMany) {
			t.Fatalf("pieces of %d: %v", n, err)
		}
		var joined []byte
		for _, p := range pieces {
			part := make([]byte, p.Size)
			if _, err := s.tree(t, p.CID).ReadAt(t.Context(), "", part, 0); err != nil && !errors.Is(err, io.EOF) {
				t.Fatal(err)
			}
			joined = append(joined, part...)
		}
		if err == nil && !bytes.Equal(joined, in) {
			t.Fatalf("%d bytes in, %d out", len(in), len(joined))
		}
	})
}
