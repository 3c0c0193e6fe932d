package p2p

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/mustermesh/muster/proto"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/protocol/ping"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// PeerInfo describes a peer, connected or just heard of.
type PeerInfo struct {
	ID        proto.PeerID
	Addrs     []string      // multiaddrs without /p2p/; of a connected peer the one in use comes first
	Agent     string        // as the peer says, at most 64 bytes
	Inbound   bool          // the peer dialled us
	Transport string        // "tcp", "quic" or ""
	Since     time.Time     // when the connection was made; zero: not connected
	Latency   time.Duration // moving average of the round trip; 0: not measured
	Relayed   bool          // the connection runs through a third node, and carries little
}

// goodAddrs gives up to two addresses with /p2p/ at which p is worth looking for
// later: one that we reached it at, then those that it claims.
func (h *Host) goodAddrs(p peer.ID) []string {
	var addrs []ma.Multiaddr
	for _, c := range h.net.Network().ConnsToPeer(p) {
		if c.Stat().Direction == network.DirOutbound && !c.Stat().Limited {
			addrs = append(addrs, c.RemoteMultiaddr())
		}
	}
	for _, a := range h.net.Peerstore().Addrs(p) {
		if (isTCP(a) || isQUIC(a)) && !ma.Contains(addrs, a) {
			addrs = append(addrs, a)
		}
	}
	var out []string
	for _, a := range addrs[:min(len(addrs), knownPerPeer)] {
		out = append(out, fullAddr(a, p))
	}
	return out
}

// Known gives up to 128 addresses with /p2p/ of peers that were met in this run,
// the latest first: what to hand to the next run as [Config.Saved].
func (h *Host) Known() []string {
	h.peers.mu.Lock()
	defer h.peers.mu.Unlock()
	out := slices.Clone(h.peers.known)
	slices.Reverse(out)
	return out
}

// Peers describes the connected peers of our network, in the order of their text
// form.
func (h *Host) Peers() []PeerInfo {
	var out []PeerInfo
	for _, p := range h.peers.members() {
		if info, ok := h.describe(p); ok {
			out = append(out, info)
		}
	}
	slices.SortFunc(out, func(a, b PeerInfo) int { return strings.Compare(a.ID.String(), b.ID.String()) })
	return out
}

// Connected tells whether [Host.Peers] has p in it.
func (h *Host) Connected(p proto.PeerID) bool {
	id := toPeer(p)
	return h.peers.member(id) && h.conn(id) != nil
}

func (h *Host) describe(p peer.ID) (PeerInfo, bool) {
	id, err := fromPeer(p)
	c := h.conn(p)
	if err != nil || c == nil {
		return PeerInfo{}, false
	}
	info := PeerInfo{
		ID: id, Addrs: []string{c.RemoteMultiaddr().String()}, Agent: h.agent(p), Inbound: c.Stat().Direction == network.DirInbound,
		Since: c.Stat().Opened, Latency: h.net.Peerstore().LatencyEWMA(p), Relayed: c.Stat().Limited,
	}
	switch {
	case isQUIC(c.RemoteMultiaddr()):
		info.Transport = "quic"
	case isTCP(c.RemoteMultiaddr()):
		info.Transport = "tcp"
	}
	for _, a := range h.net.Peerstore().Addrs(p) {
		if s := a.String(); len(info.Addrs) < 16 && !slices.Contains(info.Addrs, s) {
			info.Addrs = append(info.Addrs, s)
		}
	}
	return info, true
}

// conn gives the connection that new streams use: a direct one if there is one.
func (h *Host) conn(p peer.ID) (best network.Conn) {
	for _, c := range h.net.Network().ConnsToPeer(p) {
		if best == nil || best.Stat().Limited && !c.Stat().Limited {
			best = c
		}
	}
	return best
}

func (h *Host) agent(p peer.ID) string {
	v, err := h.net.Peerstore().Get(p, "AgentVersion")
	if err != nil {
		return ""
	}
	s, _ := v.(string)
	return strings.ToValidUTF8(s[:min(len(s), 64)], "")
}

// measure times a round trip to each peer now and then; the library keeps the
// average.
func (h *Host) measure(ctx context.Context) error {
	for tick := time.NewTicker(measureEvery); ; {
		for _, p := range h.peers.members() {
			h.pingOnce(ctx, p)
		}
		select {
		case <-ctx.Done():
			tick.Stop()
			return nil
		case <-tick.C:
		}
	}
}

func (h *Host) pingOnce(ctx context.Context, p peer.ID) {
	ctx, cancel := context.WithTimeout(network.WithNoDial(ctx, "ping"), 5*time.Second)
	defer cancel()
	<-ping.Ping(ctx, h.net, p) // the library records it; a failure is the peer's affair
}

// Group tells which group of public addresses a peer's connection comes from: a
// /24 of IPv4, a /48 of IPv6, as in "203.0.113.0/24". It gives "" where that
// says nothing about who owns the peer: private, loopback and link-local
// addresses, relayed connections, no connection.
func (h *Host) Group(p proto.PeerID) string {
	c := h.conn(toPeer(p))
	if c == nil || c.Stat().Limited || isRelayed(c.RemoteMultiaddr()) {
		return ""
	}
	return addrGroup(c.RemoteMultiaddr())
}

func addrGroup(a ma.Multiaddr) string {
	if !manet.IsPublicAddr(a) {
		return ""
	}
	ip, err := manet.ToIP(a)
	if err != nil {
		return ""
	}
	addr, ok := netip.AddrFromSlice(ip)
	if !ok {
		return ""
	}
	bits := 48
	if addr = addr.Unmap(); addr.Is4() {
		bits = 24
	}
	prefix, err := addr.Prefix(bits)
	if err != nil {
		return ""
	}
	return prefix.String()
}

// Protect keeps the connections with p out of the trimming that
// [Config.ConnHigh] causes, until Unprotect with the same tag.
func (h *Host) Protect(p proto.PeerID, tag string) { h.net.ConnManager().Protect(toPeer(p), tag) }

// Unprotect takes back what Protect said with the same tag.
func (h *Host) Unprotect(p proto.PeerID, tag string) { h.net.ConnManager().Unprotect(toPeer(p), tag) }
