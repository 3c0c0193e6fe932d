package scheduler

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/mustermesh/muster/proto"
)

// A script tells a job what happens, line by line, and looks at what it wants.
type script struct {
	*testing.T
	j     *Job
	now   time.Time
	last  Actions
	all   Actions // everything since the start; Wake is the last
	where map[proto.ExecutionID]spot
	seen  map[proto.PeerID]Candidate
}

type spot struct {
	peer  proto.PeerID
	task  int
	lease proto.LeaseID
}

var self = proto.PeerID{255}

func peerN(n byte) proto.PeerID { return proto.PeerID{n} }

// newScript makes a job that pays any price, with changes to its configuration.
func newScript(t *testing.T, tasks, checkers int, change ...func(*JobConfig)) *script {
	cfg := JobConfig{Self: self, Tasks: tasks, Checkers: checkers, Rand: rand.New(rand.NewPCG(1, 2))}
	cfg.Announcement.MaxPrice = 1000
	for _, f := range change {
		f(&cfg)
	}
	return &script{T: t, j: NewJob(meshStart, cfg), now: meshStart, where: make(map[proto.ExecutionID]spot), seen: make(map[proto.PeerID]Candidate)}
}

func localSlots(n int) func(*JobConfig) { return func(c *JobConfig) { c.LocalSlots = n } }

// step steps the job after d.
func (s *script) step(d time.Duration) Actions {
	s.Helper()
	s.now = s.now.Add(d)
	s.last = s.j.Step(s.now)
	out := s.last
	leases := make(map[proto.LeaseID]proto.PeerID)
	for _, p := range s.j.peers {
		if p.lease != nil {
			leases[p.lease.id] = p.ID
		}
	}
	for _, o := range out.Open {
		for _, a := range o.Tasks {
			s.where[a.Execution] = spot{o.Peer, a.Task, o.Lease}
		}
	}
	for _, a := range out.Assign {
		s.where[a.Execution] = spot{leases[a.Lease], a.Task, a.Lease}
	}
	for _, l := range out.Local {
		s.where[l.Execution] = spot{self, l.Task, proto.LeaseID{}}
	}
	s.all.Evidence = append(s.all.Evidence, out.Evidence...)
	s.all.States = append(s.all.States, out.States...)
	s.all.Close = append(s.all.Close, out.Close...)
	s.all.Open = append(s.all.Open, out.Open...)
	s.all.Local = append(s.all.Local, out.Local...)
	s.all.Settled = append(s.all.Settled, out.Settled...)
	s.all.Conflicts = append(s.all.Conflicts, out.Conflicts...)
	return out
}

// peers lets providers 1 to n appear in the working set and bid for so many
// slots each.
func (s *script) bids(n, slots int) {
	s.Helper()
	for i := range n {
		s.appear(peerN(byte(i+1)), func(*Candidate) {})
	}
	for i := range n {
		s.bid(peerN(byte(i+1)), slots, 0)
	}
}

func (s *script) appear(id proto.PeerID, change func(*Candidate)) {
	c := Candidate{ID: id, Weight: 1, Free: 4, Engine: engine1}
	change(&c)
	s.seen[id] = c
	s.j.Peers(s.candidates())
}

func (s *script) candidates() (cs []Candidate) {
	for i := range byte(255) {
		if c, ok := s.seen[peerN(i)]; ok {
			cs = append(cs, c)
		}
	}
	return cs
}

func (s *script) bid(id proto.PeerID, slots int, price proto.Credits) {
	c, ok := s.seen[id]
	if !ok {
		c = Candidate{ID: id, Weight: 1, Engine: engine1}
	}
	s.j.Bid(c, proto.Bid{Slots: slots, Price: price, Engine: c.Engine})
}

// accept lets every award that is under way be taken.
func (s *script) accept() {
	for _, p := range s.j.peers {
		if p.lease != nil {
			s.j.LeaseAccepted(p.ID, p.lease.id)
		}
	}
}

// on gives the live execution of a task on a peer.
func (s *script) on(task int, id proto.PeerID) (proto.ExecutionID, bool) {
	for _, e := range s.j.Task(task).Executions {
		if e.Peer == id && (e.State == ExecAssigned || e.State == ExecRunning) {
			return e.ID, true
		}
	}
	return proto.ExecutionID{}, false
}

func (s *script) must(task int, id proto.PeerID) proto.ExecutionID {
	s.Helper()
	e, ok := s.on(task, id)
	if !ok {
		s.Fatalf("task %d does not run on %v; it has %+v", task, id[0], s.j.Task(task).Executions)
	}
	return e
}

// runners are who runs a task now.
func (s *script) runners(task int) (ids []proto.PeerID) {
	for _, e := range s.j.Task(task).Executions {
		if e.State == ExecAssigned || e.State == ExecRunning {
			ids = append(ids, e.Peer)
		}
	}
	return ids
}

func says(text string) Outcome {
	return Outcome{Output: proto.RawCID([]byte(text)), Engine: engine1, Result: proto.OutcomeExited, Wall: time.Millisecond}
}

// answer lets a peer answer a task, with an output that comes along.
func (s *script) answer(task int, id proto.PeerID, text string) {
	s.Helper()
	o := says(text)
	if !s.j.Answered(s.now, s.must(task, id), o) {
		s.Fatalf("nobody waited for the answer of %v to task %d", id[0], task)
	}
	s.j.Held(s.now, task, o.Output)
}

func (s *script) fail(task int, id proto.PeerID, why proto.Reason) {
	s.Helper()
	s.j.ExecutionFailed(s.now, s.must(task, id), why, "as scripted")
}

func (s *script) lose(id proto.PeerID) {
	s.Helper()
	s.j.LeaseLost(s.now, id, s.lease(id), "stream reset")
}

func (s *script) decline(id proto.PeerID, why proto.Reason) {
	s.Helper()
	s.j.LeaseDeclined(s.now, id, s.lease(id), No{why, "as scripted"})
}

func (s *script) lease(id proto.PeerID) proto.LeaseID {
	s.Helper()
	p := s.j.byID[id]
	if p == nil || p.lease == nil {
		s.Fatalf("%v has no lease", id[0])
	}
	return p.lease.id
}

func (s *script) wantTask(task int, want TaskState, how string) {
	s.Helper()
	v := s.j.Task(task)
	if v.State != want {
		s.Fatalf("task %d is %s, want %s: %+v", task, v.State, want, v.Executions)
	}
	if v.Settlement != nil && !strings.Contains(v.Settlement.How, how) {
		s.Errorf("task %d is settled %q, want %q in it", task, v.Settlement.How, how)
	}
}

func (s *script) wantState(want State, why string) {
	s.Helper()
	got, reason := s.j.State()
	if got != want || !strings.Contains(reason, why) {
		s.Errorf("the job is %s (%s), want %s with %q", got, reason, want, why)
	}
}

// wantEvidence looks at how often each kind was seen of a peer, in all.
func (s *script) wantEvidence(id proto.PeerID, kind EvidenceKind, want int) {
	s.Helper()
	got := 0
	for _, e := range s.all.Evidence {
		if e.Peer == id && e.Kind == kind {
			got++
		}
	}
	if got != want {
		s.Errorf("%d pieces of evidence %s of %v, want %d: %+v", got, kind, id[0], want, s.all.Evidence)
	}
}
