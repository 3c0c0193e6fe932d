package scheduler

import (
	"slices"
	"testing"
	"time"

	"github.com/mustermesh/muster/proto"
)

func patient(l *Lending) { l.Patience = time.Hour }

func silent(silence, grace time.Duration) func(*proto.Award) {
	return func(a *proto.Award) { a.Silence, a.Grace = silence, grace }
}

// asks takes up lease 1 again for p1, and gives how what it asks for stands.
func (i *innkeeper) asks(wanted ...proto.ExecutionID) Attached {
	i.Helper()
	a, no := i.Attach(i.now, p1, proto.Attach{Lease: proto.LeaseID{1}, Epoch: 1, Executions: wanted})
	if no != nil {
		i.Fatalf("attach was refused: %+v", no)
	}
	return a
}

func TestALeaseOutlivesItsStream(t *testing.T) {
	setup := func(t *testing.T) (*innkeeper, []proto.ExecutionID) {
		i := newInn(t, 1, patient)
		i.takes(p1, award(1, silent(10*time.Second, time.Minute)))
		es := i.queues(1, 3)
		i.wantStarts(1)
		i.Done(i.now, proto.LeaseID{1}, es[0], Result{Kept: true})
		i.wantStarts(1)
		i.Broke(i.now, proto.LeaseID{1})
		return i, es // kept, running, waiting
	}
	t.Run("its requester finds everything as it is", func(t *testing.T) {
		i, es := setup(t)
		i.now = i.now.Add(9 * time.Second)
		if s := i.Sweep(i.now); len(s.Stop)+len(s.Forget)+len(s.Over)+len(s.Idle) != 0 {
			t.Errorf("swept %+v before its silence was over", s)
		}
		unknown := proto.ExecutionID{99}
		got := i.asks(es[0], es[1], es[2], unknown)
		want := []Standing{{es[0], WorkKept, true}, {es[1], WorkRunning, true}, {es[2], WorkWaiting, true}, {unknown, 0, false}}
		if !slices.Equal(got.Standings, want) || len(got.Stop) != 0 {
			t.Errorf("got %+v, want %+v", got, want)
		}
		i.now = i.now.Add(50 * time.Minute)
		if s := i.Sweep(i.now); len(s.Stop)+len(s.Forget) != 0 {
			t.Errorf("swept %+v though the requester is back", s)
		}
	})
	t.Run("what is not asked after is given up", func(t *testing.T) {
		i, es := setup(t)
		got := i.asks()
		if !slices.Equal(got.Stop, es[1:2]) || i.Queued() != 0 {
			t.Errorf("stops %v, %d wait; want %v and 0", got.Stop, i.Queued(), es[1:2])
		}
		if s := i.Sweep(i.now); !slices.Equal(s.Forget, []Ref{{proto.LeaseID{1}, es[0]}}) {
			t.Errorf("forgets %v", s.Forget)
		}
		i.Done(i.now, proto.LeaseID{1}, es[1], Result{})
		if s := i.Sweep(i.now.Add(IdleLease)); len(s.Idle) != 1 || i.Busy() != 0 {
			t.Errorf("idle %v, %d busy", s.Idle, i.Busy())
		}
	})
	t.Run("silence stops what runs; results are kept for the grace", func(t *testing.T) {
		i, es := setup(t)
		i.now = i.now.Add(10 * time.Second)
		s := i.Sweep(i.now)
		if !slices.Equal(s.Stop, []Ref{{proto.LeaseID{1}, es[1]}}) || len(s.Forget) != 0 || i.Queued() != 0 {
			t.Errorf("stops %v, forgets %v, %d wait", s.Stop, s.Forget, i.Queued())
		}
		i.Done(i.now, proto.LeaseID{1}, es[1], Result{})
		i.now = i.now.Add(49 * time.Second)
		if got := i.asks(es...); !got.Standings[0].Known || got.Standings[1].Known || got.Standings[2].Known {
			t.Errorf("after 59 s: %+v; only the result should be known", got)
		}
		i.Broke(i.now, proto.LeaseID{1})
		i.Sweep(i.now.Add(10 * time.Second))
		s = i.Sweep(i.now.Add(time.Minute + 10*time.Second))
		if len(s.Forget) != 1 || !slices.Equal(s.Over, []proto.LeaseID{{1}}) || len(i.leases)+len(i.tenants) != 0 {
			t.Errorf("after the grace: %+v, %d leases and %d tenants are left", s, len(i.leases), len(i.tenants))
		}
	})
	t.Run("neither silence nor grace is longer than the provider allows", func(t *testing.T) {
		i := newInn(t, 1, func(l *Lending) { l.Patience = time.Second })
		i.takes(p1, award(1, silent(time.Hour, time.Hour)))
		es := i.queues(1, 1)
		i.wantStarts(1)
		i.Broke(i.now, proto.LeaseID{1})
		if s := i.Sweep(i.now.Add(time.Second)); !slices.Equal(s.Stop, []Ref{{proto.LeaseID{1}, es[0]}}) {
			t.Errorf("stops %v", s.Stop)
		}
	})
	t.Run("another requester, or another epoch, gets nothing", func(t *testing.T) {
		i, es := setup(t)
		for _, c := range []struct {
			from proto.PeerID
			a    proto.Attach
			want proto.Reason
		}{
			{p2, proto.Attach{Lease: proto.LeaseID{1}, Epoch: 1, Executions: es}, proto.ReasonNoLease},
			{p1, proto.Attach{Lease: proto.LeaseID{1}, Epoch: 2, Executions: es}, proto.ReasonOther}, // the lease is there
			{p1, proto.Attach{Lease: proto.LeaseID{2}, Epoch: 1, Executions: es}, proto.ReasonNoLease},
		} {
			_, no := i.Attach(i.now, c.from, c.a)
			i.wantRefusal(no, c.want)
		}
	})
	t.Run("a word that comes late ends it only where its stream is gone", func(t *testing.T) {
		for _, gone := range []bool{false, true} {
			i := newInn(t, 2, patient)
			for epoch := range uint64(2) {
				i.takes(p1, award(byte(epoch+1), func(a *proto.Award) { a.Job, a.Epoch = proto.JobID{1}, epoch+1 }))
			}
			es := i.queues(1, 1)
			i.wantStarts(1)
			i.Done(i.now, proto.LeaseID{1}, es[0], Result{Kept: true})
			want, kept := proto.ReasonOther, 1
			if gone {
				i.Broke(i.now, proto.LeaseID{1})
				want, kept = proto.ReasonNoLease, 0
			}
			_, no := i.Attach(i.now, p1, proto.Attach{Lease: proto.LeaseID{1}, Epoch: 1, Executions: es})
			i.wantRefusal(no, want)
			if i.Kept() != kept || i.Leases() != 1+kept {
				t.Errorf("stream gone %t: %d leases, %d results; want %d, %d", gone, i.Leases(), i.Kept(), 1+kept, kept)
			}
		}
	})
	t.Run("a newer award of the job ends it", func(t *testing.T) {
		i, es := setup(t)
		newer := award(2, func(a *proto.Award) { a.Job, a.Epoch = proto.JobID{1}, 2 })
		i.wantRefusal(i.Award(i.now, Client{ID: p1}, newer), proto.ReasonBusy) // until what it ends has stopped
		s := i.Sweep(i.now)
		if !slices.Equal(s.Stop, []Ref{{proto.LeaseID{1}, es[1]}}) || len(s.Forget) != 0 {
			t.Errorf("stops %v, forgets %v; its results may still be fetched", s.Stop, s.Forget)
		}
		i.Done(i.now, proto.LeaseID{1}, es[1], Result{})
		i.takes(p1, newer)
		if s := i.Sweep(i.now.Add(59 * time.Second)); len(s.Forget) != 0 {
			t.Errorf("forgets %v within the grace", s.Forget)
		}
		if s := i.Sweep(i.now.Add(time.Minute)); !slices.Equal(s.Forget, []Ref{{proto.LeaseID{1}, es[0]}}) {
			t.Errorf("after the grace: forgets %v", s.Forget)
		}
	})
	t.Run("what a newer award ended is given up when its requester asks for it no more", func(t *testing.T) {
		i, es := setup(t)
		newer := award(2, func(a *proto.Award) { a.Job, a.Epoch = proto.JobID{1}, 2 })
		i.wantRefusal(i.Award(i.now, Client{ID: p1}, newer), proto.ReasonBusy)
		i.Sweep(i.now)
		i.Done(i.now, proto.LeaseID{1}, es[1], Result{})
		i.takes(p1, newer)
		_, no := i.Attach(i.now, p1, proto.Attach{Lease: proto.LeaseID{1}, Epoch: 1})
		i.wantRefusal(no, proto.ReasonNoLease)
		if s := i.Sweep(i.now); !slices.Equal(s.Forget, []Ref{{proto.LeaseID{1}, es[0]}}) {
			t.Errorf("forgets %v", s.Forget)
		}
	})
	t.Run("a result is kept until its requester acknowledges it", func(t *testing.T) {
		i, es := setup(t)
		r := Ref{proto.LeaseID{1}, es[0]}
		if !i.Acknowledged(i.now, r) || i.Acknowledged(i.now, r) || i.Acknowledged(i.now, Ref{proto.LeaseID{1}, es[1]}) {
			t.Error("only a kept result can be acknowledged, once")
		}
	})
}

func TestABookIsRestored(t *testing.T) {
	es := []proto.ExecutionID{{1}, {2}, {3}}
	i := newInn(t, 1, patient)
	i.Restore(i.now, LentLease{From: p1, Award: award(1, silent(10*time.Second, time.Minute)), Works: []LentWork{
		{Assignment: proto.Assignment{Execution: es[0]}, Result: true},
		{Assignment: proto.Assignment{Execution: es[1]}, Deaths: maxDeaths - 1},
		{Assignment: proto.Assignment{Execution: es[2]}, Deaths: maxDeaths},
	}})
	i.wantRefusal(i.Award(i.now, Client{ID: p1}, award(2, func(a *proto.Award) { a.Job, a.Epoch = proto.JobID{1}, 0 })), proto.ReasonNoLease)
	i.wantStarts(1)
	got := i.asks(es...)
	want := []Standing{{es[0], WorkKept, true}, {es[1], WorkRunning, true}, {es[2], 0, false}}
	if !slices.Equal(got.Standings, want) {
		t.Errorf("got %+v, want %+v", got.Standings, want)
	}
}
