package scheduler

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	"github.com/mustermesh/muster/proto"
)

// A WorkState is where an execution stands at its provider.
// docs/architecture.md has the picture.
type WorkState int

// States of an execution at its provider. One that is over without a result is
// not known any more.
const (
	WorkWaiting WorkState = iota // for a slot
	WorkRunning
	WorkKept // has a result that its requester did not acknowledge yet
)

// A work is an execution that the book knows.
type work struct {
	state WorkState
	bytes uint64    // of its result
	since time.Time // its result is kept
}

// A Ref names an execution under its lease: ids are drawn by strangers, so that
// two requesters may use the same.
type Ref struct {
	Lease     proto.LeaseID
	Execution proto.ExecutionID
}

// Broke notes that the stream of a lease is lost. Its tasks go on for as long as
// its award says that the requester may be silent.
func (b *Book) Broke(now time.Time, lease proto.LeaseID) {
	if h := b.lease(lease); h != nil && h.broken.IsZero() {
		h.broken = now
	}
}

// A Standing says how an execution stands that its requester asks after.
type Standing struct {
	Execution proto.ExecutionID
	State     WorkState
	Known     bool // false: it is lost, or never came
}

// Attached is what follows from taking up a lease again.
type Attached struct {
	Standings []Standing          // of what is still wanted, in the order of asking
	Stop      []proto.ExecutionID // runs, and is not wanted any more
}

// Attach takes up a lease again at its requester's word, who names the
// executions that it still wants; all others are given up. A lease that ended
// because its requester was silent lives again while results of it are kept. One
// without a stream that a newer lease on the job stands against ends here. A
// refusal for [proto.ReasonNoLease] says that there is no such lease, or none any
// more.
func (b *Book) Attach(now time.Time, from proto.PeerID, a proto.Attach) (Attached, *No) {
	h := b.leases[a.Lease]
	if h == nil || h.tenant.id != from {
		return Attached{}, &No{proto.ReasonNoLease, "no such lease"}
	}
	if h.award.Epoch != a.Epoch {
		return Attached{}, &No{proto.ReasonOther, fmt.Sprintf("the lease has epoch %d, not %d", h.award.Epoch, a.Epoch)}
	}
	if seen := b.fences.epoch(fence{from, h.award.Job}); a.Epoch < seen {
		no := &No{proto.ReasonNoLease, fmt.Sprintf("epoch %d is older than %d", a.Epoch, seen)}
		if !h.ended && h.broken.IsZero() {
			no.Reason = proto.ReasonOther // this may be an old word that comes late
			return Attached{}, no
		}
		b.stop(now, h, 0) // whoever asks so late for an older one needs nothing of it
		b.forgetKept(h)
		b.forget(a.Lease, h)
		return Attached{}, no
	}
	if h.ended {
		h.ended, h.until = false, time.Time{}
		h.tenant.leases++
	}
	h.broken, b.review = time.Time{}, true
	wanted := make(map[proto.ExecutionID]bool, len(a.Executions))
	out := Attached{Standings: make([]Standing, 0, len(a.Executions))}
	for _, e := range a.Executions {
		wanted[e] = true
		s := Standing{Execution: e}
		if w := h.works[e]; w != nil {
			s.State, s.Known = w.state, true
		}
		out.Standings = append(out.Standings, s)
	}
	out.Stop = b.giveUp(h, wanted)
	b.rest(now, h)
	return out, nil
}

// giveUp drops what is not wanted of a lease, and gives what of it runs.
func (b *Book) giveUp(h *held, wanted map[proto.ExecutionID]bool) (running []proto.ExecutionID) {
	for e, w := range h.works {
		switch {
		case wanted[e]:
		case w.state == WorkWaiting:
			b.unqueue(h, e)
		case w.state == WorkRunning:
			running = append(running, e)
		default:
			b.release(h, e)
			b.swept.Forget = append(b.swept.Forget, Ref{h.award.Lease, e})
		}
	}
	sortExecutions(running)
	return running
}

// Acknowledged notes that a requester needs a result no longer; it tells whether
// it was kept.
func (b *Book) Acknowledged(now time.Time, r Ref) bool {
	h := b.leases[r.Lease]
	if h == nil || h.works[r.Execution] == nil || h.works[r.Execution].state != WorkKept {
		return false
	}
	b.release(h, r.Execution)
	b.rest(now, h)
	b.forget(r.Lease, h)
	return true
}

// keep keeps a result.
func (b *Book) keep(now time.Time, h *held, e proto.ExecutionID, bytes uint64) {
	h.works[e] = &work{state: WorkKept, bytes: bytes, since: now}
	h.kept++
	h.tenant.kept++
	h.tenant.bytes += bytes
	b.bytes += bytes
}

// hoards says why a requester gets nothing more done while results wait: its own
// fill more than half of the disk that is lent, or those of all more than all of
// it. Nil: it does.
func (b *Book) hoards(t *tenant) *No {
	disk := b.lend.Advert.Offered.Disk
	switch {
	case disk == 0:
	case t.bytes > disk/2:
		return &No{proto.ReasonBusy, fmt.Sprintf("results of %s wait to be acknowledged", sizeText(t.bytes))}
	case b.bytes > disk:
		return &No{proto.ReasonBusy, "results of others wait to be acknowledged, and fill the disk that is lent"}
	}
	return nil
}

// release stops keeping a result.
func (b *Book) release(h *held, e proto.ExecutionID) {
	h.tenant.bytes -= h.works[e].bytes
	b.bytes -= h.works[e].bytes
	delete(h.works, e)
	h.kept--
	h.tenant.kept--
}

// forgetKept stops keeping the results of a lease.
func (b *Book) forgetKept(h *held) {
	for e, w := range h.works {
		if w.state == WorkKept {
			b.release(h, e)
			b.swept.Forget = append(b.swept.Forget, Ref{h.award.Lease, e})
		}
	}
}

// leastKept is how long the result on a lease whose stream stands is kept at
// least: its requester has yet to fetch it, and to have it checked.
const leastKept = 10 * time.Minute

// outdate forgets the results of a lease whose stream stands that its requester
// has had for longer than the provider's patience.
func (b *Book) outdate(now time.Time, h *held) {
	if h.kept == 0 || h.ended || !h.broken.IsZero() {
		return
	}
	for e, w := range h.works {
		if w.state == WorkKept && now.Sub(w.since) >= max(b.lend.Patience, leastKept) {
			b.release(h, e)
			b.swept.Forget = append(b.swept.Forget, Ref{h.award.Lease, e})
			b.rest(now, h)
		}
	}
}

// supersede ends the leases of a job whose requester is out of touch, where it
// has awarded a newer one. It may still fetch what they gave: results are kept as
// long as for one that stays silent.
func (b *Book) supersede(now time.Time, key fence, epoch uint64) {
	for id, h := range b.leases {
		if h.award.Job == key.job && h.tenant.id == key.from && h.award.Epoch < epoch && (h.ended || !h.broken.IsZero()) {
			b.stop(now, h, b.graceLeft(now, h))
			b.forget(id, h)
		}
	}
}

// stop ends a lease, unless it has ended, and has its running tasks stopped; its
// results are kept for so long.
func (b *Book) stop(now time.Time, h *held, keep time.Duration) {
	if h.ended {
		return
	}
	for _, e := range b.close(h, now.Add(keep)) {
		b.swept.Stop = append(b.swept.Stop, Ref{h.award.Lease, e})
	}
}

// Swept is what became of leases by the passing of time.
type Swept struct {
	Idle   []proto.LeaseID // had no task for [IdleLease]: to be let go
	Stop   []Ref           // run for requesters that were silent too long
	Forget []Ref           // results that are kept no longer
	Over   []proto.LeaseID // of which nothing is known any more
}

// Sweep says what is to be done at now. Everything in it is told once, idle
// leases aside; each list is in the order of its ids.
func (b *Book) Sweep(now time.Time) Swept {
	var idle []proto.LeaseID
	var ended []*held
	for id, h := range b.leases {
		b.outdate(now, h)
		switch {
		case h.ended && !now.Before(h.until):
			b.forgetKept(h)
			b.forget(id, h)
		case h.ended:
			ended = append(ended, h)
		case !h.broken.IsZero() && (len(h.works) == 0 || now.Sub(h.broken) >= b.bounded(h.award.Silence)):
			b.stop(now, h, b.graceLeft(now, h))
			b.forget(id, h)
		case len(h.works) == 0 && now.Sub(h.idle) >= IdleLease:
			idle = append(idle, id)
		}
	}
	b.crowd(ended)
	out := b.swept
	out.Idle, b.swept = idle, Swept{}
	sortLeases(out.Idle)
	sortLeases(out.Over)
	sortRefs(out.Stop)
	sortRefs(out.Forget)
	return out
}

// crowd forgets the results of leases that ended first, where too many are kept.
func (b *Book) crowd(ended []*held) {
	if len(ended) <= maxLeases {
		return
	}
	slices.SortFunc(ended, func(a, b *held) int { return a.until.Compare(b.until) })
	for _, h := range ended[:len(ended)-maxLeases] {
		b.forgetKept(h)
		b.forget(h.award.Lease, h)
	}
}

// bounded is how long this provider puts up with silence that a requester asks
// it to.
func (b *Book) bounded(asked time.Duration) time.Duration {
	return min(max(asked, 0), b.lend.Patience)
}

// graceLeft is how long the results of a lease without its stream are still kept.
func (b *Book) graceLeft(now time.Time, h *held) time.Duration {
	return max(b.bounded(h.award.Grace)-now.Sub(h.broken), 0)
}

// A LentLease is what a provider must find again of a lease after a restart.
type LentLease struct {
	From  proto.PeerID
	Award proto.Award
	Works []LentWork
}

// A LentWork is what a provider must find again of an execution.
type LentWork struct {
	Assignment proto.Assignment
	Deaths     int    // restarts of the provider while it waited or ran
	Result     bool   // it is over, and its result is kept
	Bytes      uint64 // of its result
}

// maxDeaths is after how many restarts of its provider an execution is given up:
// it may be what ends it.
const maxDeaths = 2

// Restore takes a lease from an earlier run into an empty book, with its
// requester out of touch from now on. What waited or ran is queued again; what
// did so in too many runs is lost, as the requester hears when it asks.
func (b *Book) Restore(now time.Time, l LentLease) {
	t := b.tenants[l.From]
	if t == nil {
		t = &tenant{id: l.From, served: b.turn}
	}
	if b.leases[l.Award.Lease] != nil {
		return
	}
	h := b.hold(now, t, l.Award)
	h.broken = now
	for _, w := range l.Works {
		switch {
		case h.works[w.Assignment.Execution] != nil:
		case w.Result:
			b.keep(now, h, w.Assignment.Execution, w.Bytes)
		case w.Deaths < maxDeaths:
			b.await(h, w.Assignment)
		}
	}
}

func sortExecutions(es []proto.ExecutionID) {
	slices.SortFunc(es, func(a, b proto.ExecutionID) int { return bytes.Compare(a[:], b[:]) })
}

func sortLeases(ids []proto.LeaseID) {
	slices.SortFunc(ids, func(a, b proto.LeaseID) int { return bytes.Compare(a[:], b[:]) })
}

func sortRefs(refs []Ref) {
	slices.SortFunc(refs, func(a, b Ref) int {
		if c := bytes.Compare(a.Lease[:], b.Lease[:]); c != 0 {
			return c
		}
		return bytes.Compare(a.Execution[:], b.Execution[:])
	})
}
