package scheduler

import (
	"fmt"
	"slices"
	"time"
)

// Step answers what is to be done at now, given all events so far. Call it
// after events, and at the time that the last call asked for.
func (j *Job) Step(now time.Time) Actions {
	j.now = now
	if j.event || !j.wake.IsZero() && !now.Before(j.wake) {
		j.unseen = j.begun.len() // what could not be placed may be placed now
	}
	j.wake, j.recheck, j.event = time.Time{}, time.Time{}, false
	if j.underWay {
		j.worked += j.now.Sub(later(j.stepped, j.since))
	}
	if !j.state.Ended() {
		j.plan()
	}
	j.stepped, j.underWay = j.now, j.live > 0 || j.fetching > 0
	if !j.state.Ended() {
		j.wakeAt(j.overdueAt)
		j.wakeAt(j.hedge.wake(j.now))
	}
	out := j.out
	out.Wake = sooner(j.wake, j.recheck)
	out.Fetch = slices.DeleteFunc(out.Fetch, func(f Fetch) bool {
		t := j.tasks[f.Task]
		return t.settled != nil || t.holds(f.Output) // it came with the answer
	})
	for _, i := range out.Changed {
		j.tasks[i].dirty = false
	}
	j.out = Actions{}
	return out
}

func (j *Job) plan() {
	if !j.cfg.Deadline.IsZero() {
		if !j.now.Before(j.cfg.Deadline) {
			j.end(Expired, fmt.Sprintf("the job's time is over: %s, %d of %d tasks settled", j.cfg.Deadline.Format(time.RFC3339), j.settled, len(j.tasks)))
			return
		}
		j.wakeAt(j.cfg.Deadline)
	}
	j.lookAfter()
	j.overdue()
	for _, t := range j.hedge.due(j.now) {
		j.need(t)
	}
	for i := 0; i < len(j.out.Changed); i++ { // judging may change more tasks
		j.judge(j.tasks[j.out.Changed[i]])
	}
	if j.settled == len(j.tasks) {
		j.conclude()
		return
	}
	if j.cfg.LocalOnly {
		j.planLocal()
		return
	}
	j.announce()
	if !j.bidDone && !j.biddingOver() {
		j.runOwn() // nobody's bid is needed for that
		j.waitForBids()
		return
	}
	j.dispatch()
	if j.moving() {
		j.setState(Running, "")
		return
	}
	j.waitForBids()
}

func (j *Job) planLocal() {
	if j.cfg.LocalSlots <= 0 {
		j.end(Failed, "the requester's sandbox cannot run this program, and nobody else is to be asked")
		return
	}
	j.setState(Running, "")
	j.runOwn()
}

// announce repeats the announcement while tasks wait for somebody, ever slower
// while nothing happens, and slowly while somebody works on them.
func (j *Job) announce() {
	if j.fresh.len()+j.begun.len()+j.delayed.len() == 0 {
		return
	}
	due := j.announced.Add(j.announceGap)
	if !j.announced.IsZero() && j.now.Before(due) {
		j.wakeAt(due)
		return
	}
	switch {
	case j.announced.IsZero():
		j.bidUntil = j.now.Add(bidWindow)
	case j.since.After(j.announced) && !j.anyLease():
		j.announceGap = announceEvery
	default:
		j.announceGap = min(2*j.announceGap, announceSlowest)
	}
	j.announced = j.now
	j.sequence++
	j.out.Announce = j.sequence
	j.wakeAt(j.now.Add(j.announceGap))
}

func (j *Job) anyLease() bool {
	return slices.ContainsFunc(j.peers, func(p *peer) bool { return p.lease != nil })
}

// biddingOver: enough of the working set has answered or declined (all of it,
// or three times the need), or the window has passed and there is a bid.
func (j *Job) biddingOver() bool {
	known, answered, bids := 0, 0, 0
	for _, p := range j.peers {
		if p.present && p.trusted() && p.Ineligible == nil {
			known++
			if p.answeredBid {
				answered++
			}
		}
		if p.bid != nil && p.trusted() {
			bids++
		}
	}
	enough := known > 0 && answered == known || bids >= 3*len(j.tasks)
	j.bidDone = bids > 0 && (enough || !j.now.Before(j.bidUntil))
	if !j.bidDone && j.now.Before(j.bidUntil) {
		j.wakeAt(j.bidUntil)
	}
	return j.bidDone
}

// moving tells whether anything is under way.
func (j *Job) moving() bool { return j.live > j.doubted || j.fetching > 0 }

// expires is when a job has waited too long if nothing happens: time in which
// something was under way does not count.
func (j *Job) expires() time.Time { return j.since.Add(j.worked + j.cfg.QueueTimeout) }

// waitForBids says why nothing moves, and ends the job when it waited too long.
func (j *Job) waitForBids() {
	if j.moving() { // what an earlier run began
		j.setState(Running, "")
		return
	}
	why := j.Why(j.now)
	if j.cfg.QueueTimeout > 0 && j.live == 0 { // else a provider may come back, within the grace of its lease
		until := j.expires()
		if !j.now.Before(until) {
			j.end(Expired, fmt.Sprintf("no progress for %s: %s", j.cfg.QueueTimeout, why))
			return
		}
		j.wakeAt(until)
	}
	switch {
	case j.settled > 0 || j.state == Running:
		j.setState(Running, why)
	case j.now.Before(j.bidUntil):
		j.setState(Bidding, "")
	default:
		j.setState(Pending, why)
	}
}
