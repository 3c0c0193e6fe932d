package p2p

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mustermesh/muster/proto"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/network"
	libp2pquic "github.com/libp2p/go-libp2p/p2p/transport/quic"
	"github.com/libp2p/go-libp2p/x/simlibp2p"
	"github.com/marcopolo/simnet"
)

// TestMeshOverASimulatedNetwork runs whole hosts over QUIC on a network in
// memory, 20 ms and 50 Mbit/s from anywhere to anywhere, on a fake clock.
func TestMeshOverASimulatedNetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		t.Cleanup(func() { time.Sleep(3 * time.Minute) }) // fake time, in which the libraries' last timers end
		net := &simnet.Simnet{LatencyFunc: simnet.StaticLatency(20 * time.Millisecond)}
		name, src := randomNetwork(), newMemory()
		root := src.file(64, 64<<10, 16)
		const n = 12
		heard := make(chan int, n)
		nodes := make([]*node, n)
		net.Start()
		t.Cleanup(net.Close)
		for i := range nodes {
			cfg := testConfig(t, name)
			if i > 0 {
				cfg.Bootstrap = nodes[0].Addrs()
			}
			nodes[i] = openSimulated(t, net, i, cfg)
			nodes[i].Join(Topic{
				Name: "talk/1", MaxMessage: 100,
				Validate: func(proto.PeerID, []byte) Verdict { return Accept },
				Handle:   func(proto.PeerID, []byte) { heard <- i },
			})
			if i == n-1 {
				nodes[i].ServeContent(src, allow(anybody))
				nodes[i].SetCapabilities([]string{"rare"})
			}
			nodes[i].run(t)
		}
		asker := nodes[1]
		var found []PeerInfo
		eventually(t, "the capable node is found", func() bool {
			found, _ = asker.FindCapable(testContext(t), "rare", 5)
			return len(found) == 1
		})
		if found[0].ID != nodes[n-1].ID() {
			t.Errorf("found %v, want %v", found[0].ID, nodes[n-1].ID())
		}
		dst := newMemory()
		begin := time.Now()
		if err := asker.Fetch(testContext(t), request(root, nodes[n-1]), dst); err != nil {
			t.Fatal(err)
		}
		dst.same(t, src, root)
		t.Logf("4 MiB over 50 Mbit/s took %s", time.Since(begin))
		nodes[0].stop()
		nodes[0].Close()             // without its bootstrap node the mesh goes on
		time.Sleep(30 * time.Second) // fake: heartbeats that mend the gossip mesh
		if err := asker.Publish(testContext(t), "talk/1", []byte("hello")); err != nil {
			t.Fatal(err)
		}
		missing := map[int]bool{}
		for i := 2; i < n; i++ {
			missing[i] = true
		}
		eventually(t, "all others hear the gossip", func() bool {
			for len(heard) > 0 {
				delete(missing, <-heard)
			}
			return len(missing) == 0
		})
	})
}

func openSimulated(t *testing.T, net *simnet.Simnet, i int, cfg Config) *node {
	t.Helper()
	cfg.Listen = []string{fmt.Sprintf("/ip4/%s/udp/8000/quic-v1", simnet.IntToPublicIPv4(i))}
	link := simnet.LinkSettings{BitsPerSecond: 50 * simlibp2p.OneMbps}
	h, err := open(cfg, testLog(t), replaced{noSockets: true, options: []libp2p.Option{
		libp2p.Transport(libp2pquic.NewTransport),
		simlibp2p.QUICSimnet(net, simnet.NodeBiDiLinkSettings{Downlink: link, Uplink: link}),
		libp2p.DisableIdentifyAddressDiscovery(),
		libp2p.DisableRelay(),
		libp2p.ResourceManager(&network.NullResourceManager{}),
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return &node{Host: h, came: make(chan proto.PeerID, 256), went: make(chan proto.PeerID, 256)}
}
