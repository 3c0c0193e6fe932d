package p2p

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mustermesh/muster/proto"

	"github.com/libp2p/go-libp2p"
	dht "github.com/libp2p/go-libp2p-kad-dht"
	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	"github.com/libp2p/go-libp2p/core/protocol"
	ma "github.com/multiformats/go-multiaddr"
	"golang.org/x/sync/errgroup"
)

// What a caller can ask about.
var (
	// ErrStopped says that the host does not run any more.
	ErrStopped = errors.New("network host stopped")
	// ErrUnreachable says that a peer cannot be connected to.
	ErrUnreachable = errors.New("peer unreachable")
	// ErrOtherNetwork says that a peer takes part in another network.
	ErrOtherNetwork = errors.New("peer belongs to another network")
)

// A Host is this node in the network. Make it with [Open], tell it what to serve
// and join, then [Host.Run] it. All methods may be called from several
// goroutines, except that Serve, Join, ServeContent, OnConnect and OnDisconnect
// come before Run.
type Host struct {
	cfg    Config
	log    *slog.Logger
	id     proto.PeerID
	prefix string // of protocol ids and topics: /muster/<network>/
	listen []ma.Multiaddr

	net     host.Host
	gate    *gate
	peers   *peerTable
	dials   *dialList
	strikes *strikes
	stats   *statsTable
	pace    pace

	dialledBack atomic.Pointer[event.EvtHostReachableAddrsChanged] // nil: no word yet

	mu       sync.Mutex // guards the fields to the next blank line
	begun    bool
	services map[string]*service
	topics   map[string]*topic
	caps     map[string]struct{}

	capsChanged chan struct{} // room for one: a mark, not a count
	started     chan struct{} // closed when the fields below are set
	stopped     chan struct{} // closed when Run returns
	dht         *dht.IpfsDHT
	gossip      *pubsub.PubSub
}

// pace holds the times that tests shorten.
type pace struct {
	block     time.Duration // for one block of content, on both ends
	dialFirst time.Duration // between tries of an unreachable peer, at first
	dialLast  time.Duration // and in the end
	announce  time.Duration // between two adverts of the same capability
	announce0 time.Duration // until the next try while nobody takes the advert
}

var normalPace = pace{
	block: 30 * time.Second, dialFirst: time.Second, dialLast: 5 * time.Minute,
	announce: 10 * time.Minute, announce0: time.Second,
}

// Open binds the listen addresses and loads nothing else; no peer is dialled,
// and none is let in, before [Host.Run]. An address that another process has is
// refused with a [*PortTakenError]. Close the host when done.
func Open(cfg Config, log *slog.Logger) (*Host, error) { return open(cfg, log, replaced{}) }

// replaced holds what a simulation puts in place of the real thing.
type replaced struct {
	options   []libp2p.Option // appended to ours
	noSockets bool            // transports, resource limits and NAT come with options
	pace      *pace
}

func open(cfg Config, log *slog.Logger, with replaced) (*Host, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	h, err := newHost(cfg, log)
	if err != nil {
		return nil, err
	}
	if with.pace != nil {
		h.pace = *with.pace
	}
	if !with.noSockets {
		if err := probePorts(h.listen); err != nil {
			return nil, err
		}
	}
	opts, err := h.options(with)
	if err != nil {
		return nil, err
	}
	if h.net, err = libp2p.New(opts...); err != nil {
		return nil, listenError(h.listen, err)
	}
	if err := allBound(h.listen, h.net.Network().ListenAddresses()); err != nil {
		return nil, errors.Join(err, h.net.Close())
	}
	return h, nil
}

func newHost(cfg Config, log *slog.Logger) (*Host, error) {
	key, err := crypto.UnmarshalEd25519PrivateKey(cfg.Key)
	if err != nil {
		return nil, fmt.Errorf("%w: key: %v", ErrConfig, err)
	}
	pid, err := peer.IDFromPrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("%w: key: %v", ErrConfig, err)
	}
	id, err := fromPeer(pid)
	if err != nil {
		return nil, err
	}
	listen, err := parseListen(cfg.Listen)
	if err != nil {
		return nil, err
	}
	return &Host{
		cfg: cfg, log: log, id: id, prefix: "/muster/" + cfg.Network + "/", listen: listen, pace: normalPace,
		gate: newGate(cfg.Blocked, cfg.AllowOnly), peers: newPeerTable(), dials: newDialList(cfg, pid),
		strikes: newStrikes(), stats: newStatsTable(),
		services: make(map[string]*service), topics: make(map[string]*topic), caps: make(map[string]struct{}),
		capsChanged: make(chan struct{}, 1), started: make(chan struct{}), stopped: make(chan struct{}),
	}, nil
}

// ID gives this node's peer id.
func (h *Host) ID() proto.PeerID { return h.id }

// Addrs gives the full multiaddrs, with /p2p/, under which this node can be
// reached as far as it knows.
func (h *Host) Addrs() []string {
	var out []string
	for _, a := range h.net.Addrs() {
		out = append(out, fullAddr(a, h.net.ID()))
	}
	return out
}

func fullAddr(a ma.Multiaddr, id peer.ID) string { return a.String() + "/p2p/" + id.String() }

// Close ends all connections and frees the ports. Call it after Run returned.
func (h *Host) Close() error { return h.net.Close() }

// Run serves, joins, dials and answers until ctx ends, and returns nil when all
// of that has stopped. It can run once.
func (h *Host) Run(ctx context.Context) error {
	if err := h.begin(); err != nil {
		return err
	}
	defer close(h.stopped)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // gossip ends by it
	watch, err := h.peers.subscribe(h.net)
	if err != nil {
		return fmt.Errorf("subscribe to connections: %w", err)
	}
	defer watch.Close()
	if h.dht, err = h.newDHT(); err != nil {
		return fmt.Errorf("start the DHT: %w", err)
	}
	defer h.dht.Close()
	g, ctx := errgroup.WithContext(ctx)
	if err := h.startGossip(ctx, g); err != nil {
		return fmt.Errorf("start gossip: %w", err)
	}
	stopServing := h.startServing(ctx)
	defer stopServing()
	h.gate.open.Store(true)
	defer h.gate.open.Store(false)
	close(h.started)
	g.Go(func() error { return h.peers.watch(ctx, h, watch) })
	for range connectWorkers {
		g.Go(func() error { return h.peers.work(ctx, h) })
	}
	g.Go(func() error { return h.runDials(ctx) })
	g.Go(func() error { return h.advertise(ctx) })
	g.Go(func() error { return h.measure(ctx) })
	g.Go(func() error { return h.watchReach(ctx) })
	g.Go(func() error { return h.runMDNS(ctx) })
	err = g.Wait()
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return nil
	}
	return err
}

// Ready waits until Run serves: until then no peer is let in. It gives
// [ErrStopped] once Run has returned.
func (h *Host) Ready(ctx context.Context) error {
	select {
	case <-h.stopped:
		return ErrStopped
	default:
	}
	select {
	case <-h.started:
		return nil
	case <-h.stopped:
		return ErrStopped
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (h *Host) begin() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.begun {
		return errors.New("network host runs already or has run")
	}
	h.begun = true
	return nil
}

// mustBeEarly panics where what is to be set before Run is set after it: that is
// a mistake of the program, not of a peer.
func (h *Host) mustBeEarly(what string) {
	if h.begun {
		panic("p2p: " + what + " after Run")
	}
}

// protocolID gives the protocol id of a service: name is like "bid/1.0.0".
func (h *Host) protocolID(name string) protocol.ID { return protocol.ID(h.prefix + name) }

// Connect connects to a peer at addr, a multiaddr with /p2p/, and tells its id.
func (h *Host) Connect(ctx context.Context, addr string) (proto.PeerID, error) {
	info, err := parseTarget(addr)
	if err != nil {
		return proto.PeerID{}, err
	}
	id, err := fromPeer(info.ID)
	if err != nil {
		return proto.PeerID{}, err
	}
	return id, h.connect(ctx, info)
}

// ConnectPeer connects to a peer at one of addrs (multiaddrs, with or without
// /p2p/), or, where there are none, at the addresses that the DHT gives.
func (h *Host) ConnectPeer(ctx context.Context, id proto.PeerID, addrs []string) error {
	info := peer.AddrInfo{ID: toPeer(id)}
	for _, s := range addrs {
		a, err := ma.NewMultiaddr(s)
		if err != nil {
			return fmt.Errorf("%w: address %q: %v", ErrConfig, s, err)
		}
		transport, of := peer.SplitAddr(a)
		if of != "" && of != info.ID {
			return fmt.Errorf("%w: address %q is not of peer %s", ErrConfig, s, id)
		}
		if transport != nil {
			info.Addrs = append(info.Addrs, transport)
		}
	}
	if len(info.Addrs) > 0 {
		return h.connect(ctx, info)
	}
	return h.reach(ctx, info.ID)
}

// reach connects to p unless it is connected, and asks the DHT for addresses
// where none are known.
func (h *Host) reach(ctx context.Context, p peer.ID) error {
	if h.connected(p) {
		return nil
	}
	if len(h.net.Peerstore().Addrs(p)) > 0 {
		return h.connect(ctx, peer.AddrInfo{ID: p})
	}
	if err := h.Ready(ctx); err != nil {
		return err
	}
	info, err := h.dht.FindPeer(ctx, p)
	if err != nil {
		return fmt.Errorf("%w: %s: %w", ErrUnreachable, p, err)
	}
	return h.connect(ctx, info)
}

func (h *Host) connected(p peer.ID) bool {
	c := h.net.Network().Connectedness(p)
	return c == network.Connected || c == network.Limited
}

// connect dials, once we serve, and waits for the identification, so that a peer
// of another network is told apart.
func (h *Host) connect(ctx context.Context, info peer.AddrInfo) error {
	if err := h.Ready(ctx); err != nil {
		return err
	}
	if err := h.net.Connect(ctx, info); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrUnreachable, info.ID, err)
	}
	switch v, ok := h.version(info.ID); {
	case ok && v != h.prefix:
		return fmt.Errorf("%w: %s speaks %.80q", ErrOtherNetwork, info.ID, v)
	case !h.connected(info.ID):
		return fmt.Errorf("%w: %s: it closed the connection at once; it may belong to another network or not want us", ErrUnreachable, info.ID)
	}
	return nil
}

// version gives what an identified peer said of its network.
func (h *Host) version(p peer.ID) (string, bool) {
	v, err := h.net.Peerstore().Get(p, "ProtocolVersion")
	if err != nil {
		return "", false
	}
	s, ok := v.(string)
	return s, ok
}

// remember keeps addresses that came with a message, for a while.
func (h *Host) remember(info peer.AddrInfo) {
	h.net.Peerstore().AddAddrs(info.ID, info.Addrs, peerstore.TempAddrTTL)
}
