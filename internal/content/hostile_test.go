package content

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/ipfs/boxo/ipld/merkledag"
	"github.com/ipfs/boxo/ipld/unixfs"
	"github.com/ipfs/boxo/ipld/unixfs/hamt"
	"github.com/ipfs/boxo/ipld/unixfs/pb"
	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"
	multihash "github.com/multiformats/go-multihash"
	protobuf "google.golang.org/protobuf/proto"

	"github.com/mustermesh/muster/proto"
)

// A forger makes blocks that no honest node would make.
type forger struct {
	t testing.TB
	*testStore
}

type edge struct {
	name  string
	to    cid.Cid
	tsize uint64
}

func (f forger) raw(b string) cid.Cid {
	f.t.Helper()
	c := proto.RawCID([]byte(b))
	if err := f.Put(f.t.Context(), c, []byte(b)); err != nil {
		f.t.Fatal(err)
	}
	return toCid(c)
}

func (f forger) node(data []byte, edges ...edge) cid.Cid {
	f.t.Helper()
	nd := merkledag.NodeWithData(data)
	nd.SetCidBuilder(cidBuilder)
	links := make([]*ipld.Link, len(edges))
	for i, e := range edges {
		links[i] = &ipld.Link{Name: e.name, Cid: e.to, Size: e.tsize}
	}
	if err := nd.SetLinks(links); err != nil {
		f.t.Fatal(err)
	}
	id, err := fromCid(nd.Cid())
	if err != nil {
		f.t.Fatal(err)
	}
	if err := f.Put(f.t.Context(), id, nd.RawData()); err != nil {
		f.t.Fatal(err)
	}
	return nd.Cid()
}

func (f forger) dir(edges ...edge) cid.Cid { return f.node(unixfs.FolderPBData(), edges...) }

func (f forger) file(size uint64, sizes []uint64, edges ...edge) cid.Cid {
	f.t.Helper()
	typ := pb.Data_File
	data, err := protobuf.Marshal(&pb.Data{Type: &typ, Filesize: &size, Blocksizes: sizes})
	if err != nil {
		f.t.Fatal(err)
	}
	return f.node(data, edges...)
}

func (f forger) shard(width, hash uint64, edges ...edge) cid.Cid {
	f.t.Helper()
	data, err := unixfs.HAMTShardData([]byte{1}, width, hash)
	if err != nil {
		f.t.Fatal(err)
	}
	return f.node(data, edges...)
}

func (f forger) typed(typ pb.Data_DataType) cid.Cid {
	f.t.Helper()
	data, err := protobuf.Marshal(&pb.Data{Type: &typ, Data: []byte("/etc/passwd")})
	if err != nil {
		f.t.Fatal(err)
	}
	return f.node(data)
}

// a link to c under name that claims 1 byte
func to(name string, c cid.Cid) edge { return edge{name, c, 1} }

func TestHostileTreesAreRefused(t *testing.T) {
	f := forger{t, openStore(t)}
	x := f.raw("x")
	identity, err := cid.Prefix{Version: 1, Codec: cid.Raw, MhType: multihash.IDENTITY, MhLength: -1}.Sum([]byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	cbor := cid.NewCidV1(cid.DagCBOR, x.Hash())
	deep := f.dir(to("f", x))
	for range maxLevel + 1 {
		deep = f.dir(to("d", deep))
	}
	bomb := f.dir()
	for range 20 { // 1000^20 empty directories
		var edges []edge
		for i := range 1000 {
			edges = append(edges, to(fmt.Sprint(i), bomb))
		}
		bomb = f.dir(edges...)
	}
	shards := f.shard(8, hamt.HashMurmur3)
	for range 30 {
		shards = f.shard(8, hamt.HashMurmur3, to("0", shards))
	}
	shardBomb := f.shard(256, hamt.HashMurmur3)
	for range 10 {
		var edges []edge
		for i := range 256 {
			edges = append(edges, to(fmt.Sprintf("%02X", i), shardBomb))
		}
		shardBomb = f.shard(256, hamt.HashMurmur3, edges...)
	}
	var longNames []edge
	for i := range 100 {
		longNames = append(longNames, to(fmt.Sprintf("%0250d", i), x))
	}
	longPaths := f.dir(longNames...)
	for range 20 {
		longPaths = f.dir(to(strings.Repeat("l", 250), longPaths))
	}
	huge := f.file(maxSize, []uint64{maxSize}, to("", x))
	cases := []struct {
		name string
		root cid.Cid
		want error
	}{
		{"a name ..", f.dir(to("..", x)), ErrMalformed},
		{"a name .", f.dir(to(".", x)), ErrMalformed},
		{"no name", f.dir(to("", x)), ErrMalformed},
		{"a name with a slash", f.dir(to("a/b", x)), ErrMalformed},
		{"an absolute name", f.dir(to("/etc", x)), ErrMalformed},
		{"a name with a zero byte", f.dir(to("a\x00", x)), ErrMalformed},
		{"a name that is not UTF-8", f.dir(to("\xff", x)), ErrMalformed},
		{"a long name", f.dir(to(strings.Repeat("x", 256), x)), ErrMalformed},
		{"the same name twice", f.dir(to("a", x), to("a", x)), ErrMalformed},
		{"a file and a directory of one name", f.dir(to("a", x), to("a", f.dir())), ErrMalformed},
		{"a symbolic link", f.dir(to("a", f.typed(pb.Data_Symlink))), ErrMalformed},
		{"metadata", f.dir(to("a", f.typed(pb.Data_Metadata))), ErrMalformed},
		{"an unknown type", f.dir(to("a", f.typed(77))), ErrMalformed},
		{"an identity id", f.dir(to("a", identity)), ErrMalformed},
		{"another codec", f.dir(to("a", cbor)), ErrMalformed},
		{"no unixfs data", f.dir(to("a", f.node(nil))), ErrMalformed},
		{"unixfs data that is none", f.dir(to("a", f.node([]byte("\xff\xff")))), ErrMalformed},
		{"a block that is not dag-pb", f.dir(to("a", f.notProtobuf())), ErrMalformed},
		{"a block that is not here", f.dir(to("a", toCid(mustParse(t, "bafybeigdliiqveknbpnxz6l3uhxypuyw4zg4zeiqcjfceixds4ukoama2a")))), ErrNotFound},
		{"a chunk that claims to be large", f.dir(edge{"a", x, MaxBlock + 1}), ErrMalformed},
		{"more sizes than children", f.file(2, []uint64{1, 1}, to("", x)), ErrMalformed},
		{"fewer sizes than children", f.file(2, []uint64{2}, to("", x), to("", x)), ErrMalformed},
		{"sizes that do not add up", f.file(3, []uint64{1, 1}, to("", x), to("", x)), ErrMalformed},
		{"sizes that overflow", f.file(1, []uint64{math.MaxUint64, 2}, to("", x), to("", x)), ErrMalformed},
		{"sizes that overflow int64", f.file(0, []uint64{1 << 62, 1 << 62, 1 << 62, 1 << 62}, to("", x), to("", x), to("", x), to("", x)), ErrMalformed},
		{"files that claim everything", f.dir(to("a", huge), to("b", huge), to("c", huge)), ErrTooMany},
		{"a shard of an odd width", f.shard(255, hamt.HashMurmur3), ErrMalformed},
		{"a shard of no width", f.shard(0, hamt.HashMurmur3), ErrMalformed},
		{"a shard of enormous width", f.shard(1<<62, hamt.HashMurmur3), ErrMalformed},
		{"a shard with another hash", f.shard(256, 0x12), ErrMalformed},
		{"a shard with a short name", f.shard(256, hamt.HashMurmur3, to("0", x)), ErrMalformed},
		{"a shard with a bad name", f.shard(256, hamt.HashMurmur3, to("00..", x)), ErrMalformed},
		{"a shard that leads to a file", f.shard(256, hamt.HashMurmur3, to("00", x)), ErrMalformed},
		{"a shard that leads to another width", f.shard(256, hamt.HashMurmur3, to("00", f.shard(8, hamt.HashMurmur3))), ErrMalformed},
		{"a shard with one name twice", f.shard(256, hamt.HashMurmur3, to("00a", x), to("01a", x)), ErrMalformed},
		{"shards without end", shards, ErrTooMany},
		{"a bomb of shards", shardBomb, ErrTooMany},
		{"directories without end", deep, ErrTooMany},
		{"a bomb of empty directories", bomb, ErrTooMany},
		{"paths that are too long", longPaths, ErrTooMany},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			root, err := fromCid(c.root)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := f.OpenTree(t.Context(), root); !errors.Is(err, c.want) {
				t.Errorf("OpenTree: got %v, want %v", err, c.want)
			}
			if err := f.Export(t.Context(), root, t.TempDir(), ExportOptions{}); err == nil {
				t.Error("Export took it")
			}
		})
	}
}

func mustParse(t *testing.T, s string) proto.CID {
	t.Helper()
	c, err := proto.ParseCID(s)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (f forger) notProtobuf() cid.Cid {
	f.t.Helper()
	block := []byte("this is not protobuf")
	raw := proto.RawCID(block).Bytes()
	raw[1] = cid.DagProtobuf
	id, err := proto.CIDFromBytes(raw)
	if err != nil {
		f.t.Fatal(err)
	}
	if err := f.Put(f.t.Context(), id, block); err != nil {
		f.t.Fatal(err)
	}
	return toCid(id)
}

// TestLyingFilesFailWhenRead: what only shows when a file is read must show
// then, as an error, not as other bytes.
func TestLyingFilesFailWhenRead(t *testing.T) {
	f := forger{t, openStore(t)}
	x := f.raw("xyz")
	chain := f.file(3, []uint64{3}, to("", x))
	for range maxFileDepth {
		chain = f.file(3, []uint64{3}, to("", chain))
	}
	cases := []struct {
		name string
		root cid.Cid
		want error
	}{
		{"a chunk shorter than it claims", f.file(10, []uint64{10}, to("", x)), ErrMalformed},
		{"a chunk longer than it claims", f.file(2, []uint64{2}, to("", x)), ErrMalformed},
		{"a raw file longer than its link claims", f.dir(edge{"a", x, 2}), ErrMalformed},
		{"a raw file shorter than its link claims", f.dir(edge{"a", x, 9}), ErrMalformed},
		{"an inner node that claims another size", f.file(4, []uint64{4}, to("", f.file(3, []uint64{3}, to("", x)))), ErrMalformed},
		{"a file made of a directory", f.file(3, []uint64{3}, to("", f.dir())), ErrMalformed},
		{"too many levels", chain, ErrTooMany},
		{"a chunk that is not here", f.file(3, []uint64{3}, to("", toCid(proto.RawCID([]byte("?"))))), ErrNotFound},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			root, err := fromCid(c.root)
			if err != nil {
				t.Fatal(err)
			}
			tree := f.tree(t, root)
			e := tree.Entries()[0]
			if n, err := tree.ReadAt(t.Context(), e.Path, make([]byte, e.Size), 0); !errors.Is(err, c.want) {
				t.Errorf("got %d bytes, %v; want %v", n, err, c.want)
			}
		})
	}
}

// TestAZipBombIsReadAsFarAsAsked: one chunk a million times is a legal file; to
// list it is cheap, to walk it visits each block once.
func TestAZipBombIsReadAsFarAsAsked(t *testing.T) {
	f := forger{t, openStore(t)}
	leaf := f.raw(strings.Repeat("z", 1000))
	size := uint64(1000)
	node := leaf
	for range 4 { // 1000^4 leaves, a petabyte
		edges, sizes := make([]edge, 1000), make([]uint64, 1000)
		for i := range edges {
			edges[i], sizes[i] = edge{"", node, size}, size
		}
		size *= 1000
		node = f.file(size, sizes, edges...)
	}
	root, err := fromCid(node)
	if err != nil {
		t.Fatal(err)
	}
	tree := f.tree(t, root)
	if tree.Size() != 1e15 {
		t.Errorf("size: got %d, want a petabyte", tree.Size())
	}
	buf := make([]byte, 10)
	if n, err := tree.ReadAt(t.Context(), "", buf, 1e15-10); n != 10 || err != nil || string(buf) != "zzzzzzzzzz" {
		t.Errorf("at the end: %d, %v, %q", n, err, buf)
	}
	blocks := 0
	for _, err := range f.Blocks(t.Context(), root) {
		if err != nil {
			t.Fatal(err)
		}
		blocks++
	}
	if blocks != 5 {
		t.Errorf("%d blocks, want 5", blocks)
	}
	if err := f.Export(t.Context(), root, t.TempDir()+"/f", ExportOptions{MaxBytes: 1 << 30}); !errors.Is(err, ErrTooMany) {
		t.Errorf("Export of a petabyte: got %v, want ErrTooMany", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := tree.ReadAt(ctx, "", buf, 0); !errors.Is(err, context.Canceled) {
		t.Errorf("read what is remembered: got %v, want that ctx ends it", err)
	}
}

func TestDeepAndWideGraphsAreBounded(t *testing.T) {
	f := forger{t, openStore(t)}
	deep := f.dir()
	for range maxDepth + 1 {
		deep = f.dir(to("d", deep))
	}
	root, err := fromCid(deep)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Missing(t.Context(), root, 10); !errors.Is(err, ErrTooMany) {
		t.Errorf("deep: got %v, want ErrTooMany", err)
	}
	few := f.cfg
	few.MaxBlocks = 10
	small, err := Open(f.testStore.dir, f.kv, few)
	if err != nil {
		t.Fatal(err)
	}
	var last error
	for _, err := range small.Blocks(t.Context(), root) {
		last = err
	}
	if !errors.Is(last, ErrTooMany) {
		t.Errorf("many blocks: got %v, want ErrTooMany", last)
	}
}
