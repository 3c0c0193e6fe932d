package p2p

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mustermesh/muster/proto"
)

// meshOf starts n nodes that know only the first.
func meshOf(t testing.TB, n int, before func(int, *node)) []*node {
	network := randomNetwork()
	var nodes []*node
	for i := range n {
		cfg := testConfig(t, network)
		if i > 0 {
			cfg.Bootstrap = nodes[0].Addrs()
		}
		nd := openNode(t, cfg)
		if before != nil {
			before(i, nd)
		}
		nodes = append(nodes, nd.run(t))
	}
	for _, nd := range nodes[1:] {
		await(t, nd.came, nodes[0].ID())
	}
	return nodes
}

func ids(peers []PeerInfo) map[proto.PeerID]bool {
	out := make(map[proto.PeerID]bool)
	for _, p := range peers {
		out[p.ID] = true
	}
	return out
}

func TestCapablePeersAreFoundByWhoKnowsOnlyTheBootstrapNode(t *testing.T) {
	nodes := meshOf(t, 5, func(i int, n *node) {
		switch i {
		case 1, 2:
			n.SetCapabilities([]string{"exec/wasm", "mem/8"})
		case 3:
			n.SetCapabilities([]string{"exec/oci"})
		}
	})
	asker := nodes[4]
	find := func(key string, limit int) []PeerInfo {
		found, err := asker.FindCapable(testContext(t), key, limit)
		if err != nil {
			t.Log(err)
		}
		return found
	}
	eventually(t, "both wasm nodes are found", func() bool { return len(find("exec/wasm", 10)) == 2 })
	if got := ids(find("exec/wasm", 10)); !got[nodes[1].ID()] || !got[nodes[2].ID()] {
		t.Errorf("found %v, want %v and %v", got, nodes[1].ID(), nodes[2].ID())
	}
	eventually(t, "the oci node is found", func() bool { return ids(find("exec/oci", 10))[nodes[3].ID()] })
	if got := find("exec/wasm", 1); len(got) != 1 {
		t.Errorf("found %d, want no more than asked for", len(got))
	}
	if got := find("exec/none", 10); len(got) != 0 {
		t.Errorf("found %v for what nobody has", got)
	}
	nodes[3].SetCapabilities([]string{"exec/new"})
	eventually(t, "a change is advertised", func() bool { return ids(find("exec/new", 10))[nodes[3].ID()] })
}

func TestPeerIsReachedThroughTheDHT(t *testing.T) {
	nodes := meshOf(t, 4, func(i int, n *node) {
		if i == 3 {
			n.Serve(echo)
		}
	})
	eventually(t, "the peer is found by its id alone", func() bool {
		_, err := nodes[1].Call(testContext(t), nodes[3].ID(), echo.Name, nil, 10)
		return err == nil
	})
}

func TestProvidersOfContentAreFound(t *testing.T) {
	nodes := meshOf(t, 3, nil)
	root := proto.RawCID([]byte("content"))
	eventually(t, "the record is taken", func() bool { return nodes[1].Provide(testContext(t), root) == nil })
	eventually(t, "the provider is found", func() bool {
		found, err := nodes[2].FindProviders(testContext(t), root, 5)
		return err == nil && ids(found)[nodes[1].ID()] && len(found) == 1
	})
}

func TestNodeStartsWhenItsBootstrapPeersAreDownAndSaysSo(t *testing.T) {
	network := randomNetwork()
	gone := openNode(t, testConfig(t, network))
	addrs := gone.Addrs()[:1] // a QUIC dial would take long to fail
	gone.Close()
	cfg := testConfig(t, network)
	cfg.Bootstrap = addrs
	var log syncBuffer
	p := testPace()
	h, err := open(cfg, slog.New(slog.NewTextHandler(&log, nil)), replaced{pace: &p})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	n := (&node{Host: h}).run(t)
	eventually(t, "the log warns", func() bool { return strings.Contains(log.String(), "no bootstrap peer can be reached") })
	status, ok := n.Bootstrapped()
	if ok || len(status) != 1 || status[0].Connected || status[0].Err == "" || status[0].Tried.IsZero() || len(status[0].Addrs) != len(addrs) {
		t.Errorf("got %+v, %v", status, ok)
	}
}

func TestBootstrapPeerThatComesLateIsFound(t *testing.T) {
	network := randomNetwork()
	late := testConfig(t, network)
	first := openNode(t, late)
	addrs := first.Addrs()[:1]
	first.Close()
	cfg := testConfig(t, network)
	cfg.Bootstrap = addrs
	n := startNode(t, cfg)
	eventually(t, "the first try failed", func() bool { s, _ := n.Bootstrapped(); return s[0].Err != "" })
	late.Listen = nil
	for _, a := range addrs {
		late.Listen = append(late.Listen, strings.Split(a, "/p2p/")[0])
	}
	b := startNode(t, late)
	await(t, n.came, b.ID())
	eventually(t, "the status says so", func() bool { s, ok := n.Bootstrapped(); return ok && s[0].Connected && s[0].Err == "" })
}

func TestSavedPeersAreEnough(t *testing.T) {
	network := randomNetwork()
	a, b := startNode(t, testConfig(t, network)), startNode(t, testConfig(t, network))
	join(t, a, b)
	cfg := testConfig(t, network)
	cfg.Saved = append([]string{"rubbish"}, a.Known()...)
	c := startNode(t, cfg)
	await(t, c.came, b.ID())
}

func TestBootstrapPeerOfAnotherNetworkIsNamedAsSuch(t *testing.T) {
	other := startNode(t, testConfig(t, randomNetwork()))
	cfg := testConfig(t, randomNetwork())
	cfg.Bootstrap = other.Addrs()[:1]
	n := startNode(t, cfg)
	eventually(t, "the status tells the reason", func() bool {
		s, _ := n.Bootstrapped()
		return strings.Contains(s[0].Err, ErrOtherNetwork.Error())
	})
}

func TestJitterStaysNear(t *testing.T) {
	for range 1000 {
		if d := jitter(time.Second); d < 750*time.Millisecond || d > 1250*time.Millisecond {
			t.Fatalf("got %s", d)
		}
	}
}

// syncBuffer is a bytes.Buffer for a log that several goroutines write.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
