package scheduler

import (
	"slices"
	"testing"
	"time"

	"github.com/mustermesh/muster/proto"
)

func TestTimeouts(t *testing.T) {
	timed := func(c *JobConfig) { c.Timeout, c.Startup = time.Second, time.Minute }
	t.Run("the first is tried on another node, two are a fact, and nobody loses by it", func(t *testing.T) {
		s := newScript(t, 1, 0, timed)
		s.step(0)
		s.bids(2, 1)
		s.step(0)
		s.accept()
		first := s.runners(0)[0]
		s.now = s.now.Add(time.Second)
		s.fail(0, first, proto.ReasonTimeout)
		s.step(0)
		s.accept()
		second := s.runners(0)[0]
		if first == second {
			t.Fatal("tried on the same node")
		}
		s.now = s.now.Add(time.Second)
		s.fail(0, second, proto.ReasonTimeout)
		s.step(0)
		s.wantTask(0, TaskFailed, "timed out (2 executions reached the limit)")
		s.wantState(Failed, "timed out")
		if len(s.all.Evidence) != 0 {
			t.Errorf("evidence %+v", s.all.Evidence)
		}
	})
	t.Run("that come too early are the provider's failure", func(t *testing.T) {
		s := newScript(t, 1, 0, timed)
		s.step(0)
		s.bids(2, 1)
		s.step(0)
		s.accept()
		id := s.runners(0)[0]
		s.now = s.now.Add(time.Millisecond)
		s.fail(0, id, proto.ReasonTimeout)
		s.step(0)
		s.wantEvidence(id, EvidenceFailed, 1)
		s.wantTask(0, TaskRunning, "")
	})
	t.Run("do not fail a task that somebody answered", func(t *testing.T) {
		s := newScript(t, 1, 2, timed, localSlots(1))
		s.step(0)
		s.bids(3, 1)
		s.step(0)
		s.accept()
		s.answer(0, p1, "x")
		s.now = s.now.Add(time.Second)
		s.fail(0, p2, proto.ReasonTimeout)
		s.fail(0, p3, proto.ReasonTimeout)
		s.step(0)
		s.answer(0, self, "x")
		s.step(0)
		s.wantTask(0, TaskVerified, "own run")
	})
	t.Run("on the only node leave the task waiting for another, and it says so", func(t *testing.T) {
		s := newScript(t, 1, 0, timed)
		s.step(0)
		s.bids(1, 1)
		s.step(0)
		s.accept()
		s.now = s.now.Add(time.Second)
		s.fail(0, p1, proto.ReasonTimeout)
		s.step(0)
		s.wantState(Running, "task 0 timed out on 1, and is to be tried on another")
		s.bid(p2, 1, 0)
		s.step(0)
		s.must(0, p2)
	})
	t.Run("here are final for a job that is run here alone", func(t *testing.T) {
		s := newScript(t, 1, 0, timed, localSlots(1), func(c *JobConfig) { c.LocalOnly = true })
		s.step(0)
		s.fail(0, self, proto.ReasonTimeout)
		s.step(0)
		s.wantTask(0, TaskFailed, "timed out (1 executions")
	})
	t.Run("that a provider never reports are taken for granted", func(t *testing.T) {
		for _, started := range []bool{false, true} {
			s := newScript(t, 1, 0, timed)
			s.step(0)
			s.bids(1, 1)
			s.step(0)
			s.accept()
			e, lease := s.must(0, p1), s.lease(p1)
			if started {
				s.j.Started(s.now, e)
			}
			var out Actions
			want := meshStart.Add(time.Second + overdueSlack)
			if !started { // program and input may be on their way
				want = want.Add(time.Minute)
			}
			for len(s.all.Evidence) == 0 {
				if s.now = s.last.Wake; s.now.After(want) || s.now.IsZero() {
					t.Fatalf("started %t: wakes at %s, want %s", started, s.now, want)
				}
				out = s.step(0)
			}
			if !s.now.Equal(want) {
				t.Errorf("started %t: lost at %s, want %s", started, s.now, want)
			}
			s.wantEvidence(p1, EvidenceLost, 1)
			if len(out.Cancel) != 1 || !slices.Contains(out.Close, lease) {
				t.Errorf("started %t: cancels %v, closes %v", started, out.Cancel, out.Close)
			}
		}
	})
	t.Run("end a whole lease that shows no sign of life", func(t *testing.T) {
		s := newScript(t, 3, 0, timed)
		s.step(0)
		s.bids(1, 3)
		s.step(0)
		s.accept()
		for i := range 2 {
			s.j.Started(s.now, s.must(i, p1))
			s.now = s.now.Add(time.Millisecond)
		}
		s.step(0)
		lease := s.lease(p1)
		s.j.Refused(p1, No{proto.ReasonDraining, "so that nothing is tried there again"})
		for s.now = s.last.Wake; len(s.all.Close) == 0 && s.now.Before(meshStart.Add(80*time.Second)); s.now = s.last.Wake {
			s.step(0)
		}
		s.wantEvidence(p1, EvidenceLost, 3)
		if !slices.Contains(s.all.Close, lease) {
			t.Error("its lease was not closed")
		}
	})
	t.Run("are not for those that wait in a queue that moves", func(t *testing.T) {
		s := newScript(t, 100, 0, timed)
		s.step(0)
		s.bids(1, 100)
		s.step(0)
		s.accept()
		for i := range 100 { // one every second: the last is begun long after the limit
			s.now = s.now.Add(time.Second)
			s.answer(i, p1, "x")
			s.step(0)
		}
		s.wantEvidence(p1, EvidenceLost, 0)
		s.wantState(Completed, "")
	})
}

func TestADrainingProviderGetsNothingNew(t *testing.T) {
	s := newScript(t, 2, 0)
	s.step(0)
	s.bids(1, 2)
	s.step(0)
	s.accept()
	s.fail(0, p1, proto.ReasonDraining)
	s.answer(1, p1, "x") // what it has it finishes
	s.step(time.Minute)
	s.wantState(Running, "refused (draining: as scripted)")
	s.wantEvidence(p1, EvidenceFailed, 0)
	s.bid(p2, 1, 0)
	s.step(0)
	s.must(0, p2)
}

func TestATaskIsGivenUpAfterTwoDozenFailures(t *testing.T) {
	s := newScript(t, 1, 0)
	s.step(0)
	s.bids(1, 1)
	for s.now.Before(meshStart.Add(time.Hour)) && len(s.all.Settled) == 0 {
		s.step(time.Second)
		s.accept()
		if _, ok := s.on(0, p1); ok {
			s.fail(0, p1, proto.ReasonKilled)
		}
	}
	s.wantTask(0, TaskFailed, "given up after 24 failed executions; the last: killed as scripted")
	s.wantState(Failed, "task 0: given up")
}

func TestLeases(t *testing.T) {
	t.Run("that are declined send the tasks elsewhere, at nobody's cost", func(t *testing.T) {
		s := newScript(t, 2, 0)
		s.step(0)
		s.bids(2, 2)
		s.step(0)
		first := s.all.Open[0]
		s.decline(first.Peer, proto.ReasonBusy)
		s.accept()
		s.step(0)
		for i := range 2 {
			if got := s.runners(i); len(got) != 1 || got[0] == first.Peer {
				t.Errorf("task %d runs on %v", i, got)
			}
		}
		if len(s.all.Evidence) != 0 {
			t.Errorf("evidence %+v", s.all.Evidence)
		}
	})
	t.Run("that are declined again and again are asked for ever more slowly", func(t *testing.T) {
		s := newScript(t, 1, 0)
		s.step(0)
		s.bids(1, 1)
		asked := 0
		for s.now.Before(meshStart.Add(10 * time.Minute)) {
			for len(s.step(0).Open) > 0 {
				asked++
				s.decline(p1, proto.ReasonBusy)
				s.bid(p1, 1, 0) // and promises again
			}
			if s.last.Wake.IsZero() {
				t.Fatal("nobody is to wake it")
			}
			s.now = s.last.Wake
		}
		if asked > 80 || asked < 20 {
			t.Errorf("asked %d times in ten minutes", asked)
		}
		if n := len(s.j.Task(0).Executions); n > 2 {
			t.Errorf("the task keeps %d executions", n)
		}
	})
	t.Run("that are declined for good need a new bid", func(t *testing.T) {
		s := newScript(t, 1, 0)
		s.step(0)
		s.bids(1, 1)
		s.step(0)
		s.decline(p1, proto.ReasonDraining)
		if out := s.step(time.Minute); len(out.Open) != 0 {
			t.Fatalf("opens %v", out.Open)
		}
		s.bid(p1, 1, 0)
		if out := s.step(0); len(out.Open) != 1 || out.Open[0].Epoch != 2 {
			t.Errorf("opens %+v", out.Open)
		}
	})
	t.Run("that are lost cost what was in flight, and the tasks go on elsewhere", func(t *testing.T) {
		s := newScript(t, 1, 0)
		s.step(0)
		s.bids(2, 1)
		s.step(0)
		s.accept()
		id := s.runners(0)[0]
		s.lose(id)
		s.step(0)
		s.wantEvidence(id, EvidenceLost, 1)
		if got := s.runners(0); len(got) != 1 || got[0] == id {
			t.Errorf("runs on %v", got)
		}
	})
	t.Run("that are lost before they were taken need a new bid", func(t *testing.T) {
		s := newScript(t, 1, 0)
		s.step(0)
		s.bids(1, 1)
		s.step(0)
		s.lose(p1)
		if out := s.step(time.Minute); len(out.Open) != 0 {
			t.Errorf("opens %v", out.Open)
		}
	})
	t.Run("that break once are tried again on the same bid", func(t *testing.T) {
		s := newScript(t, 1, 0)
		s.step(0)
		s.bids(1, 1)
		s.step(0)
		s.accept()
		s.lose(p1)
		if out := s.step(failureBackoff); len(out.Open) != 1 {
			t.Errorf("opens %v", out.Open)
		}
	})
	t.Run("that are lost while idle cost nothing", func(t *testing.T) {
		s := newScript(t, 2, 0)
		s.step(0)
		s.bids(1, 1)
		s.step(0)
		s.accept()
		s.answer(0, p1, "x")
		s.j.Refused(p1, No{proto.ReasonDraining, ""})
		s.step(0)
		s.lose(p1)
		s.step(0)
		s.wantEvidence(p1, EvidenceLost, 0)
	})
	t.Run("that end while a task is on its way to a provider that let them go idle cost nothing", func(t *testing.T) {
		s := newScript(t, 2, 0)
		s.step(0)
		s.bids(1, 1)
		s.step(0)
		s.accept()
		s.answer(0, p1, "x")
		s.j.Refused(p1, No{proto.ReasonDraining, ""})
		s.step(0)
		s.now = s.now.Add(IdleLease - time.Millisecond)
		s.bid(p1, 1, 0)
		s.step(0)
		s.must(1, p1)
		s.lose(p1)
		s.step(0)
		s.wantEvidence(p1, EvidenceLost, 0)
		s.must(1, p1) // on a new lease
	})
	t.Run("stay in use while the provider says that it is busy, for it is busy with them", func(t *testing.T) {
		s := newScript(t, 3, 0)
		s.step(0)
		s.bids(1, 1)
		s.step(0)
		s.accept()
		s.j.Refused(p1, No{proto.ReasonBusy, "all slots are taken"})
		for i := range 3 {
			s.answer(i, p1, "x")
			s.step(0)
		}
		s.wantState(Completed, "")
	})
	t.Run("of one that failed a task thrice rest, and are tried again", func(t *testing.T) {
		s := newScript(t, 1, 0)
		s.step(0)
		s.bids(1, 1)
		for s.now.Before(meshStart.Add(time.Minute)) && len(s.all.Evidence) < 4 {
			s.step(0)
			s.accept()
			if _, ok := s.on(0, p1); ok {
				s.fail(0, p1, proto.ReasonKilled)
				s.step(0)
			}
			if s.last.Wake.IsZero() {
				t.Fatal("nobody is to wake it")
			}
			s.now = s.last.Wake
		}
		s.wantEvidence(p1, EvidenceFailed, 4)
		if took := s.now.Sub(meshStart); took < slowestBackoff {
			t.Errorf("four tries in %s", took)
		}
	})
	t.Run("never carry more first tasks than a frame holds, whatever the bid says", func(t *testing.T) {
		s := newScript(t, 5000, 0)
		s.step(0)
		s.bids(1, proto.MaxSlots)
		out := s.step(0)
		if len(out.Open) != 1 || len(out.Open[0].Tasks) != pipelineMost || out.Open[0].Slots != slotsMost {
			t.Errorf("opened %d leases of %d slots with %d tasks", len(out.Open), out.Open[0].Slots, len(out.Open[0].Tasks))
		}
	})
	t.Run("of short tasks have more in flight than slots, as far as they are kept", func(t *testing.T) {
		s := newScript(t, 1000, 0)
		s.step(0)
		s.bids(1, 2)
		s.step(0)
		s.accept()
		for i := range 300 {
			s.answer(i, p1, "x")
			s.step(0)
			l := s.j.byID[p1].lease
			if most := 2 + min(i+1, 50); len(l.live) > most { // 25 ms / 1 ms × 2 slots
				t.Fatalf("after %d answers %d in flight, at most %d", i+1, len(l.live), most)
			}
		}
		if n := len(s.j.byID[p1].lease.live); n != 52 {
			t.Errorf("%d in flight, want 52", n)
		}
	})
}
