package simnet

import (
	"fmt"
	"time"

	"github.com/mustermesh/muster/proto"
)

// patience is how long a job may take once nothing fails any more.
const patience = 15 * time.Minute

// A Report is what one run gave.
type Report struct {
	Fault   string        // "" where every invariant held
	Took    time.Duration // virtual, until the job ended
	Events  int
	Started int            // guests, on all providers
	Seen    map[string]int // how often what happened
	Writes  []int          // of every node, the requester first
	Sum     uint64         // of everything that happened
	Trace   string         // of the last events, where there was a fault
}

// Run lets a world run until its job is over and everything it left has gone.
func Run(cfg Config) Report {
	w := newWorld(cfg)
	for _, n := range w.nodes {
		n.start()
	}
	w.plan()
	over := func() bool {
		q := w.nodes[0]
		return q.up && q.proc.(*requester).over
	}
	r := Report{}
	if !w.runUntil(cfg.Calm+patience, over) {
		w.keeper.fail("the job is not over after %s: %s", w.now, w.stuck())
	}
	r.Took = w.now
	if w.keeper.fault == "" {
		w.runUntil(max(w.now, cfg.Calm)+cfg.Silence+cfg.Grace+3*time.Minute, func() bool { return false })
	}
	if w.keeper.fault == "" {
		w.keeper.end()
	}
	r.Started, r.Seen = w.keeper.started, w.keeper.seen
	r.Fault, r.Events, r.Sum = w.keeper.fault, w.seq, w.trace.sum
	for _, n := range w.nodes {
		r.Writes = append(r.Writes, n.disk.writes)
	}
	if r.Fault != "" {
		r.Trace = w.trace.String()
	}
	return r
}

func newWorld(cfg Config) *World {
	w := &World{cfg: cfg, r: newRand(cfg.Seed)}
	w.keeper = newKeeper(w)
	w.addNode("R", newRequester)
	for i := range cfg.Providers {
		w.addNode(fmt.Sprint("P", i+1), newProvider)
	}
	for i, n := range w.nodes {
		n.clock = clock{off: w.between(-cfg.Skew, cfg.Skew), drift: cfg.Drift * (2*w.r.Float64() - 1)}
		if i < len(cfg.Offsets) {
			n.clock.off = cfg.Offsets[i]
		}
		if cfg.Loss > 0 || cfg.Duplicate > 0 || n.clock.differs(w.nodes[0].clock) {
			w.keeper.faulted[n.id] = true
		}
	}
	return w
}

// plan puts the faults of the configuration into the future.
func (w *World) plan() {
	cfg := w.cfg
	at := func(do func()) { w.after(w.between(0, cfg.Calm), do) }
	for range cfg.Kills {
		at(func() { w.strike(errKilled) })
	}
	for range cfg.PowerCuts {
		at(func() { w.strike(errPower) })
	}
	for range cfg.Tears {
		at(w.tearOne)
	}
	for range cfg.FullDisks {
		at(w.fillOne)
	}
	for _, s := range cfg.Splits {
		w.after(s.At, func() {
			w.trace.add(w.now, "net", "split of %v and %v for %s, one way %t", []any{s.From, s.To, s.For, s.OneWay})
			w.split(s.From, s.To, s.For)
			if !s.OneWay {
				w.split(s.To, s.From, s.For)
			}
		})
	}
	if cfg.Calm > 0 {
		w.after(cfg.Calm, func() { w.cfg.Crashes, w.cfg.Loss, w.cfg.Duplicate, w.cfg.Slow = nil, 0, 0, 0 })
	}
}

// strike stops a node that is up, whichever.
func (w *World) strike(err error) {
	n := w.nodes[w.r.IntN(len(w.nodes))]
	if n.up {
		n.disk.lostPower = err == errPower
		n.fall(err)
	}
}

func (w *World) tearOne() {
	w.prune()
	if len(w.links) == 0 {
		return
	}
	s := w.links[w.r.IntN(len(w.links))]
	w.trace.add(w.now, "net", "tears a stream of %s and %s", []any{s.ends[0].node.name, s.ends[1].node.name})
	w.keeper.blemish(s.ends[0].node, s.ends[1].node)
	s.tear()
}

func (w *World) fillOne() {
	n := w.nodes[w.r.IntN(len(w.nodes))]
	w.keeper.faulted[n.id] = true
	n.disk.full = true
	n.log("has a full disk")
	w.after(w.between(time.Second, 30*time.Second), func() {
		n.disk.full = false
		n.log("has space again")
	})
}

// stuck says where a job stands that does not end.
func (w *World) stuck() string {
	q := w.nodes[0].proc.(*requester)
	if !w.nodes[0].up || q.job == nil {
		return "its requester is down"
	}
	return q.job.String() + "; " + q.job.Why(q.n.now())
}

func (w *World) byID(id proto.PeerID) *node {
	return w.nodes[int(id[0])-1]
}

func (w *World) program() proto.Program {
	return proto.Program{Executor: "wasm", Profile: "p", Fuel: 1 << 30, Timeout: w.cfg.Timeout}
}

func (w *World) announcement() proto.Announcement {
	return proto.Announcement{Job: proto.JobID{1}, Executor: "wasm", Profile: "p", Tasks: w.cfg.Tasks, MaxPrice: 100}
}
