package content

import (
	"encoding/binary"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/ipfs/boxo/ipld/unixfs"
	"github.com/ipfs/boxo/ipld/unixfs/hamt"
	"github.com/ipfs/go-cid"

	"github.com/mustermesh/muster/proto"
)

// FuzzLinks: no block makes Links panic or answer more than fits.
func FuzzLinks(f *testing.F) {
	s := openStore(f)
	dir := s.build(f, map[string]string{"a": "1", "b/c": "2"})
	block, err := s.Get(f.Context(), dir.CID)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(block, true)
	f.Add([]byte{}, true)
	f.Add(binary.AppendUvarint([]byte{0x12}, math.MaxUint64), true)
	f.Add([]byte("raw"), false)
	f.Fuzz(func(t *testing.T, block []byte, pb bool) {
		raw := proto.RawCID(block).Bytes()
		if pb {
			raw[1] = cid.DagProtobuf
		}
		c, err := proto.CIDFromBytes(raw)
		if err != nil {
			t.Fatal(err)
		}
		links, err := Links(c, block)
		if !pb && (err != nil || len(links) != 0) {
			t.Errorf("a raw block: %v, %v", links, err)
		}
		if err != nil && !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrTooLarge) {
			t.Errorf("an error of another kind: %v", err)
		}
		if len(links)*36 > len(block) {
			t.Errorf("%d links in %d bytes", len(links), len(block))
		}
		for _, l := range links {
			if l.IsZero() {
				t.Error("a link to nothing")
			}
		}
	})
}

// FuzzOpenTree reads trees whose root is any unixfs data over any of some blocks
// that are there: it must end, with entries that are safe to use or an error.
func FuzzOpenTree(f *testing.F) {
	s := openStore(f)
	fg := forger{f, s}
	known := []cid.Cid{fg.raw("x"), fg.dir(to("a", fg.raw("y"))), fg.shard(8, hamt.HashMurmur3, to("0b", fg.raw("z"))), toCid(s.addBytes(f, pattern(1<<20+9)).CID)}
	shard, err := unixfs.HAMTShardData([]byte{3}, 256, hamt.HashMurmur3)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(unixfs.FolderPBData(), "a\nb\nc", []byte{0, 1, 2})
	f.Add(shard, "00a\n01b\n02", []byte{0, 3, 2})
	f.Add(unixfs.FilePBData([]byte("hi"), 2), "", []byte{})
	f.Fuzz(func(t *testing.T, data []byte, names string, targets []byte) {
		if len(data)+len(names) > 1<<16 {
			return
		}
		fz := forger{t, &testStore{s.Store, s.kv, s.dir}}
		var edges []edge
		for i, name := range strings.Split(names, "\n") {
			if i < len(targets) {
				edges = append(edges, edge{name, known[int(targets[i])%len(known)], uint64(targets[i])})
			}
		}
		root, err := fromCid(fz.node(data, edges...))
		if err != nil {
			t.Fatal(err)
		}
		tree, err := OpenTree(t.Context(), s, root, 1000)
		if err != nil {
			return
		}
		last := "\x00"
		for _, e := range tree.Entries() {
			if e.Path <= last && last != "\x00" || e.Path != "" && !safePath(e.Path) || e.Size < 0 {
				t.Errorf("entry %+v after %q", e, last)
			}
			last = e.Path
			if !e.Dir {
				_, _ = tree.ReadAt(t.Context(), e.Path, make([]byte, 100), max(0, e.Size-50))
			}
		}
	})
}

func safePath(p string) bool {
	_, err := splitPath(p)
	return err == nil
}
