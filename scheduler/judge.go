package scheduler

import (
	"fmt"
	"slices"
	"strings"

	"github.com/mustermesh/muster/proto"
)

// judge looks at a task after a change: settles it, or notes what it needs.
func (j *Job) judge(t *task) {
	if t.settled != nil {
		return
	}
	answers, own := t.answers(), t.own()
	if len(answers) > 0 {
		j.setTask(t, TaskChecking)
	}
	switch {
	case own != nil && own.state == ExecAnswered:
		if t.live() == 0 {
			j.judgeByOwn(t, t.said())
		}
	case t.timedOut >= j.timeoutLimit() && len(answers) == 0:
		j.settle(t, Settlement{State: TaskFailed, TimedOut: true, How: fmt.Sprintf("timed out (%d executions reached the limit)", t.timedOut)})
	case own != nil: // its answer will decide
	case j.cfg.LocalOnly && t.localFailed != "":
		j.settle(t, Settlement{State: TaskFailed, How: "could not be run here: " + t.localFailed})
	case j.cfg.LocalOnly:
		j.wantOwn(t)
	case t.inConflict():
		j.refer(t, t.said())
	case j.cfg.OwnRun && t.answered() > t.want:
		if j.canOwn(t) {
			j.wantOwn(t)
		}
	case t.answered() > t.want && t.holds(answers[0].outcome.Output):
		j.settleAgreed(t, answers)
	case t.failures >= j.cfg.Retries:
		j.giveUp(t)
	default:
		j.refetch(answers)
		j.need(t)
	}
}

// timeoutLimit is on how many nodes a task may time out, while none answers,
// before that is taken as a fact about the program.
func (j *Job) timeoutLimit() int {
	if j.cfg.LocalOnly {
		return 1
	}
	return timeoutTries
}

// canOwn tells whether the requester could run t itself.
func (j *Job) canOwn(t *task) bool { return j.cfg.LocalSlots > 0 && t.localFailed == "" }

// giveUp: the mesh failed a task too often. The requester runs it, if it can.
func (j *Job) giveUp(t *task) {
	switch {
	case j.canOwn(t):
		j.wantOwn(t)
		return
	case t.live() > 0:
		return
	}
	j.settle(t, Settlement{State: TaskFailed, Dead: true, How: fmt.Sprintf("given up after %d failed executions; the last: %s", t.failures, t.lastFailure())})
}

func (t *task) lastFailure() string {
	for _, e := range slices.Backward(t.execs) {
		if !e.local && (e.state == ExecFailed || e.state == ExecLost) {
			return strings.TrimSpace(e.reason.String() + " " + e.detail)
		}
	}
	return "unknown"
}

// refer handles answers that differ: the requester re-runs the task, or, where
// it cannot, the task is disputed and nobody loses standing.
func (j *Job) refer(t *task, answers []*exec) {
	if j.canOwn(t) {
		j.wantOwn(t)
		return
	}
	if t.live() > 0 {
		return
	}
	why := t.localFailed
	if why == "" {
		why = "its sandbox cannot run this program"
	}
	j.settle(t, Settlement{
		State: TaskDisputed,
		How: fmt.Sprintf("%d executions gave %d different results, and the requester could not settle it: %s; a run on a node that can would",
			len(answers), distinctResults(answers), why),
	})
}

func distinctResults(es []*exec) int {
	seen := make(map[result]bool)
	for _, e := range es {
		seen[e.outcome.result()] = true
	}
	return len(seen)
}

// settleAgreed: enough peers gave the same answer.
func (j *Job) settleAgreed(t *task, answers []*exec) {
	s := Settlement{State: TaskVerified, Checkers: t.answered() - 1, Output: answers[0].outcome.Output, Outcome: answers[0].outcome, Winner: answers[0].id}
	kind := EvidenceChecked
	if s.Checkers == 0 {
		s.State, kind = TaskAccepted, EvidenceUnchecked
	}
	s.How = howAgreed(s.Checkers, false)
	for _, e := range answers {
		j.evidence(e, kind, s.Output)
	}
	j.settle(t, s)
}

// A hearing is how the answers to a task compare with the requester's own run.
// With another engine than its own nothing is proven.
type hearing struct {
	owns          []*exec // the requester's runs
	agreed, wrong []*exec
	other         []*exec // differ, and not comparable
}

func hear(answers []*exec) (h hearing) {
	for _, e := range answers {
		if e.local {
			h.owns = append(h.owns, e)
		}
	}
	own := h.owns[0].outcome
	for _, e := range answers {
		switch {
		case e.local:
		case e.outcome.result() == own.result() && e.state == ExecLost:
		case e.outcome.result() == own.result():
			h.agreed = append(h.agreed, e)
		case e.outcome.Engine == own.Engine:
			h.wrong = append(h.wrong, e)
		default:
			h.other = append(h.other, e)
		}
	}
	return h
}

// judgeByOwn: the requester ran the task itself. Where nobody agrees with it
// and somebody would be blamed, it runs it once more: a machine at fault, or a
// program that is not deterministic, must not cost others their standing.
func (j *Job) judgeByOwn(t *task, answers []*exec) {
	h := hear(answers)
	alone := len(h.wrong) > 0 && len(h.agreed) == 0
	switch {
	case alone && len(h.owns) == 1 && j.canOwn(t):
		j.wantOwn(t)
	case len(h.owns) == 2 && h.owns[0].outcome.result() != h.owns[1].outcome.result():
		j.settle(t, Settlement{
			State: TaskDisputed,
			How:   "two runs by the requester itself gave different results: the program is not deterministic here, or this machine is at fault; nobody is blamed",
		})
	case alone && len(h.owns) == 1:
		h.other, h.wrong = append(h.other, h.wrong...), nil
		j.settleByOwn(t, h)
	default:
		j.settleByOwn(t, h)
	}
}

// settleByOwn: what the requester got is right, and whoever answered
// differently with the same engine is proven wrong.
func (j *Job) settleByOwn(t *task, h hearing) {
	own := h.owns[0]
	right := own.outcome.Output
	for _, e := range h.agreed {
		j.evidence(e, EvidenceChecked, right)
	}
	for _, e := range h.wrong {
		e.state, e.detail = ExecWrong, "the requester's own run gave another result"
		j.evidence(e, EvidenceWrong, right)
	}
	for _, e := range h.other {
		e.detail = fmt.Sprintf("differs from the requester's own run; nothing is proven (engine %s, own %s)", e.outcome.Engine, own.outcome.Engine)
	}
	j.settle(t, Settlement{
		State: TaskVerified, How: h.how(), Own: true, Checkers: max(len(h.agreed)-1, 0),
		Output: right, Outcome: own.outcome, Winner: own.id,
	})
	for _, e := range h.wrong {
		j.distrust(e.from)
	}
}

// distrust ends all dealings with a peer that was proven wrong. What it answered
// elsewhere can speak against it, and counts for nothing.
func (j *Job) distrust(p *peer) {
	if p.wrong {
		return
	}
	p.wrong = true
	if l := p.lease; l != nil {
		for _, e := range slices.Clone(l.live) {
			j.cancel(e)
			j.finish(e, ExecCancelled, proto.ReasonCancelled, "its provider was proven wrong")
		}
		j.closeLease(p)
	}
	for _, t := range j.tasks {
		if t.settled == nil && slices.ContainsFunc(t.execs, func(e *exec) bool { return e.from == p }) {
			j.judge(t)
		}
	}
}

func (h hearing) how() string {
	agreed, wrong := len(h.agreed), len(h.wrong)
	switch {
	case h.owns[0].role == RoleLocal:
		return "run here"
	case wrong > 0:
		return fmt.Sprintf("settled by the requester's own run: %d of %d answers were wrong", wrong, agreed+wrong)
	case agreed == 0:
		return "the requester's own run alone; no comparable answer"
	}
	return howAgreed(agreed-1, true)
}

func howAgreed(checkers int, own bool) string {
	var parts []string
	switch {
	case checkers == 1:
		parts = append(parts, "1 independent checker")
	case checkers > 1:
		parts = append(parts, fmt.Sprintf("%d independent checkers", checkers))
	}
	if own {
		parts = append(parts, "the requester's own run")
	}
	if len(parts) == 0 {
		return "nobody checked it: accepted on standing alone"
	}
	return strings.Join(parts, " and ") + " agreed"
}

// fetch asks for the output of an answer, unless it is here or on its way.
func (j *Job) fetch(e *exec) {
	t := e.task
	if t.output(e.outcome.Output) != nil {
		return
	}
	t.outputs = append(t.outputs, output{cid: e.outcome.Output, from: e})
	j.fetching++
	j.out.Fetch = append(j.out.Fetch, Fetch{Execution: e.id, Peer: e.peer, Task: t.index, Output: e.outcome.Output})
}

func (j *Job) refetch(answers []*exec) {
	for _, e := range answers {
		if !e.local {
			j.fetch(e)
		}
	}
}

// hold notes that an output is complete here.
func (j *Job) hold(t *task, cid proto.CID) {
	o := t.output(cid)
	if o == nil {
		t.outputs = append(t.outputs, output{cid: cid, held: true})
		return
	}
	if !o.held {
		o.held = true
		j.fetching--
	}
}

// unfetch forgets an output that did not come.
func (j *Job) unfetch(t *task, cid proto.CID) {
	t.outputs = slices.DeleteFunc(t.outputs, func(o output) bool { return o.cid == cid })
	j.fetching--
}

// settle writes the one result record of a task. What still runs is stopped.
func (j *Job) settle(t *task, s Settlement) {
	t.settled = &s
	j.setTask(t, s.State)
	j.totals.settle(s)
	j.cancelLive(t)
	j.overAnswered(t)
	for _, e := range t.execs {
		delete(j.execs, e.id)
	}
	for _, o := range t.outputs {
		if !o.held {
			j.fetching--
		}
	}
	t.outputs = nil
	j.settled++
	j.out.Settled = append(j.out.Settled, t.index)
	j.changed(t)
}
