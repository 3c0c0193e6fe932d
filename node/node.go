package node

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/mustermesh/muster/executor"
	"github.com/mustermesh/muster/internal/content"
	"github.com/mustermesh/muster/internal/eventlog"
	"github.com/mustermesh/muster/internal/livelog"
	"github.com/mustermesh/muster/internal/store"
	"github.com/mustermesh/muster/node/overlay"
	"github.com/mustermesh/muster/node/provider"
	"github.com/mustermesh/muster/node/requester"
	"github.com/mustermesh/muster/node/sandbox"
	"github.com/mustermesh/muster/p2p"
	"github.com/mustermesh/muster/proto"
	"github.com/mustermesh/muster/scheduler"
	"github.com/mustermesh/muster/trust"
)

// A node is everything that one process runs. Its fields are set while it opens
// and do not change while it runs.
type node struct {
	*overlay.Local
	cfg            Config
	db             *store.DB
	content        *content.Store
	ledger         *trust.Ledger
	acct           *accounts
	exec           executor.Executor
	print          executor.Fingerprint
	box            *sandbox.Box
	logs           *livelog.Spool
	provider       *provider.Provider // nil: lends nothing
	whyNotProvider string
	requester      *requester.Requester
	overlay        *overlay.Overlay // nil: offline
	access         *access
	told           instruments
	events         *eventlog.Log
	started        time.Time
	sequence       atomic.Uint64 // of adverts
	readHost       func(now time.Time) scheduler.Host
	leaving        chan struct{} // closed when the node begins to end
	server         atomic.Pointer[server]
}

// Init makes the home and the identity of cfg, and gives the node's id. Doing it
// again changes nothing.
func Init(cfg Config) (id string, err error) {
	if err := cfg.Validate(); err != nil {
		return "", err
	}
	if err := os.MkdirAll(cfg.Home, 0o700); err != nil {
		return "", fmt.Errorf("home: %w", err)
	}
	key, err := p2p.LoadOrCreateKey(cfg.keyPath())
	if err != nil {
		return "", err
	}
	self, err := proto.PeerIDFromBytes(key.Public().(ed25519.PublicKey))
	return self.String(), err
}

// Run opens a node, serves until ctx ends, and closes it in reverse order. It
// returns nil when ctx ended, and an error when the node cannot go on.
func Run(ctx context.Context, cfg Config, log *slog.Logger, parts Parts) error {
	n, closeNode, err := openPatiently(ctx, cfg, log, parts)
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		return nil // told to end while it began
	}
	if err != nil {
		return err
	}
	defer closeNode()
	return n.serve(ctx, cfg.socketPath(), parts.Ready)
}

// openPatience is how long a daemon waits for a command that just reads the
// home.
const openPatience = 3 * time.Second

// openPatiently opens a node; where a process has the home that does not answer
// on its socket, it is a command that only reads, and gone in a moment.
func openPatiently(ctx context.Context, cfg Config, log *slog.Logger, parts Parts) (*node, func(), error) {
	deadline := time.Now().Add(openPatience)
	for {
		n, closeNode, err := open(ctx, cfg, log, parts, true)
		var locked *store.LockedError
		if !errors.As(err, &locked) || time.Now().After(deadline) {
			return n, closeNode, err
		}
		if conn, dialErr := net.DialTimeout("unix", cfg.socketPath(), dialAnswer); dialErr == nil {
			conn.Close()
			return n, closeNode, err
		}
		select {
		case <-ctx.Done():
			return n, closeNode, err
		case <-time.After(dialRetry):
		}
	}
}

// open opens the parts of a node in order; the function that it gives closes
// them in reverse. Offline, there is no network.
func open(ctx context.Context, cfg Config, log *slog.Logger, parts Parts, online bool) (n *node, closeAll func(), err error) {
	if _, err := Init(cfg); err != nil {
		return nil, nil, err
	}
	var closers []func() error
	shut := func() {
		for _, c := range slices.Backward(closers) {
			if err := c(); err != nil {
				log.Error("close", "err", err)
			}
		}
	}
	defer func() {
		if err != nil {
			shut()
		}
	}()
	n = &node{cfg: cfg, started: time.Now(), leaving: make(chan struct{}), readHost: newHost()}
	n.events = eventlog.New(maxEvents, n.started)
	n.sequence.Store(uint64(n.started.UnixMilli()))

	log, recent := keepRecent(log)
	key, err := p2p.LoadOrCreateKey(cfg.keyPath())
	if err != nil {
		return nil, nil, err
	}
	if n.Local, err = overlay.NewLocal(key, cfg.Network, log); err != nil {
		return nil, nil, err
	}

	if err := n.openInstruments(recent); err != nil {
		return nil, nil, err
	}
	closers = append(closers, n.told.Close)

	if n.db, err = store.Open(cfg.Home, log.With("part", "store")); err != nil {
		return nil, nil, err
	}
	closers = append(closers, n.db.Close)

	if n.content, err = content.Open(filepath.Join(cfg.Home, "content"), contentKV{kv{n.db}}, content.DefaultConfig()); err != nil {
		return nil, nil, err
	}
	if n.ledger, err = trust.Open(trustKV{kv{n.db}}, trust.Config{MaxPeers: 20_000, KeepPerPeer: 256, KeepFor: 180 * 24 * time.Hour}); err != nil {
		return nil, nil, fmt.Errorf("trust: %w", err)
	}
	if n.acct, err = openAccounts(n.db); err != nil {
		return nil, nil, err
	}
	if err = emptyDir(cfg.tempPath()); err != nil {
		return nil, nil, err
	}

	if n.logs, err = livelog.Open(livelog.Config{Dir: filepath.Join(cfg.tempPath(), "logs"), PerStream: streamLog, Total: int64(cfg.LiveLogs)}); err != nil {
		return nil, nil, err
	}
	closers = append(closers, n.logs.Close)

	if n.exec, err = parts.openExecutor(cfg, log.With("part", "executor")); err != nil {
		return nil, nil, err
	}
	if c, ok := n.exec.(closer); ok {
		closers = append(closers, c.Close)
	}

	if online {
		if n.Net, err = p2p.Open(n.netConfig(), log.With("part", "p2p")); err != nil {
			return nil, nil, err
		}
		closers = append(closers, n.Net.Close)
	}
	return n, shut, n.assemble(ctx)
}

// streamLog is how much is kept of what one guest prints to one of its streams
// while it runs, in bytes.
const streamLog = 1 << 20

// emptyDir makes dir, without what an earlier run left in it.
func emptyDir(dir string) error {
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("temporary folder: %w", err)
	}
	return os.Mkdir(dir, 0o700)
}

func (n *node) netConfig() p2p.Config {
	return p2p.Config{
		Network: n.cfg.Network, Key: n.Key, Listen: n.cfg.Listen, Bootstrap: n.cfg.Bootstrap, Saved: n.savedPeers(),
		MDNS: n.cfg.MDNS, Agent: "muster/" + Version, ConnLow: n.cfg.ConnLow, ConnHigh: n.cfg.ConnHigh,
		RelayService: n.cfg.has(RoleBootstrap),
	}
}

// assemble joins the parts: the drivers, and what the network serves.
func (n *node) assemble(ctx context.Context) (err error) {
	if n.Net != nil && (n.cfg.has(RoleProvider) || n.cfg.has(RoleRequester)) {
		if n.print, err = n.exec.Fingerprint(ctx); err != nil {
			return fmt.Errorf("sandbox: %w", err)
		}
	}
	n.box = sandbox.New(sandbox.Config{
		Executor: n.exec, Engine: proto.Engine{Name: n.print.Engine, Version: n.print.Version, Arch: n.print.Arch},
		Content: n.content, Self: n.Self, Fetch: n.fetchInto, Temp: n.cfg.tempPath(),
		MaxProgram: n.cfg.MaxProgram, MaxInput: int64(n.cfg.Cache),
	})
	n.requester, err = requester.Open(ctx, n.Local, requester.Config{
		DB: n.db, Ledger: n.ledger, Accounts: n.acct, Box: n.box, LocalSlots: max(n.cfg.Lend.Slots, 1),
		Fetch: n.fetch, StandIn: n.started.Add(n.cfg.ClientWarmUp), Grace: n.cfg.Grace, Silence: n.silence(),
		Hedge: n.cfg.hedging(), Logs: n.logs, Meters: n.told.requesterMeters(),
		Events: n.events, KeepJobs: n.cfg.KeepJobs, KeepJobsMost: n.cfg.KeepJobsMost,
	})
	if err != nil || n.Net == nil {
		return err
	}
	if n.cfg.has(RoleProvider) {
		if err := n.openProvider(ctx); err != nil {
			return err
		}
	}
	if err := n.letGo(ctx); err != nil {
		return err
	}
	var lends overlay.Considerer // nil, not a provider that is nil
	if n.provider != nil {
		lends = lendingSide{n}
	}
	n.overlay = overlay.New(n.Local, lends, askingSide{n})
	n.overlay.Join()
	n.offer()
	return nil
}

// silence is how long providers go on with our tasks while we are out of touch:
// nobody waits for those of one command's node that is gone.
func (n *node) silence() time.Duration {
	if n.cfg.client {
		return overlay.LeaseSilence
	}
	return n.cfg.Grace
}

// openProvider makes the lending side, unless the sandbox is too weak for
// strangers.
func (n *node) openProvider(ctx context.Context) error {
	if n.print.Level < executor.LevelNamespaces && !n.cfg.AcceptWeakIsolation {
		n.whyNotProvider = fmt.Sprintf("the sandbox reaches isolation level %q on this host, not %q; lend anyway with --accept-weak-isolation", n.print.Level, executor.LevelNamespaces)
		n.Log.Warn("provider role is off", "err", n.whyNotProvider)
		return nil
	}
	settings, err := n.cfg.settings()
	if err != nil {
		return err
	}
	n.provider, err = provider.Open(ctx, n.Local, provider.Config{DB: n.db, Box: n.box, Accounts: n.acct, Machine: newMachine(n), Settings: settings, Meter: n.told.provided, Events: n.events})
	return err
}

// offer registers the services between nodes.
func (n *node) offer() {
	n.access = &access{self: n.Self, network: n.Network, content: n.content, leased: n.requester.Leased, now: n.Now}
	n.Net.ServeContent(sandbox.Blocks{Store: n.content}, n.access)
	n.Net.Serve(p2p.Service{
		Name: overlay.ProtoBid, MaxMessage: proto.MaxGossip, Deadline: overlay.BidTimeout, MaxStreamsPerPeer: 64, MaxStreams: 1024,
		Handle: n.requester.ServeBid,
	})
	lease := p2p.Service{Name: overlay.ProtoLease, MaxMessage: proto.MaxLeaseFrame, Deadline: overlay.LeaseSilence, MaxStreamsPerPeer: 64, MaxStreams: 1024}
	lease.Handle = func(ctx context.Context, s *p2p.Stream) error {
		if n.provider == nil {
			return s.Send(proto.Frame{Reply: &proto.AwardReply{Reason: proto.ReasonPolicy, Detail: "this node lends nothing"}}.Marshal())
		}
		return n.provider.ServeLease(ctx, s)
	}
	n.Net.Serve(lease)
}

// serve runs everything until ctx ends and what runs here for others is done,
// then lets go in order.
func (n *node) serve(ctx context.Context, socket string, ready func(Info)) error {
	api, err := listenAPI(socket)
	if err != nil {
		return err
	}
	defer os.Remove(socket)
	work, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	g, run := errgroup.WithContext(work)
	n.Begin(run)
	g.Go(func() error {
		defer end()
		n.stay(ctx, run)
		close(n.leaving)
		return nil
	})
	g.Go(func() error { return serveAPI(run, n, api) })
	g.Go(func() error { return n.requester.Run(run) })
	g.Go(func() error { return n.told.Run(run) })
	if r, ok := n.exec.(runner); ok {
		g.Go(func() error { return r.Run(run) })
	}
	if n.provider != nil {
		g.Go(func() error { return n.provider.Run(run) })
	}
	if n.Net != nil {
		g.Go(func() error { return n.runNet(run) })
		g.Go(func() error { return n.overlay.Run(run) })
		g.Go(func() error { return n.housekeep(run) })
	}
	if n.Net == nil || n.Net.Ready(run) == nil { // else it ends, and says why
		if ready != nil {
			ready(n.info(socket))
		}
		n.happened("started", "version "+Version)
		n.Log.Info("serving", "peer", n.Self, "addrs", n.info(socket).Addrs)
	}
	err = g.Wait()
	return errors.Join(err, n.Wait(), n.savePeers(context.WithoutCancel(work)))
}

// partingTimeout is how long requesters get to read the last that they are told.
const partingTimeout = 2 * time.Second

// stay waits until the node is told to end, by ctx, and then for what runs here
// for others, within limits; or until run ends, because a part cannot go on.
func (n *node) stay(ctx, run context.Context) {
	select {
	case <-ctx.Done():
	case <-run.Done():
		return
	}
	if n.provider == nil || n.cfg.DrainTimeout == 0 {
		return
	}
	n.provider.Drain(true)
	running := n.provider.UnderWay()
	if running == 0 {
		return
	}
	n.Log.Warn("ending: what runs here for others may come to its end first; a second signal leaves at once", "running", running, "at_most", n.cfg.DrainTimeout)
	limit, cancel := context.WithTimeout(run, n.cfg.DrainTimeout)
	defer cancel()
	left := n.provider.Rested(limit)
	soon, cancel := context.WithTimeout(run, partingTimeout)
	defer cancel()
	n.provider.Part(soon)
	if left > 0 {
		n.Log.Warn("ending: what still runs is cut off, and taken up again by this node's next run", "running", left)
	}
}

// runNet runs the network; to be told to end while it starts is no failure.
func (n *node) runNet(ctx context.Context) error {
	if err := n.Net.Run(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

func (n *node) info(socket string) Info {
	i := Info{ID: n.Self.String(), Socket: socket}
	if n.Net != nil {
		i.Addrs = n.Net.Addrs()
	}
	return i
}

// housekeepEvery is how often the cache is trimmed and peers are saved.
const housekeepEvery = time.Minute

func (n *node) housekeep(ctx context.Context) error {
	tick := time.NewTicker(housekeepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			if err := n.savePeers(ctx); err != nil {
				return err
			}
			c, err := n.content.GC(ctx, int64(n.cfg.Cache))
			if err != nil && ctx.Err() == nil {
				n.Log.Error("trim cache", "err", err)
			}
			if err == nil {
				n.told.kept.Store(c.After)
			}
		}
	}
}

// fetch brings a root here from peers; without any, from whoever the DHT names.
func (n *node) fetch(ctx context.Context, root proto.CID, from []proto.PeerID, most int64) error {
	if n.Net == nil {
		return errOffline
	}
	release := n.content.Hold()
	defer release()
	return n.Net.Fetch(ctx, p2p.FetchRequest{Root: root, From: from, MaxBytes: most}, sandbox.Blocks{Store: n.content})
}

// fetchInto is fetch for a task, into what its owner may see.
func (n *node) fetchInto(ctx context.Context, into *sandbox.View, root proto.CID, from []proto.PeerID, most int64) error {
	if n.Net == nil {
		return errOffline
	}
	return n.Net.Fetch(ctx, p2p.FetchRequest{Root: root, From: from, MaxBytes: most}, into)
}

// A lendingSide is the provider as the overlay sees it.
type lendingSide struct{ n *node }

// Consider has an announcement answered.
func (l lendingSide) Consider(h overlay.Heard) { l.n.provider.Consider(h) }

// Advert says what is lent now.
func (l lendingSide) Advert() proto.Advert { return l.n.advert() }

// An askingSide is the requester as the overlay sees it.
type askingSide struct{ n *node }

// Looking tells whether more providers are wanted: while the node is young, or
// a job waits.
func (a askingSide) Looking() bool {
	return a.n.Now().Sub(a.n.started) < 5*a.n.cfg.ClientWarmUp || a.n.requester.Waiting()
}

func (n *node) roles() (roles []string) {
	for _, r := range n.cfg.Roles {
		if r != RoleProvider || n.provider != nil {
			roles = append(roles, r)
		}
	}
	if n.cfg.client {
		roles = append(roles, "client")
	}
	return roles
}

func (n *node) warnings() (ws []string) {
	if n.whyNotProvider != "" {
		ws = append(ws, n.whyNotProvider)
	}
	if n.Net != nil && len(n.cfg.Bootstrap) > 0 {
		if _, ok := n.Net.Bootstrapped(); !ok {
			ws = append(ws, "no bootstrap peer answers, and no other peer is known yet")
		}
	}
	return ws
}
