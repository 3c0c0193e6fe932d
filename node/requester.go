package node

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
	"github.com/mustermesh/muster/internal/store"
	"github.com/mustermesh/muster/proto"
	"github.com/mustermesh/muster/scheduler"
	"github.com/mustermesh/muster/trust"
)

// Errors of the requester that a caller may ask about.
var (
	ErrNoJob     = errors.New("no such job")
	ErrAmbiguous = errors.New("more than one job begins so")
)

// A requester carries out the asking side: it keeps the jobs of this node, runs
// one loop per open job, and does what package scheduler decides.
type requester struct {
	*common
	db         *store.DB
	box        *sandbox // runs tasks here; nil: this node cannot
	localSlots int
	ledger     *trust.Ledger
	acct       *accounts
	crew       *crew
	standIn    time.Time // not before this do own runs replace peers not met yet

	mu      sync.Mutex // guards all below
	jobs    map[proto.JobID]*job
	order   []proto.JobID // by submission
	starts  chan *job
	leasing map[string]map[proto.PeerID]int // leases per job (text id) and peer, for access
}

func newRequester(c *common, db *store.DB, ledger *trust.Ledger, acct *accounts) *requester {
	return &requester{
		common: c, db: db, ledger: ledger, acct: acct,
		jobs: make(map[proto.JobID]*job), starts: make(chan *job, 64), // a burst of submissions
		leasing: make(map[string]map[proto.PeerID]int),
	}
}

// Run resumes the jobs that an earlier run left open, runs those that are
// submitted, and returns when all loops have stopped.
func (r *requester) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	begin := func(j *job) {
		if j.begin() {
			g.Go(func() error { return j.run(ctx) })
		}
	}
	r.mu.Lock()
	for _, id := range r.order {
		if j := r.jobs[id]; r.net != nil && !j.ended() { // who only reads leaves them alone
			begin(j)
		}
	}
	r.mu.Unlock()
	g.Go(func() error {
		for {
			select {
			case <-ctx.Done():
				return nil
			case j := <-r.starts:
				begin(j)
			}
		}
	})
	return g.Wait()
}

// load reads the jobs on disk.
func (r *requester) load(ctx context.Context) error {
	records, err := loadJobs(r.db)
	if err != nil {
		return err
	}
	slices.SortFunc(records, func(a, b jobRecord) int { return cmp.Compare(a.Number, b.Number) })
	for _, rec := range records {
		envelope, err := r.readAll(ctx, rec.Spec)
		if errors.Is(err, content.ErrNotFound) || errors.Is(err, content.ErrCorrupt) {
			r.log.Error("a job is lost: its specification cannot be read", "root", rec.Spec, "err", err)
			continue // the others go on
		}
		if err != nil {
			return fmt.Errorf("job record: %w", err)
		}
		spec, _, id, err := proto.OpenSpecification(envelope, r.network)
		if errors.Is(err, proto.ErrNetwork) {
			continue // of another network that this home was part of
		}
		if err != nil {
			return fmt.Errorf("job record: %w", err)
		}
		r.add(r.newJob(id, spec, rec))
	}
	return nil
}

func (r *requester) add(j *job) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.jobs[j.id] = j
	r.order = append(r.order, j.id)
}

// start takes a job whose record is on disk and runs it.
func (r *requester) start(ctx context.Context, j *job) error {
	r.add(j)
	select {
	case r.starts <- j:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// find gives the job that an id, or an unambiguous beginning of one, names.
func (r *requester) find(prefix string) (*job, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if id, err := proto.ParseJobID(prefix); err == nil && r.jobs[id] != nil {
		return r.jobs[id], nil
	}
	var found []*job
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

// list gives all jobs, the latest first.
func (r *requester) list() (js []*job) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, id := range slices.Backward(r.order) {
		js = append(js, r.jobs[id])
	}
	return js
}

func (r *requester) openJobs() (js []*job) {
	for _, j := range r.list() {
		if !j.ended() {
			js = append(js, j)
		}
	}
	return js
}

// peersChanged tells every open job that the working set may be another.
func (r *requester) peersChanged() {
	for _, j := range r.openJobs() {
		j.refresh()
	}
}

// complete adds what this node thinks of a candidate.
func (r *requester) complete(c *scheduler.Candidate) {
	now := r.now()
	c.Weight = r.ledger.Weight(now, c.ID)
	c.AlwaysCheck = r.ledger.AlwaysCheck(now, c.ID)
	if r.net != nil {
		c.Group = r.net.Group(c.ID)
	}
}

// takeBid takes one frame of a bid stream.
func (r *requester) takeBid(from proto.PeerID, b []byte) error {
	frame, err := proto.ParseBidFrame(b)
	if err != nil {
		return err
	}
	if frame.Bid != nil {
		env, err := r.open(frame.Bid, proto.PurposeBid)
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
	env, err := r.open(frame.Refusal, proto.PurposeRefusal)
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

func (r *requester) job(id proto.JobID) *job {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.jobs[id]
}

// leased tells whether a peer holds a lease of one of our jobs.
func (r *requester) leased(job string, peer proto.PeerID) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.leasing[job][peer] > 0
}

func (r *requester) noteLease(id proto.JobID, peer proto.PeerID, change int) {
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
func (r *requester) announcement(j *job, p proto.Program, tasks int, sequence uint64) proto.Announcement {
	var addrs []string
	if r.net != nil {
		addrs = r.net.Addrs()
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
		panic(fmt.Sprintf("node: no randomness: %v", err)) // cannot happen since Go 1.24
	}
	return rand.New(rand.NewChaCha8(seed))
}

func (r *requester) content() *content.Store { return r.box.content }

// readAll reads a small file of the content store whole.
func (r *requester) readAll(ctx context.Context, file proto.CID) ([]byte, error) {
	f, err := r.content().OpenFile(ctx, file)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(f)
}
