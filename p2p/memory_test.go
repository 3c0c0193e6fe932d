package p2p

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/mustermesh/muster/proto"
)

var (
	errMissing = errors.New("not here")
	errLinks   = errors.New("not a list of links")
)

// memory is a Blocks in a map. Its nodes are the ids that they link to, one
// after the other, and a salt.
type memory struct {
	mu     sync.Mutex
	blocks map[proto.CID][]byte
	gets   atomic.Int64
	puts   atomic.Int64
	onGet  func(n int64) // before the nth Get
	onPut  func(n int64) error
}

func newMemory() *memory { return &memory{blocks: make(map[proto.CID][]byte)} }

func (m *memory) Get(_ context.Context, id proto.CID) ([]byte, error) {
	if n := m.gets.Add(1); m.onGet != nil {
		m.onGet(n)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	b, ok := m.blocks[id]
	if !ok {
		return nil, errMissing
	}
	return b, nil
}

func (m *memory) Has(_ context.Context, id proto.CID) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, ok := m.blocks[id]
	return ok, nil
}

func (m *memory) Put(_ context.Context, id proto.CID, block []byte) error {
	if n := m.puts.Add(1); m.onPut != nil {
		if err := m.onPut(n); err != nil {
			return err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.blocks[id] = bytes.Clone(block)
	return nil
}

func (m *memory) Links(_ proto.CID, block []byte) (out []proto.CID, err error) {
	for len(block) >= 36 {
		id, err := proto.CIDFromBytes(block[:36])
		if err != nil {
			return nil, errLinks
		}
		out, block = append(out, id), block[36:]
	}
	if len(block) != 1 {
		return nil, errLinks
	}
	return out, nil
}

func (m *memory) leaf(b []byte) proto.CID {
	id := proto.RawCID(b)
	m.blocks[id] = b
	return id
}

func (m *memory) node(links ...proto.CID) proto.CID {
	var b []byte
	for _, l := range links {
		b = append(b, l.Bytes()...)
	}
	return m.nodeOf(append(b, 0))
}

func (m *memory) nodeOf(b []byte) proto.CID {
	sum := sha256.Sum256(b)
	id, err := proto.CIDFromBytes(append([]byte{1, 0x70, 0x12, 32}, sum[:]...))
	if err != nil {
		panic(err)
	}
	m.blocks[id] = b
	return id
}

// file adds a tree of random leaves, width of them under one node.
func (m *memory) file(leaves, size, width int) proto.CID {
	r := rand.NewChaCha8([32]byte{byte(leaves), byte(size)})
	var level []proto.CID
	for range leaves {
		b := make([]byte, size)
		r.Read(b)
		level = append(level, m.leaf(b))
	}
	for first := true; first || len(level) > 1; first = false {
		var up []proto.CID
		for ; len(level) > 0; level = level[min(width, len(level)):] {
			up = append(up, m.node(level[:min(width, len(level))]...))
		}
		level = up
	}
	return level[0]
}

// all gives the blocks under root.
func (m *memory) all(root proto.CID) (n int, complete bool) {
	w := newWalk(root, maxWalk)
	for {
		id, ok := w.next()
		if !ok {
			return n, true
		}
		n++
		if has, _ := m.Has(context.Background(), id); !has || w.descend(context.Background(), m, id) != nil {
			return n, false
		}
	}
}

func (m *memory) same(t *testing.T, other *memory, root proto.CID) {
	t.Helper()
	want, ok := other.all(root)
	if !ok {
		t.Fatal("the original is not complete")
	}
	if got, ok := m.all(root); !ok || got != want {
		t.Errorf("%d of %d blocks are here", got, want)
	}
	for id, b := range m.blocks {
		if !id.Verify(b) {
			t.Errorf("block %s is not what its id says", id)
		}
	}
}

// allow is an Access by a function.
type allow func(asker proto.PeerID, root proto.CID, grant []byte) bool

func (f allow) Allow(asker proto.PeerID, root proto.CID, grant []byte) bool {
	return f(asker, root, grant)
}

func anybody(proto.PeerID, proto.CID, []byte) bool { return true }

// contentNodes starts a client, and a server for each store, all connected.
func contentNodes(t testing.TB, access Access, stores ...*memory) (client *node, servers []*node) {
	network := randomNetwork()
	client = startNode(t, testConfig(t, network))
	for _, m := range stores {
		cfg := testConfig(t, network)
		cfg.Listen = cfg.Listen[:1] // TCP: a dial of one that is gone fails at once
		s := openNode(t, cfg)
		s.ServeContent(m, access)
		s.run(t)
		join(t, client, s)
		servers = append(servers, s)
	}
	return client, servers
}

func request(root proto.CID, from ...*node) FetchRequest {
	r := FetchRequest{Root: root, MaxBytes: 1 << 30}
	for _, n := range from {
		r.From = append(r.From, n.ID())
	}
	return r
}
