package p2p

import (
	"context"
	"math"
	"net/netip"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/host/autorelay"
	rcmgr "github.com/libp2p/go-libp2p/p2p/host/resource-manager"
	"github.com/libp2p/go-libp2p/p2p/muxer/yamux"
	"github.com/libp2p/go-libp2p/p2p/net/connmgr"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	circuit "github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/proto"
	libp2pquic "github.com/libp2p/go-libp2p/p2p/transport/quic"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	"github.com/libp2p/go-libp2p/x/rate"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// Bytes of one stream that may be under way, and lie unread in our memory: at
// first, and when the peer keeps up. 8 MiB at 100 ms are 80 MB/s. The library
// starts with 256 KiB, and never grows where the round trip is short; then a
// receiver that hashes and a sender wait for each other.
const (
	firstWindow = 512 << 10
	window      = 8 << 20
)

// options gives the library's settings. Transports are named one by one, so that
// those for browsers do not listen too.
func (h *Host) options(with replaced) ([]libp2p.Option, error) {
	key, err := crypto.UnmarshalEd25519PrivateKey(h.cfg.Key)
	if err != nil {
		return nil, err
	}
	trim, err := connmgr.NewConnManager(h.cfg.ConnLow, h.cfg.ConnHigh, connmgr.WithGracePeriod(20*time.Second))
	if err != nil {
		return nil, err
	}
	opts := []libp2p.Option{
		libp2p.Identity(key),
		libp2p.ListenAddrs(h.listen...),
		libp2p.UserAgent(h.cfg.Agent),
		libp2p.ProtocolVersion(h.prefix), // how a peer of another network is told apart
		libp2p.ConnectionManager(trim),
		libp2p.ConnectionGater(h.gate),
		libp2p.BandwidthReporter(&h.stats.wire),
		libp2p.DisableMetrics(),
		libp2p.SwarmOpts(swarm.WithDialRanker(rankDials)),
	}
	if !with.noSockets {
		limits, err := h.resourceLimits()
		if err != nil {
			return nil, err
		}
		opts = append(opts, limits, libp2p.Transport(tcp.NewTCPTransport), libp2p.Transport(libp2pquic.NewTransport),
			libp2p.Muxer(yamux.ID, muxer()), libp2p.DefaultSecurity)
		opts = append(opts, h.natOptions()...)
	}
	return append(opts, with.options...), nil
}

func muxer() *yamux.Transport {
	t := *yamux.DefaultTransport
	t.MaxStreamWindowSize = window
	t.InitialStreamWindowSize = firstWindow
	return &t
}

// natOptions are for nodes that may sit behind NAT, or help those that do; one
// that listens on its own machine alone, or not at all, needs none of them.
func (h *Host) natOptions() []libp2p.Option {
	if len(h.listen) == 0 {
		return []libp2p.Option{libp2p.EnableRelay(), libp2p.DisableIdentifyAddressDiscovery()}
	}
	if allLoopback(h.listen) {
		return []libp2p.Option{libp2p.DisableRelay(), libp2p.DisableIdentifyAddressDiscovery()}
	}
	opts := []libp2p.Option{
		libp2p.EnableRelay(),
		libp2p.EnableNATService(),
		libp2p.EnableAutoNATv2(),
		libp2p.NATPortMap(),
		libp2p.EnableHolePunching(),
		libp2p.EnableAutoRelayWithPeerSource(h.relays, autorelay.WithMinInterval(10*time.Second),
			autorelay.WithBootDelay(30*time.Second), autorelay.WithMinCandidates(1), autorelay.WithBackoff(time.Minute)),
	}
	if h.cfg.RelayService {
		opts = append(opts, libp2p.EnableRelayService())
	}
	return opts
}

// relays offers the connected peers that relay for others.
func (h *Host) relays(ctx context.Context, n int) <-chan peer.AddrInfo {
	out := make(chan peer.AddrInfo, n) // all that was asked for, so that nothing here waits
	defer close(out)
	for _, p := range h.net.Network().Peers() {
		if len(out) == n || ctx.Err() != nil {
			break
		}
		if ok, err := h.net.Peerstore().SupportsProtocols(p, circuit.ProtoIDv2Hop); err == nil && len(ok) > 0 {
			out <- peer.AddrInfo{ID: p, Addrs: h.net.Peerstore().Addrs(p)}
		}
	}
	return out
}

// tcpHeadStart is how long TCP is tried alone where it is preferred.
const tcpHeadStart = 250 * time.Millisecond

// rankDials prefers TCP to QUIC on the same machine and local network, where a
// hole need not be punched and QUIC costs three times the CPU; elsewhere it
// keeps the library's order.
func rankDials(addrs []ma.Multiaddr) []network.AddrDelay {
	var near, nearQUIC, far []ma.Multiaddr
	for _, a := range addrs {
		switch {
		case isRelayed(a) || !manet.IsPrivateAddr(a):
			far = append(far, a)
		case isQUIC(a):
			nearQUIC = append(nearQUIC, a)
		default:
			near = append(near, a)
		}
	}
	out := swarm.DefaultDialRanker(near)
	var wait time.Duration
	if len(out) > 0 {
		wait = out[len(out)-1].Delay + tcpHeadStart
	}
	for _, d := range swarm.DefaultDialRanker(nearQUIC) {
		out = append(out, network.AddrDelay{Addr: d.Addr, Delay: d.Delay + wait})
	}
	return append(out, swarm.DefaultDialRanker(far)...)
}

// localPrefixes are the address ranges where many peers rightly share one
// address or a small range: this machine, and networks behind a router.
var localPrefixes = []string{
	"127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "100.64.0.0/10",
	"::1/128", "fc00::/7", "fe80::/10",
}

// resourceLimits bounds what peers can make the library hold. Its default of 8
// connections for each public address stands; local ranges have no such limit.
func (h *Host) resourceLimits() (libp2p.Option, error) {
	limits := rcmgr.DefaultLimits
	limits.ProtocolLimits, limits.ServiceLimits = nil, nil
	libp2p.SetDefaultServiceLimits(&limits)
	conns := max(2*h.cfg.ConnHigh, limits.SystemBaseLimit.Conns)
	system := &limits.SystemBaseLimit
	system.Conns, system.ConnsInbound, system.ConnsOutbound = 2*conns, conns, conns
	system.FD = max(system.FD, 2*conns)
	system.StreamsInbound, system.StreamsOutbound, system.Streams = 16*conns, 16*conns, 32*conns
	system.Memory = max(system.Memory, 256<<20)      // each stream is counted with 256 KiB, quiet ones too
	raiseStreams(&limits.ProtocolPeerBaseLimit, 256) // our own services count for themselves, and lower
	raiseStreams(&limits.ProtocolBaseLimit, 4096)
	var v4, v6 []rcmgr.NetworkPrefixLimit
	var free []rate.PrefixLimit
	for _, s := range localPrefixes {
		p := netip.MustParsePrefix(s)
		l := rcmgr.NetworkPrefixLimit{Network: p, ConnCount: math.MaxInt}
		if p.Addr().Is4() {
			v4 = append(v4, l)
		} else {
			v6 = append(v6, l)
		}
		free = append(free, rate.PrefixLimit{Prefix: p})
	}
	m, err := rcmgr.NewResourceManager(rcmgr.NewFixedLimiter(limits.AutoScale()), rcmgr.WithMetricsDisabled(),
		rcmgr.WithNetworkPrefixLimit(v4, v6), rcmgr.WithConnRateLimiters(dialInLimits(free)))
	return libp2p.ResourceManager(m), err
}

func raiseStreams(l *rcmgr.BaseLimit, n int) {
	l.StreamsInbound, l.StreamsOutbound, l.Streams = max(l.StreamsInbound, n), max(l.StreamsOutbound, n), max(l.Streams, 2*n)
}

// dialInLimits bounds new connections from one public address: a burst of 32,
// then one in two seconds.
func dialInLimits(free []rate.PrefixLimit) *rate.Limiter {
	each := rate.Limit{RPS: 0.5, Burst: 32}
	return &rate.Limiter{
		NetworkPrefixLimits: free,
		SubnetRateLimiter: rate.SubnetLimiter{
			IPv4SubnetLimits: []rate.SubnetLimit{{PrefixLength: 32, Limit: each}},
			IPv6SubnetLimits: []rate.SubnetLimit{{PrefixLength: 56, Limit: each}},
			GracePeriod:      time.Minute,
		},
	}
}
