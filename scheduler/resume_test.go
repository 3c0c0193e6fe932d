package scheduler

import (
	"slices"
	"testing"
	"time"

	"github.com/mustermesh/muster/proto"
)

// breaks lets the stream of a peer's lease break.
func (s *script) breaks(id proto.PeerID) proto.LeaseID {
	s.Helper()
	l := s.j.byID[id].lease
	if l == nil {
		s.Fatalf("%d has no lease", id[0])
	}
	s.j.LeaseBroken(s.now, id, l.id, "stream reset")
	return l.id
}

// wantAttach looks at what the last step asks to take up again.
func (s *script) wantAttach(id proto.PeerID, es ...proto.ExecutionID) {
	s.Helper()
	if len(s.last.Attach) != 1 || s.last.Attach[0].Peer != id || !slices.Equal(s.last.Attach[0].Executions, es) {
		s.Errorf("attaches %+v, want one with %d and %v", s.last.Attach, id[0], es)
	}
}

func TestALeaseThatBreaksIsTakenUpAgain(t *testing.T) {
	setup := func(t *testing.T, change ...func(*JobConfig)) (*script, proto.PeerID, proto.LeaseID) {
		s := newScript(t, 1, 0, change...)
		s.step(0)
		s.bids(2, 1)
		s.step(0)
		s.accept()
		id := s.runners(0)[0]
		e := s.must(0, id)
		lease := s.breaks(id)
		s.step(0)
		s.wantAttach(id, e)
		return s, id, lease
	}
	other := func(id proto.PeerID) proto.PeerID {
		if id == p1 {
			return p2
		}
		return p1
	}
	t.Run("in time, and nothing has changed", func(t *testing.T) {
		s, id, lease := setup(t)
		s.step(doubtBroken - 1)
		s.j.LeaseAttached(s.now, id, lease)
		s.step(time.Second)
		if got := s.runners(0); !slices.Equal(got, []proto.PeerID{id}) || len(s.all.Evidence) != 0 {
			t.Errorf("runs on %v, evidence %+v", got, s.all.Evidence)
		}
		s.answer(0, id, "x")
		s.step(0)
		s.wantTask(0, TaskAccepted, "")
	})
	t.Run("late: another has the task by then, and the first answer settles it", func(t *testing.T) {
		s, id, lease := setup(t)
		s.step(doubtBroken)
		s.accept()
		s.must(0, other(id))
		s.wantEvidence(id, EvidenceLost, 1)
		s.j.LeaseAttached(s.now, id, lease)
		s.step(0)
		s.answer(0, id, "x")
		s.step(0)
		s.wantTask(0, TaskAccepted, "")
		s.wantEvidence(id, EvidenceUnchecked, 1)
	})
	t.Run("not, for its provider does not know it: the task goes elsewhere, and that counts once", func(t *testing.T) {
		s, id, lease := setup(t)
		s.step(time.Millisecond)
		s.j.LeaseLost(s.now, id, lease, "unknown")
		s.step(0)
		s.accept()
		s.must(0, other(id))
		s.wantEvidence(id, EvidenceLost, 1)
		if !slices.Contains(s.last.Gone, lease) {
			t.Errorf("the record of the lease is not removed: %v", s.last.Gone)
		}
	})
	t.Run("again and again, more slowly, until the grace is over", func(t *testing.T) {
		s, id, lease := setup(t, func(c *JobConfig) { c.Grace = time.Minute })
		var gaps []time.Duration
		for begin := s.now; s.j.Holds(id, lease) && s.now.Sub(begin) < time.Hour; {
			s.j.AttachFailed(s.now, id, lease, "no route")
			at := s.now
			for s.step(0); s.j.Holds(id, lease) && len(s.last.Attach) == 0; {
				s.step(10 * time.Millisecond)
			}
			gaps = append(gaps, s.now.Sub(at))
		}
		if len(gaps) < 8 || gaps[0] >= gaps[5] || slices.Max(gaps) > slowestBackoff+100*time.Millisecond {
			t.Errorf("tried after %v", gaps)
		}
		if s.j.Holds(id, lease) {
			t.Error("never given up")
		}
		s.wantEvidence(id, EvidenceLost, 1)
	})
	t.Run("of nothing under way: it is over", func(t *testing.T) {
		s, id, _ := setup(t)
		s.j.LeaseAttached(s.now, id, s.j.byID[id].lease.id)
		s.step(0)
		s.answer(0, id, "x")
		lease := s.j.byID[id].lease.id
		s.j.LeaseBroken(s.now, id, lease, "stream reset")
		if s.j.Holds(id, lease) {
			t.Error("an idle lease is asked after")
		}
	})
}

// again makes a job of an earlier run's records.
func (s *script) again(change ...func(*JobConfig)) *script {
	n := newScript(s.T, len(s.j.tasks), s.j.cfg.Checkers, append(change, func(c *JobConfig) { c.Epoch = 1 << 32 })...)
	n.now = s.now
	return n
}

func TestAJobGoesOnAfterARestart(t *testing.T) {
	run := func(t *testing.T) (*script, []LeaseRecord, []ExecutionRecord) {
		s := newScript(t, 1, 0)
		s.step(0)
		s.bids(1, 1)
		out := s.step(0)
		s.accept()
		if len(out.Leases) != 1 || len(out.Executions) != 1 || out.Executions[0].Lease != out.Leases[0].Lease {
			t.Fatalf("on record are %+v and %+v", out.Leases, out.Executions)
		}
		return s, out.Leases, out.Executions
	}
	t.Run("with the execution that is under way", func(t *testing.T) {
		s, leases, es := run(t)
		n := s.again()
		n.j.RestoreLease(n.now, leases[0], es)
		n.step(0)
		n.wantAttach(p1, es[0].Execution)
		n.wantState(Running, "")
		n.j.LeaseAttached(n.now, p1, leases[0].Lease)
		n.where[es[0].Execution] = spot{p1, 0, leases[0].Lease}
		n.answer(0, p1, "x")
		n.step(0)
		n.wantTask(0, TaskAccepted, "")
		if !slices.Contains(n.last.Over, es[0].Execution) || !slices.Contains(n.last.Gone, leases[0].Lease) {
			t.Errorf("records are left: removed are %v and %v", n.last.Over, n.last.Gone)
		}
	})
	t.Run("without its provider: another is found after a while, and nobody is blamed", func(t *testing.T) {
		s, leases, es := run(t)
		n := s.again()
		n.j.RestoreLease(n.now, leases[0], es)
		n.step(0)
		n.appear(p2, func(*Candidate) {})
		n.bid(p2, 1, 0)
		n.j.AttachFailed(n.now, p1, leases[0].Lease, "no route")
		n.step(doubtRestored - time.Millisecond)
		if _, ok := n.on(0, p2); ok {
			t.Error("given away before its provider could be found")
		}
		n.step(time.Millisecond)
		e := n.must(0, p2)
		if epoch := n.all.Open[len(n.all.Open)-1].Epoch; epoch <= 1<<32 {
			t.Errorf("execution %s under epoch %d, want one above the earlier run's", e, epoch)
		}
		if len(n.all.Evidence) != 0 {
			t.Errorf("evidence %+v", n.all.Evidence)
		}
	})
	t.Run("and counts failures on", func(t *testing.T) {
		few := func(c *JobConfig) { c.Retries = 2 }
		s := newScript(t, 1, 0, few)
		s.step(0)
		s.bids(1, 1)
		s.step(0)
		s.accept()
		s.fail(0, p1, proto.ReasonKilled)
		if out := s.step(0); !slices.Contains(out.Troubled, 0) {
			t.Fatalf("the failure is not put on record: %v", out.Troubled)
		}
		n := s.again(few)
		n.j.RestoreFailures(s.j.Task(0))
		n.step(0)
		n.bids(2, 1)
		n.step(time.Minute)
		n.accept()
		n.fail(0, n.runners(0)[0], proto.ReasonKilled)
		n.step(0)
		n.wantTask(0, TaskFailed, "given up after 2 failed executions")
		if v := n.j.Task(0); !v.Settlement.Dead || len(v.Executions) != 2 || n.j.Count().Dead != 1 {
			t.Errorf("%+v; want a dead task with both its failures", v)
		}
	})
}

func TestAJobEndsAtItsDeadline(t *testing.T) {
	s := newScript(t, 1, 0, func(c *JobConfig) { c.Deadline = meshStart.Add(time.Minute) })
	s.step(0)
	s.bids(1, 1)
	s.step(0)
	s.accept()
	if out := s.step(time.Second); out.Wake.After(meshStart.Add(time.Minute)) {
		t.Errorf("wakes at %s", out.Wake)
	}
	s.step(59 * time.Second)
	s.wantState(Expired, "the job's time is over")
	if len(s.last.Cancel) != 1 {
		t.Errorf("cancels %+v, want the execution under way", s.last.Cancel)
	}
}

func TestASlowExecutionGetsABackup(t *testing.T) {
	program := proto.RawCID([]byte("p"))
	speeds := NewSpeeds()
	for range 20 {
		for n := range byte(3) {
			speeds.Observe(meshStart, peerN(n+1), program, 10*time.Second)
		}
	}
	hedged := func(c *JobConfig) {
		c.Hedge, c.Speeds, c.Budget, c.Kind = Hedging(), speeds, HedgeBudget(), program
	}
	s := newScript(t, 1, 0, hedged)
	s.step(0)
	s.bids(3, 1)
	s.step(0)
	s.accept()
	slow := s.runners(0)[0]
	s.j.Started(s.now, s.must(0, slow))
	if s.step(5 * time.Second); len(s.runners(0)) != 1 {
		t.Fatal("a backup before it is slow")
	}
	s.step(10 * time.Second)
	s.accept()
	both := s.runners(0)
	if len(both) != 2 || s.j.Count().Hedges != 1 {
		t.Fatalf("runs on %d peers with %d backups, want 2 with 1", len(both), s.j.Count().Hedges)
	}
	fast := both[0]
	if fast == slow {
		fast = both[1]
	}
	s.answer(0, fast, "x")
	s.step(0)
	s.wantTask(0, TaskAccepted, "")
	if len(s.last.Cancel) != 1 || s.last.Cancel[0].Worth < 10*time.Second || s.last.Cancel[0].Worth > 15*time.Second {
		t.Errorf("cancels %+v; want the slow one, credited with about what others take", s.last.Cancel)
	}
}
