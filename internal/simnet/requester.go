package simnet

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/mustermesh/muster/proto"
	"github.com/mustermesh/muster/scheduler"
)

// Keys of a requester's disk.
const (
	keyRun      = "run"
	keyEnd      = "end"
	keySettled  = "s/"
	keyTroubled = "f/"
	keyLease    = "l/"
	keyExec     = "x/"
	keyEvidence = "e/"
	keySpeeds   = "speeds"
)

func taskKey(prefix string, i int) string { return fmt.Sprintf("%s%06d", prefix, i) }
func leaseKey(id proto.LeaseID) string    { return keyLease + fmt.Sprintf("%x", id[:]) }
func execKey(id proto.ExecutionID) string { return keyExec + fmt.Sprintf("%x", id[:]) }
func encode(v any) []byte                 { b, err := json.Marshal(v); must(err); return b }
func decode[T any](b any) (v T)           { must(json.Unmarshal(b.([]byte), &v)); return v }
func must(err error) {
	if err != nil {
		panic(err) // what was written can be read
	}
}

// A requester is one run of the requester's node: it drives a job.
type requester struct {
	n       *node
	job     *scheduler.Job
	run     uint64
	leases  map[proto.LeaseID]*taken
	tasks   map[proto.ExecutionID]int
	held    map[proto.ExecutionID]*taken // answers that are held, for the receipt
	local   map[proto.ExecutionID]bool
	speeds  *scheduler.Speeds
	evident int
	wake    int // of which wake-up is the last
	over    bool
}

// taken is the requester's end of a lease.
type taken struct {
	id       proto.LeaseID
	peer     *node
	epoch    uint64
	end      *end
	accepted bool // by a reply on this stream
	attach   bool // this stream began with an attach
}

func newRequester(n *node) process {
	return &requester{
		n: n, leases: make(map[proto.LeaseID]*taken), tasks: make(map[proto.ExecutionID]int),
		held: make(map[proto.ExecutionID]*taken), local: make(map[proto.ExecutionID]bool),
	}
}

func (q *requester) w() *World { return q.n.w }

// boot resumes the job where the last run stopped.
func (q *requester) boot() error {
	d, cfg := q.n.disk, q.w().cfg
	q.run, _ = d.data[keyRun].(uint64)
	q.run++
	var b batch
	b.put(keyRun, q.run)
	if err := d.commit(b, cfg.Bug != CountsRunsLazily); err != nil {
		return err
	}
	if d.data[keyEnd] != nil {
		q.over = true
		return q.tidy()
	}
	epoch := q.run << 32
	if cfg.Bug == ReusesEpochs {
		epoch = 0
	}
	q.job = scheduler.NewJob(q.n.now(), scheduler.JobConfig{
		Self: q.n.id, Announcement: q.w().announcement(), Tasks: cfg.Tasks, Checkers: cfg.Checkers, LocalSlots: cfg.LocalSlots,
		Timeout: cfg.Timeout, Grace: cfg.Grace, Epoch: epoch, Startup: 10 * time.Second,
		StandIn: q.n.now().Add(time.Hour), QueueTimeout: 5 * time.Minute, Rand: rand.New(rand.NewPCG(cfg.Seed, q.run)),
		Hedge: hedging(cfg), Speeds: q.loadSpeeds(), Budget: scheduler.HedgeBudget(), Kind: kind(),
	})
	q.evident = len(d.scan(keyEvidence))
	q.restore()
	q.n.after(q.w().between(0, time.Second), q.meet)
	q.n.after(time.Second, q.saveSpeeds)
	return q.step()
}

func hedging(cfg Config) scheduler.HedgePolicy {
	if cfg.Hedge {
		return scheduler.Hedging()
	}
	return scheduler.HedgePolicy{}
}

// kind is that of all executions.
func kind() proto.CID { return proto.RawCID([]byte("program")) }

// loadSpeeds reads what earlier runs learnt of how long executions take.
func (q *requester) loadSpeeds() *scheduler.Speeds {
	q.speeds = scheduler.NewSpeeds()
	if v, ok := q.n.disk.data[keySpeeds].([]byte); ok {
		must(q.speeds.UnmarshalBinary(v))
	}
	return q.speeds
}

// saveSpeeds writes it down, now and again: what came since is learnt anew.
func (q *requester) saveSpeeds() error {
	if q.over || !q.w().cfg.Hedge {
		return nil
	}
	q.n.after(5*time.Second, q.saveSpeeds)
	v, err := q.speeds.MarshalBinary()
	must(err)
	var b batch
	b.put(keySpeeds, v)
	return q.n.disk.commit(b, false)
}

// tidy removes what a job that is over left behind.
func (q *requester) tidy() error {
	var b batch
	for _, prefix := range []string{keyLease, keyExec, keyTroubled} {
		for _, k := range q.n.disk.scan(prefix) {
			b.drop(k)
		}
	}
	if len(b.keys) == 0 {
		return nil
	}
	return q.n.disk.commit(b, false)
}

func (q *requester) restore() {
	d := q.n.disk
	for i := range q.w().cfg.Tasks {
		if v := d.data[taskKey(keySettled, i)]; v != nil && q.w().cfg.Bug != RepeatsSettlement {
			q.job.Restore(i, *decode[scheduler.TaskView](v).Settlement)
		}
	}
	for _, k := range d.scan(keyTroubled) {
		q.job.RestoreFailures(decode[scheduler.TaskView](d.data[k]))
	}
	if q.w().cfg.Bug == ReusesEpochs {
		return
	}
	execs := make(map[proto.LeaseID][]scheduler.ExecutionRecord)
	for _, k := range d.scan(keyExec) {
		x := decode[scheduler.ExecutionRecord](d.data[k])
		execs[x.Lease] = append(execs[x.Lease], x)
		if x.Role == scheduler.RoleHedge {
			q.w().keeper.saw("backup restored")
		}
		q.tasks[x.Execution] = x.Task
	}
	var leases []scheduler.LeaseRecord
	for _, k := range d.scan(keyLease) {
		leases = append(leases, decode[scheduler.LeaseRecord](d.data[k]))
	}
	slices.SortFunc(leases, func(a, b scheduler.LeaseRecord) int { return int(int64(b.Epoch) - int64(a.Epoch)) })
	for _, l := range leases {
		q.leases[l.Lease] = &taken{id: l.Lease, peer: q.w().byID(l.Peer), epoch: l.Epoch}
		q.w().keeper.saw("lease restored")
		q.job.RestoreLease(q.n.now(), l, execs[l.Lease])
	}
}

// meet tells the job who can be reached, now and again.
func (q *requester) meet() error {
	if q.over {
		return nil
	}
	var cs []scheduler.Candidate
	for _, p := range q.w().nodes[1:] {
		if p.up && q.w().reaches(p, q.n) && q.w().reaches(q.n, p) {
			cs = append(cs, q.candidate(p))
		}
	}
	q.job.Peers(cs)
	q.n.after(time.Second, q.meet)
	return q.step()
}

func (q *requester) candidate(p *node) scheduler.Candidate {
	return scheduler.Candidate{ID: p.id, Weight: 1, Free: q.w().cfg.Slots, Engine: engine()}
}

func (q *requester) accept(*end, any) error { return nil }

func (q *requester) serve(*node, any) (any, error) { return nil, nil }

func (q *requester) hear(from *node, msg any) error {
	m, ok := msg.(bidMsg)
	if !ok || q.over || !m.fresh(q.n.now(), answerLife) {
		return nil
	}
	if m.no != nil {
		q.job.Refused(from.id, *m.no)
	} else {
		q.job.Bid(q.candidate(from), m.bid)
	}
	return q.step()
}
