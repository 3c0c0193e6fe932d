package p2p

import (
	"context"
	"fmt"
	"slices"

	"github.com/libp2p/go-libp2p/core/event"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// A Reach is under which addresses this node can be reached, as far as it knows.
// All are multiaddrs without /p2p/.
type Reach struct {
	Public      []string // a peer dialled them back, and got through
	Unreachable []string // peers dialled them back, and did not
	Untold      []string // public ones that no peer has dialled back yet
	Local       []string // of private and loopback networks
	Relayed     []string // through other nodes
	Listening   []string // what is bound on this machine
}

// Reach tells under which addresses this node can be reached.
func (h *Host) Reach() (r Reach) {
	r.Listening = texts(h.net.Network().ListenAddresses())
	told := make(map[string]bool)
	if found := h.dialledBack.Load(); found != nil {
		r.Public, r.Unreachable = texts(found.Reachable), texts(found.Unreachable)
		for _, a := range slices.Concat(r.Public, r.Unreachable) {
			told[a] = true
		}
	}
	for _, a := range h.net.Addrs() {
		switch s := a.String(); {
		case isRelayed(a):
			r.Relayed = append(r.Relayed, s)
		case !manet.IsPublicAddr(a):
			r.Local = append(r.Local, s)
		case !told[s]:
			r.Untold = append(r.Untold, s)
		}
	}
	return r
}

func texts(addrs []ma.Multiaddr) (out []string) {
	for _, a := range addrs {
		out = append(out, a.String())
	}
	return out
}

// watchReach keeps what peers find out about our public addresses, until ctx ends.
func (h *Host) watchReach(ctx context.Context) error {
	sub, err := h.net.EventBus().Subscribe(new(event.EvtHostReachableAddrsChanged))
	if err != nil {
		return fmt.Errorf("subscribe to reachability: %w", err)
	}
	defer sub.Close()
	for {
		select {
		case <-ctx.Done():
			return nil
		case e := <-sub.Out(): // the latest word first, if there was one before
			if found, ok := e.(event.EvtHostReachableAddrsChanged); ok {
				h.dialledBack.Store(&found)
			}
		}
	}
}
