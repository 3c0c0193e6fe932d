package requester

import (
	"cmp"
	"context"
	crand "crypto/rand"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/mustermesh/muster/internal/content"
	"github.com/mustermesh/muster/internal/eventlog"
	"github.com/mustermesh/muster/internal/livelog"
	"github.com/mustermesh/muster/internal/store"
	"github.com/mustermesh/muster/node/overlay"
	"github.com/mustermesh/muster/node/sandbox"
	"github.com/mustermesh/muster/p2p"
	"github.com/mustermesh/muster/proto"
	"github.com/mustermesh/muster/scheduler"
	"github.com/mustermesh/muster/trust"
)

// Errors of the requester that a caller may ask about.
var (
	ErrNoJob     = errors.New("no such job")
	ErrAmbiguous = errors.New("more than one job begins so")
)

// Accounts keep what this node owes. Safe for concurrent use.
type Accounts interface {
	// Add notes what a peer was charged, and what it charged.
	Add(ctx context.Context, id proto.PeerID, earned, spent proto.Credits) error
}

// A Fetcher brings a root into the content store from peers, at most so many
// bytes.
type Fetcher func(ctx context.Context, root proto.CID, from []proto.PeerID, most int64) error

// A Config is what a [Requester] works with. All of it must be set.
type Config struct {
	DB         *store.DB
	Ledger     *trust.Ledger
	Accounts   Accounts
	Box        *sandbox.Box // for own runs, and the content store
	LocalSlots int          // own runs at a time
	Fetch      Fetcher
	StandIn    time.Time // not before this do own runs replace peers not met yet

	Grace   time.Duration // how long providers are asked to keep results while this node is out of touch
	Silence time.Duration // … and to go on with its tasks

	Hedge  scheduler.HedgePolicy // when a slow execution gets a backup
	Logs   *livelog.Spool        // of what guests print while they run
	Meters Meters

	Events       *eventlog.Log // is told what happens to jobs
	KeepJobs     time.Duration // how long jobs that ended are kept; 0: for ever
	KeepJobsMost int           // how many of them at most, the latest; 0: any number
}

// A Requester carries out the asking side: it keeps the jobs of this node, runs
// one loop per open job, and does what package scheduler decides. Safe for concurrent use.
type Requester struct {
	*overlay.Local
	db         *store.DB
	box        *sandbox.Box
	localSlots int
	ledger     *trust.Ledger
	acct       Accounts
	fetch      Fetcher
	standIn    time.Time
	grace      time.Duration
	silence    time.Duration
	hedge      scheduler.HedgePolicy
	logs       *livelog.Spool
	speeds     *scheduler.Speeds
	conflicts  conflicts
	budget     *scheduler.Budget // of all jobs together

	savedSpeeds string // as it is on disk; Run's
	parts       partings
	meters      Meters
	counts      *counts
	events      *eventlog.Log
	keep        time.Duration
	keepMost    int
	tidy        sync.Mutex // held by who changes a job that has ended

	mu      sync.Mutex // guards all below
	jobs    map[proto.JobID]*Job
	order   []proto.JobID // by submission
	starts  chan *Job
	leasing map[string]map[proto.PeerID]int // leases per job (text id) and peer, for access
}

// Open makes a requester and reads the jobs that are on disk; those that are
// open go on in Run. It is an error if a newer muster wrote one ([ErrNewer]).
func Open(ctx context.Context, c *overlay.Local, cfg Config) (*Requester, error) {
	r := &Requester{
		Local: c, db: cfg.DB, box: cfg.Box, localSlots: cfg.LocalSlots, ledger: cfg.Ledger, acct: cfg.Accounts,
		fetch: cfg.Fetch, standIn: cfg.StandIn, grace: cfg.Grace, silence: cfg.Silence,
		hedge: cfg.Hedge, logs: cfg.Logs, speeds: scheduler.NewSpeeds(), budget: scheduler.HedgeBudget(),
		jobs: make(map[proto.JobID]*Job), starts: make(chan *Job, 64), // a burst of submissions
		parts:   partings{open: make(map[partingKey]*parting)},
		leasing: make(map[string]map[proto.PeerID]int), meters: cfg.Meters, counts: newCounts(),
		events: cfg.Events, keep: cfg.KeepJobs, keepMost: cfg.KeepJobsMost,
	}
	r.loadSpeeds()
	r.loadConflicts()
	if err := r.load(ctx); err != nil {
		return nil, err
	}
	c.Directory.OnChange(r.peersChanged)
	return r, nil
}

// Run resumes the jobs that an earlier run left open, runs those that are
// submitted, and returns when all loops have stopped.
func (r *Requester) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	begin := func(j *Job) {
		if j.begin() {
			g.Go(func() error { return j.run(ctx) })
		}
	}
	r.mu.Lock()
	for _, id := range r.order {
		if j := r.jobs[id]; r.Net != nil && !j.Ended() { // who only reads leaves them alone
			begin(j)
		}
	}
	r.mu.Unlock()
	if r.Net != nil {
		g.Go(func() error { return r.sweepAlways(ctx) })
		g.Go(func() error { return r.partAlways(ctx) })
	}
	g.Go(func() error {
		tick := time.NewTicker(speedsEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return r.saveSpeeds(context.WithoutCancel(ctx))
			case <-tick.C:
				if err := r.saveSpeeds(ctx); err != nil {
					return err
				}
			case j := <-r.starts:
				begin(j)
			}
		}
	})
	return g.Wait()
}

// load reads the jobs on disk.
func (r *Requester) load(ctx context.Context) error {
	records, err := loadJobs(r.db)
	if err != nil {
		return err
	}
	slices.SortFunc(records, func(a, b jobRecord) int { return cmp.Compare(a.Number, b.Number) })
	for _, rec := range records {
		envelope, err := r.readAll(ctx, rec.Spec)
		if errors.Is(err, content.ErrNotFound) || errors.Is(err, content.ErrCorrupt) {
			r.Log.Error("a job is lost: its specification cannot be read", "root", rec.Spec, "err", err)
			continue // the others go on
		}
		if err != nil {
			return fmt.Errorf("job record: %w", err)
		}
		spec, _, id, err := proto.OpenSpecification(envelope, r.Network)
		if errors.Is(err, proto.ErrNetwork) {
			continue // of another network that this home was part of
		}
		if errors.Is(err, proto.ErrMalformed) {
			r.Log.Error("a job is left out: a version with other rules wrote its specification; submit it again", "root", rec.Spec, "err", err)
			continue
		}
		if err != nil {
			return fmt.Errorf("job record: %w", err)
		}
		j := r.newJob(id, spec, rec)
		j.running = j.running && r.Net != nil // who only reads leaves it alone
		r.add(j)
		for _, key := range rec.leases {
			if j.Ended() || key.phase != rec.progress.Phase {
				r.part(key)
			}
		}
	}
	return nil
}

func (r *Requester) add(j *Job) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.jobs[j.id] = j
	r.order = append(r.order, j.id)
}

// start takes a new job whose record is on disk and runs it.
func (r *Requester) start(ctx context.Context, j *Job) error {
	r.add(j)
	return r.begin(ctx, j)
}

// begin has the loop of a job started.
func (r *Requester) begin(ctx context.Context, j *Job) error {
	select {
	case r.starts <- j:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Find gives the job that an id, or an unambiguous beginning of one, names; or
// else [ErrNoJob] or [ErrAmbiguous].
func (r *Requester) Find(prefix string) (*Job, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if id, err := proto.ParseJobID(prefix); err == nil && r.jobs[id] != nil {
		return r.jobs[id], nil
	}
	var found []*Job
	for _, id := range r.order {
		if strings.HasPrefix(id.String(), prefix) && prefix != "" {
			found = append(found, r.jobs[id])
		}
	}
	switch len(found) {
	case 0:
		return nil, fmt.Errorf("%w: %q; see: muster job list", ErrNoJob, prefix)
	case 1:
		return found[0], nil
	}
	return nil, fmt.Errorf("%w: %q; give more digits", ErrAmbiguous, prefix)
}

// List gives all jobs, the latest first.
func (r *Requester) List() (js []*Job) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, id := range slices.Backward(r.order) {
		js = append(js, r.jobs[id])
	}
	return js
}

// OpenJobs gives the jobs that have not ended, the latest first.
func (r *Requester) OpenJobs() (js []*Job) {
	for _, j := range r.List() {
		if !j.Ended() {
			js = append(js, j)
		}
	}
	return js
}

// peersChanged tells every open job that the working set may be another.
func (r *Requester) peersChanged() {
	for _, j := range r.OpenJobs() {
		j.refresh()
	}
}

// complete adds what this node thinks of a candidate.
func (r *Requester) complete(c *scheduler.Candidate) {
	now := r.Now()
	c.Weight = r.ledger.Weight(now, c.ID)
	c.AlwaysCheck = r.ledger.AlwaysCheck(now, c.ID)
	if r.Net != nil {
		c.Group = r.Net.Group(c.ID)
	}
}

// Waiting tells whether a job waits for peers.
func (r *Requester) Waiting() bool {
	return slices.ContainsFunc(r.OpenJobs(), func(j *Job) bool { return j.isWaiting() })
}

// ServeBid is a stream on which a peer bids, or declines to. docs/wire.md §1.
func (r *Requester) ServeBid(_ context.Context, s *p2p.Stream) error {
	b, err := s.Recv()
	if err != nil {
		return err
	}
	if err := r.takeBid(s.Peer(), b); err != nil {
		if overlay.VerdictOf(err) == p2p.Ignore {
			return err
		}
		return r.Strike(s, "bad bid")
	}
	return s.Send([]byte{})
}

// takeBid takes one frame of a bid stream.
func (r *Requester) takeBid(from proto.PeerID, b []byte) error {
	frame, err := proto.ParseBidFrame(b)
	if err != nil {
		return err
	}
	if frame.Bid != nil {
		env, err := r.Open(frame.Bid, proto.PurposeBid)
		if err != nil {
			return err
		}
		bid, err := proto.ParseBid(env.Body)
		if err != nil || env.Signer != from {
			return errors.Join(err, fmt.Errorf("bid of %s from %s", env.Signer, from))
		}
		if j := r.job(bid.Job); j != nil {
			c := scheduler.Candidate{ID: from, Free: bid.Slots}
			r.complete(&c)
			j.post(func(core *scheduler.Job) { core.Bid(c, bid) })
		}
		return nil
	}
	env, err := r.Open(frame.Refusal, proto.PurposeRefusal)
	if err != nil {
		return err
	}
	ref, err := proto.ParseRefusal(env.Body)
	if err != nil || env.Signer != from {
		return errors.Join(err, fmt.Errorf("refusal of %s from %s", env.Signer, from))
	}
	if j := r.job(ref.Job); j != nil {
		j.post(func(core *scheduler.Job) { core.Refused(from, scheduler.No{Reason: ref.Reason, Detail: ref.Detail}) })
	}
	return nil
}

func (r *Requester) job(id proto.JobID) *Job {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.jobs[id]
}

// Leased tells whether a peer holds a lease of one of our jobs; job is its id as text.
func (r *Requester) Leased(job string, peer proto.PeerID) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.leasing[job][peer] > 0
}

func (r *Requester) noteLease(id proto.JobID, peer proto.PeerID, change int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	job := id.String()
	if r.leasing[job] == nil {
		r.leasing[job] = make(map[proto.PeerID]int)
	}
	if r.leasing[job][peer] += change; r.leasing[job][peer] <= 0 {
		delete(r.leasing[job], peer)
	}
	if len(r.leasing[job]) == 0 {
		delete(r.leasing, job)
	}
}

// announcement gives what a job tells everybody.
func (r *Requester) announcement(j *Job, p proto.Program, tasks int, sequence uint64) proto.Announcement {
	var addrs []string
	if r.Net != nil {
		addrs = r.Net.Addrs()
	}
	return proto.Announcement{
		Job: j.id, Executor: p.Executor, Profile: p.Profile, Needs: p.Resources,
		Program: p.Code, ProgramSize: p.CodeSize, Tasks: tasks, MaxPrice: j.spec.MaxPrice,
		BidsWanted: min(3*tasks, proto.MaxTasks), Constraints: j.spec.Constraints,
		Addrs: addrs[:min(len(addrs), 8)], Sequence: sequence,
	}
}

// newRand gives a source of randomness that nobody can predict: who is drawn
// must not be known before.
func newRand() *rand.Rand {
	var seed [32]byte
	if _, err := crand.Read(seed[:]); err != nil {
		panic(fmt.Sprintf("requester: no randomness: %v", err)) // cannot happen since Go 1.24
	}
	return rand.New(rand.NewChaCha8(seed))
}

func (r *Requester) content() *content.Store { return r.box.Content() }

// readAll reads a small file of the content store whole.
func (r *Requester) readAll(ctx context.Context, file proto.CID) ([]byte, error) {
	f, err := r.content().OpenFile(ctx, file)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(f)
}
