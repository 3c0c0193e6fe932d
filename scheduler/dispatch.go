package scheduler

import (
	"slices"
	"sort"
	"time"

	"github.com/mustermesh/muster/proto"
)

// Where one step cannot place tasks that had executions before, it looks at so
// many and at the next ones a little later.
const (
	maxUnplaceable = 16
	recheckAfter   = 10 * time.Millisecond
)

// wantsPeers tells whether t needs more executions by peers.
func (j *Job) wantsPeers(t *task) bool {
	return t.settled == nil && t.failures < j.cfg.Retries && j.missing(t) > 0 && !t.inConflict()
}

// missing is how many more executions by peers a task wants now. The
// requester's own run stands in for all that are missing.
func (j *Job) missing(t *task) int {
	if t.own() != nil {
		return 0
	}
	return 1 + t.want + j.hedge.extra(t) - t.live() - t.answered()
}

// need queues t if it needs peers and waits for them nowhere yet. Who was set
// back goes first.
func (j *Job) need(t *task) {
	if t.queued || !j.wantsPeers(t) {
		return
	}
	t.queued = true
	if !j.now.Before(t.notBefore) {
		j.begun.unshift(t)
		j.unseen++
		return
	}
	items := j.delayed.items[j.delayed.head:]
	i := sort.Search(len(items), func(i int) bool { return items[i].notBefore.After(t.notBefore) })
	j.delayed.items = slices.Insert(j.delayed.items, j.delayed.head+i, t)
}

// wantOwn queues t for the requester's own run.
func (j *Job) wantOwn(t *task) {
	if !t.wantsOwn {
		t.wantsOwn = true
		j.own.push(t)
	}
}

// dispatch gives tasks to whoever is free and fit, and opens the leases that
// this takes.
func (j *Job) dispatch() {
	j.runOwn()
	for j.delayed.len() > 0 {
		if t := j.delayed.peek(); j.now.Before(t.notBefore) {
			j.wakeAt(t.notBefore)
			break
		}
		j.begun.unshift(j.delayed.shift())
		j.unseen++
	}
	if j.begun.len()+j.fresh.len() == 0 {
		return
	}
	j.free = j.free[:0]
	for _, p := range j.peers {
		if j.capacity(p) > 0 {
			j.free = append(j.free, p)
		}
	}
	j.placeBegun()
	j.placeFresh()
	for _, p := range j.peers {
		if p.lease != nil && len(p.lease.first) > 0 {
			j.openLease(p.lease)
		}
	}
}

func (j *Job) openLease(l *lease) {
	j.out.Leases = append(j.out.Leases, l.record())
	j.out.Open = append(j.out.Open, OpenLease{Peer: l.peer.ID, Lease: l.id, Epoch: l.epoch, Slots: l.slots, Price: l.peer.Price, Tasks: l.first})
	l.first = nil
}

// placeBegun places tasks that had executions before. Those that nobody free
// can take go to the end, so that they do not hold up the others.
func (j *Job) placeBegun() {
	unplaced := 0
	for n := j.begun.len(); n > 0 && unplaced < maxUnplaceable; n-- {
		if len(j.free) == 0 && !j.ownFree() {
			return // every change of that is an event, or has its time
		}
		t := j.begun.shift()
		j.unseen--
		before := j.live
		if t.queued = j.wantsPeers(t) && !j.place(t); t.queued {
			j.begun.push(t)
			if j.live == before {
				unplaced++
			}
		}
	}
	if j.unseen = min(j.unseen, j.begun.len()); j.unseen > 0 {
		j.recheck = j.now.Add(recheckAfter)
	}
}

// placeFresh places tasks in their order until nobody is free that made a bid.
func (j *Job) placeFresh() {
	for j.fresh.len() > 0 {
		t := j.fresh.peek()
		switch {
		case !j.wantsPeers(t):
			j.fresh.shift()
			t.queued = false
		case !j.anyFit(t):
			return
		default:
			j.fresh.shift()
			if t.queued = !j.place(t); t.queued {
				j.begun.push(t)
			}
		}
	}
}

func (j *Job) anyFit(t *task) bool {
	return slices.ContainsFunc(j.free, func(p *peer) bool { return j.usable(t, p) })
}

// place starts what one task still needs; it tells whether that is all.
func (j *Job) place(t *task) bool {
	for j.missing(t) > 0 {
		j.fit = j.fit[:0]
		for _, p := range j.free {
			if j.usable(t, p) {
				j.fit = append(j.fit, p)
			}
		}
		switch {
		case len(j.fit) > 0:
			j.assign(t, j.draw(t, j.fit))
		case t.live()+t.answered() > t.want: // only backups are missing
			return false
		case !t.begun() || slices.ContainsFunc(j.peers, func(p *peer) bool { return p.trusted() && j.usable(t, p) }):
			return false // nobody took it yet, or who may is busy
		case j.now.Before(j.cfg.StandIn):
			j.wakeAt(j.cfg.StandIn)
			return false
		default:
			return j.canOwn(t) && j.ownFree() && j.runLocal(t, RoleStandIn, false)
		}
	}
	return true
}

// usable tells whether p may run t, busy or not: the first execution goes to a
// bidder, a check to any eligible peer of the working set. No two executions of
// one task share a peer or a public address group.
func (j *Job) usable(t *task, p *peer) bool {
	if p.bid == nil && (!p.present || p.Ineligible != nil || permanent(p.refusal) || !t.begun()) {
		return false
	}
	if !p.present && p.misses > 0 { // it failed, and is gone: its bid means nothing until it bids again
		return false
	}
	if until, forever := t.restsUntil(p.ID); forever || j.now.Before(until) {
		if !forever {
			j.wakeAt(until)
		}
		return false
	}
	return t.apart(p)
}

// permanent tells whether a refusal will be the same in a moment.
func permanent(no *No) bool { return no != nil && no.Reason != proto.ReasonBusy }

func (t *task) apart(p *peer) bool {
	for _, e := range t.execs {
		if e.local || !(e.live() || e.state == ExecAnswered) {
			continue
		}
		if e.peer == p.ID || e.group != "" && e.group == p.Group {
			return false
		}
	}
	return true
}

// draw picks who runs t: an executor by standing and price, a checker uniformly.
func (j *Job) draw(t *task, fit []*peer) *peer {
	if t.want == 0 && t.live() > 0 && t.answered() == 0 { // a backup of its only executor
		return j.hedge.draw(j.now, fit, j.cfg.Rand)
	}
	if t.begun() {
		return fit[j.cfg.Rand.IntN(len(fit))]
	}
	return drawExecutor(fit, j.cfg.Rand)
}

func (j *Job) assign(t *task, p *peer) {
	role := RoleChecker
	if !t.begun() {
		role = RoleExecutor
	}
	if p.AlwaysCheck && t.answered() == 0 { // a backup, too, may be the only one that answers
		t.want = max(t.want, 1)
	}
	l := p.lease
	if l == nil {
		l = j.newLease(p, j.capacity(p))
		p.lease = l
	}
	e := j.newExec(t, &exec{peer: p.ID, from: p, group: p.Group, engine: p.Engine, role: role})
	l.add(j.now, e)
	if j.hedge.given(j.now, e) {
		e.role = RoleHedge
		j.totals.counts.Hedges++
	}
	j.out.Executions = append(j.out.Executions, e.record())
	j.watch()
	a := Assign{Lease: l.id, Execution: e.id, Task: t.index}
	if l.accepted {
		j.out.Assign = append(j.out.Assign, a)
	} else {
		l.first = append(l.first, a)
	}
	if j.capacity(p) <= 0 {
		j.free = slices.DeleteFunc(j.free, func(q *peer) bool { return q == p })
	}
}

// ownFree tells whether the requester's sandbox could take a task now.
func (j *Job) ownFree() bool {
	if j.localBusy >= j.cfg.LocalSlots {
		return false
	}
	if j.now.Before(j.localAfter) {
		j.wakeAt(j.localAfter)
		return false
	}
	return true
}

// runOwn starts the requester's own runs that wait, as far as its sandbox has
// room.
func (j *Job) runOwn() {
	for j.own.len() > 0 && j.ownFree() {
		t := j.own.shift()
		t.wantsOwn = false
		switch own := t.own(); {
		case t.settled != nil || own != nil && own.live() || !j.canOwn(t):
		case j.cfg.LocalOnly:
			j.runLocal(t, RoleLocal, false)
		case own != nil || t.inConflict():
			j.runLocal(t, RoleReferee, own != nil)
		default:
			j.runLocal(t, RoleStandIn, false)
		}
	}
}

// runLocal starts the requester's own run of t; it gives true.
func (j *Job) runLocal(t *task, role Role, interpret bool) bool {
	j.localBusy++
	e := j.newExec(t, &exec{peer: j.cfg.Self, role: role, local: true, interpret: interpret})
	j.out.Local = append(j.out.Local, RunLocal{Execution: e.id, Task: t.index, Interpret: interpret})
	return true
}
