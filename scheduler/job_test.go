package scheduler

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mustermesh/muster/proto"
)

var p1, p2, p3 = peerN(1), peerN(2), peerN(3)

func TestBidding(t *testing.T) {
	t.Run("is over at once when all of the working set has answered or declined", func(t *testing.T) {
		s := newScript(t, 1, 0)
		s.appear(p1, func(*Candidate) {})
		s.appear(p2, func(*Candidate) {})
		s.step(0)
		s.bid(p1, 1, 0)
		if out := s.step(0); len(out.Open) != 0 || !out.Wake.Equal(s.now.Add(bidWindow)) {
			t.Fatalf("one of two answered: opened %d, wake in %s", len(out.Open), out.Wake.Sub(s.now))
		}
		s.j.Refused(p2, No{proto.ReasonMemory, "too little"})
		if out := s.step(0); len(out.Open) != 1 || out.Open[0].Peer != p1 {
			t.Errorf("all answered: opened %+v", out.Open)
		}
	})
	t.Run("is over when there are three bids for every task", func(t *testing.T) {
		s := newScript(t, 1, 0)
		for i := range byte(10) {
			s.appear(peerN(i+1), func(*Candidate) {})
		}
		s.step(0)
		s.bid(p1, 1, 0)
		s.bid(p2, 1, 0)
		if out := s.step(0); len(out.Open) != 0 {
			t.Errorf("with two bids: opened %+v", out.Open)
		}
		s.bid(p3, 1, 0)
		if out := s.step(0); len(out.Open) != 1 {
			t.Errorf("with three bids: opened %+v", out.Open)
		}
	})
	t.Run("lasts its window where peers are unknown and then takes what there is", func(t *testing.T) {
		s := newScript(t, 1, 0)
		s.step(0)
		s.bid(p1, 1, 0)
		if out := s.step(bidWindow - 1); len(out.Open) != 0 {
			t.Errorf("before the window's end: opened %+v", out.Open)
		}
		if out := s.step(1); len(out.Open) != 1 {
			t.Errorf("at the window's end: opened %+v", out.Open)
		}
	})
	t.Run("takes the first bid that comes after the window", func(t *testing.T) {
		s := newScript(t, 1, 0)
		s.appear(p1, func(*Candidate) {})
		s.appear(p2, func(*Candidate) {})
		s.step(0)
		s.step(bidWindow)
		s.wantState(Pending, "2 has not answered yet")
		s.bid(p2, 1, 0)
		if out := s.step(0); len(out.Open) != 1 || out.Open[0].Peer != p2 {
			t.Errorf("opened %+v", out.Open)
		}
	})
	t.Run("takes no bid above the limit, and says so", func(t *testing.T) {
		s := newScript(t, 1, 0)
		s.appear(p1, func(*Candidate) {})
		s.step(0)
		s.bid(p1, 1, 1001)
		if out := s.step(time.Second); len(out.Open) != 0 {
			t.Errorf("opened %+v", out.Open)
		}
		s.wantState(Pending, "refused (price: its bid is above the job's limit)")
	})
	t.Run("is no affair of the requester's own provider, nor of one without weight", func(t *testing.T) {
		s := newScript(t, 1, 0)
		s.seen[p1] = Candidate{ID: p1, Weight: 0}
		s.j.Peers(s.candidates())
		s.step(0)
		s.j.Bid(Candidate{ID: self, Weight: 1}, proto.Bid{Slots: 1})
		s.bid(p1, 1, 0)
		if out := s.step(time.Second); len(out.Open) != 0 {
			t.Errorf("opened %+v", out.Open)
		}
		s.wantState(Pending, "proven wrong before")
	})
}

func TestAnnouncements(t *testing.T) {
	t.Run("are repeated ever slower while nothing happens", func(t *testing.T) {
		s := newScript(t, 1, 0)
		var at []time.Duration
		for range 200 {
			if out := s.step(0); out.Announce != 0 {
				if int(out.Announce) != len(at)+1 {
					t.Errorf("sequence %d after %d", out.Announce, len(at))
				}
				at = append(at, s.now.Sub(meshStart))
			}
			if s.last.Wake.IsZero() {
				t.Fatal("nobody is to wake it")
			}
			s.now = s.last.Wake
		}
		want := []time.Duration{0, 1, 3, 7, 15, 25, 35, 45}
		for i := range want {
			want[i] *= time.Second
		}
		if !slices.Equal(at[:len(want)], want) {
			t.Errorf("announced at %v, want %v", at[:len(want)], want)
		}
	})
	t.Run("stop when no task waits for anybody", func(t *testing.T) {
		s := newScript(t, 1, 0)
		s.step(0)
		s.bids(1, 1)
		s.step(0)
		for range 30 {
			if out := s.step(time.Second); out.Announce != 0 {
				t.Fatalf("announced after %s", s.now.Sub(meshStart))
			}
		}
	})
	t.Run("come soon again when a bid proved void", func(t *testing.T) {
		s := newScript(t, 1, 0)
		s.step(0)
		for range 60 {
			s.step(time.Second) // the pace is slow by now
		}
		s.bids(1, 1)
		s.step(0)
		s.lose(p1) // before it took the award
		until := s.now.Add(announceEvery)
		for s.step(0).Announce == 0 {
			if s.now = s.last.Wake; s.now.After(until) {
				t.Fatalf("the next announcement is not before %s", s.now.Sub(until)+announceEvery)
			}
		}
	})
	t.Run("stay slow while somebody works on the tasks", func(t *testing.T) {
		s := newScript(t, 10_000, 0)
		s.step(0)
		s.bids(1, 1)
		s.step(0)
		s.accept()
		announced := 0
		for i := range 1000 {
			s.answer(i, p1, "x")
			if s.step(100*time.Millisecond).Announce != 0 {
				announced++
			}
		}
		if announced > 14 {
			t.Errorf("announced %d times in 100 seconds", announced)
		}
	})
}

func TestTasksAreSettled(t *testing.T) {
	t.Run("as accepted where nobody was to check, and never called verified", func(t *testing.T) {
		s := newScript(t, 1, 0)
		s.step(0)
		s.bids(1, 1)
		s.step(0)
		s.accept()
		s.answer(0, p1, "x")
		s.step(0)
		s.wantTask(0, TaskAccepted, "standing alone")
		s.wantEvidence(p1, EvidenceUnchecked, 1)
		s.wantState(Completed, "")
		if len(s.all.Close) != 1 {
			t.Errorf("closed %d leases, want 1", len(s.all.Close))
		}
	})
	t.Run("as verified where a checker agreed", func(t *testing.T) {
		s := newScript(t, 1, 1)
		s.step(0)
		s.bids(3, 1)
		s.step(0)
		s.accept()
		for i, id := range s.runners(0) {
			s.answer(0, id, "x")
			s.step(0)
			if want := []TaskState{TaskChecking, TaskVerified}[i]; s.j.Task(0).State != want {
				t.Errorf("after %d answers the task is %s, want %s", i+1, s.j.Task(0).State, want)
			}
		}
		s.wantTask(0, TaskVerified, "1 independent checker agreed")
	})
	t.Run("only when the output is here", func(t *testing.T) {
		s := newScript(t, 1, 0)
		s.step(0)
		s.bids(1, 1)
		s.step(0)
		s.accept()
		e := s.must(0, p1)
		s.j.Answered(s.now, e, says("x"))
		out := s.step(0)
		s.wantTask(0, TaskChecking, "")
		if len(out.Fetch) != 1 || out.Fetch[0].Peer != p1 || out.Fetch[0].Output != says("x").Output {
			t.Errorf("fetches %+v", out.Fetch)
		}
		s.j.Held(s.now, 0, says("x").Output)
		s.step(0)
		s.wantTask(0, TaskAccepted, "")
	})
	t.Run("without a fetch where the output came with the answer", func(t *testing.T) {
		s := newScript(t, 1, 1)
		s.step(0)
		s.bids(2, 1)
		s.step(0)
		s.accept()
		s.answer(0, p1, "x")
		if out := s.step(0); len(out.Fetch) != 0 {
			t.Errorf("fetches %+v", out.Fetch)
		}
	})
	t.Run("by another's copy where the output cannot be fetched", func(t *testing.T) {
		s := newScript(t, 1, 1)
		s.step(0)
		s.bids(3, 1)
		s.step(0)
		s.accept()
		ids := s.runners(0)
		first := s.must(0, ids[0])
		s.j.Answered(s.now, first, says("x"))
		s.j.Answered(s.now, s.must(0, ids[1]), says("x"))
		s.step(0)
		s.j.FetchFailed(s.now, first, "gone")
		out := s.step(0)
		if len(out.Fetch) != 1 || out.Fetch[0].Peer != ids[1] {
			t.Fatalf("fetches %+v", out.Fetch)
		}
		s.wantEvidence(ids[0], EvidenceLost, 1)
		if now := s.runners(0); len(now) != 1 || slices.Contains(ids, now[0]) {
			t.Errorf("now runs on %v, want on the third", now)
		}
	})
	t.Run("once, whatever comes later", func(t *testing.T) {
		s := newScript(t, 1, 0)
		s.step(0)
		s.bids(1, 1)
		s.step(0)
		s.accept()
		e, lease := s.must(0, p1), s.lease(p1)
		s.answer(0, p1, "x")
		s.step(0)
		if s.j.Answered(s.now, e, says("y")) {
			t.Error("somebody waited for a second answer")
		}
		s.j.Held(s.now, 0, says("y").Output)
		s.j.FetchFailed(s.now, e, "")
		s.j.ExecutionFailed(s.now, e, proto.ReasonKilled, "")
		s.j.LeaseLost(s.now, p1, lease, "")
		s.j.Cancel(s.now, "too late")
		out := s.step(time.Hour)
		if len(s.all.Settled) != 1 || len(s.all.Evidence) != 1 || len(out.States) != 0 || !out.Wake.IsZero() {
			t.Errorf("settled %v, evidence %v, then %+v", s.all.Settled, s.all.Evidence, out)
		}
		s.wantState(Completed, "")
	})
	t.Run("as a failure of the job where the program failed, by agreement of all", func(t *testing.T) {
		s := newScript(t, 1, 1)
		s.step(0)
		s.bids(2, 1)
		s.step(0)
		s.accept()
		o := says("x")
		o.ExitCode = 3
		for _, id := range s.runners(0) {
			s.j.Answered(s.now, s.must(0, id), o)
			s.j.Held(s.now, 0, o.Output)
		}
		s.step(0)
		s.wantTask(0, TaskVerified, "agreed")
		s.wantState(Failed, "task 0: the program exited with code 3")
		if c := s.j.Count(); c.Verified != 1 || c.Failed != 1 {
			t.Errorf("counts %+v", c)
		}
	})
}

func TestCheckersAreApart(t *testing.T) {
	s := newScript(t, 1, 1, func(c *JobConfig) { c.QueueTimeout = time.Minute })
	s.appear(p1, func(c *Candidate) { c.Group = "203.0.113" })
	s.appear(p2, func(c *Candidate) { c.Group = "203.0.113" })
	s.appear(p3, func(c *Candidate) { c.Group = "203.0.113" })
	s.step(0)
	s.bid(p1, 4, 0)
	s.j.Refused(p2, No{proto.ReasonBusy, ""})
	s.j.Refused(p3, No{proto.ReasonBusy, ""})
	s.step(0)
	if got := s.runners(0); len(got) != 1 {
		t.Fatalf("runs on %v: one group", got)
	}
	s.appear(peerN(4), func(c *Candidate) { c.Group = "198.51.100" })
	s.step(0)
	if got := s.runners(0); len(got) != 2 || got[1] != peerN(4) {
		t.Errorf("runs on %v", got)
	}
	if !s.j.Diverse() {
		t.Error("two groups are not diverse")
	}
}

func TestTheExecutorIsABidder(t *testing.T) {
	s := newScript(t, 1, 1)
	s.appear(p1, func(*Candidate) {})
	s.appear(p2, func(*Candidate) {})
	s.step(0)
	s.bid(p2, 1, 0)
	s.step(bidWindow)
	v := s.j.Task(0).Executions
	if len(v) != 2 || v[0].Peer != p2 || v[0].Role != RoleExecutor || v[1].Peer != p1 || v[1].Role != RoleChecker {
		t.Errorf("executions %+v", v)
	}
}

func TestOneThatOweAnswersIsAlwaysChecked(t *testing.T) {
	s := newScript(t, 1, 0)
	s.appear(p1, func(c *Candidate) { c.AlwaysCheck = true })
	s.appear(p2, func(*Candidate) {})
	s.step(0)
	s.bid(p1, 1, 0)
	s.j.Refused(p2, No{proto.ReasonBusy, ""})
	s.step(0)
	if got := s.runners(0); len(got) != 2 {
		t.Errorf("runs on %v, want on a checker too", got)
	}
}

func TestTasksThatNobodyCanTakeHoldUpNoOther(t *testing.T) {
	s := newScript(t, 200, 1)
	s.appear(p1, func(*Candidate) {})
	s.step(0)
	s.bid(p1, 100, 0)
	s.step(0)
	s.accept()
	for i := range 100 { // a hundred tasks wait for a checker that is not there
		s.answer(i, p1, "x")
	}
	s.step(0)
	if n := len(s.runners(150)); n != 1 {
		t.Fatalf("a task behind them runs on %d", n)
	}
	s.bid(p2, 1, 0)
	if out := s.step(0); len(out.Open) != 1 || out.Open[0].Peer != p2 {
		t.Errorf("opens %v", out.Open)
	}
}

func TestEveryTaskIsLookedAtInTime(t *testing.T) {
	s := newScript(t, 100, 2)
	s.step(0)
	s.bid(p1, 100, 0)
	s.step(bidWindow)
	s.bid(p2, 99, 0)
	s.step(0)
	s.accept()
	left := slices.IndexFunc(s.j.tasks, func(t *task) bool { _, ok := s.on(t.index, p2); return !ok })
	s.appear(p3, func(c *Candidate) { c.Ineligible = &No{proto.ReasonPolicy, ""} }) // free and of no use: the list turns
	s.step(0)
	s.answer((left+50)%100, p2, "x") // now p2 has room for the one task that it has not, somewhere in the list
	s.step(0)
	for until := s.now.Add(100 * time.Millisecond); s.now.Before(until); s.step(0) {
		if _, ok := s.on(left, p2); ok {
			return
		}
		s.now = s.last.Wake
	}
	t.Error("task", left, "was not placed")
}

func TestWhoRefusedForGoodIsNoChecker(t *testing.T) {
	s := newScript(t, 1, 1)
	s.appear(p1, func(*Candidate) {})
	s.appear(p2, func(*Candidate) {})
	s.step(0)
	s.bid(p1, 1, 0)
	s.j.Refused(p2, No{proto.ReasonPolicy, "not for you"})
	s.step(0)
	if got := s.runners(0); len(got) != 1 {
		t.Errorf("runs on %v", got)
	}
}

func TestABidStandsAboveTheAdvert(t *testing.T) {
	s := newScript(t, 1, 0)
	s.appear(p1, func(c *Candidate) { c.Price = 5 })
	s.step(0)
	s.j.Bid(s.seen[p1], proto.Bid{Slots: 1, Price: 7, Engine: engine1})
	s.appear(p1, func(c *Candidate) { c.Price = 5 })
	out := s.step(0)
	if len(out.Open) != 1 || out.Open[0].Price != 7 {
		t.Fatalf("opens %+v", out.Open)
	}
}

func TestRefusedTasksOfAnAcceptedLease(t *testing.T) {
	s := newScript(t, 1, 0)
	s.step(0)
	s.bids(1, 1)
	s.step(0)
	s.accept()
	s.fail(0, p1, proto.ReasonBusy)
	if out := s.step(0); len(out.Assign) != 0 {
		t.Errorf("asked again at once: a busy loop")
	}
	s.wantEvidence(p1, EvidenceFailed, 0)
	s.step(declineBackoff)
	s.j.Started(s.now, s.must(0, p1))
	s.fail(0, p1, proto.ReasonBusy) // it began: that is a failure
	s.step(0)
	s.wantEvidence(p1, EvidenceFailed, 1)
}

func TestRestore(t *testing.T) {
	t.Run("settled tasks stay so, are not reported again, and the others run", func(t *testing.T) {
		s := newScript(t, 3, 0)
		done := Settlement{State: TaskAccepted, Outcome: says("x"), Output: says("x").Output}
		s.j.Restore(0, done)
		s.j.Restore(2, done)
		s.j.Restore(2, Settlement{State: TaskFailed})
		s.step(0)
		s.bids(1, 4)
		s.step(0)
		s.accept()
		if len(s.all.Settled) != 0 || len(s.runners(0))+len(s.runners(2)) != 0 {
			t.Fatalf("reported %v", s.all.Settled)
		}
		s.answer(1, p1, "x")
		s.step(0)
		s.wantState(Completed, "")
		if !slices.Equal(s.all.Settled, []int{1}) {
			t.Errorf("reported %v", s.all.Settled)
		}
	})
	t.Run("a job whose tasks were all settled ends at once", func(t *testing.T) {
		s := newScript(t, 1, 0)
		s.j.Restore(0, Settlement{State: TaskFailed, How: "timed out"})
		s.step(0)
		s.wantState(Failed, "task 0: timed out")
	})
}

func TestAJobSaysHowItEnded(t *testing.T) {
	failed := func(r proto.Outcome, code uint32, trap string) Settlement {
		return Settlement{State: TaskVerified, Checkers: 2, Outcome: Outcome{Result: r, ExitCode: code, Trap: trap}}
	}
	ok := Settlement{State: TaskVerified, Checkers: 3, Outcome: says("x")}
	own := Settlement{State: TaskVerified, Own: true, Outcome: says("x")}
	burnt := failed(proto.OutcomeOutOfFuel, 0, "")
	burnt.Outcome.Fuel = 1_000_000
	cases := []struct {
		name     string
		tasks    []Settlement
		want     State
		why      string
		counts   Counts
		checkers int
		own      bool
	}{
		{"completed, with the least confidence of all tasks", []Settlement{ok, {State: TaskAccepted, Outcome: says("x")}}, Completed, "", Counts{Tasks: 2, Verified: 1, Accepted: 1}, 0, false},
		{"own runs are not the least", []Settlement{ok, own}, Completed, "", Counts{Tasks: 2, Verified: 2}, 3, false},
		{"own runs alone", []Settlement{own, own}, Completed, "", Counts{Tasks: 2, Verified: 2}, 0, true},
		{"a trap", []Settlement{ok, failed(proto.OutcomeTrapped, 0, "unreachable")}, Failed, "task 1: the program trapped: unreachable", Counts{Tasks: 2, Verified: 2, Failed: 1}, 2, false},
		{"no program", []Settlement{failed(proto.OutcomeInvalid, 0, "bad magic")}, Failed, "task 0: the program is not valid: bad magic", Counts{Tasks: 1, Verified: 1, Failed: 1}, 2, false},
		{"out of fuel", []Settlement{burnt, burnt}, Failed, "task 0: the program ran out of fuel; raise limits.fuel, above 1000000", Counts{Tasks: 2, Verified: 2, Failed: 2, Fuel: 2_000_000}, 2, false},
		{"a dispute weighs more than a failure", []Settlement{{State: TaskFailed, How: "timed out"}, {State: TaskDisputed, How: "unsettled"}}, Disputed, "task 1: unsettled", Counts{Tasks: 2, Disputed: 1, Failed: 1}, 0, false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := newScript(t, len(c.tasks), 0)
			for i, settled := range c.tasks {
				s.j.Restore(i, settled)
			}
			s.step(0)
			s.wantState(c.want, c.why)
			if got := s.j.Count(); got != c.counts {
				t.Errorf("counts %+v, want %+v", got, c.counts)
			}
			if checkers, own := s.j.Confidence(); checkers != c.checkers || own != c.own {
				t.Errorf("confidence %d, own %t; want %d, %t", checkers, own, c.checkers, c.own)
			}
		})
	}
}

func TestCancel(t *testing.T) {
	s := newScript(t, 2, 2, localSlots(1))
	s.step(0)
	s.bids(2, 2)
	s.step(0)
	live := len(s.runners(0)) + len(s.runners(1))
	s.j.Cancel(s.now, "on the user's word")
	s.j.Cancel(s.now, "again")
	out := s.step(0)
	s.wantState(Cancelled, "on the user's word")
	if live == 0 || len(out.Cancel) != live || len(out.Close) != 2 || len(out.States) != 1 || !out.Wake.IsZero() {
		t.Errorf("of %d executions %d were cancelled, %d leases closed: %+v", live, len(out.Cancel), len(out.Close), out)
	}
}

func TestLocalOnly(t *testing.T) {
	local := func(c *JobConfig) { c.LocalOnly = true }
	t.Run("asks nobody and runs as many at a time as it may", func(t *testing.T) {
		s := newScript(t, 3, 5, local, localSlots(2))
		s.bids(1, 1)
		out := s.step(0)
		if out.Announce != 0 || len(out.Open) != 0 || len(out.Local) != 2 {
			t.Fatalf("announces %d, opens %d, runs %d here", out.Announce, len(out.Open), len(out.Local))
		}
		for i := range 3 {
			s.answer(i, self, "x")
			s.step(0)
			s.wantTask(i, TaskVerified, "run here")
		}
		s.wantState(Completed, "")
	})
	t.Run("fails a task that cannot be run here, with the reason", func(t *testing.T) {
		s := newScript(t, 1, 0, local, localSlots(1))
		s.step(0)
		s.fail(0, self, proto.ReasonMemory)
		s.step(0)
		s.wantState(Failed, "task 0: could not be run here: memory as scripted")
	})
	t.Run("fails where there is no sandbox", func(t *testing.T) {
		s := newScript(t, 1, 0, local)
		s.step(0)
		s.wantState(Failed, "cannot run this program")
	})
}

func TestWhy(t *testing.T) {
	s := newScript(t, 1, 0, func(c *JobConfig) { c.QueueTimeout = time.Minute })
	s.step(0)
	s.wantState(Bidding, "")
	s.step(bidWindow)
	s.wantState(Pending, "no provider is known yet; start one with: muster daemon")
	s.appear(p1, func(c *Candidate) { c.Ineligible = &No{proto.ReasonMemory, "a task needs more memory than is lent"} })
	s.appear(p2, func(*Candidate) {})
	s.appear(p3, func(*Candidate) {})
	s.j.Refused(p2, No{proto.ReasonDraining, "takes nothing new"})
	s.step(0)
	s.wantState(Pending, "of 3 known providers: ")
	for _, want := range []string{"1 cannot (memory: a task needs more memory than is lent)", "1 refused (draining: takes nothing new)", "1 has not answered yet"} {
		s.wantState(Pending, want)
	}
	delete(s.seen, p3)
	s.j.Peers(s.candidates())
	s.step(0)
	s.wantState(Pending, "1 not reachable now")
	if n := len(s.j.Bids()); n != 1 {
		t.Errorf("%d bids and refusals, want 1", n)
	}
	s.step(time.Minute)
	s.wantState(Expired, "no progress for 1m0s: of 3 known providers")
	if why := s.j.Why(s.now); why != "" {
		t.Errorf("an ended job waits for %q", why)
	}
	if got := s.j.String(); !strings.Contains(got, "expired, 0 of 1") {
		t.Errorf("the job is %q", got)
	}
}

func TestStrangersCannotGrowAJobWithoutLimit(t *testing.T) {
	s := newScript(t, 1, 0)
	for i := range 3 * maxPeers {
		id := proto.PeerID{byte(i), byte(i >> 8), 7}
		if i%2 == 0 {
			s.j.Refused(id, No{})
		} else {
			s.j.Bid(Candidate{ID: id, Weight: 1}, proto.Bid{Slots: 1})
		}
	}
	if len(s.j.peers) > maxPeers {
		t.Errorf("it remembers %d peers", len(s.j.peers))
	}
	s = newScript(t, 1, 0)
	for i := range 3 * maxPeers { // a long job, peers come and go
		s.j.Peers([]Candidate{{ID: proto.PeerID{byte(i), byte(i >> 8), 7}, Weight: 1}})
	}
	if len(s.j.peers) > 100 {
		t.Errorf("it remembers %d peers that are gone", len(s.j.peers))
	}
}
