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
	own           *exec // the requester's first run
	word          *exec // its run on the interpreter, which decides; nil: there was none
	agreed, wrong []*exec
	other         []*exec // differ, and nothing is proven
}

func hear(answers []*exec) (h hearing) {
	for _, e := range answers {
		switch {
		case !e.local:
		case e.interpret:
			h.word = e
		default:
			h.own = e
		}
	}
	own := h.own.outcome
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

// alone tells that somebody would be blamed though nobody agrees with the
// requester.
func (h hearing) alone() bool { return len(h.wrong) > 0 && len(h.agreed) == 0 }

// alike tells that two who would be blamed say the same: liars that know each
// other, or an engine.
func (h hearing) alike() bool {
	return slices.ContainsFunc(h.wrong, func(e *exec) bool { return e != h.wrong[0] && e.outcome.result() == h.wrong[0].outcome.result() })
}

// judgeByOwn: the requester ran the task itself. Where an engine may be at fault,
// its own too, it runs the task once more, on the interpreter, before anybody is
// blamed: where answers are of another engine, where nobody agrees with it, where
// those that differ say the same, and where the program was in doubt before.
func (j *Job) judgeByOwn(t *task, answers []*exec) {
	h := hear(answers)
	doubt := h.alone() || h.alike() || len(h.other) > 0 || len(h.wrong) > 0 && len(j.conflicts) > 0
	switch {
	case doubt && h.word == nil && !j.wordless && j.canOwn(t):
		j.wantOwn(t)
	case h.word != nil && h.word.outcome.result() != h.own.outcome.result():
		j.judgeByWord(t, h, answers)
	case h.alone() && h.word == nil:
		h.other, h.wrong = append(h.other, h.wrong...), nil
		j.settleByOwn(t, h)
	default:
		j.settleByOwn(t, h)
	}
}

// judgeByWord: the requester's compiler and its interpreter differ, so one of
// them has a bug, or the machine is at fault. The interpreter is believed where a
// peer says the same; nobody is blamed, nor later for this program without the
// interpreter.
func (j *Job) judgeByWord(t *task, h hearing, answers []*exec) {
	j.inDoubt(j.cfg.Self)
	var agreed []*exec
	for _, e := range answers {
		switch same := e.outcome.result() == h.word.outcome.result(); {
		case e.local:
		case same && e.state == ExecAnswered:
			agreed = append(agreed, e)
		case !same:
			e.detail = fmt.Sprintf("differs from the interpreter (engine %s); nobody is blamed", e.outcome.Engine)
		}
	}
	if len(agreed) == 0 {
		j.settle(t, Settlement{
			State: TaskDisputed,
			How:   fmt.Sprintf("the requester's own runs, on %s and on %s, gave different results: an engine or this machine is at fault; nobody is blamed", h.own.outcome.Engine, h.word.outcome.Engine),
		})
		return
	}
	right := h.word.outcome
	for _, e := range answers {
		if !e.local && e.outcome.result() != right.result() {
			e.state = ExecFailed
		}
	}
	for _, e := range agreed {
		j.evidence(e, EvidenceChecked, right.Output)
	}
	j.settle(t, Settlement{
		State: TaskVerified, Own: true, Checkers: len(agreed) - 1, Output: right.Output, Outcome: right, Winner: h.word.id,
		How: fmt.Sprintf("settled on the interpreter, with which %s agreed: engine %s computes this program wrongly; nobody is blamed", countText(len(agreed), "peer"), h.own.outcome.Engine),
	})
}

// settleByOwn: what the requester got is right, and whoever answered
// differently with the same engine is proven wrong, unless too many did so with
// this program: then its engine is suspected. Nobody is paid for what is not
// right, proven or not.
func (j *Job) settleByOwn(t *task, h hearing) {
	right := h.own.outcome.Output
	for _, e := range h.agreed {
		j.evidence(e, EvidenceChecked, right)
	}
	frozen := len(j.conflicts) >= frozenAt
	for _, e := range h.other {
		if j.cfg.Odd[e.peer]+1 >= oddPrograms && h.word != nil {
			e.detail = fmt.Sprintf("differs from the requester, and did so in %d other programs: its machine is at fault, or it lies", j.cfg.Odd[e.peer])
			j.proveWrong(e, right)
			continue
		}
		e.detail = fmt.Sprintf("differs from the requester's own run; nothing is proven (engine %s, own %s)", e.outcome.Engine, h.own.outcome.Engine)
		j.setAside(e, h.word != nil || len(h.agreed) > 0)
	}
	for _, e := range h.wrong {
		if e.detail = h.own.outcome.differs(e.outcome); frozen {
			e.detail += "; not held against it, for " + frozenText
			j.setAside(e, true)
			continue
		}
		j.proveWrong(e, right)
	}
	how := h.how()
	if frozen && len(h.wrong) > 0 {
		how += "; nobody is blamed, for " + frozenText
	}
	j.settle(t, Settlement{
		State: TaskVerified, How: how, Own: true, Checkers: max(len(h.agreed)-1, 0),
		Output: right, Outcome: h.own.outcome, Winner: h.own.id,
	})
	for _, e := range append(h.wrong, h.other...) {
		if e.from.shunned() {
			j.shun(e.from)
		}
	}
}

// proveWrong blames an execution's peer.
func (j *Job) proveWrong(e *exec, right proto.CID) {
	j.inDoubt(e.peer)
	e.state, e.from.wrong = ExecWrong, true
	j.evidence(e, EvidenceWrong, right)
}

// setAside: an answer is not taken for right, and its peer is not blamed. Where it
// is known not to be right, the peer is of no use for this program; else it may
// be the requester's engine that is at fault.
func (j *Job) setAside(e *exec, known bool) {
	e.state = ExecFailed
	if !known {
		j.inDoubt(j.cfg.Self)
		return
	}
	j.inDoubt(e.peer)
	e.from.unlike = true
	j.evidence(e, EvidenceFailed, proto.CID{})
}

const unlikeText = "its results of this program differ from the requester's"

// Where so many peers differed from the requester in a program, its engine is
// suspected, and nobody is blamed for that program. Who differed in so many
// programs, each time with nothing proven, is to blame all the same.
const (
	MaxConflicts = 16 // peers that are told of, for each program

	frozenAt    = 3
	oddPrograms = 3
)

var frozenText = fmt.Sprintf("%d peers differed in this program: a bug of an engine is likelier than as many liars", frozenAt)

// inDoubt notes that a peer, or the requester's own engine, differed in this
// program.
func (j *Job) inDoubt(p proto.PeerID) {
	if len(j.conflicts) < MaxConflicts && !slices.Contains(j.conflicts, p) {
		j.conflicts = append(j.conflicts, p)
		j.out.Conflicts = append(j.out.Conflicts, p)
	}
}

// differs says in what another outcome than the requester's own is wrong.
func (o Outcome) differs(from Outcome) string {
	if o.Output == from.Output && o.Fuel != from.Fuel {
		return fmt.Sprintf("the requester's own run used %d units of fuel, not %d", o.Fuel, from.Fuel)
	}
	return "the requester's own run gave another result"
}

// shun ends all dealings with a peer that was proven wrong, or set aside. What it
// answered elsewhere can speak against it, and counts for nothing.
func (j *Job) shun(p *peer) {
	why := unlikeText
	if p.wrong {
		why = "its provider was proven wrong"
	}
	if l := p.lease; l != nil {
		for _, e := range slices.Clone(l.live) {
			j.cancel(e)
			j.finish(e, ExecCancelled, proto.ReasonCancelled, why)
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
	agreed, wrong, other := len(h.agreed), len(h.wrong), len(h.other)
	switch {
	case h.own.role == RoleLocal:
		return "run here"
	case wrong > 0:
		return fmt.Sprintf("settled by the requester's own run: %d of %d answers were wrong", wrong, agreed+wrong+other)
	case agreed == 0 && other == 0:
		return "the requester's own run alone"
	case agreed == 0:
		return "the requester's own run alone; those that differ may have a faulty engine: nobody is blamed"
	case other > 0:
		return fmt.Sprintf("%s; of %d answers %d differed, which may have a faulty engine", howAgreed(agreed-1, true), agreed+other, other)
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
