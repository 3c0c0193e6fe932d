package scheduler

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/mustermesh/muster/proto"
)

// An innkeeper is a book and who asks for what.
type innkeeper struct {
	*testing.T
	*Book
	now time.Time
	n   byte // executions so far
}

func newInn(t *testing.T, slots int, change ...func(*Lending)) *innkeeper {
	l := Lending{Share: 0.5, Advert: proto.Advert{Executor: "wasm", Profile: "p", Slots: slots}}
	for _, f := range change {
		f(&l)
	}
	return &innkeeper{T: t, Book: NewBook(l), now: meshStart}
}

func award(lease byte, change ...func(*proto.Award)) proto.Award {
	a := proto.Award{Lease: proto.LeaseID{lease}, Job: proto.JobID{lease}, Epoch: 1, Slots: 100, Program: proto.Program{Executor: "wasm", Profile: "p"}}
	for _, f := range change {
		f(&a)
	}
	return a
}

// takes awards a lease of that number.
func (i *innkeeper) takes(from proto.PeerID, a proto.Award) {
	i.Helper()
	if no := i.Award(i.now, Client{ID: from}, a); no != nil {
		i.Fatalf("lease %d of %d was refused: %+v", a.Lease[0], from[0], no)
	}
}

func (i *innkeeper) wantRefusal(no *No, want proto.Reason) {
	i.Helper()
	if no == nil || no.Reason != want || no.Detail == "" {
		i.Errorf("refused with %+v, want %s and a reason for people", no, want)
	}
}

// done ends a running task of a lease, without a result.
func (i *innkeeper) done(now time.Time, lease byte) {
	id := proto.LeaseID{lease}
	var running []proto.ExecutionID
	if h := i.leases[id]; h != nil {
		for e, w := range h.works {
			if w.state == WorkRunning {
				running = append(running, e)
			}
		}
	}
	sortExecutions(running)
	if len(running) == 0 {
		running = append(running, proto.ExecutionID{255})
	}
	i.Done(now, id, running[0], Result{})
}

// queues tasks on a lease and gives the executions.
func (i *innkeeper) queues(lease byte, n int) (es []proto.ExecutionID) {
	i.Helper()
	for range n {
		i.n++
		e := proto.ExecutionID{i.n}
		if no := i.Enqueue(proto.LeaseID{lease}, proto.Assignment{Execution: e}); no != nil {
			i.Fatalf("a task of lease %d was refused: %+v", lease, no)
		}
		es = append(es, e)
	}
	return es
}

// starts gives the leases of the tasks that start now.
func (i *innkeeper) starts() (leases []byte) {
	for _, q := range i.Next() {
		leases = append(leases, q.Lease[0])
	}
	return leases
}

func (i *innkeeper) wantStarts(want ...byte) {
	i.Helper()
	if got := i.starts(); !slices.Equal(got, want) {
		i.Fatalf("starts tasks of leases %v, want %v", got, want)
	}
}

func TestABookSharesItsSlots(t *testing.T) {
	t.Run("one requester alone gets all of them", func(t *testing.T) {
		i := newInn(t, 4)
		i.takes(p1, award(1))
		i.queues(1, 6)
		i.wantStarts(1, 1, 1, 1)
		if i.Busy() != 4 || i.Queued() != 2 {
			t.Errorf("%d busy, %d queued", i.Busy(), i.Queued())
		}
	})
	t.Run("two get half each, whoever came first", func(t *testing.T) {
		i := newInn(t, 4)
		i.takes(p1, award(1))
		i.takes(p2, award(2))
		i.queues(1, 20)
		i.queues(2, 20)
		got := i.starts()
		slices.Sort(got)
		if !slices.Equal(got, []byte{1, 1, 2, 2}) {
			t.Errorf("starts %v", got)
		}
	})
	t.Run("a second one gets in while the first holds more than its share", func(t *testing.T) {
		i := newInn(t, 4)
		i.takes(p1, award(1))
		i.queues(1, 20)
		i.wantStarts(1, 1, 1, 1)
		if got := i.BusyFor(p2); got != 2 {
			t.Errorf("for the second %d slots are taken, want 2", got)
		}
		if got := i.BusyFor(p1); got != 20 {
			t.Errorf("for the first %d slots are taken, want 20", got)
		}
		i.takes(p2, award(2))
		i.queues(2, 20)
		for range 2 {
			i.done(i.now, 1)
			i.wantStarts(2)
		}
		i.done(i.now, 1)
		i.wantStarts(1) // both have their share: the one that waited longer
	})
	t.Run("a third one does not, while two hold all", func(t *testing.T) {
		i := newInn(t, 4)
		i.takes(p1, award(1))
		i.queues(1, 2)
		i.takes(p2, award(2))
		i.queues(2, 2)
		i.wantRefusal(i.Award(i.now, Client{ID: p3}, award(3)), proto.ReasonBusy)
	})
	t.Run("without a share the first takes all", func(t *testing.T) {
		i := newInn(t, 2, func(l *Lending) { l.Share = 0 })
		i.takes(p1, award(1))
		i.queues(1, 2)
		i.wantRefusal(i.Award(i.now, Client{ID: p2}, award(2)), proto.ReasonBusy)
	})
	t.Run("two take turns on a single slot, however long one's queue is", func(t *testing.T) {
		i := newInn(t, 1)
		i.takes(p1, award(1))
		i.queues(1, 100)
		i.takes(p2, award(2))
		i.queues(2, 3)
		var got []byte
		for range 8 {
			s := i.starts()
			got = append(got, s...)
			i.done(i.now, s[0])
		}
		if !slices.Equal(got, []byte{1, 2, 1, 2, 1, 2, 1, 1}) {
			t.Errorf("starts %v", got)
		}
	})
	t.Run("a lease gets no more than its own slots", func(t *testing.T) {
		i := newInn(t, 4)
		i.takes(p1, award(1, func(a *proto.Award) { a.Slots = 1 }))
		i.queues(1, 3)
		i.wantStarts(1)
		i.wantStarts()
	})
	t.Run("what runs never needs more than is lent", func(t *testing.T) {
		i := newInn(t, 4, func(l *Lending) { l.Advert.Offered = proto.Resources{Memory: 4 << 30} })
		i.takes(p1, award(1, func(a *proto.Award) { a.Program.Resources.Memory = 3 << 30 }))
		i.takes(p2, award(2, func(a *proto.Award) { a.Program.Resources.Memory = 1 << 30 }))
		i.queues(1, 2)
		i.queues(2, 2)
		got := i.starts()
		slices.Sort(got)
		if !slices.Equal(got, []byte{1, 2}) {
			t.Fatalf("starts %v", got)
		}
		i.done(i.now, 1)
		if got := i.starts(); len(got) != 1 && len(got) != 2 {
			t.Errorf("then starts %v", got)
		}
	})
}

func TestABookKeepsItsLeases(t *testing.T) {
	t.Run("one without a task is idle after its time", func(t *testing.T) {
		i := newInn(t, 1)
		i.takes(p1, award(1))
		if got := i.Sweep(i.now.Add(IdleLease - 1)).Idle; len(got) != 0 {
			t.Errorf("idle %v", got)
		}
		if got := i.Sweep(i.now.Add(IdleLease)).Idle; len(got) != 1 {
			t.Errorf("idle %v", got)
		}
	})
	t.Run("one with a task that waits or runs is not, and is again when it is done or dropped", func(t *testing.T) {
		i := newInn(t, 1)
		i.takes(p1, award(1))
		e := i.queues(1, 2)[1]
		late := i.now.Add(time.Hour)
		i.wantStarts(1)
		i.done(late, 1)
		if got := i.Sweep(late.Add(time.Hour)).Idle; len(got) != 0 {
			t.Fatalf("idle %v, though a task waits", got)
		}
		if i.Cancel(late, proto.LeaseID{1}, e) || i.Queued() != 0 {
			t.Fatal("the waiting task is dropped once")
		}
		if got := i.Sweep(late.Add(IdleLease - 1)).Idle; len(got) != 0 {
			t.Errorf("idle %v too early", got)
		}
		if got := i.Sweep(late.Add(IdleLease)).Idle; len(got) != 1 {
			t.Errorf("idle %v", got)
		}
		i.wantStarts()
	})
	t.Run("the end of one takes its waiting tasks along, and leaves the running ones their slots", func(t *testing.T) {
		i := newInn(t, 2)
		i.takes(p1, award(1))
		i.queues(1, 5)
		i.wantStarts(1, 1)
		i.End(proto.LeaseID{1})
		i.End(proto.LeaseID{1})
		if i.Busy() != 2 || i.Queued() != 0 || i.Leases() != 0 {
			t.Fatalf("%d busy, %d queued, %d leases", i.Busy(), i.Queued(), i.Leases())
		}
		i.wantRefusal(i.Enqueue(proto.LeaseID{1}, proto.Assignment{}), proto.ReasonNoLease)
		i.wantRefusal(i.Award(i.now, Client{ID: p1}, award(1)), proto.ReasonNoLease)
		i.done(i.now, 1)
		i.done(i.now, 1)
		i.done(i.now, 1) // once too often
		i.done(i.now, 9)
		if i.Busy() != 0 || len(i.leases) != 0 || len(i.tenants) != 0 || i.used != (proto.Resources{}) {
			t.Errorf("%d busy, %d leases, %d tenants, %+v used", i.Busy(), len(i.leases), len(i.tenants), i.used)
		}
	})
	t.Run("the same one is not taken twice", func(t *testing.T) {
		i := newInn(t, 4)
		i.takes(p1, award(1))
		i.queues(1, 1)
		i.wantStarts(1)
		i.wantRefusal(i.Award(i.now, Client{ID: p1}, award(1)), proto.ReasonNoLease)
		i.wantRefusal(i.Award(i.now, Client{ID: p2}, award(1)), proto.ReasonNoLease)
		i.done(i.now, 1)
		if i.Busy() != 0 {
			t.Errorf("%d busy", i.Busy())
		}
	})
	t.Run("an older epoch of the same job and requester is fenced off", func(t *testing.T) {
		i := newInn(t, 4)
		epoch := func(n uint64) func(*proto.Award) {
			return func(a *proto.Award) { a.Epoch, a.Job = n, proto.JobID{7} }
		}
		i.takes(p1, award(1, epoch(5)))
		i.wantRefusal(i.Award(i.now, Client{ID: p1}, award(2, epoch(4))), proto.ReasonNoLease)
		i.takes(p2, award(3, epoch(4)))
		i.takes(p1, award(4, epoch(6)))
	})
	t.Run("it forgets epochs before it grows without limit, the oldest first", func(t *testing.T) {
		i := newInn(t, 1)
		for n := range 3 * maxFences {
			a := award(byte(n), func(a *proto.Award) { a.Epoch, a.Job = 9, proto.JobID{byte(n), byte(n >> 8), byte(n >> 16)} })
			i.takes(p1, a)
			i.End(a.Lease)
			a.Epoch = 8
			i.wantRefusal(i.Award(i.now, Client{ID: p1}, a), proto.ReasonNoLease)
		}
		if n := len(i.fences.young) + len(i.fences.old); n > maxFences {
			t.Errorf("it keeps %d epochs", n)
		}
	})
	t.Run("neither one requester nor all together can make it remember too much", func(t *testing.T) {
		i := newInn(t, 4)
		lease := func(n int) func(*proto.Award) {
			return func(a *proto.Award) { a.Lease, a.Epoch = proto.LeaseID{1, byte(n), byte(n >> 8)}, uint64(n+1) }
		}
		task := func(n int) proto.Assignment {
			return proto.Assignment{Execution: proto.ExecutionID{byte(n), byte(n >> 8)}}
		}
		taken := 0
		for n := range 2 * maxTheirs {
			if i.Award(i.now, Client{ID: p1}, award(1, lease(n))) == nil {
				taken++
			}
		}
		if taken != maxTheirs {
			t.Errorf("one requester got %d leases", taken)
		}
		for n := range 2 * maxLeases {
			i.Award(i.now, Client{ID: proto.PeerID{9, byte(n), byte(n >> 8)}}, award(1, lease(1000+n)))
		}
		if got := i.Leases(); got != maxLeases {
			t.Errorf("all got %d leases", got)
		}
		for n := range 2 * maxTheirTasks {
			no := i.Enqueue(award(1, lease(0)).Lease, task(n))
			if want := n >= maxTheirTasks; (no != nil) != want {
				t.Fatalf("task %d: %+v", n, no)
			}
		}
		for id := range i.leases {
			for n := range 100 {
				i.Enqueue(id, task(4*maxTheirTasks+n))
			}
		}
		if i.Queued() != maxWaiting {
			t.Errorf("%d tasks wait", i.Queued())
		}
	})
}

func TestABookRefusesAwards(t *testing.T) {
	refusals := []struct {
		name   string
		change func(*Lending)
		award  func(*proto.Award)
		want   proto.Reason
	}{
		{"while draining", func(l *Lending) { l.Draining = true }, nil, proto.ReasonDraining},
		{"of those on the deny list", func(l *Lending) { l.Deny = []proto.PeerID{p1} }, nil, proto.ReasonPolicy},
		{"of programs for another executor", nil, func(a *proto.Award) { a.Program.Executor = "oci" }, proto.ReasonExecutor},
		{"under its price", func(l *Lending) { l.Advert.Price = 5 }, func(a *proto.Award) { a.Price = 4 }, proto.ReasonPrice},
		{"of tasks too large for it", nil, func(a *proto.Award) { a.Program.Resources.Memory = 1 }, proto.ReasonMemory},
	}
	for _, c := range refusals {
		t.Run(c.name, func(t *testing.T) {
			i := newInn(t, 1)
			l := i.Lending()
			if c.change != nil {
				c.change(&l)
			}
			i.SetLending(l)
			a := award(1)
			if c.award != nil {
				c.award(&a)
			}
			i.wantRefusal(i.Award(i.now, Client{ID: p1}, a), c.want)
			if i.Leases() != 0 || len(i.tenants) != 0 {
				t.Error("it keeps something of what it refused")
			}
		})
	}
}

func TestOffer(t *testing.T) {
	lend := Lending{
		MaxCredit: 100,
		Advert: proto.Advert{
			Executor: "wasm", Profile: "p", Slots: 4, Price: 10, Engine: engine1,
			Offered: proto.Resources{CPU: 4000, Memory: 4 << 30, Disk: 1 << 30}, Labels: proto.Labels{"region": "eu"},
		},
	}
	ask := proto.Announcement{
		Job: proto.JobID{1}, Executor: "wasm", Profile: "p", Tasks: 100, MaxPrice: 10,
		Needs: proto.Resources{CPU: 1000, Memory: 1 << 30}, Constraints: []string{"label.region == eu"},
	}
	cases := []struct {
		name   string
		lend   func(*Lending)
		ask    func(*proto.Announcement)
		client Client
		busy   int
		want   proto.Reason
	}{
		{name: "a draining node bids for nothing", lend: func(l *Lending) { l.Draining = true }, want: proto.ReasonDraining},
		{name: "a requester on the deny list gets no bid", lend: func(l *Lending) { l.Deny = []proto.PeerID{p1} }, client: Client{ID: p1}, want: proto.ReasonPolicy},
		{name: "one that is not on the allow list gets none", lend: func(l *Lending) { l.Allow = []proto.PeerID{p2} }, client: Client{ID: p1}, want: proto.ReasonPolicy},
		{name: "one that owes too much gets none", client: Client{Balance: 100}, want: proto.ReasonCredit},
		{name: "another executor is no fit", ask: func(a *proto.Announcement) { a.Executor = "oci" }, want: proto.ReasonExecutor},
		{name: "another profile is no fit", ask: func(a *proto.Announcement) { a.Profile = "q" }, want: proto.ReasonExecutor},
		{name: "too little cpu is lent", ask: func(a *proto.Announcement) { a.Needs.CPU = 4001 }, want: proto.ReasonCPU},
		{name: "too little memory is lent", ask: func(a *proto.Announcement) { a.Needs.Memory = 5 << 30 }, want: proto.ReasonMemory},
		{name: "too little disk is lent", ask: func(a *proto.Announcement) { a.Needs.Disk = 2 << 30 }, want: proto.ReasonDisk},
		{name: "no gpu is lent", ask: func(a *proto.Announcement) { a.Needs.GPU = 1 }, want: proto.ReasonGPU},
		{name: "the job pays too little", ask: func(a *proto.Announcement) { a.MaxPrice = 9 }, want: proto.ReasonPrice},
		{name: "a constraint does not hold", ask: func(a *proto.Announcement) { a.Constraints = []string{"label.region == us"} }, want: proto.ReasonConstraint},
		{name: "a constraint cannot be read", ask: func(a *proto.Announcement) { a.Constraints = []string{"nonsense"} }, want: proto.ReasonConstraint},
		{name: "all slots are taken", busy: 4, want: proto.ReasonBusy},
		{name: "more than all slots are taken", busy: 400, want: proto.ReasonBusy},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			l, a := lend, ask
			if c.lend != nil {
				c.lend(&l)
			}
			if c.ask != nil {
				c.ask(&a)
			}
			_, no := Offer(l, c.busy, a, c.client)
			if no == nil || no.Reason != c.want || no.Detail == "" {
				t.Errorf("refused with %+v, want %s", no, c.want)
			}
			no, ok := Eligible(l.Advert, a)
			if aboutAdvert := c.want >= proto.ReasonExecutor && c.want <= proto.ReasonPrice || c.want == proto.ReasonConstraint; aboutAdvert == ok {
				t.Errorf("by its advert eligible %t: %+v", ok, no)
			}
		})
	}
	slots := []struct {
		name string
		busy int
		ask  func(*proto.Announcement)
		want int
	}{
		{"all free slots are offered", 1, func(*proto.Announcement) {}, 3},
		{"no more than the job could use", 0, func(a *proto.Announcement) { a.Tasks = 1; a.Needs = proto.Resources{} }, 4},
		{"no more than fit into what is lent", 0, func(a *proto.Announcement) { a.Needs.Memory = 3 << 29 }, 2},
	}
	for _, c := range slots {
		t.Run(c.name, func(t *testing.T) {
			a := ask
			c.ask(&a)
			bid, no := Offer(lend, c.busy, a, Client{Cached: true})
			if no != nil || bid.Slots != c.want || bid.Price != 10 || bid.Engine != engine1 || bid.Job != a.Job || !bid.ProgramCached {
				t.Errorf("bid %+v (%+v), want %d slots", bid, no, c.want)
			}
		})
	}
	many := lend
	many.Advert.Slots, many.Advert.Offered = 100, proto.Resources{}
	if bid, no := Offer(many, 0, proto.Announcement{Executor: "wasm", Profile: "p", Tasks: 2, MaxPrice: 10}, Client{}); no != nil || bid.Slots != 12 {
		t.Errorf("for two tasks it offers %d slots (%+v), want 12", bid.Slots, no)
	}
}

func ExampleEligible() {
	adv := proto.Advert{Executor: "wasm", Profile: "wasip1/1", Offered: proto.Resources{Memory: 1 << 30}}
	no, ok := Eligible(adv, proto.Announcement{Executor: "wasm", Profile: "wasip1/1", Needs: proto.Resources{Memory: 2 << 30}})
	fmt.Println(ok, no.Reason, no.Detail)
	// Output: false memory a task needs more memory than is lent
}
