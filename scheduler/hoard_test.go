package scheduler

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mustermesh/muster/proto"
)

// lendsDisk lends so many bytes of disk.
func lendsDisk(bytes uint64) func(*Lending) {
	return func(l *Lending) { l.Advert.Offered.Disk = bytes }
}

// keeps has one task of a lease done, with a result of so many bytes.
func (i *innkeeper) keeps(lease byte, bytes uint64) proto.ExecutionID {
	i.Helper()
	e := i.queues(lease, 1)[0]
	i.wantStarts(lease)
	i.Done(i.now, proto.LeaseID{lease}, e, Result{Kept: true, Bytes: bytes})
	return e
}

// asksFor offers a task of a lease and gives the refusal.
func (i *innkeeper) asksFor(lease byte) *No {
	return i.Enqueue(proto.LeaseID{lease}, proto.Assignment{Execution: proto.ExecutionID{99, lease}})
}

func TestResultsThatNobodyAcknowledgesDoNotFillTheDisk(t *testing.T) {
	inn := func(t *testing.T, disk uint64) *innkeeper {
		i := newInn(t, 4, patient, lendsDisk(disk))
		for n := byte(1); n <= 3; n++ {
			i.takes(proto.PeerID{n}, award(n))
		}
		return i
	}
	t.Run("one requester has half of it", func(t *testing.T) {
		i := inn(t, 100)
		i.keeps(1, 50)
		e := i.keeps(1, 1)
		i.wantRefusal(i.asksFor(1), proto.ReasonBusy)
		i.queues(2, 1)
		if !i.Acknowledged(i.now, Ref{proto.LeaseID{1}, e}) {
			t.Fatal("the result was not kept")
		}
		i.queues(1, 1)
	})
	t.Run("all together have all of it", func(t *testing.T) {
		i := inn(t, 101)
		i.keeps(1, 50)
		e := i.keeps(2, 50)
		i.keeps(3, 2)
		i.wantRefusal(i.asksFor(3), proto.ReasonBusy)
		i.Cancel(i.now, proto.LeaseID{2}, e)
		i.queues(3, 1)
	})
	t.Run("who lends no disk in particular has no bound", func(t *testing.T) {
		i := inn(t, 0)
		i.keeps(1, 1<<50)
		i.queues(1, 1)
	})
	t.Run("what waits already is given back", func(t *testing.T) {
		i := inn(t, 100)
		es := i.queues(1, 6)
		i.wantStarts(1, 1, 1, 1)
		i.wantBack(proto.ReasonBusy)
		i.Done(i.now, proto.LeaseID{1}, es[0], Result{Kept: true, Bytes: 51})
		i.wantStarts()
		i.wantBack(proto.ReasonBusy, es[4:]...)
	})
	t.Run("nor after a restart", func(t *testing.T) {
		i := newInn(t, 4, patient, lendsDisk(100))
		works := []LentWork{{Assignment: proto.Assignment{Execution: proto.ExecutionID{1}}, Result: true, Bytes: 51}}
		i.Restore(i.now, LentLease{From: p1, Award: award(1, silent(time.Minute, time.Minute)), Works: works})
		i.wantRefusal(i.asksFor(1), proto.ReasonBusy)
		i.asks()
		i.queues(1, 1)
		if i.bytes != 0 {
			t.Errorf("%d bytes count, and nothing is kept", i.bytes)
		}
	})
}

func TestAResultIsForgottenAfterTheProvidersPatience(t *testing.T) {
	for _, c := range []struct{ patience, want time.Duration }{{time.Hour, time.Hour}, {0, leastKept}} {
		i := newInn(t, 1, lendsDisk(100), func(l *Lending) { l.Patience = c.patience })
		i.takes(p1, award(1))
		old := i.keeps(1, 10)
		i.now = i.now.Add(time.Minute)
		i.keeps(1, 20)
		if s := i.Sweep(i.now.Add(c.want - time.Minute - 1)); len(s.Forget) != 0 {
			t.Errorf("patience %s: forgets %v too early", c.patience, s.Forget)
		}
		if s := i.Sweep(i.now.Add(c.want - time.Minute)); !slices.Equal(s.Forget, []Ref{{proto.LeaseID{1}, old}}) {
			t.Errorf("patience %s: forgets %v, want the older of two", c.patience, s.Forget)
		}
		if i.bytes != 20 || i.Kept() != 1 {
			t.Errorf("patience %s: keeps %d results of %d bytes, want 1 of 20", c.patience, i.Kept(), i.bytes)
		}
		if s := i.Sweep(i.now.Add(c.want)); len(s.Forget) != 1 || len(s.Idle) != 0 {
			t.Errorf("patience %s: forgets %v, idle %v; want the other, and idle only from now on", c.patience, s.Forget, s.Idle)
		}
	}
}

func TestFailuresThatARecordHasNoRoomForCountOn(t *testing.T) {
	few := func(c *JobConfig) { c.Retries = 3 }
	s := newScript(t, 1, 0, few)
	s.j.RestoreFailures(TaskView{Cut: Cut{Failed: 2, TimedOut: 1, Other: 7}})
	if v := s.j.Task(0); v.Failures() != 2 || v.Cut.Other != 7 {
		t.Errorf("%d failures and %+v, want 2, and all that was cut", v.Failures(), v.Cut)
	}
	s.step(0)
	s.bids(1, 1)
	s.step(time.Minute)
	s.accept()
	s.fail(0, s.runners(0)[0], proto.ReasonKilled)
	s.step(0)
	s.wantTask(0, TaskFailed, "given up after 3 failed executions")
}

func TestAnExplanationListsFewOfManyObstacles(t *testing.T) {
	var peers []PeerWhy
	for n := range 300 {
		peers = append(peers, PeerWhy{Verdict: PeerRefused, Detail: fmt.Sprintf("%d%s", n, strings.Repeat("<", 500))})
	}
	text := obstacles(peers)
	if len(text) > maxObstacles*600 || !strings.HasSuffix(text, "and 292 other reasons") {
		t.Errorf("%d bytes, ending in %q", len(text), text[len(text)-40:])
	}
}
