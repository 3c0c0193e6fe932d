package p2p

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mustermesh/muster/proto"

	"github.com/libp2p/go-libp2p/core/control"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
)

// A gate says which peers may have a connection.
type gate struct {
	open atomic.Bool // we serve; else nobody is let in, nor dialled

	mu      sync.RWMutex               // guards the fields below
	blocked map[proto.PeerID]struct{}  // by our user, until unblocked
	banned  map[proto.PeerID]time.Time // for misbehaviour, until then
	allowed map[proto.PeerID]struct{}  // nil: everybody
}

// maxBanned bounds the memory of misbehaving peers: identities are free, so a
// stranger could fill it; the ban that ends first then goes.
const maxBanned = 4096

func newGate(blocked, allowOnly []proto.PeerID) *gate {
	g := &gate{blocked: make(map[proto.PeerID]struct{}), banned: make(map[proto.PeerID]time.Time)}
	for _, p := range blocked {
		g.blocked[p] = struct{}{}
	}
	g.allowOnly(allowOnly)
	return g
}

func (g *gate) allowOnly(peers []proto.PeerID) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.allowed = nil
	for _, p := range peers {
		if g.allowed == nil {
			g.allowed = make(map[proto.PeerID]struct{}, len(peers))
		}
		g.allowed[p] = struct{}{}
	}
}

func (g *gate) ban(p proto.PeerID, until time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.banned) >= maxBanned {
		first := p
		for q, t := range g.banned {
			if first == p || t.Before(g.banned[first]) {
				first = q
			}
		}
		delete(g.banned, first)
	}
	g.banned[p] = until
}

// admits tells whether p may have a connection. A key that is not Ed25519 is
// nobody's in any muster network.
func (g *gate) admits(id peer.ID) bool {
	p, err := fromPeer(id)
	if err != nil {
		return false
	}
	g.mu.RLock()
	defer g.mu.RUnlock()
	if _, blocked := g.blocked[p]; blocked {
		return false
	}
	if until, banned := g.banned[p]; banned && time.Now().Before(until) {
		return false
	}
	_, allowed := g.allowed[p]
	return g.allowed == nil || allowed
}

// InterceptPeerDial is asked before a peer is dialled; the DHT would begin early.
func (g *gate) InterceptPeerDial(p peer.ID) bool { return g.open.Load() && g.admits(p) }

// InterceptAddrDial is asked before an address is dialled.
func (g *gate) InterceptAddrDial(peer.ID, ma.Multiaddr) bool { return true }

// InterceptAccept is asked before anybody knows who comes. Nobody is let in
// before all services answer, so that who is connected can be asked.
func (g *gate) InterceptAccept(network.ConnMultiaddrs) bool { return g.open.Load() }

// InterceptSecured is asked when the peer has proved who it is.
func (g *gate) InterceptSecured(_ network.Direction, p peer.ID, _ network.ConnMultiaddrs) bool {
	return g.admits(p)
}

// InterceptUpgraded is asked last.
func (g *gate) InterceptUpgraded(network.Conn) (bool, control.DisconnectReason) { return true, 0 }

// Block closes all connections with p and refuses new ones until Unblock. It is
// not kept over a restart: store [Host.Blocked] and hand it back in
// [Config.Blocked].
func (h *Host) Block(p proto.PeerID) error {
	h.gate.mu.Lock()
	h.gate.blocked[p] = struct{}{}
	h.gate.mu.Unlock()
	return h.net.Network().ClosePeer(toPeer(p))
}

// Unblock lets p connect again, whether it was blocked by Block or for
// misbehaviour.
func (h *Host) Unblock(p proto.PeerID) {
	h.gate.mu.Lock()
	delete(h.gate.blocked, p)
	delete(h.gate.banned, p)
	h.gate.mu.Unlock()
	h.strikes.forget(p)
}

// Blocked gives the peers that [Host.Block] keeps out, in the order of their
// text form.
func (h *Host) Blocked() []proto.PeerID {
	h.gate.mu.RLock()
	defer h.gate.mu.RUnlock()
	out := make([]proto.PeerID, 0, len(h.gate.blocked))
	for p := range h.gate.blocked {
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b proto.PeerID) int { return strings.Compare(a.String(), b.String()) })
	return out
}

// AllowOnly lets only these peers connect from now on, and closes the
// connections with others; no peers at all means everybody.
func (h *Host) AllowOnly(peers []proto.PeerID) {
	h.gate.allowOnly(peers)
	for _, p := range h.net.Network().Peers() {
		if !h.gate.admits(p) {
			_ = h.net.Network().ClosePeer(p) // a connection that is gone already is what we want
		}
	}
}
