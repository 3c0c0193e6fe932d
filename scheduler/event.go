package scheduler

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mustermesh/muster/proto"
)

// LeaseAccepted: the provider took the award.
func (j *Job) LeaseAccepted(id proto.PeerID, lease proto.LeaseID) {
	if p := j.leased(id, lease); p != nil {
		j.event = true
		p.lease.accepted, p.refusal = true, nil
	}
}

// leased gives the peer if it holds this very lease.
func (j *Job) leased(id proto.PeerID, lease proto.LeaseID) *peer {
	if p := j.byID[id]; p != nil && p.lease != nil && p.lease.id == lease {
		return p
	}
	return nil
}

// LeaseDeclined: the provider did not take the award; its tasks go elsewhere,
// nobody's standing changes.
func (j *Job) LeaseDeclined(now time.Time, id proto.PeerID, lease proto.LeaseID, no No) {
	j.at(now)
	p := j.leased(id, lease)
	if p == nil {
		return
	}
	live := slices.Clone(p.lease.live)
	j.out.Gone = append(j.out.Gone, lease)
	p.lease, p.refusal = nil, &no
	p.missed(now, declineBackoff)
	if no.Reason != proto.ReasonBusy {
		j.dropBid(p)
		p.notBefore = now.Add(slowestBackoff)
	}
	for _, e := range live {
		j.finish(e, ExecDeclined, no.Reason, no.Detail)
	}
}

// LeaseLost: the stream of a lease ended. What was in flight is lost, unless
// the provider merely let an idle lease go.
func (j *Job) LeaseLost(now time.Time, id proto.PeerID, lease proto.LeaseID, detail string) {
	j.at(now)
	p := j.leased(id, lease)
	if p == nil {
		return
	}
	l := p.lease
	p.lease = nil
	j.out.Gone = append(j.out.Gone, lease)
	if len(l.live) > 0 && !l.resumed && !l.restored {
		p.missed(now, failureBackoff)
		if !l.accepted || p.misses > 1 {
			j.dropBid(p) // it is gone, or not well: it has to bid again
		}
	}
	for _, e := range slices.Clone(l.live) {
		if l.resumed {
			j.finish(e, ExecDeclined, proto.ReasonNoLease, "the idle lease ended before the task came")
			continue
		}
		blame := !l.restored && !l.doubted // else it was told before, or is not to blame
		j.finish(e, ExecLost, proto.ReasonOther, detail)
		if blame {
			j.setBack(e, EvidenceLost)
		}
	}
}

// dropBid forgets a bid that proved void, and asks for new ones soon.
func (j *Job) dropBid(p *peer) {
	p.bid, j.announceGap = nil, announceEvery
}

// Started: a guest began to run.
func (j *Job) Started(now time.Time, id proto.ExecutionID) {
	if e := j.execs[id]; e != nil && e.state == ExecAssigned {
		j.now = now
		e.state, e.started = ExecRunning, now
		if e.lease != nil {
			e.lease.lived(now)
			j.hedge.started(now, e)
		}
		j.changed(e.task)
	}
}

// An Outcome is what an execution gave, as far as deciding goes.
type Outcome struct {
	Output   proto.CID
	Engine   proto.Engine
	Result   proto.Outcome
	ExitCode uint32
	Trap     string
	Fuel     uint64     // used; all that it was given if it ran out
	Roots    proto.Hash // names its list of state roots, see [proto.Answer.Roots]
	CPU      time.Duration
	Wall     time.Duration
}

// Ok tells whether the program succeeded.
func (o Outcome) Ok() bool { return o.Result == proto.OutcomeExited && o.ExitCode == 0 }

// A result is the part of an outcome that the program determines: two answers
// agree when it is equal.
type result struct {
	output   proto.CID
	result   proto.Outcome
	exitCode uint32
	trap     string
	fuel     uint64
	roots    proto.Hash
}

func (o Outcome) result() result {
	return result{o.Output, o.Result, o.ExitCode, o.Trap, o.Fuel, o.Roots}
}

// OutcomeOf gives what counts of an answer.
func OutcomeOf(a proto.Answer) Outcome {
	return Outcome{
		Output: a.Output, Engine: a.Engine, Result: a.Outcome, ExitCode: a.ExitCode, Trap: a.Trap,
		Fuel: a.Fuel, Roots: a.Roots(), CPU: a.CPU, Wall: a.Wall,
	}
}

// Answered: an execution gave a result. It says whether anybody was waiting for
// it; an answer to a settled, cancelled or unknown execution changes nothing.
// One by another engine than was offered counts as a failure.
func (j *Job) Answered(now time.Time, id proto.ExecutionID, o Outcome) bool {
	e := j.execs[id]
	if e == nil || !e.live() || e.task.settled != nil {
		return false
	}
	j.at(now)
	if !e.local && o.Engine != e.engine {
		j.fail(e, proto.ReasonOther, fmt.Sprintf("answered with engine %s, offered %s", o.Engine, e.engine))
		return false
	}
	j.finish(e, ExecAnswered, proto.ReasonOther, "")
	e.outcome = o
	j.progress()
	if e.local {
		j.hold(e.task, o.Output)
		return true
	}
	e.from.misses = 0
	if l := e.lease; l != nil {
		l.answered++
		l.wall = smooth(l.wall, o.Wall)
	}
	j.fetch(e)
	return true
}

func smooth(old, sample time.Duration) time.Duration {
	sample = max(sample, 20*time.Microsecond)
	if old == 0 {
		return sample
	}
	return (3*old + sample) / 4
}

// ExecutionFailed: an execution ended without a result. A timeout is the
// program's affair and costs nobody anything, nor does a task that the provider
// says it never began; the rest costs availability.
func (j *Job) ExecutionFailed(now time.Time, id proto.ExecutionID, reason proto.Reason, detail string) {
	e := j.execs[id]
	if e == nil || !e.live() {
		return
	}
	j.at(now)
	switch {
	case e.local:
		j.failLocal(e, reason, detail)
	case reason == proto.ReasonTimeout && (e.restored || now.Sub(e.created) >= j.cfg.Timeout*9/10): // clocks may drift
		j.finish(e, ExecFailed, reason, detail)
		e.task.timedOut++
		e.task.failures++
		j.out.Troubled = append(j.out.Troubled, e.task.index)
		j.progress()
	case reason == proto.ReasonTimeout:
		j.fail(e, proto.ReasonOther, fmt.Sprintf("claimed a timeout after %s", now.Sub(e.created)))
	case e.state == ExecAssigned && neverBegan(reason):
		j.finish(e, ExecDeclined, reason, detail)
		e.from.missed(now, declineBackoff)
		switch reason {
		case proto.ReasonBusy, proto.ReasonNoLease, proto.ReasonCancelled: // of this moment, or of our own making
		default:
			e.from.refusal = &No{reason, detail}
			j.dropBid(e.from)
		}
	default:
		j.fail(e, reason, detail)
	}
}

func neverBegan(r proto.Reason) bool {
	switch r {
	case proto.ReasonBusy, proto.ReasonDraining, proto.ReasonPolicy, proto.ReasonNoLease, proto.ReasonCancelled,
		proto.ReasonCPU, proto.ReasonMemory, proto.ReasonDisk, proto.ReasonGPU, proto.ReasonExecutor:
		return true
	}
	return false
}

// failLocal: the requester's own run gave no result. That its sandbox is busy
// passes; all else is taken to be so for good.
func (j *Job) failLocal(e *exec, reason proto.Reason, detail string) {
	j.finish(e, ExecFailed, reason, detail)
	t := e.task
	switch reason {
	case proto.ReasonBusy:
		j.localAfter = j.now.Add(declineBackoff)
		return
	case proto.ReasonTimeout:
		if j.wordless = j.wordless || e.interpret; !e.interpret { // which is many times slower
			t.timedOut++
		}
		j.progress()
	}
	t.localFailed = strings.TrimSpace(reason.String() + " " + detail)
}

// fail: a peer failed an execution, and nobody else is to blame.
func (j *Job) fail(e *exec, reason proto.Reason, detail string) {
	j.finish(e, ExecFailed, reason, detail)
	e.from.missed(j.now, failureBackoff)
	j.setBack(e, EvidenceFailed)
}

// setBack notes that a peer failed a task, and when to try again. One execution
// counts once: it may be out of touch for long, and fail after that.
func (j *Job) setBack(e *exec, kind EvidenceKind) {
	t := e.task
	j.out.Troubled = append(j.out.Troubled, t.index)
	if e.blamed {
		return
	}
	e.blamed = true
	if e.live() {
		j.out.Executions = append(j.out.Executions, e.record())
	}
	t.failures++
	if t.failures > 1 { // the first retry, elsewhere, is immediate
		t.notBefore = j.now.Add(min(failureBackoff<<min(t.failures, 10), slowestBackoff))
	}
	j.evidence(e, kind, proto.CID{})
}

// finish ends an execution.
func (j *Job) finish(e *exec, s ExecState, reason proto.Reason, detail string) {
	if e.doubtful() {
		j.doubted--
	}
	e.state, e.reason, e.detail, e.ended = s, reason, detail, j.now
	j.live--
	if e.local {
		j.localBusy--
	} else {
		if s != ExecAnswered {
			j.out.Over = append(j.out.Over, e.id)
		}
		e.lease.remove(j.now, e)
		j.hedge.ended(j.now, e)
		e.lease.lived(j.now)
	}
	if s != ExecAnswered {
		delete(j.execs, e.id)
	}
	switch {
	case e.local:
	case s == ExecDeclined:
		e.from.given--
		e.task.forgetDeclined(e)
	case s == ExecAnswered:
		e.from.answered++
	case s == ExecFailed || s == ExecLost:
		e.from.failed++
	}
	j.changed(e.task)
}

// Held: a task's output is complete here.
func (j *Job) Held(now time.Time, index int, output proto.CID) {
	if index >= len(j.tasks) {
		return
	}
	if t := j.tasks[index]; t.settled == nil {
		j.at(now)
		j.hold(t, output)
		j.progress()
		j.changed(t)
	}
}

// FetchFailed: the output of an execution could not be had from its provider.
// Its signed answer still speaks against it where another differs.
func (j *Job) FetchFailed(now time.Time, id proto.ExecutionID, detail string) {
	e := j.execs[id]
	if e == nil || e.task.settled != nil || e.state != ExecAnswered {
		return
	}
	j.at(now)
	if o := e.task.output(e.outcome.Output); o == nil || o.held || o.from != e {
		return
	}
	j.unfetch(e.task, e.outcome.Output)
	j.changed(e.task)
	if e.task.own() != nil || e.task.inConflict() {
		return
	}
	e.state, e.reason, e.detail = ExecLost, proto.ReasonInput, "output could not be fetched: "+detail
	j.out.Over = append(j.out.Over, id)
	e.from.missed(now, failureBackoff)
	j.setBack(e, EvidenceLost)
}

// overdue takes executions as lost that are silent for far longer than they may
// last: a provider that keeps its stream alive and does nothing blocks nobody.
func (j *Job) overdue() {
	if j.overdueAt.IsZero() || j.now.Before(j.overdueAt) {
		return
	}
	j.overdueAt = time.Time{}
	for _, p := range j.peers {
		if p.lease != nil && p.lease.away.IsZero() {
			j.overdueAt = sooner(j.overdueAt, j.expire(p.lease))
		}
	}
}

// watch sees to it that somebody looks after an execution that begins now.
func (j *Job) watch() {
	if j.cfg.Timeout > 0 && j.overdueAt.IsZero() {
		j.overdueAt = j.now.Add(j.cfg.Timeout + overdueSlack)
	}
}

// expire ends the overdue executions of a lease; it tells when to look again.
func (j *Job) expire(l *lease) (next time.Time) {
	sign, ended := l.sign, false
	for _, e := range slices.Clone(l.live) {
		due := j.due(e, sign)
		if j.now.Before(due) {
			next = sooner(next, due)
			continue
		}
		j.cancel(e)
		j.finish(e, ExecLost, proto.ReasonTimeout, "silent for too long")
		l.sign, ended = sign, true // it showed no life: this was our doing
		l.peer.missed(j.now, failureBackoff)
		j.setBack(e, EvidenceLost)
	}
	if ended && len(l.live) == 0 {
		j.closeLease(l.peer)
	}
	return next
}

// due is when an execution is overdue: some time after its timeout; before it
// started, after as long again as it takes to get ready, counted from the last
// sign of life of its lease.
//
// One that was out of touch has as long again from when it is back: what it did
// meanwhile is on its way, and its provider may have had to begin anew. Being
// away often buys it three times as long at most.
func (j *Job) due(e *exec, sign time.Time) time.Time {
	takes, from := j.cfg.Timeout+overdueSlack, e.started
	if from.IsZero() {
		takes, from = takes+j.cfg.Startup, later(sign, e.created)
	}
	most := later(later(e.started, e.created), e.lease.since).Add(e.lease.apart + 3*takes)
	if due := later(from, e.lease.back).Add(takes); due.Before(most) || e.lease.back.IsZero() {
		return due
	}
	return most
}
