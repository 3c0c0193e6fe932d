package scheduler

import (
	"testing"

	"github.com/mustermesh/muster/proto"
)

// lends changes what the book lends.
func (i *innkeeper) lends(change func(*Lending)) {
	l := i.Lending()
	change(&l)
	i.SetLending(l)
}

// wantBack checks the tasks that are given back now, and why.
func (i *innkeeper) wantBack(why proto.Reason, want ...proto.ExecutionID) {
	i.Helper()
	got := i.GiveBack(i.now)
	if len(got) != len(want) {
		i.Fatalf("gives back %d tasks, want %d", len(got), len(want))
	}
	for k, r := range got {
		if r.Assignment.Execution != want[k] || r.No.Reason != why || r.No.Detail == "" {
			i.Errorf("gives back %v for %+v, want %v for %s", r.Assignment.Execution, r.No, want[k], why)
		}
	}
}

func TestABookGivesBackWhatWaitsInVain(t *testing.T) {
	code := proto.RawCID([]byte("program"))
	big := func(a *proto.Award) {
		a.Program.Code, a.Program.Resources, a.Price = code, proto.Resources{Memory: 1 << 20}, 5
	}
	lent := func(l *Lending) { l.Advert.Offered.Memory, l.Advert.Price = 2<<20, 5 }
	for _, c := range []struct {
		name   string
		change func(*Lending)
		why    proto.Reason
	}{
		{"a rule holds back", func(l *Lending) { l.Held = []Hold{{Rule: keyHours}} }, proto.ReasonPolicy},
		{"the node drains", func(l *Lending) { l.Draining = true }, proto.ReasonDraining},
		{"the requester is denied", func(l *Lending) { l.Deny = []proto.PeerID{p1} }, proto.ReasonPolicy},
		{"others alone are allowed", func(l *Lending) { l.Allow = []proto.PeerID{p2} }, proto.ReasonPolicy},
		{"the program is denied", func(l *Lending) { l.DenyPrograms = []NamedProgram{{CID: code}} }, proto.ReasonPolicy},
		{"too little memory is left", func(l *Lending) { l.Advert.Offered.Memory = 1 }, proto.ReasonMemory},
	} {
		t.Run(c.name, func(t *testing.T) {
			i := newInn(t, 1, lent)
			i.takes(p1, award(1, big))
			es := i.queues(1, 3)
			i.wantStarts(1)
			i.lends(c.change)
			i.wantBack(c.why, es[1:]...)
			if i.Busy() != 1 || i.Queued() != 0 {
				t.Errorf("%d run, %d wait; want 1 and 0: what runs goes on", i.Busy(), i.Queued())
			}
			i.wantRefusal(i.Enqueue(proto.LeaseID{1}, proto.Assignment{Execution: proto.ExecutionID{77}}), c.why)
			i.wantBack(c.why)
			i.done(i.now, 1)
			i.lends(func(l *Lending) {
				*l = Lending{Share: l.Share, Advert: l.Advert}
				lent(l)
			})
			i.queues(1, 1)
			i.wantStarts(1) // the lease is as good as before
		})
	}
}

func TestALeaseKeepsThePriceThatWasAgreed(t *testing.T) {
	i := newInn(t, 2, func(l *Lending) { l.Advert.Price = 5 })
	i.takes(p1, award(1, func(a *proto.Award) { a.Price = 5 }))
	i.queues(1, 1)
	i.lends(func(l *Lending) { l.Advert.Price = 9 })
	i.wantBack(proto.ReasonPrice)
	i.wantStarts(1)
	i.wantRefusal(i.Award(i.now, Client{ID: p2}, award(2, func(a *proto.Award) { a.Price = 5 })), proto.ReasonPrice)
}

func TestNothingStartsWhileARuleHoldsBack(t *testing.T) {
	i := newInn(t, 2)
	i.takes(p1, award(1))
	i.queues(1, 1)
	i.lends(func(l *Lending) { l.Held = []Hold{{Rule: keyOnBattery}} })
	i.wantStarts()
}

// TestTasksOfASilentRequesterWaitUntilItHears: it would take them for lost.
func TestTasksOfASilentRequesterWaitUntilItHears(t *testing.T) {
	i := newInn(t, 1, patient)
	i.takes(p1, award(1, silent(1e9, 1e9)))
	es := i.queues(1, 2)
	i.wantStarts(1)
	i.Broke(i.now, proto.LeaseID{1})
	i.lends(func(l *Lending) { l.Draining = true })
	i.wantBack(proto.ReasonDraining)
	i.done(i.now, 1)
	i.wantStarts()
	if at := i.asks(es[1]); !at.Standings[0].Known || at.Standings[0].State != WorkWaiting {
		t.Errorf("stands %+v, want waiting", at.Standings[0])
	}
	i.wantBack(proto.ReasonDraining, es[1])
}

// TestAnAwardForADeniedProgramIsRefused: a requester may leave bidding out.
func TestAnAwardForADeniedProgramIsRefused(t *testing.T) {
	code, other := proto.RawCID([]byte("program")), proto.RawCID([]byte("other"))
	of := func(c proto.CID) proto.Award { return award(1, func(a *proto.Award) { a.Program.Code = c }) }
	i := newInn(t, 1, func(l *Lending) { l.DenyPrograms = []NamedProgram{{CID: code}} })
	i.wantRefusal(i.Award(i.now, Client{ID: p1}, of(code)), proto.ReasonPolicy)
	i = newInn(t, 1, func(l *Lending) { l.AllowPrograms = []NamedProgram{{CID: code}} })
	i.wantRefusal(i.Award(i.now, Client{ID: p1}, of(other)), proto.ReasonPolicy)
	i.takes(p1, of(code))
}
