package node

import (
	"context"
	"io/fs"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mustermesh/muster/internal/doctor"
	"github.com/mustermesh/muster/node/provider"
	"github.com/mustermesh/muster/proto"
)

// facts measures what the doctor looks at. Of a node without a network, or one
// that lives for a command alone, what only a daemon knows is left out.
func (n *node) facts(ctx context.Context) doctor.Facts {
	f := doctor.Facts{Disk: n.diskFacts(ctx), Sandbox: n.sandboxFacts(ctx), Limits: n.limitFacts(), Home: n.homeFacts(), Versions: &doctor.Versions{Own: Version}}
	if n.Net == nil {
		return f
	}
	f.Reach, f.Ports = n.reachFacts()
	f.Bootstrap, f.Versions = n.bootstrapFacts(), n.versionFacts()
	f.Clock = &doctor.Clock{Offsets: n.overlay.Clocks.Offsets(n.Now(), n.Connected)}
	if n.provider != nil || !n.cfg.client && !n.cfg.has(RoleProvider) {
		f.Provider = n.providerFacts()
	}
	return f
}

// clockOffset is how far the middle of the connected peers' clocks is ahead of
// ours; it is not known of less than three.
func (n *node) clockOffset() (time.Duration, bool) {
	offsets := n.overlay.Clocks.Offsets(n.Now(), n.Connected)
	if len(offsets) < 3 {
		return 0, false
	}
	slices.Sort(offsets)
	return offsets[len(offsets)/2], true
}

func (n *node) diskFacts(ctx context.Context) *doctor.Disk {
	free, total, err := diskRoom(n.cfg.Home)
	if err != nil {
		return nil
	}
	kept := n.told.kept.Load()
	if kept == 0 {
		if kept, err = n.content.Usage(ctx); err != nil {
			kept = 0 // it is only of help
		}
	}
	return &doctor.Disk{Path: n.cfg.Home, Free: free, Total: total, Cache: uint64(kept), Quota: n.cfg.Cache}
}

func (n *node) sandboxFacts(ctx context.Context) *doctor.Sandbox {
	s := &doctor.Sandbox{
		Lends: n.cfg.has(RoleProvider) && !n.cfg.client, Accepted: n.cfg.AcceptWeakIsolation, OS: runtime.GOOS, Kernel: doctor.ReadKernel(os.DirFS("/")),
	}
	print, err := n.exec.Fingerprint(ctx) // known already, unless there is no network
	if err != nil {
		s.Broken = err.Error()
		return s
	}
	s.Level = print.Level.String()
	for _, l := range print.Layers {
		s.Layers = append(s.Layers, doctor.Layer{Name: l.Name, On: l.On, Detail: l.Detail})
	}
	return s
}

func (n *node) limitFacts() *doctor.Limits {
	l := processLimits()
	if l == nil || n.Net == nil {
		return l
	}
	l.UsesQUIC = slices.ContainsFunc(n.Net.Reach().Listening, isQUIC)
	if n.provider != nil {
		l.Lent = n.provider.Lending().Advert.Offered.Memory
	}
	return l
}

func isQUIC(addr string) bool { return strings.Contains(addr, "/quic-v1") }

func (n *node) homeFacts() *doctor.Home {
	h := &doctor.Home{Path: n.cfg.Home, Network: remoteFiles(n.cfg.Home)}
	if info, err := os.Stat(n.cfg.Home); err == nil {
		h.Mode, h.Foreign = info.Mode(), foreign(info)
	}
	mode := func(path string) (fs.FileMode, bool) {
		info, err := os.Stat(path)
		if err != nil {
			return 0, false
		}
		return info.Mode(), true
	}
	key, there := mode(n.cfg.keyPath())
	h.KeyMode, h.NoKey = key, !there
	socket, there := mode(n.cfg.socketPath())
	h.SocketMode, h.NoSocket = socket, !there
	h.Deaf = there && n.Net == nil // we have the home, and it is not ours: of one that was killed
	return h
}

func (n *node) reachFacts() (*doctor.Reach, *doctor.Ports) {
	reach := n.Net.Reach()
	direct, relayed := n.paths()
	r := &doctor.Reach{
		Client: n.cfg.client, Public: reach.Public, Local: reach.Local, Relayed: reach.Relayed, Peers: direct + relayed, Direct: direct,
	}
	if len(reach.Public)+len(reach.Unreachable) > 0 {
		r.Seen = r.Peers // some of them have tried
	}
	p := &doctor.Ports{Listening: reach.Listening}
	for _, a := range reach.Listening {
		p.QUIC = p.QUIC || isQUIC(a)
		if port, ok := tcpPort(a); ok {
			p.TCP, r.Port = true, port
		}
	}
	return r, p
}

// tcpPort gives the port of a TCP address.
func tcpPort(addr string) (int, bool) {
	parts := strings.Split(addr, "/")
	i := slices.Index(parts, "tcp")
	if i < 0 || i+1 >= len(parts) {
		return 0, false
	}
	port, err := strconv.Atoi(parts[i+1])
	return port, err == nil
}

func (n *node) bootstrapFacts() *doctor.Bootstrap {
	b := &doctor.Bootstrap{Saved: max(len(n.savedPeers()), len(n.Net.Known())), MDNS: n.cfg.MDNS, Is: n.cfg.has(RoleBootstrap)}
	status, _ := n.Net.Bootstrapped()
	for _, s := range status {
		p := doctor.BootstrapPeer{Answers: s.Connected || s.Err == "" && !s.Tried.IsZero(), Why: s.Err}
		if len(s.Addrs) > 0 {
			text := s.Addrs[0][strings.LastIndexByte(s.Addrs[0], '/')+1:]
			p.Peer, _ = proto.ParsePeerID(text) // of a configured address, which was read before
		}
		if p.Why == "" {
			p.Why = "it was not tried yet"
		}
		b.Peers = append(b.Peers, p)
	}
	return b
}

// maxVersions is how many different releases of peers are told apart: what they
// say is their own word.
const maxVersions = 64

func (n *node) versionFacts() *doctor.Versions {
	v := &doctor.Versions{Own: Version, Peers: map[string]int{}}
	for _, p := range n.Net.Peers() {
		version, ok := strings.CutPrefix(p.Agent, "muster/")
		if _, known := v.Peers[version]; ok && (known || len(v.Peers) < maxVersions) {
			v.Peers[version]++
		}
	}
	return v
}

// providerFacts looks at what came of the announcements of the last hour.
func (n *node) providerFacts() *doctor.Provider {
	p := &doctor.Provider{Asked: n.cfg.has(RoleProvider)}
	if n.provider == nil {
		return p
	}
	l := n.provider.Lending()
	p.Draining = l.Draining
	if len(l.Held) > 0 {
		p.HeldBack = l.Held[0].String()
	}
	p.NoSlots = n.provider.Stats().Busy >= l.Advert.Slots
	now := n.Now()
	x := provider.Explain(n.provider.Past(now.Add(-time.Hour)), now)
	p.Seen, p.Bids, p.Won = x.Seen, x.Bids, x.Won
	if len(x.Reasons) > 0 {
		p.TopWhy = x.Reasons[0].Text
	}
	p.TopFix = "See all reasons with `muster provider explain`."
	if len(x.Changes) > 0 {
		p.TopFix = x.Changes[0].Text + "; all that would help is in `muster provider explain`."
	}
	return p
}
