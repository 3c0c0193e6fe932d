package scheduler

import (
	"fmt"
	"slices"
	"time"

	"github.com/mustermesh/muster/proto"
)

// A LeaseRecord is what a requester must find again of a lease after a restart.
type LeaseRecord struct {
	Lease  proto.LeaseID `json:"lease"`
	Peer   proto.PeerID  `json:"peer"`
	Epoch  uint64        `json:"epoch"`
	Slots  int           `json:"slots"`
	Price  proto.Credits `json:"price"`
	Group  string        `json:"group,omitempty"`
	Engine proto.Engine  `json:"engine"`
}

// An ExecutionRecord is what a requester must find again of an execution.
type ExecutionRecord struct {
	Execution proto.ExecutionID
	Lease     proto.LeaseID
	Task      int
	Role      Role
	Created   time.Time // to the millisecond
	Blamed    bool      // its provider was told off for it; it may answer all the same
}

func (l *lease) record() LeaseRecord {
	return LeaseRecord{
		Lease: l.id, Peer: l.peer.ID, Epoch: l.epoch, Slots: l.slots,
		Price: l.peer.Price, Group: l.peer.Group, Engine: l.peer.Engine,
	}
}

func (e *exec) record() ExecutionRecord {
	return ExecutionRecord{Execution: e.id, Lease: e.lease.id, Task: e.task.index, Role: e.role, Created: e.created, Blamed: e.blamed}
}

// Restore marks a task that an earlier run of this node settled. Call it for all
// of them before the other methods that restore, and those before the first
// [Job.Step].
func (j *Job) Restore(index int, s Settlement) {
	t := j.tasks[index]
	if t.settled == nil {
		j.settle(t, s)
		j.out, t.dirty = Actions{}, false // it is on record
	}
}

// RestoreFailures takes up what is on record of a task that is not settled: the
// executions that failed. It goes on counting where the earlier run stopped.
func (j *Job) RestoreFailures(v TaskView) {
	t := j.tasks[v.Index]
	for _, x := range v.Executions {
		if t.settled != nil || x.State != ExecFailed && x.State != ExecLost {
			continue
		}
		e := &exec{
			id: x.ID, task: t, peer: x.Peer, role: x.Role, local: x.Peer == j.cfg.Self, state: x.State, reason: x.Cause, detail: x.Reason,
			created: x.Created, started: x.Started, ended: x.Ended,
		}
		t.execs = append(t.execs, e)
		if e.local {
			continue // it may work now
		}
		t.failures++
		if x.State == ExecFailed && x.Cause == proto.ReasonTimeout {
			t.timedOut++
		}
	}
	if t.settled == nil {
		t.cut = v.Cut
		t.failures += v.Cut.Failed
		t.timedOut += v.Cut.TimedOut
	}
	j.changed(t)
}

// RestoreLease takes up a lease that an earlier run of this node awarded, with
// the executions that were under way. The first step asks its provider how they
// stand.
func (j *Job) RestoreLease(now time.Time, r LeaseRecord, es []ExecutionRecord) {
	p := j.peer(r.Peer)
	if p == nil || p.lease != nil || len(es) == 0 {
		j.out.Gone = append(j.out.Gone, r.Lease)
		for _, e := range es {
			j.out.Over = append(j.out.Over, e.Execution)
		}
		return
	}
	if !p.present {
		p.Price, p.Group, p.Engine = r.Price, r.Group, r.Engine
	}
	l := &lease{
		id: r.Lease, peer: p, epoch: r.Epoch, slots: r.Slots, accepted: true, sign: now, since: now,
		restored: true, away: now, doubtAt: now.Add(doubtRestored), attachAt: now, gap: attachGap,
	}
	p.lease = l
	j.epoch = max(j.epoch, r.Epoch)
	for _, x := range es {
		if x.Task < 0 || x.Task >= len(j.tasks) || j.tasks[x.Task].settled != nil {
			j.out.Over = append(j.out.Over, x.Execution)
			continue
		}
		t := j.tasks[x.Task]
		if t.knows(x.Execution) { // it failed, and that was written last
			j.out.Over = append(j.out.Over, x.Execution)
			continue
		}
		e := &exec{
			id: x.Execution, task: t, peer: p.ID, from: p, group: r.Group, engine: r.Engine,
			role: x.Role, state: ExecAssigned, created: x.Created, blamed: x.Blamed, restored: true,
		}
		if x.Blamed {
			t.failures++
		}
		t.execs = append(t.execs, e)
		l.add(now, e)
		j.track(e)
	}
	l.resumed = false
	j.watch()
}

func (t *task) knows(id proto.ExecutionID) bool {
	return slices.ContainsFunc(t.execs, func(e *exec) bool { return e.id == id })
}

// Settled forgets the executions of settled tasks, which are on disk by now:
// what a job keeps in memory does not grow with what it has done.
func (j *Job) Settled(tasks []int) {
	for _, i := range tasks {
		if t := j.tasks[i]; t.settled != nil {
			t.execs, t.cut = nil, Cut{}
		}
	}
}

// LeaseBroken: the stream of a lease broke, and the provider did not let it go.
// Its executions may go on: the provider is asked, again and again. Where that
// takes long, others may be given their tasks.
func (j *Job) LeaseBroken(now time.Time, id proto.PeerID, lease proto.LeaseID, detail string) {
	p := j.leased(id, lease)
	if p == nil {
		return
	}
	l := p.lease
	if !l.accepted || len(l.live) == 0 {
		j.LeaseLost(now, id, lease, detail)
		return
	}
	j.at(now)
	if l.away.IsZero() {
		l.away, l.doubtAt = now, now.Add(doubtBroken)
	}
	l.attachAt, l.gap = now, l.nextGap(now)
	if l.gap > attachGap {
		l.attachAt = now.Add(l.gap)
	}
}

// nextGap is how long to wait after a break before asking after a lease: a
// provider that takes it up and breaks it, again and again, is asked ever more
// seldom.
func (l *lease) nextGap(now time.Time) time.Duration {
	if l.back.IsZero() || now.Sub(l.back) >= slowestBackoff {
		return attachGap
	}
	return min(2*max(l.gap, attachGap), slowestBackoff)
}

// LeaseAttached: the provider took up a lease again. How its executions stand
// comes as events of theirs.
func (j *Job) LeaseAttached(now time.Time, id proto.PeerID, lease proto.LeaseID) {
	p := j.leased(id, lease)
	if p == nil || p.lease.away.IsZero() {
		return
	}
	j.at(now)
	l := p.lease
	if l.doubted {
		l.doubted = false
		j.doubted -= len(l.live)
	}
	l.apart += now.Sub(l.away)
	l.away, l.attachAt, l.restored, l.back = time.Time{}, time.Time{}, false, now
	l.lived(now)
	p.refusal, p.misses, p.notBefore = nil, 0, time.Time{}
	for _, e := range l.live {
		j.changed(e.task)
		j.hedge.started(now, e)
	}
	j.watch()
}

// Holds tells whether the job remembers this lease of a peer.
func (j *Job) Holds(id proto.PeerID, lease proto.LeaseID) bool { return j.leased(id, lease) != nil }

// AttachFailed: the provider of a lease could not be reached. It is tried again,
// for as long as the job remembers the lease.
func (j *Job) AttachFailed(now time.Time, id proto.PeerID, lease proto.LeaseID, detail string) {
	p := j.leased(id, lease)
	if p == nil || p.lease.away.IsZero() {
		return
	}
	j.at(now)
	l := p.lease
	if now.Sub(l.away) >= j.cfg.Grace {
		j.LeaseLost(now, id, lease, fmt.Sprintf("out of touch for %s: %s", now.Sub(l.away).Round(time.Second), detail))
		return
	}
	l.attachAt = now.Add(l.gap)
	l.gap = min(2*l.gap, slowestBackoff)
}

// lookAfter asks after leases that are out of touch, and lets others take their
// tasks where that takes long.
func (j *Job) lookAfter() {
	for _, p := range j.peers {
		l := p.lease
		if l == nil || l.away.IsZero() {
			continue
		}
		if !l.doubted {
			j.doubt(l)
		}
		switch {
		case l.attachAt.IsZero():
		case j.now.Before(l.attachAt):
			j.wakeAt(l.attachAt)
		case len(l.live) == 0:
			j.out.Gone = append(j.out.Gone, l.id)
			p.lease = nil
		default:
			j.attach(l)
		}
	}
}

func (j *Job) attach(l *lease) {
	a := Attach{Peer: l.peer.ID, Lease: l.id, Epoch: l.epoch, Executions: make([]proto.ExecutionID, len(l.live))}
	for i, e := range l.live {
		a.Executions[i] = e.id
	}
	var held []proto.ExecutionID // their outputs may be needed yet
	for _, e := range j.execs {
		if e.lease == l && e.state == ExecAnswered {
			held = append(held, e.id)
		}
	}
	sortExecutions(held)
	a.Executions = append(a.Executions, held...)
	a.Executions = a.Executions[:min(len(a.Executions), proto.MaxAttach)]
	l.attachAt = time.Time{}
	j.out.Attach = append(j.out.Attach, a)
}

// doubt takes the executions of a lease that is out of touch for too long as
// lost, as far as work goes on: they count again if their provider comes back.
func (j *Job) doubt(l *lease) {
	if j.now.Before(l.doubtAt) {
		j.wakeAt(l.doubtAt)
		return
	}
	l.doubted = true
	j.doubted += len(l.live)
	if !l.restored {
		l.peer.missed(j.now, failureBackoff)
		j.dropBid(l.peer)
	}
	for _, e := range slices.Clone(l.live) {
		if !l.restored {
			j.setBack(e, EvidenceLost)
		}
		j.hedge.forget(e)
		j.changed(e.task)
	}
}

// closeLease lets a lease go.
func (j *Job) closeLease(p *peer) {
	j.out.Close = append(j.out.Close, p.lease.id)
	j.out.Gone = append(j.out.Gone, p.lease.id)
	p.lease = nil
}
