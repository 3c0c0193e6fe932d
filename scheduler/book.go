package scheduler

import (
	"bytes"
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/mustermesh/muster/proto"
)

// IdleLease is how long a lease lives without a task.
const IdleLease = 2 * time.Second

// Bounds on what requesters can make a provider remember.
const (
	maxLeases     = 1024
	maxTheirs     = 64   // leases of one requester
	maxTheirTasks = 1024 // waiting tasks of one requester
	maxWaiting    = 8192 // waiting tasks of all together
	maxTheirKept  = 8192 // finished results of one requester that it did not acknowledge
	maxFences     = 4096 // epochs; the oldest are forgotten first, half at a time
	defaultShare  = 1.0
)

// A Book is a provider's list of leases and of tasks that wait or run, and
// decides whose task runs next. Its owner serialises the calls.
type Book struct {
	lend    Lending
	leases  map[proto.LeaseID]*held
	tenants map[proto.PeerID]*tenant
	waiting int
	busy    int
	bytes   uint64          // of the results that are kept
	used    proto.Resources // by running tasks
	turn    uint64          // counts starts
	fences  fences
	review  bool  // waiting tasks may have to be given back
	swept   Swept // what [Book.Sweep] tells next
}

// A held lease; an ended one stays until its running tasks are done and its
// results are no longer kept.
type held struct {
	award   proto.Award
	tenant  *tenant
	works   map[proto.ExecutionID]*work
	running int
	waiting int
	kept    int
	idle    time.Time // since when it has nothing under way and keeps nothing; zero while it does
	broken  time.Time // since when its requester is out of touch; zero while there is a stream
	no      *No       // why no further task starts; nil: it does
	ended   bool
	until   time.Time // of an ended one: its results are kept
}

// A tenant is a requester that holds leases here, or results.
type tenant struct {
	id      proto.PeerID
	leases  int
	running int
	kept    int
	bytes   uint64   // of those
	served  uint64   // the turn at which it was last given a slot
	queue   []Queued // in order of arrival
}

// remove takes a task out of the queue, mostly the first.
func (t *tenant) remove(i int) {
	if i > 0 {
		t.queue = slices.Delete(t.queue, i, i+1)
		return
	}
	t.queue[0] = Queued{}
	t.queue = t.queue[1:]
}

// Queued is a task that waits for a slot.
type Queued struct {
	Lease      proto.LeaseID
	From       proto.PeerID
	Assignment proto.Assignment
}

// NewBook makes an empty book.
func NewBook(l Lending) *Book {
	return &Book{lend: l, leases: make(map[proto.LeaseID]*held), tenants: make(map[proto.PeerID]*tenant)}
}

// Lending gives what the book lends.
func (b *Book) Lending() Lending { return b.lend }

// SetLending changes what is lent; running tasks go on. The price of a lease
// stays as it was agreed.
func (b *Book) SetLending(l Lending) {
	b.lend, b.review = l, true
	for _, h := range b.leases {
		h.no = b.objection(h.tenant.id, h.award)
	}
}

// objection says why a lease that was granted gets no slot for another task; nil:
// it does.
func (b *Book) objection(from proto.PeerID, a proto.Award) *No {
	l := b.lend
	l.MaxCredit, l.Advert.Price = 0, min(l.Advert.Price, a.Price)
	if no := l.admits(Client{ID: from}); no != nil {
		return no
	}
	return l.canRun(announcementOf(a))
}

// Busy gives the number of slots in use.
func (b *Book) Busy() int { return b.busy }

// Queued gives the number of tasks that wait for a slot.
func (b *Book) Queued() int { return b.waiting }

// Kept gives the number of results that wait for their requester.
func (b *Book) Kept() (n int) {
	for _, t := range b.tenants {
		n += t.kept
	}
	return n
}

// Leases gives the number of leases.
func (b *Book) Leases() (n int) {
	for _, h := range b.leases {
		if !h.ended {
			n++
		}
	}
	return n
}

// BusyFor gives the number of slots that are taken as far as a requester is
// concerned: another that has more than its share waiting or running counts
// with its share alone, for it has to wait once others want slots too. It is
// what [Offer] wants to know.
func (b *Book) BusyFor(id proto.PeerID) int {
	taken := 0.0
	for _, t := range b.tenants {
		load := float64(t.running + len(t.queue))
		if t.id != id {
			load = min(load, b.share()*float64(b.lend.Advert.Slots))
		}
		taken += load
	}
	return int(taken)
}

// share is the part of the slots that one requester gets while others wait.
func (b *Book) share() float64 {
	if b.lend.Share <= 0 || b.lend.Share > 1 {
		return defaultShare
	}
	return b.lend.Share
}

// Award takes a lease, or says why not. An award with an older epoch than one
// seen for the same job is refused, for its sender was fenced off; so is one with
// the same, which is a copy that was late.
func (b *Book) Award(now time.Time, c Client, a proto.Award) *No {
	if no := b.lend.admits(c); no != nil {
		return no
	}
	key := fence{c.ID, a.Job}
	if seen := b.fences.epoch(key); seen > 0 && a.Epoch <= seen {
		return &No{proto.ReasonNoLease, fmt.Sprintf("epoch %d was there before, or is older than %d", a.Epoch, seen)}
	}
	if no := b.lend.canRun(announcementOf(a)); no != nil {
		return no
	}
	if _, taken := b.leases[a.Lease]; taken {
		return &No{proto.ReasonNoLease, "the lease exists already"}
	}
	b.supersede(now, key, a.Epoch)
	t := b.tenants[c.ID]
	if b.BusyFor(c.ID) >= b.lend.Advert.Slots || b.Leases() >= maxLeases || t != nil && t.leases >= maxTheirs {
		return &No{proto.ReasonBusy, "no longer free"}
	}
	if t == nil {
		t = &tenant{id: c.ID, served: b.turn}
	}
	b.hold(now, t, a)
	return nil
}

// hold takes a lease into the book.
func (b *Book) hold(now time.Time, t *tenant, a proto.Award) *held {
	t.leases++
	b.tenants[t.id] = t
	b.fences.raise(fence{t.id, a.Job}, a.Epoch)
	h := &held{award: a, tenant: t, idle: now, works: make(map[proto.ExecutionID]*work), no: b.objection(t.id, a)}
	b.leases[a.Lease] = h
	return h
}

func announcementOf(a proto.Award) proto.Announcement {
	return proto.Announcement{
		Executor: a.Program.Executor, Profile: a.Program.Profile, Program: a.Program.Code,
		Needs: a.Program.Resources, MaxPrice: a.Price,
	}
}

// Enqueue takes a task of a lease.
func (b *Book) Enqueue(lease proto.LeaseID, t proto.Assignment) *No {
	h := b.lease(lease)
	switch {
	case h == nil:
		return &No{proto.ReasonNoLease, "no such lease"}
	case h.no != nil:
		return h.no
	case h.works[t.Execution] != nil:
		return &No{proto.ReasonOther, "the execution is under way already"}
	case len(h.tenant.queue) >= maxTheirTasks || b.waiting >= maxWaiting:
		return &No{proto.ReasonBusy, fmt.Sprintf("%d tasks wait already", b.waiting)}
	case h.tenant.kept >= maxTheirKept:
		return &No{proto.ReasonBusy, fmt.Sprintf("%d results wait to be acknowledged", h.tenant.kept)}
	}
	if no := b.hoards(h.tenant); no != nil {
		return no
	}
	b.await(h, t)
	return nil
}

// await puts a task into its requester's queue.
func (b *Book) await(h *held, t proto.Assignment) {
	h.works[t.Execution] = &work{}
	h.waiting++
	b.waiting++
	h.idle = time.Time{}
	h.tenant.queue = append(h.tenant.queue, Queued{h.award.Lease, h.tenant.id, t})
}

// lease gives a lease that has not ended.
func (b *Book) lease(id proto.LeaseID) *held {
	if h := b.leases[id]; h != nil && !h.ended {
		return h
	}
	return nil
}

// Next gives the tasks that start now, in order. Running tasks never need more
// than is lent. One requester gets at most its share of the slots while others
// wait; nobody waits while a slot is free that it fits into, unless the owner
// does not lend for its lease now, see [Book.GiveBack].
func (b *Book) Next() (start []Queued) {
	for b.busy < b.lend.Advert.Slots {
		t, i := b.pick()
		if t == nil {
			return start
		}
		q := t.queue[i]
		t.remove(i)
		h := b.leases[q.Lease]
		h.works[q.Assignment.Execution].state = WorkRunning
		h.waiting--
		h.running++
		b.waiting--
		b.busy++
		b.turn++
		t.running++
		t.served = b.turn
		b.used = b.used.Add(h.award.Program.Resources)
		start = append(start, q)
	}
	return start
}

// Returned is a waiting task that its requester has to give to somebody else.
type Returned struct {
	Queued
	No No
}

// GiveBack takes those tasks off the queues that wait here in vain, since the
// owner lends nothing now, or not for this lease any more, or since too much is
// kept: they are better off elsewhere at once. Those of a requester that is out of touch stay until it is
// back, for it would not hear of it.
func (b *Book) GiveBack(now time.Time) (back []Returned) {
	if !b.review {
		return nil
	}
	b.review = false
	for _, t := range b.tenants {
		full := b.hoards(t)
		for _, q := range t.queue {
			h := b.leases[q.Lease]
			if no := cmp.Or(h.no, full); no != nil && h.broken.IsZero() {
				back = append(back, Returned{q, *no})
			}
		}
	}
	for _, r := range back {
		h := b.leases[r.Lease]
		b.unqueue(h, r.Assignment.Execution)
		b.rest(now, h)
	}
	slices.SortFunc(back, func(a, b Returned) int {
		return cmp.Or(bytes.Compare(a.Lease[:], b.Lease[:]), bytes.Compare(a.Assignment.Execution[:], b.Assignment.Execution[:]))
	})
	return back
}

// pick chooses whose task is next: of those within their share, else of all,
// the requester that waited longest since its last.
func (b *Book) pick() (best *tenant, at int) {
	if b.waiting == 0 {
		return nil, 0
	}
	limit := max(1, b.share()*float64(b.lend.Advert.Slots))
	bestRank := math.Inf(1)
	for _, t := range b.tenants {
		rank := float64(t.served)
		if float64(t.running+1) > limit {
			rank += float64(b.turn) + 1
		}
		if rank > bestRank || rank == bestRank && best != nil && bytes.Compare(t.id[:], best.id[:]) > 0 {
			continue
		}
		if i := b.startable(t); i >= 0 {
			best, at, bestRank = t, i, rank
		}
	}
	return best, at
}

// startable gives the place of t's first task that may start; -1: none.
func (b *Book) startable(t *tenant) int {
	if len(t.queue) > 0 && b.hoards(t) != nil {
		return -1
	}
	return slices.IndexFunc(t.queue, func(q Queued) bool {
		h := b.leases[q.Lease]
		if h.no != nil || h.running >= h.award.Slots {
			return false
		}
		_, fits := b.used.Add(h.award.Program.Resources).Fits(b.lend.Advert.Offered)
		return fits
	})
}

// A Result is what a provider has of a task that is over.
type Result struct {
	Kept  bool   // it waits for its requester
	Bytes uint64 // of its output
}

// Done frees the slot of a task that [Book.Next] started. Its result is kept
// where there is one, until it is acknowledged, its lease's grace is over, or it
// is too old.
func (b *Book) Done(now time.Time, lease proto.LeaseID, e proto.ExecutionID, r Result) {
	h := b.leases[lease]
	if h == nil || h.works[e] == nil || h.works[e].state != WorkRunning {
		return
	}
	b.busy--
	h.running--
	h.tenant.running--
	b.used = b.used.Sub(h.award.Program.Resources)
	if r.Kept {
		b.keep(now, h, e, r.Bytes)
		b.review = true // there may be no room for more
	} else {
		delete(h.works, e)
	}
	b.rest(now, h)
	b.forget(lease, h)
}

// Cancel takes back a task. One that waits leaves the queue, a result is kept no
// longer; of one that runs, it tells so: it is to be stopped, and [Book.Done]
// called.
func (b *Book) Cancel(now time.Time, lease proto.LeaseID, e proto.ExecutionID) (running bool) {
	h := b.leases[lease]
	if h == nil || h.works[e] == nil {
		return false
	}
	switch h.works[e].state {
	case WorkRunning:
		return true
	case WorkKept:
		b.release(h, e)
		b.swept.Forget = append(b.swept.Forget, Ref{lease, e})
	default:
		b.unqueue(h, e)
	}
	b.rest(now, h)
	return false
}

func (b *Book) unqueue(h *held, e proto.ExecutionID) {
	i := slices.IndexFunc(h.tenant.queue, func(q Queued) bool { return q.Lease == h.award.Lease && q.Assignment.Execution == e })
	h.tenant.remove(i)
	delete(h.works, e)
	h.waiting--
	b.waiting--
}

func (b *Book) rest(now time.Time, h *held) {
	if len(h.works) == 0 {
		h.idle = now
	}
}

// End forgets a lease at its requester's word, with its waiting tasks and its
// results. Its running ones still count until [Book.Done]; they are given, to be
// stopped.
func (b *Book) End(lease proto.LeaseID) (running []proto.ExecutionID) {
	h := b.lease(lease)
	if h == nil {
		return nil
	}
	running = b.close(h, time.Time{})
	b.forgetKept(h)
	b.forget(lease, h)
	return running
}

// close ends a lease; its results are kept until then.
func (b *Book) close(h *held, until time.Time) (running []proto.ExecutionID) {
	t, lease := h.tenant, h.award.Lease
	t.queue = slices.DeleteFunc(t.queue, func(q Queued) bool { return q.Lease == lease })
	b.waiting -= h.waiting
	h.waiting, h.ended, h.until = 0, true, until
	t.leases--
	for e, w := range h.works {
		switch w.state {
		case WorkWaiting:
			delete(h.works, e)
		case WorkRunning:
			running = append(running, e)
		}
	}
	sortExecutions(running)
	return running
}

// forget drops an ended lease without running tasks, and its requester with its
// last.
func (b *Book) forget(lease proto.LeaseID, h *held) {
	if h.ended && len(h.works) == 0 && b.leases[lease] == h {
		delete(b.leases, lease)
		b.swept.Over = append(b.swept.Over, lease)
	}
	if t := h.tenant; t.leases == 0 && t.running == 0 && t.kept == 0 {
		delete(b.tenants, t.id)
	}
}

// A fence is what an epoch is counted for.
type fence struct {
	from proto.PeerID
	job  proto.JobID
}

// fences remember the highest epoch of the fences used last: at least
// maxFences/2, at most maxFences.
type fences struct{ young, old map[fence]uint64 }

func (f *fences) epoch(k fence) uint64 { return max(f.young[k], f.old[k]) }

func (f *fences) raise(k fence, epoch uint64) {
	if f.young == nil || len(f.young) >= maxFences/2 {
		f.young, f.old = make(map[fence]uint64), f.young
	}
	f.young[k] = max(epoch, f.epoch(k)) // leases are restored in any order
}
