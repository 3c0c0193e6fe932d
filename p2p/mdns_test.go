//go:build mdns

package p2p

import "testing"

func TestPeersOfOneNetworkFindEachOtherOnTheLocalNetwork(t *testing.T) {
	network := randomNetwork()
	here, other := testConfig(t, network), testConfig(t, randomNetwork())
	here.MDNS, other.MDNS = true, true
	here.Listen, other.Listen = []string{"/ip4/0.0.0.0/tcp/0"}, []string{"/ip4/0.0.0.0/tcp/0"}
	a, c := startNode(t, here), startNode(t, other)
	here.Key = testConfig(t, network).Key
	b := startNode(t, here)
	await(t, a.came, b.ID())
	if len(c.Peers()) != 0 {
		t.Error("a peer of another network was found")
	}
}
