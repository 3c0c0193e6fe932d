package scheduler

import (
	"slices"
	"testing"
	"time"

	"github.com/mustermesh/muster/proto"
)

// conflict brings a task to two answers that differ.
func conflict(t *testing.T, change ...func(*JobConfig)) *script {
	s := newScript(t, 1, 1, change...)
	s.step(0)
	s.bids(2, 1)
	s.step(0)
	s.accept()
	s.answer(0, p1, "right")
	s.answer(0, p2, "lie")
	s.step(0)
	return s
}

func TestConflicts(t *testing.T) {
	t.Run("are settled by the requester's own run, and the wrong one is blamed", func(t *testing.T) {
		s := conflict(t, localSlots(1))
		s.answer(0, self, "right")
		s.step(0)
		s.wantTask(0, TaskVerified, "settled by the requester's own run: 1 of 2 answers were wrong")
		s.wantEvidence(p1, EvidenceChecked, 1)
		s.wantEvidence(p2, EvidenceWrong, 1)
		if e := s.all.Evidence[1]; e.Right != says("right").Output || e.Output != says("lie").Output {
			t.Errorf("evidence %+v", e)
		}
	})
	t.Run("are about exit codes too: a right output does not hide them", func(t *testing.T) {
		s := newScript(t, 1, 1, localSlots(1))
		s.step(0)
		s.bids(2, 1)
		s.step(0)
		s.accept()
		s.answer(0, p1, "x")
		lie := says("x")
		lie.ExitCode = 1
		s.j.Answered(s.now, s.must(0, p2), lie)
		s.step(0)
		s.answer(0, self, "x")
		s.step(0)
		s.wantTask(0, TaskVerified, "1 of 2 answers were wrong")
		s.wantEvidence(p2, EvidenceWrong, 1)
		s.wantState(Completed, "")
	})
	t.Run("are disputed where the requester cannot run it, and nobody is blamed", func(t *testing.T) {
		s := conflict(t)
		s.wantTask(0, TaskDisputed, "2 executions gave 2 different results, and the requester could not settle it: its sandbox cannot run this program")
		s.wantState(Disputed, "task 0")
		s.wantEvidence(p1, EvidenceWrong, 0)
		s.wantEvidence(p2, EvidenceWrong, 0)
	})
	t.Run("are disputed where the requester's own run fails", func(t *testing.T) {
		s := conflict(t, localSlots(1))
		s.fail(0, self, proto.ReasonMemory)
		s.step(0)
		s.wantTask(0, TaskDisputed, "memory as scripted")
	})
	t.Run("wait for a sandbox that is busy", func(t *testing.T) {
		s := conflict(t, localSlots(1))
		s.fail(0, self, proto.ReasonBusy)
		if out := s.step(0); !out.Wake.Equal(s.now.Add(declineBackoff)) {
			t.Errorf("wakes in %s", out.Wake.Sub(s.now))
		}
		s.step(declineBackoff)
		s.answer(0, self, "right")
		s.step(0)
		s.wantTask(0, TaskVerified, "settled by the requester's own run")
	})
	t.Run("do not end because a liar's output cannot be fetched", func(t *testing.T) {
		s := newScript(t, 1, 1, localSlots(1))
		s.step(0)
		s.bids(3, 1)
		s.step(0)
		s.accept()
		ids := s.runners(0)
		s.answer(0, ids[0], "right")
		e := s.must(0, ids[1])
		s.j.Answered(s.now, e, says("lie"))
		s.step(0)
		s.j.FetchFailed(s.now, e, "not found")
		s.step(0)
		s.answer(0, self, "right")
		s.step(0)
		s.wantEvidence(ids[1], EvidenceWrong, 1)
	})
	t.Run("while executions are live wait for their answers, which are evidence", func(t *testing.T) {
		s := newScript(t, 1, 2, localSlots(1))
		s.step(0)
		s.bids(3, 1)
		s.step(0)
		s.accept()
		s.answer(0, p1, "right")
		s.answer(0, p2, "lie")
		s.step(0)
		s.answer(0, self, "right")
		s.step(0)
		s.wantTask(0, TaskChecking, "")
		s.answer(0, p3, "right")
		s.step(0)
		s.wantTask(0, TaskVerified, "1 of 3")
		s.wantEvidence(p3, EvidenceChecked, 1)
	})
	t.Run("with another engine than the requester's prove nothing, and end the dealings", func(t *testing.T) {
		s := conflict(t, localSlots(1))
		s.hands(self, engine2, "third")
		s.step(0)
		s.hands(self, engineWord, "third")
		s.step(0)
		s.wantTask(0, TaskVerified, "own run alone; those that differ may have a faulty engine: nobody is blamed")
		s.wantNobodyBlamed()
		s.wantSetAside(p1)
		s.wantSetAside(p2)
		if got := s.all.Conflicts; len(got) != 2 || got[0] == got[1] {
			t.Errorf("conflicts %v, want both peers", got)
		}
	})
	t.Run("with another engine are no proof though others name it and are right", func(t *testing.T) {
		s := newScript(t, 1, 2, localSlots(1))
		s.step(0)
		for _, id := range []proto.PeerID{p1, p2, p3} {
			s.appear(id, func(c *Candidate) { c.Engine = engine2 })
			s.bid(id, 1, 0)
		}
		s.step(0)
		s.accept()
		for id, text := range map[proto.PeerID]string{p1: "right", p2: "right", p3: "lie"} {
			s.hands(id, engine2, text)
		}
		s.step(0)
		s.answer(0, self, "right")
		s.step(0)
		s.hands(self, engineWord, "right")
		s.step(0)
		s.wantTask(0, TaskVerified, "agreed; of 3 answers 1 differed, which may have a faulty engine")
		s.wantNobodyBlamed()
		s.wantSetAside(p3)
	})
	t.Run("in another program again and again are to blame whatever the engine", func(t *testing.T) {
		for programs, want := range map[int]EvidenceKind{oddPrograms - 2: EvidenceFailed, oddPrograms - 1: EvidenceWrong} {
			s := twoEngines(t, func(c *JobConfig) { c.Odd = map[proto.PeerID]int{p2: programs} })
			s.answer(0, p1, "right")
			s.hands(p2, engine2, "lie")
			s.step(0)
			s.answer(0, self, "right")
			s.step(0)
			s.hands(self, engineWord, "right")
			s.step(0)
			s.wantEvidence(p2, want, 1)
		}
	})
	t.Run("in fuel alone are settled like any others", func(t *testing.T) {
		s := newScript(t, 1, 1, localSlots(1))
		s.step(0)
		s.bids(2, 1)
		s.step(0)
		s.accept()
		honest, liar := says("right"), says("right")
		honest.Fuel, liar.Fuel = 1000, 1001
		for id, o := range map[proto.PeerID]Outcome{p1: honest, p2: liar} {
			s.j.Answered(s.now, s.must(0, id), o)
			s.j.Held(s.now, 0, o.Output)
		}
		s.step(0)
		s.j.Answered(s.now, s.must(0, self), honest)
		s.step(0)
		s.wantTask(0, TaskVerified, "settled by the requester's own run: 1 of 2 answers were wrong")
		s.wantEvidence(p1, EvidenceChecked, 1)
		s.wantEvidence(p2, EvidenceWrong, 1)
		if e := s.j.Task(0).Executions; !slices.ContainsFunc(e, func(x ExecView) bool { return x.Reason == "the requester's own run used 1000 units of fuel, not 1001" }) {
			t.Errorf("executions %+v, want one that says in what it was wrong", e)
		}
	})
	t.Run("in state roots alone are conflicts", func(t *testing.T) {
		s := newScript(t, 1, 1, localSlots(1))
		s.step(0)
		s.bids(2, 1)
		s.step(0)
		s.accept()
		for i, id := range []proto.PeerID{p1, p2} {
			o := OutcomeOf(proto.Answer{Outcome: proto.OutcomeExited, Output: proto.RawCID([]byte("right")), Engine: engine1, StateRoots: []proto.Hash{{1}, {byte(i)}}})
			s.j.Answered(s.now, s.must(0, id), o)
			s.j.Held(s.now, 0, o.Output)
		}
		s.step(0)
		s.wantTask(0, TaskChecking, "")
		s.must(0, self) // as referee
	})
	t.Run("are none where all ran out of fuel: nobody is blamed, nobody tries again", func(t *testing.T) {
		s := newScript(t, 1, 1, localSlots(1))
		s.step(0)
		s.bids(2, 1)
		s.step(0)
		s.accept()
		for _, id := range []proto.PeerID{p1, p2} {
			o := says("nothing")
			o.Result, o.Fuel = proto.OutcomeOutOfFuel, 500
			s.j.Answered(s.now, s.must(0, id), o)
			s.j.Held(s.now, 0, o.Output)
		}
		s.step(0)
		s.wantTask(0, TaskVerified, "1 independent checker agreed")
		s.wantState(Failed, "task 0: the program ran out of fuel; raise limits.fuel, above 500")
		s.wantEvidence(p1, EvidenceChecked, 1)
		s.wantEvidence(p2, EvidenceChecked, 1)
		if n := len(s.j.Task(0).Executions); n != 2 {
			t.Errorf("%d executions, want the 2 that answered", n)
		}
	})
	t.Run("are run twice before blame where nobody agrees with the requester", func(t *testing.T) {
		s := conflict(t, localSlots(1))
		s.answer(0, self, "third")
		s.step(0)
		s.wantTask(0, TaskChecking, "")
		if len(s.all.Evidence) != 0 {
			t.Fatalf("evidence %+v", s.all.Evidence)
		}
		s.answer(0, self, "third")
		s.step(0)
		s.wantTask(0, TaskVerified, "2 of 2 answers were wrong")
		s.wantEvidence(p1, EvidenceWrong, 1)
		s.wantEvidence(p2, EvidenceWrong, 1)
	})
	t.Run("blame nobody where the requester's own two runs differ", func(t *testing.T) {
		s := conflict(t, localSlots(1))
		s.answer(0, self, "third")
		s.step(0)
		s.answer(0, self, "fourth")
		s.step(0)
		s.wantTask(0, TaskDisputed, "the requester's own runs, on e/1/amd64 and on e/1/amd64, gave different results")
		if len(s.all.Evidence) != 0 {
			t.Errorf("evidence %+v", s.all.Evidence)
		}
	})
	t.Run("blame nobody where the requester cannot repeat its run", func(t *testing.T) {
		s := conflict(t, localSlots(1))
		s.answer(0, self, "third")
		s.step(0)
		s.fail(0, self, proto.ReasonKilled)
		s.step(0)
		s.wantTask(0, TaskVerified, "own run alone")
		if len(s.all.Evidence) != 0 {
			t.Errorf("evidence %+v", s.all.Evidence)
		}
	})
	t.Run("end all dealings with the one proven wrong", func(t *testing.T) {
		s := newScript(t, 3, 1, localSlots(1))
		s.step(0)
		s.bids(3, 3)
		s.step(0)
		s.accept()
		// p2 lies on a task that it shares, has answered or runs the others.
		var shared int
		for i := range 3 {
			if ids := s.runners(i); slices.Contains(ids, p2) {
				shared = i
				break
			}
		}
		for _, id := range s.runners(shared) {
			s.answer(shared, id, map[bool]string{true: "lie", false: "right"}[id == p2])
		}
		s.step(0)
		s.answer(shared, self, "right")
		out := s.step(0)
		if !slices.Contains(s.all.Close, s.closedOf(p2)) {
			t.Errorf("its lease was not closed: %v", out.Close)
		}
		s.bid(p2, 3, 0) // it bids as if nothing had happened, and the standing may lag
		s.seen[p2] = Candidate{ID: p2, Weight: 1, Free: 9, Engine: engine1}
		s.j.Peers(s.candidates())
		s.step(time.Second)
		for i := range 3 {
			if slices.Contains(s.runners(i), p2) {
				t.Errorf("task %d runs on it", i)
			}
		}
	})
}

func (s *script) closedOf(id proto.PeerID) (lease proto.LeaseID) {
	for _, o := range s.all.Open {
		if o.Peer == id {
			lease = o.Lease
		}
	}
	return lease
}

func TestAnAnswerOfOneProvenWrongSinceCountsForNothing(t *testing.T) {
	s := newScript(t, 2, 1, localSlots(1))
	s.step(0)
	s.bids(2, 2)
	s.step(0)
	s.accept()
	s.answer(0, p1, "a")
	s.answer(0, p2, "lie")
	s.answer(1, p2, "b") // its other answer waits for p1's check
	s.step(0)
	s.answer(0, self, "a")
	s.step(0)
	s.wantEvidence(p2, EvidenceWrong, 1)
	s.answer(1, p1, "b")
	s.step(0)
	if s.j.Task(1).State == TaskVerified && !s.j.Task(1).Settlement.Own {
		t.Error("task 1 is verified by one that was proven wrong")
	}
	s.step(0)
	s.answer(1, self, "b")
	s.step(0)
	s.wantTask(1, TaskVerified, "own run")
}

func TestTheRequesterStandsIn(t *testing.T) {
	t.Run("where two providers are all and five checkers are wanted", func(t *testing.T) {
		s := newScript(t, 1, 5, localSlots(1))
		s.step(0)
		s.bids(2, 4)
		s.step(0)
		s.accept()
		if got := s.runners(0); len(got) != 3 || !slices.Contains(got, self) {
			t.Fatalf("runs on %v", got)
		}
		for _, id := range []proto.PeerID{self, p1, p2} {
			s.answer(0, id, "x")
			s.step(0)
		}
		s.wantTask(0, TaskVerified, "1 independent checker and the requester's own run agreed")
		if checkers, own := s.j.Confidence(); checkers != 0 || !own {
			t.Errorf("confidence %d, own %t", checkers, own)
		}
	})
	t.Run("not before its time, and wakes for it", func(t *testing.T) {
		s := newScript(t, 1, 1, localSlots(1), func(c *JobConfig) { c.StandIn = meshStart.Add(300 * time.Millisecond) })
		s.step(0)
		s.bids(1, 1)
		if out := s.step(0); len(out.Local) != 0 || !out.Wake.Equal(meshStart.Add(300*time.Millisecond)) {
			t.Fatalf("runs %v, wakes in %s", out.Local, out.Wake.Sub(s.now))
		}
		if out := s.step(300 * time.Millisecond); len(out.Local) != 1 {
			t.Errorf("runs %v", out.Local)
		}
	})
	t.Run("not while a checker that is busy could do it", func(t *testing.T) {
		s := newScript(t, 1, 1, localSlots(1))
		s.appear(p1, func(*Candidate) {})
		s.appear(p2, func(c *Candidate) { c.Free = 0 })
		s.step(0)
		s.bid(p1, 1, 0)
		s.j.Refused(p2, No{proto.ReasonBusy, "all slots taken"})
		if out := s.step(0); len(out.Local) != 0 || len(out.Open) != 1 {
			t.Fatalf("runs %v, opens %v", out.Local, out.Open)
		}
		s.appear(p2, func(c *Candidate) { c.Free = 1 })
		if out := s.step(0); len(out.Open) != 1 || out.Open[0].Peer != p2 {
			t.Errorf("opens %v", out.Open)
		}
	})
	t.Run("not for a task that nobody began", func(t *testing.T) {
		s := newScript(t, 1, 1, localSlots(1))
		if out := s.step(time.Second); len(out.Local) != 0 {
			t.Errorf("runs %v", out.Local)
		}
	})
	t.Run("where it cannot, the job says what is missing and expires", func(t *testing.T) {
		s := newScript(t, 1, 1, func(c *JobConfig) { c.QueueTimeout = time.Minute })
		s.step(0)
		s.bids(1, 1)
		s.step(0)
		s.accept()
		s.answer(0, p1, "x")
		s.step(0)
		s.wantState(Running, "task 0 has an answer, but too few distinct peers to check it, and the requester cannot run it itself")
		s.step(time.Minute)
		s.wantState(Expired, "no progress for 1m0s: of 1 known providers")
	})
	t.Run("after two dozen failures on others", func(t *testing.T) {
		s := newScript(t, 1, 0, localSlots(1))
		s.step(0)
		s.bids(1, 1)
		for s.now.Before(meshStart.Add(time.Hour)) {
			s.step(time.Second)
			s.accept()
			if _, ok := s.on(0, self); ok {
				break
			}
			if _, ok := s.on(0, p1); ok {
				s.fail(0, p1, proto.ReasonKilled)
			}
		}
		s.wantEvidence(p1, EvidenceFailed, taskTries)
		s.answer(0, self, "x")
		s.step(0)
		s.wantTask(0, TaskVerified, "own run alone")
	})
}

func TestMoreConfidenceThanCheckersGiveTakesTheOwnRun(t *testing.T) {
	s := newScript(t, 1, 1, localSlots(1), func(c *JobConfig) { c.OwnRun = true })
	s.bids(2, 1)
	s.step(0)
	s.accept()
	for _, p := range s.runners(0) {
		s.answer(0, p, "right")
		s.j.Held(s.now, 0, says("right").Output)
	}
	if out := s.step(0); len(out.Settled) != 0 || len(out.Local) != 1 {
		t.Fatalf("settled %v, own runs %v before the requester ran it", out.Settled, out.Local)
	}
	s.answer(0, self, "right")
	s.step(0)
	s.wantTask(0, TaskVerified, "own run")
}

func TestALieWhoseOutputIsWithheldStillSpeaksAgainstItsPeer(t *testing.T) {
	s := newScript(t, 1, 1, localSlots(1))
	s.bids(3, 1)
	s.step(0)
	s.accept()
	liar := s.runners(0)[0]
	e := s.must(0, liar)
	s.answer(0, liar, "a lie")
	s.j.FetchFailed(s.now, e, "not found")
	for range 5 {
		s.step(time.Second)
		s.accept()
		for _, p := range s.runners(0) {
			s.answer(0, p, "right")
			s.j.Held(s.now, 0, says("right").Output)
		}
	}
	s.wantEvidence(liar, EvidenceWrong, 1)
	s.wantTask(0, TaskVerified, "")
}
