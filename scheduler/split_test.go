package scheduler

import (
	"slices"
	"testing"
	"time"

	"github.com/mustermesh/muster/proto"
)

func timeout(d time.Duration) func(*JobConfig) { return func(c *JobConfig) { c.Timeout = d } }

// What a provider did while nobody reached it is on its way when its lease is
// taken up again: it is not overdue the moment that it is back.
func TestWhoComesBackIsNotOverdueAtOnce(t *testing.T) {
	for name, started := range map[string]bool{"with an execution that had begun": true, "with one that had not": false} {
		t.Run(name, func(t *testing.T) {
			s := newScript(t, 2, 0, timeout(time.Second), func(c *JobConfig) { c.Startup = time.Second })
			s.step(0)
			s.bids(2, 1)
			s.step(0)
			s.accept()
			id, stays := s.runners(0)[0], s.runners(1)[0]
			e := s.must(0, id)
			if started {
				s.j.Started(s.now, e)
			}
			lease := s.breaks(id)
			s.step(15 * time.Second)
			s.j.Started(s.now, s.must(1, stays)) // it is overdue itself at 31 s: then all are looked at
			s.step(15 * time.Second)
			s.j.LeaseAttached(s.now, id, lease)
			for _, c := range s.step(time.Second).Cancel {
				if c.Execution == e {
					t.Fatal("it is cancelled before a word of it could come")
				}
			}
			s.answer(0, id, "x")
			s.step(0)
			s.wantTask(0, TaskAccepted, "")
		})
	}
}

// A provider that takes its lease up and breaks it again and again neither keeps
// its requester busy nor a task for ever.
func TestWhoFlapsHoldsNothingForEver(t *testing.T) {
	s := newScript(t, 1, 0, timeout(time.Second), func(c *JobConfig) { c.Startup = time.Second })
	s.step(0)
	s.bids(2, 1)
	s.step(0)
	s.accept()
	id := s.runners(0)[0]
	e, attaches := s.must(0, id), 0
	for len(s.runners(0)) == 1 && s.runners(0)[0] == id && s.now.Sub(meshStart) < time.Minute {
		s.breaks(id)
		for s.step(10 * time.Millisecond); len(s.last.Attach) == 0; {
			s.step(10 * time.Millisecond)
		}
		attaches++
		s.j.LeaseAttached(s.now, id, s.lease(id))
		s.j.Started(s.now, e)
		s.step(0)
	}
	if after := s.now.Sub(meshStart); after >= time.Minute || attaches > 40 {
		t.Errorf("it kept the task for %s, and was asked %d times", after, attaches)
	}
}

// An answer that is held, and not settled yet, is asked after: its provider would
// drop the output otherwise.
func TestAnswersThatAreNotSettledAreAskedAfter(t *testing.T) {
	s := newScript(t, 3, 1)
	s.step(0)
	s.bids(2, 1)
	s.step(0)
	s.accept()
	id := s.runners(0)[0]
	answered := s.must(0, id)
	s.answer(0, id, "x")
	s.step(0)
	if len(s.j.byID[id].lease.live) == 0 {
		t.Fatal("its peer has nothing else to do: there is nothing to take up again")
	}
	s.breaks(id)
	out := s.step(0)
	if len(out.Attach) != 1 || !slices.Contains(out.Attach[0].Executions, answered) {
		t.Errorf("attaches %+v, want %s among what is asked after", out.Attach, answered)
	}
}

func TestAProviderThatKeepsOrder(t *testing.T) {
	t.Run("a copy of an award that comes late begins nothing anew", func(t *testing.T) {
		i := newInn(t, 1, patient)
		a := award(1)
		i.takes(p1, a)
		i.End(a.Lease)
		i.wantRefusal(i.Award(i.now, Client{ID: p1}, a), proto.ReasonNoLease)
	})
	t.Run("leases that are restored in any order fence off the older ones", func(t *testing.T) {
		for _, order := range [][]uint64{{1, 2}, {2, 1}} {
			i := newInn(t, 1, patient)
			for _, epoch := range order {
				a := award(byte(epoch), func(a *proto.Award) { a.Job, a.Epoch = proto.JobID{9}, epoch })
				i.Restore(i.now, LentLease{From: p1, Award: a, Works: []LentWork{
					{Assignment: proto.Assignment{Execution: proto.ExecutionID{byte(epoch), 1}}, Result: true, Bytes: 1},
					{Assignment: proto.Assignment{Execution: proto.ExecutionID{byte(epoch), 2}}},
				}})
			}
			_, no := i.Attach(i.now, p1, proto.Attach{Lease: proto.LeaseID{1}, Epoch: 1})
			i.wantRefusal(no, proto.ReasonNoLease)
			if _, no := i.Attach(i.now, p1, proto.Attach{Lease: proto.LeaseID{2}, Epoch: 2}); no != nil {
				t.Errorf("restored in order %v, the newer lease is refused: %+v", order, no)
			}
			s := i.Sweep(i.now) // whose requester was refused, and holds it for lost
			if !slices.Equal(s.Over, []proto.LeaseID{{1}}) || i.Kept() != 0 || i.Queued() != 0 {
				t.Errorf("restored in order %v: over %v; %d kept, %d queued", order, s.Over, i.Kept(), i.Queued())
			}
		}
	})
	t.Run("a cancel that crosses with the answer lets go of the result", func(t *testing.T) {
		i := newInn(t, 1, patient)
		i.takes(p1, award(1))
		es := i.queues(1, 1)
		i.wantStarts(1)
		i.Done(i.now, proto.LeaseID{1}, es[0], Result{Kept: true})
		if i.Cancel(i.now, proto.LeaseID{1}, es[0]) {
			t.Error("it is said to run")
		}
		s := i.Sweep(i.now.Add(IdleLease))
		if !slices.Equal(s.Forget, []Ref{{proto.LeaseID{1}, es[0]}}) || len(s.Idle) != 1 {
			t.Errorf("forgets %v, idle %v", s.Forget, s.Idle)
		}
	})
}

// A restart of the requester costs nobody anything: what a provider was told off
// for before is not held against it again, nor that clocks were set meanwhile.
func TestARestartBlamesNobody(t *testing.T) {
	setup := func(t *testing.T, x ExecutionRecord) (*script, ExecutionRecord) {
		s := newScript(t, 1, 0, timeout(time.Minute))
		x.Execution, x.Lease, x.Role = proto.ExecutionID{7}, proto.LeaseID{1}, RoleExecutor
		s.j.RestoreLease(s.now, LeaseRecord{Lease: x.Lease, Peer: p1, Epoch: 1, Slots: 1, Engine: engine1}, []ExecutionRecord{x})
		s.step(0)
		s.j.LeaseAttached(s.now, p1, x.Lease)
		s.j.Started(s.now, x.Execution)
		s.step(0)
		return s, x
	}
	t.Run("twice for one execution", func(t *testing.T) {
		s, x := setup(t, ExecutionRecord{Created: meshStart, Blamed: true})
		s.j.ExecutionFailed(s.now, x.Execution, proto.ReasonKilled, "")
		if out := s.step(0); len(out.Evidence) != 0 || len(out.Troubled) != 1 {
			t.Errorf("evidence %+v, troubled %v; want none, and the failure on record", out.Evidence, out.Troubled)
		}
	})
	t.Run("for an execution that timed out, by whatever clock", func(t *testing.T) {
		s, x := setup(t, ExecutionRecord{Created: meshStart.Add(2 * time.Minute)})
		s.now = s.now.Add(30 * time.Second)
		s.j.ExecutionFailed(s.now, x.Execution, proto.ReasonTimeout, "")
		if out := s.step(0); len(out.Evidence) != 0 {
			t.Errorf("evidence %+v", out.Evidence)
		}
	})
	t.Run("though it was told off before the restart, and that is on record", func(t *testing.T) {
		s := newScript(t, 1, 0)
		s.step(0)
		s.bids(1, 1)
		s.step(0)
		s.accept()
		id := s.runners(0)[0]
		e := s.must(0, id)
		s.breaks(id)
		s.step(0)
		out := s.step(doubtBroken)
		if len(out.Evidence) != 1 || len(out.Executions) != 1 || out.Executions[0].Execution != e || !out.Executions[0].Blamed {
			t.Errorf("evidence %+v, records %+v", out.Evidence, out.Executions)
		}
	})
}
