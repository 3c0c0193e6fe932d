package provider

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mustermesh/muster/internal/eventlog"
	"github.com/mustermesh/muster/internal/store"
	"github.com/mustermesh/muster/node/overlay"
	"github.com/mustermesh/muster/node/sandbox"
	"github.com/mustermesh/muster/p2p"
	"github.com/mustermesh/muster/proto"
	"github.com/mustermesh/muster/scheduler"
)

// Accounts keep what peers owe for their tasks. Safe for concurrent use.
type Accounts interface {
	// Owed gives what a peer owes this node, less what this node owes it; at least
	// zero.
	Owed(id proto.PeerID) proto.Credits
	// Add notes what a peer was charged, and what it charged.
	Add(ctx context.Context, id proto.PeerID, earned, spent proto.Credits) error
}

// A Provider carries out the lending side: it answers announcements with bids,
// takes leases, runs tasks in the sandbox and answers. What it does is decided
// by a [scheduler.Book]. Safe for concurrent use.
type Provider struct {
	*overlay.Local
	db   *store.DB
	box  *sandbox.Box
	acct Accounts
	kept map[string]bool // tags of outputs that an earlier run left; not changed after Open
	past past

	machine Machine

	mu       sync.Mutex // guards all below
	book     *scheduler.Book
	leases   map[proto.LeaseID]*lent
	trash    [][]byte                     // keys of records to remove
	refused  map[overlay.HeardKey]refused // announcements: answered again when something has changed
	settings scheduler.Settings
	gate     scheduler.Gate
	host     scheduler.Host // as it was last read
	draining bool
	underWay int           // executions that are not wholly over
	rested   chan struct{} // closed when there is none; nil: nobody waits for that

	done, failed atomic.Uint64
	refusals     [32]atomic.Uint64 // by reason
	counts       counts
	meter        Meter
	events       *eventlog.Log
}

// A Config is what a [Provider] works with. All of it must be set.
type Config struct {
	DB       *store.DB
	Box      *sandbox.Box
	Accounts Accounts
	Machine  Machine
	Settings scheduler.Settings
	Meter    Meter // of executions, start to end
	Events   *eventlog.Log
}

// Open makes a provider that goes on with what an earlier run promised. Nothing
// is lent before its Run.
func Open(ctx context.Context, c *overlay.Local, cfg Config) (*Provider, error) {
	p := &Provider{
		Local: c, db: cfg.DB, box: cfg.Box, acct: cfg.Accounts, meter: cfg.Meter, events: cfg.Events, kept: make(map[string]bool), machine: cfg.Machine,
		leases: make(map[proto.LeaseID]*lent), refused: make(map[overlay.HeardKey]refused), settings: cfg.Settings,
	}
	p.host = cfg.Machine.Host(p.Now())
	p.book = scheduler.NewBook(p.lending())
	return p, p.restore(ctx)
}

// Stats are what a provider does, and did since it was made.
type Stats struct {
	Leases   int                     // open now
	Busy     int                     // slots in use
	Queued   int                     // tasks that wait for one
	Kept     int                     // results that wait for their requester
	Done     uint64                  // tasks that gave an answer
	Failed   uint64                  // tasks that gave none
	Refusals map[proto.Reason]uint64 // of announcements and awards
}

// Stats tells what the provider does.
func (p *Provider) Stats() Stats {
	s := Stats{Done: p.done.Load(), Failed: p.failed.Load(), Refusals: make(map[proto.Reason]uint64)}
	for r := range p.refusals {
		if c := p.refusals[r].Load(); c > 0 {
			s.Refusals[proto.Reason(r)] = c
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	s.Leases, s.Busy, s.Queued, s.Kept = p.book.Leases(), p.book.Busy(), p.book.Queued(), p.book.Kept()
	return s
}

// Keeps tells whether the output pinned under tag is of a result that an earlier
// run left and this one keeps. It is true from Open on, whatever becomes of it.
func (p *Provider) Keeps(tag string) bool { return p.kept[tag] }

// Run serves until ctx ends, and returns when all executions have stopped.
func (p *Provider) Run(ctx context.Context) error {
	tick := time.NewTicker(scheduler.IdleLease / 4)
	defer tick.Stop()
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	p.Look()
	p.startNext() // what an earlier run left
	for {
		select {
		case <-ctx.Done():
			p.Sweep(context.WithoutCancel(ctx)) // so that no record is left of what is over
			return nil
		case <-tick.C:
			p.Sweep(ctx)
		case <-look.C:
			p.Look()
		}
	}
}

// Sweep lets idle leases go, stops what runs for requesters that were silent too
// long, and forgets results whose time is over.
func (p *Provider) Sweep(ctx context.Context) {
	p.mu.Lock()
	swept := p.book.Sweep(p.Now())
	var idle []*p2p.Stream
	for _, id := range swept.Idle {
		if l := p.leases[id]; l != nil && l.stream != nil {
			idle = append(idle, l.stream)
		}
	}
	for _, r := range swept.Stop {
		if l := p.leases[r.Lease]; l != nil {
			l.stop(r.Execution)
		}
	}
	var tags []string
	var over [][]byte // keys of leases
	for _, r := range swept.Forget {
		if l := p.leases[r.Lease]; l != nil {
			tags = append(tags, resultTag(l.from, r.Execution))
			p.discard(workKey(l.from, r.Lease, r.Execution))
		}
	}
	for _, id := range swept.Over {
		if l := p.leases[id]; l != nil {
			over = append(over, leaseKey(l.from, id))
			delete(p.leases, id)
		}
	}
	p.mu.Unlock()
	for _, s := range idle {
		if err := s.Send(proto.Frame{Release: true}.Marshal()); err == nil {
			s.Close()
		}
	}
	for _, tag := range tags {
		p.forget(ctx, tag)
	}
	for _, lease := range over {
		keys, err := p.remains(lease)
		if err != nil {
			p.Log.Error("what is left of a lease stays", "err", err)
		}
		p.discardAll(keys)
	}
	p.empty(ctx)
}

func (p *Provider) forget(ctx context.Context, tag string) {
	if err := p.box.Content().Release(ctx, tag); err != nil {
		p.Log.Warn("unpin output", "err", err)
	}
}
