package p2p

import (
	"slices"
	"testing"

	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/p2p/host/eventbus"
	ma "github.com/multiformats/go-multiaddr"
)

func TestReachTellsWhatPeersDialledBack(t *testing.T) {
	h := startNode(t, testConfig(t, randomNetwork()))
	if got := h.Reach(); len(got.Public)+len(got.Unreachable) > 0 || len(got.Local) == 0 || len(got.Listening) == 0 {
		t.Errorf("a host on loopback alone: %+v", got)
	}
	// What the library says once peers have dialled back.
	say, err := h.net.EventBus().Emitter(new(event.EvtHostReachableAddrsChanged), eventbus.Stateful)
	if err != nil {
		t.Fatal(err)
	}
	defer say.Close()
	open, shut := "/ip4/203.0.113.5/tcp/4170", "/ip4/203.0.113.5/udp/4170/quic-v1"
	err = say.Emit(event.EvtHostReachableAddrsChanged{
		Reachable: []ma.Multiaddr{ma.StringCast(open)}, Unreachable: []ma.Multiaddr{ma.StringCast(shut)},
	})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the host knows what they found out", func() bool {
		got := h.Reach()
		return slices.Equal(got.Public, []string{open}) && slices.Equal(got.Unreachable, []string{shut})
	})
}
