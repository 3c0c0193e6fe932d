package p2p

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"regexp"

	"github.com/mustermesh/muster/proto"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// ErrConfig is wrapped by everything that [Config.Validate] refuses.
var ErrConfig = errors.New("wrong network configuration")

// Config says how a node takes part in a network. The zero value is not valid;
// package node holds the defaults.
type Config struct {
	// Network is the name of the mesh: 1 to 40 lower-case letters, digits and
	// hyphens. Nodes of different networks never talk to each other.
	Network string
	// Key is the node's identity; see [LoadOrCreateKey].
	Key ed25519.PrivateKey
	// Listen holds the multiaddrs to listen on, TCP (/ip4/0.0.0.0/tcp/4170) and
	// QUIC (/ip4/0.0.0.0/udp/4170/quic-v1). Port 0 takes a free one. Empty: the
	// node only dials.
	Listen []string
	// Bootstrap holds multiaddrs with /p2p/ of the nodes to meet first.
	Bootstrap []string
	// Saved holds what [Host.Known] gave in earlier runs. Addresses here that
	// cannot be read are passed over: an old file must not stop a node.
	Saved []string
	// MDNS looks for peers of the same network on the local network, by multicast.
	MDNS bool
	// Agent names program and version to other peers, at most 64 bytes.
	Agent string
	// ConnLow and ConnHigh bound the number of connections: over ConnHigh, the
	// least useful are closed until ConnLow are left. 1 ≤ ConnLow < ConnHigh.
	ConnLow, ConnHigh int
	// RelayService lets peers behind NAT be reached through this node, once it
	// finds itself publicly reachable.
	RelayService bool
	// Blocked holds peers that may not connect; see [Host.Block].
	Blocked []proto.PeerID
	// AllowOnly, if not empty, holds the only peers that may connect; bootstrap
	// nodes that are meant to help must be among them.
	AllowOnly []proto.PeerID
}

var networkName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,39}$`)

// maxAddrs bounds each list of addresses, so that a mistake in a file does not
// become a storm of connections.
const maxAddrs = 1024

// Validate says what is wrong with c, in an error that wraps [ErrConfig].
func (c Config) Validate() error {
	switch {
	case !networkName.MatchString(c.Network):
		return fmt.Errorf("%w: network name %q; take 1 to 40 lower-case letters, digits and hyphens", ErrConfig, c.Network)
	case len(c.Key) != ed25519.PrivateKeySize:
		return fmt.Errorf("%w: no key", ErrConfig)
	case c.ConnLow < 1 || c.ConnHigh <= c.ConnLow:
		return fmt.Errorf("%w: connections %d to %d; need 1 ≤ low < high", ErrConfig, c.ConnLow, c.ConnHigh)
	case len(c.Agent) > 64:
		return fmt.Errorf("%w: agent of %d bytes; at most 64", ErrConfig, len(c.Agent))
	case len(c.Listen) > 64 || len(c.Bootstrap) > maxAddrs:
		return fmt.Errorf("%w: too many addresses", ErrConfig)
	}
	if _, err := parseListen(c.Listen); err != nil {
		return err
	}
	_, err := parseTargets(c.Bootstrap)
	return err
}

func parseListen(addrs []string) ([]ma.Multiaddr, error) {
	var out []ma.Multiaddr
	for _, s := range addrs {
		a, err := ma.NewMultiaddr(s)
		if err != nil {
			return nil, fmt.Errorf("%w: listen address %q: %v; like /ip4/0.0.0.0/tcp/4170", ErrConfig, s, err)
		}
		if !isTCP(a) && !isQUIC(a) {
			return nil, fmt.Errorf("%w: listen address %q is neither TCP (…/tcp/PORT) nor QUIC (…/udp/PORT/quic-v1)", ErrConfig, s)
		}
		out = append(out, a)
	}
	return out, nil
}

// parseTargets reads addresses with /p2p/, those of one peer gathered.
func parseTargets(addrs []string) ([]peer.AddrInfo, error) {
	var order []peer.ID
	byPeer := make(map[peer.ID][]ma.Multiaddr)
	for _, s := range addrs {
		info, err := parseTarget(s)
		if err != nil {
			return nil, err
		}
		if _, known := byPeer[info.ID]; !known {
			order = append(order, info.ID)
		}
		byPeer[info.ID] = append(byPeer[info.ID], info.Addrs...)
	}
	out := make([]peer.AddrInfo, 0, len(order))
	for _, id := range order {
		out = append(out, peer.AddrInfo{ID: id, Addrs: byPeer[id]})
	}
	return out, nil
}

func parseTarget(s string) (peer.AddrInfo, error) {
	if len(s) > 512 {
		return peer.AddrInfo{}, fmt.Errorf("%w: peer address of %d characters", ErrConfig, len(s))
	}
	info, err := peer.AddrInfoFromString(s)
	if err != nil {
		return peer.AddrInfo{}, fmt.Errorf("%w: peer address %q: %v; like /ip4/203.0.113.5/tcp/4170/p2p/12D3Koo…", ErrConfig, s, err)
	}
	if _, err := fromPeer(info.ID); err != nil {
		return peer.AddrInfo{}, fmt.Errorf("%w: peer address %q: %v", ErrConfig, s, err)
	}
	if len(info.Addrs) == 0 {
		return peer.AddrInfo{}, fmt.Errorf("%w: peer address %q names a peer but not where it is", ErrConfig, s)
	}
	return *info, nil
}

func isTCP(a ma.Multiaddr) bool {
	return hasProtocol(a, ma.P_TCP) && !hasProtocol(a, ma.P_WS) && !hasProtocol(a, ma.P_WSS) && !isRelayed(a)
}

func isQUIC(a ma.Multiaddr) bool {
	return hasProtocol(a, ma.P_QUIC_V1) && !hasProtocol(a, ma.P_WEBTRANSPORT) && !isRelayed(a)
}

func isRelayed(a ma.Multiaddr) bool { return hasProtocol(a, ma.P_CIRCUIT) }

func hasProtocol(a ma.Multiaddr, code int) bool {
	_, err := a.ValueForProtocol(code)
	return err == nil
}

// allLoopback tells whether a node with these listen addresses can be reached
// from its own machine only.
func allLoopback(addrs []ma.Multiaddr) bool {
	for _, a := range addrs {
		if !manet.IsIPLoopback(a) {
			return false
		}
	}
	return len(addrs) > 0
}
