package doctor

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mustermesh/muster/proto"
)

// Reach is who can reach this node, and who is there.
type Reach struct {
	Client  bool     // a node in client mode: nobody needs to reach it
	Public  []string // own addresses that a peer from outside has dialed back
	Local   []string // own addresses that only this network can reach
	Relayed []string // own addresses through relays
	Peers   int      // connected
	Direct  int      // of Peers, those without a relay between
	Seen    int      // peers that said under which address they see this node
	Port    int      // where it listens; 0: not known
}

func (r *Reach) check() []Finding {
	switch {
	case r == nil:
		return nil
	case r.Peers == 0:
		return one(AreaReachability, Problem, "no peer is connected",
			"Name a peer with --bootstrap ADDR, ask its owner whether it runs, and look whether a firewall lets this program out.")
	case r.Client:
		return one(AreaReachability, OK, count(r.Peers, "peer")+" connected", "")
	case len(r.Public) > 0:
		return one(AreaReachability, OK, fmt.Sprintf("reachable at %s; %s connected", r.Public[0], count(r.Peers, "peer")), "")
	case r.Seen == 0:
		return one(AreaReachability, Note, fmt.Sprintf("no peer has told yet whether it can reach this node; %s connected", count(r.Peers, "peer")),
			"Ask again in a minute; on a network of its own, without peers outside, this is as it should be.")
	case len(r.Relayed) > 0:
		return one(AreaReachability, Warning,
			fmt.Sprintf("reachable through relays only; %d of %s connected directly", r.Direct, count(r.Peers, "peer")), r.forward())
	}
	return one(AreaReachability, Warning, fmt.Sprintf("peers outside this network cannot reach this node; %s connected", count(r.Peers, "peer")), r.forward())
}

func (r *Reach) forward() string {
	if r.Port == 0 {
		return "Switch on UPnP in the router, or forward the port of `listen` to this machine, for TCP and UDP."
	}
	return fmt.Sprintf("Switch on UPnP in the router, or forward port %d to this machine, for TCP and UDP.", r.Port)
}

// Ports are where this node listens.
type Ports struct {
	Listening []string // addresses
	Taken     []Taken
	QUIC, TCP bool // whether it listens there at all
}

// Taken is an address that could not be had.
type Taken struct {
	Addr   string
	Holder string // program and pid; empty: not known
}

func (p *Ports) check() (all []Finding) {
	if p == nil {
		return nil
	}
	for _, t := range p.Taken {
		holder := "another process"
		if t.Holder != "" {
			holder = t.Holder
		}
		all = append(all, one(AreaPorts, Problem, fmt.Sprintf("%s is held by %s", t.Addr, holder),
			"End that process, or choose another port with --listen; port 0 takes a free one.")...)
	}
	switch {
	case len(p.Listening) == 0:
		return append(all, one(AreaPorts, Problem, "this node listens nowhere", "Set `listen` to /ip4/0.0.0.0/tcp/4170 and /ip4/0.0.0.0/udp/4170/quic-v1.")...)
	case !p.TCP:
		return append(all, one(AreaPorts, Warning, "no TCP address: bulk data takes three times the CPU over QUIC", "Add /ip4/0.0.0.0/tcp/4170 to `listen`.")...)
	case !p.QUIC:
		return append(all, one(AreaPorts, Warning, "no QUIC address: fewer networks can be crossed", "Add /ip4/0.0.0.0/udp/4170/quic-v1 to `listen`.")...)
	}
	return append(all, one(AreaPorts, OK, "listening on "+strings.Join(p.Listening, ", "), "")...)
}

// warnSkew is where a clock is worth a look, long before it matters.
const warnSkew = proto.MaxSkew / 4

// minClocks is how many peers make a majority worth believing.
const minClocks = 3

// Clock is how far the clocks of peers are ahead of ours, one entry a peer.
type Clock struct {
	Offsets []time.Duration // positive: the peer's clock is ahead
}

// check believes the middle of all peers, so that no few of them can make it cry
// wolf.
func (c *Clock) check() []Finding {
	if c == nil {
		return nil
	}
	if len(c.Offsets) < minClocks {
		return one(AreaClock, Note, fmt.Sprintf("compared with %s; %d are needed to tell", count(len(c.Offsets), "peer"), minClocks), "")
	}
	sorted := slices.Sorted(slices.Values(c.Offsets))
	median := sorted[len(sorted)/2]
	off, way := median, "behind"
	if median < 0 {
		off, way = -median, "ahead of"
	}
	off = off.Round(time.Millisecond)
	detail := fmt.Sprintf("this clock is %s %s that of most of %s", off, way, count(len(sorted), "peer"))
	const fix = "Switch on time synchronisation: timedatectl set-ntp true."
	switch {
	case off > proto.MaxSkew:
		return one(AreaClock, Problem, detail+fmt.Sprintf("; beyond %s peers refuse what it signs", proto.MaxSkew), fix)
	case off > warnSkew:
		return one(AreaClock, Warning, detail+fmt.Sprintf("; at %s peers refuse what it signs", proto.MaxSkew), fix)
	}
	return one(AreaClock, OK, fmt.Sprintf("within %s of most of %s", warnSkew, count(len(sorted), "peer")), "")
}

// Bootstrap is how the configured bootstrap peers do.
type Bootstrap struct {
	Peers []BootstrapPeer
	Saved int // peers that are known from earlier runs
	MDNS  bool
	Is    bool // this node is one itself
}

// A BootstrapPeer is one of them.
type BootstrapPeer struct {
	Peer    proto.PeerID
	Answers bool
	Why     string // it does not
}

func (b *Bootstrap) check() (all []Finding) {
	if b == nil {
		return nil
	}
	answering := 0
	for _, p := range b.Peers {
		if p.Answers {
			answering++
			continue
		}
		all = append(all, one(AreaBootstrap, Warning, fmt.Sprintf("bootstrap peer %s does not answer: %s", p.Peer, p.Why),
			"Ask its owner, or replace it in `bootstrap`; this node goes on trying.")...)
	}
	switch {
	case len(b.Peers) == 0 && b.Is:
		return one(AreaBootstrap, OK, "this node is a bootstrap node", "")
	case len(b.Peers) == 0 && b.Saved == 0 && !b.MDNS:
		return one(AreaBootstrap, Problem, "no bootstrap peer is set, none is known from before, and mDNS is off",
			"Name one with --bootstrap ADDR, or switch mDNS on.")
	case len(b.Peers) == 0 && b.Saved == 0:
		return one(AreaBootstrap, Note, "no bootstrap peer is set: only peers on this network will be found", "Name one with --bootstrap ADDR to join a larger mesh.")
	case len(b.Peers) == 0:
		return one(AreaBootstrap, OK, fmt.Sprintf("none is set; %s known from before", count(b.Saved, "peer")), "")
	case answering == 0 && b.Saved == 0:
		return append(one(AreaBootstrap, Problem, "no bootstrap peer answers, and no other peer is known from before",
			"Look whether this machine is online, then whether `bootstrap` is current."), all...)
	case answering == 0:
		return all
	}
	return append(one(AreaBootstrap, OK, fmt.Sprintf("%d of %s", answering, count(len(b.Peers), "bootstrap peer"))+" answer", ""), all...)
}

// Versions are the releases that are about.
type Versions struct {
	Own   string
	Peers map[string]int // how many peers have each; what strangers said, so bounded by who measures
}

// minVersions is how many peers make a majority worth mentioning.
const minVersions = 3

func (v *Versions) check() []Finding {
	if v == nil {
		return nil
	}
	total, most, common := 0, 0, ""
	for version, n := range v.Peers {
		total += n
		if n > most || n == most && version < common {
			most, common = n, version
		}
	}
	if total < minVersions || common == v.Own || most*2 <= total {
		return one(AreaVersion, OK, "this is "+v.Own, "")
	}
	return one(AreaVersion, Note, fmt.Sprintf("this is %s; %d of %s have %s", v.Own, most, count(total, "peer"), common),
		"Install the release that most have; if this one is newer, there is nothing to do.")
}
