package p2p

import (
	"context"
	"errors"
	"testing"

	"github.com/mustermesh/muster/proto"
)

func TestFetchSmallContent(t *testing.T) {
	src := newMemory()
	same := src.leaf([]byte("twice in the graph"))
	empty := src.leaf(nil)
	inner := src.node(same, empty)
	roots := map[string]proto.CID{
		"one raw block":       src.leaf([]byte("hello")),
		"an empty block":      empty,
		"a node without link": src.node(),
		"a small graph":       src.node(inner, same, inner, src.node(same)),
		"a file":              src.file(10, 1000, 4),
		"the largest block":   src.leaf(make([]byte, proto.MaxBlock)),
	}
	client, servers := contentNodes(t, allow(anybody), src)
	for name, root := range roots {
		dst := newMemory()
		var told int64
		req := request(root, servers[0])
		req.Progress = func(n int64) { told = n }
		if err := client.Fetch(testContext(t), req, dst); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		dst.same(t, src, root)
		var size int64
		for _, b := range dst.blocks {
			size += int64(len(b))
		}
		if told != size {
			t.Errorf("%s: progress ended at %d bytes, want %d", name, told, size)
		}
		asked := client.Stats().Protocols[contentName].StreamsOut
		if err := client.Fetch(testContext(t), req, dst); err != nil {
			t.Errorf("%s again: %v", name, err)
		}
		if client.Stats().Protocols[contentName].StreamsOut != asked {
			t.Errorf("%s: what is here was asked for again", name)
		}
	}
	if got := client.Stats().Protocols[contentName].StreamsOut; got != uint64(len(roots)) {
		t.Errorf("%d requests for %d small graphs", got, len(roots))
	}
}

func TestFetchFromOneAndSeveralSources(t *testing.T) {
	const leaves = 64
	src := newMemory()
	root := src.file(leaves, 1<<20, 16)
	client, servers := contentNodes(t, allow(anybody), src, src, src)
	for n := 1; n <= len(servers); n++ {
		dst := newMemory()
		before := make([]uint64, len(servers))
		for i, s := range servers {
			before[i] = s.Stats().Protocols[contentName].MessagesOut
		}
		if err := client.Fetch(testContext(t), request(root, servers[:n]...), dst); err != nil {
			t.Fatal(err)
		}
		dst.same(t, src, root)
		var sum uint64
		for i, s := range servers {
			got := s.Stats().Protocols[contentName].MessagesOut - before[i]
			if (got > 4) != (i < n) {
				t.Errorf("with %d sources, source %d sent %d frames", n, i, got)
			}
			sum += got
		}
		if sum > 2*leaves {
			t.Errorf("with %d sources, %d frames were sent for %d leaves", n, sum, leaves)
		}
	}
}

func TestFetchResumesAfterItsSourceDied(t *testing.T) {
	const leaves = 40
	src := newMemory()
	root := src.file(leaves, 100_000, 8)
	client, servers := contentNodes(t, allow(anybody), src, src)
	dst := newMemory()
	dst.onPut = func(n int64) error {
		if n == 20 {
			servers[0].Close()
		}
		return nil
	}
	err := client.Fetch(testContext(t), request(root, servers[0]), dst)
	if !errors.Is(err, ErrUnavailable) {
		t.Fatalf("got %v, want ErrUnavailable", err)
	}
	had := len(dst.blocks)
	if had < 20 {
		t.Fatalf("%d blocks were kept, want at least 20", had)
	}
	dst.puts.Store(100)
	if err := client.Fetch(testContext(t), request(root, servers...), dst); err != nil {
		t.Fatal(err)
	}
	dst.same(t, src, root)
	all, _ := src.all(root)
	if got := int(dst.puts.Load() - 100); got != all-had {
		t.Errorf("%d blocks were fetched the second time, want the %d that were missing", got, all-had)
	}
}

func TestFetchGoesOnWhenOneOfItsSourcesDies(t *testing.T) {
	src := newMemory()
	root := src.file(120, 50_000, 16)
	client, servers := contentNodes(t, allow(anybody), src, src)
	dst := newMemory()
	dst.onPut = func(n int64) error {
		if n == 40 {
			servers[0].Close()
		}
		return nil
	}
	if err := client.Fetch(testContext(t), request(root, servers...), dst); err != nil {
		t.Fatal(err)
	}
	dst.same(t, src, root)
}

// Three stores that each lack something make a whole.
func TestFetchPutsPartsTogether(t *testing.T) {
	src := newMemory()
	root := src.file(90, 1000, 10)
	parts := []*memory{newMemory(), newMemory(), newMemory()}
	i := 0
	for id, b := range src.blocks {
		for j, p := range parts {
			if !id.IsRaw() || j != i%3 {
				p.blocks[id] = b
			}
		}
		i++
	}
	client, servers := contentNodes(t, allow(anybody), parts...)
	dst := newMemory()
	err := client.Fetch(testContext(t), request(root, servers...), dst)
	for tries := 0; tries < 20 && errors.Is(err, ErrUnavailable); tries++ { // a source is given up after three spans that it lacks
		err = client.Fetch(testContext(t), request(root, servers...), dst)
	}
	if err != nil {
		t.Fatal(err)
	}
	dst.same(t, src, root)
}

func TestFetchLimits(t *testing.T) {
	src := newMemory()
	root := src.file(30, 1000, 8)
	nonsense := src.nodeOf([]byte("no list of links"))
	var bomb proto.CID // 40 levels, each with the next one 1000 times
	bomb = src.leaf([]byte("bottom"))
	for range 40 {
		links := make([]proto.CID, 1000)
		for i := range links {
			links[i] = bomb
		}
		bomb = src.node(links...)
	}
	client, servers := contentNodes(t, allow(anybody), src)
	fetch := func(change func(*FetchRequest)) error {
		req := request(root, servers[0])
		change(&req)
		return client.Fetch(testContext(t), req, newMemory())
	}
	for name, c := range map[string]struct {
		change func(*FetchRequest)
		want   error
	}{
		"enough bytes":        {func(r *FetchRequest) { r.MaxBytes = 40_000 }, nil},
		"too many bytes":      {func(r *FetchRequest) { r.MaxBytes = 20_000 }, ErrTooLarge},
		"too many blocks":     {func(r *FetchRequest) { r.MaxBlocks = 10 }, ErrTooLarge},
		"grant too long":      {func(r *FetchRequest) { r.Grant = make([]byte, proto.MaxContentGrant+1) }, ErrTooLarge},
		"no root":             {func(r *FetchRequest) { r.Root = proto.CID{} }, proto.ErrID},
		"nonsense":            {func(r *FetchRequest) { r.Root = nonsense }, ErrBadContent},
		"nobody to ask":       {func(r *FetchRequest) { r.From = []proto.PeerID{client.ID()} }, ErrUnavailable},
		"a bomb, many blocks": {func(r *FetchRequest) { r.Root, r.MaxBlocks = bomb, 5000 }, ErrTooLarge},
		"a bomb":              {func(r *FetchRequest) { r.Root, r.MaxBlocks = bomb, 50_000 }, nil},
	} {
		// The server does not send what makes no sense; its bytes come another way.
		if name == "nonsense" {
			continue
		}
		if err := fetch(c.change); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
	}
	if n := client.Stats().Misbehaved; n != 0 {
		t.Errorf("%d breaches counted; a large graph is none", n)
	}
	dst := newMemory()
	dst.blocks[nonsense] = src.blocks[nonsense]
	if err := client.Fetch(testContext(t), request(nonsense, servers[0]), dst); !errors.Is(err, ErrBadContent) {
		t.Errorf("nonsense: got %v, want ErrBadContent", err)
	}
}

func TestFetchFailsWhenTheDiskDoes(t *testing.T) {
	src := newMemory()
	root := src.file(10, 1000, 8)
	client, servers := contentNodes(t, allow(anybody), src, src)
	full := errors.New("disk full")
	dst := newMemory()
	dst.onPut = func(n int64) error {
		if n == 3 {
			return full
		}
		return nil
	}
	if err := client.Fetch(testContext(t), request(root, servers...), dst); !errors.Is(err, full) {
		t.Errorf("got %v, want what Put gave", err)
	}
	if n := client.Stats().Misbehaved; n != 0 {
		t.Error("our full disk is held against a peer")
	}
}

func TestFetchEndsWithItsContext(t *testing.T) {
	src := newMemory()
	root := src.file(100, 10_000, 8)
	client, servers := contentNodes(t, allow(anybody), src, src)
	ctx, cancel := context.WithCancel(testContext(t))
	dst := newMemory()
	dst.onPut = func(n int64) error {
		if n == 30 {
			cancel()
		}
		return nil
	}
	if err := client.Fetch(ctx, request(root, servers...), dst); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want Canceled", err)
	}
}

func TestFetchAsksTheDHTWhereNobodyIsNamed(t *testing.T) {
	src := newMemory()
	root := src.file(5, 1000, 8)
	nodes := meshOf(t, 3, func(i int, n *node) {
		if i == 1 {
			n.ServeContent(src, allow(anybody))
		}
	})
	eventually(t, "the record is taken", func() bool { return nodes[1].Provide(testContext(t), root) == nil })
	dst := newMemory()
	eventually(t, "the content is found", func() bool { return nodes[2].Fetch(testContext(t), request(root), dst) == nil })
	dst.same(t, src, root)
}
