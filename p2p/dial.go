package p2p

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	"golang.org/x/sync/errgroup"
)

const (
	enoughPeers = 8 // with fewer, peers known from before are dialled again
	dialsAtOnce = 8
	dialTime    = 15 * time.Second
	maxSaved    = 64 // saved peers that are dialled; the first ones are the latest
)

// BootstrapStatus says how it went with one bootstrap peer.
type BootstrapStatus struct {
	Addrs     []string // multiaddrs with /p2p/
	Connected bool
	Tried     time.Time // last time; zero: not yet
	Err       string    // why the last try failed; empty: it did not
}

// A dialList holds the peers known from the configuration and from earlier runs.
type dialList struct {
	mu      sync.Mutex // guards what the targets hold, but for info and saved
	targets []*dialTarget
	warned  bool
}

type dialTarget struct {
	info    peer.AddrInfo
	saved   bool // from an earlier run, else a bootstrap peer
	reached bool // in this run
	tried   time.Time
	due     time.Time
	wait    time.Duration // until the next try, if this one fails
	err     error
}

// newDialList expects a valid configuration; saved addresses may be anything.
func newDialList(cfg Config, self peer.ID) *dialList {
	l := new(dialList)
	boot, _ := parseTargets(cfg.Bootstrap) // Validate has read them
	seen := map[peer.ID]bool{self: true}
	for _, info := range boot {
		if !seen[info.ID] {
			seen[info.ID] = true
			l.targets = append(l.targets, &dialTarget{info: info})
		}
	}
	saved := make(map[peer.ID]*dialTarget)
	for _, s := range cfg.Saved[:min(len(cfg.Saved), maxAddrs)] {
		info, err := parseTarget(s)
		if err != nil || seen[info.ID] {
			continue
		}
		if t := saved[info.ID]; t != nil {
			t.info.Addrs = append(t.info.Addrs, info.Addrs...)
		} else if len(saved) < maxSaved {
			saved[info.ID] = &dialTarget{info: info, saved: true}
			l.targets = append(l.targets, saved[info.ID])
		}
	}
	return l
}

// Bootstrapped tells how it went with each bootstrap peer, and whether this node
// knows any peer of its network at all.
func (h *Host) Bootstrapped() (status []BootstrapStatus, ok bool) {
	h.dials.mu.Lock()
	defer h.dials.mu.Unlock()
	for _, t := range h.dials.targets {
		if t.saved {
			continue
		}
		s := BootstrapStatus{Connected: h.connected(t.info.ID), Tried: t.tried}
		for _, a := range t.info.Addrs {
			s.Addrs = append(s.Addrs, fullAddr(a, t.info.ID))
		}
		if t.err != nil {
			s.Err = t.err.Error()
		}
		status = append(status, s)
	}
	return status, len(h.peers.members()) > 0
}

// runDials dials bootstrap and saved peers until ctx ends: each once, then
// again, ever less often, while it was never reached or peers are few.
func (h *Host) runDials(ctx context.Context) error {
	if len(h.dials.targets) == 0 {
		return nil
	}
	for {
		h.dialDue(ctx)
		timer := time.NewTimer(time.Until(h.dials.nextDue()))
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
	}
}

func (h *Host) dialDue(ctx context.Context) {
	var g errgroup.Group
	g.SetLimit(dialsAtOnce)
	for _, t := range h.dials.dueNow(time.Now()) {
		g.Go(func() error {
			h.dialTarget(ctx, t)
			return nil
		})
	}
	_ = g.Wait() // the functions give no error
	h.dials.warnOnce(ctx, h)
}

func (l *dialList) dueNow(now time.Time) (due []*dialTarget) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, t := range l.targets {
		if !t.due.After(now) {
			due = append(due, t)
		}
	}
	return due
}

func (l *dialList) nextDue() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	first := l.targets[0].due
	for _, t := range l.targets {
		if t.due.Before(first) {
			first = t.due
		}
	}
	return first
}

// dialTarget tries one peer, unless it is connected or not needed, and plans the
// next look at it.
func (h *Host) dialTarget(ctx context.Context, t *dialTarget) {
	connected := h.net.Network().Connectedness(t.info.ID) == network.Connected
	few := len(h.peers.members()) < enoughPeers
	var err error
	tried := !connected && (few || !t.reached)
	if tried {
		h.clearBackoff(t.info.ID)
		ctx, cancel := context.WithTimeout(ctx, dialTime)
		err = h.connect(ctx, t.info)
		cancel()
	}
	if ctx.Err() != nil {
		return
	}
	h.dials.note(t, tried, err, h.pace)
	if tried && err == nil {
		h.dht.RefreshRoutingTable() // the answer comes on a channel that need not be read
	}
}

func (l *dialList) note(t *dialTarget, tried bool, err error, pace pace) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	t.err = err
	if tried {
		t.tried = now
	}
	if err == nil {
		t.reached, t.wait = true, pace.dialFirst
		t.due = now.Add(jitter(max(10*pace.dialFirst, time.Second)))
		return
	}
	t.wait = min(max(2*t.wait, pace.dialFirst), pace.dialLast)
	t.due = now.Add(jitter(t.wait))
}

// jitter gives a time within a quarter of d, so that nodes that lost the same
// peer do not come back in step.
func jitter(d time.Duration) time.Duration {
	return d - d/4 + rand.N(d/2+1)
}

// warnOnce says so when the first round reached no bootstrap peer.
func (l *dialList) warnOnce(ctx context.Context, h *Host) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.warned || ctx.Err() != nil {
		return
	}
	l.warned = true
	var last error
	for _, t := range l.targets {
		if !t.saved && t.reached {
			return
		}
		if !t.saved && t.err != nil {
			last = t.err
		}
	}
	if last != nil {
		h.log.Warn("no bootstrap peer can be reached; this node goes on and tries again", "part", "p2p", "err", last)
	}
}

// clearBackoff has the library dial p at once: the plan here is its own.
func (h *Host) clearBackoff(p peer.ID) {
	if s, ok := h.net.Network().(*swarm.Swarm); ok {
		s.Backoff().Clear(p)
	}
}
