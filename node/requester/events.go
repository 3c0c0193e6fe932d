package requester

import (
	"fmt"

	"github.com/mustermesh/muster/internal/eventlog"
	"github.com/mustermesh/muster/proto"
	"github.com/mustermesh/muster/scheduler"
)

// progressStep is by how much a guest's word on its task must grow before it is
// an event of its own: a task has few, however talkative its guest is.
const progressStep = 0.1

// told is what of a job's unsettled tasks was made known as events. The loop's.
type told struct {
	over     map[proto.ExecutionID]bool // executions without a result
	progress map[int]float64            // by task
}

func newTold() told {
	return told{over: make(map[proto.ExecutionID]bool), progress: make(map[int]float64)}
}

// happened tells the node's log of an event of the job.
func (j *Job) happened(e eventlog.Event) {
	e.Job, e.TimeMS = j.id, j.r.Now().UnixMilli()
	j.latest.Store(j.r.events.Add(e))
}

// happenings tells of what one step brought, once it is on disk.
func (j *Job) happenings(a scheduler.Actions, views []scheduler.TaskView) {
	for _, v := range views {
		for _, e := range v.Executions {
			j.happenedTo(v.Index, e)
		}
		if v.Settlement != nil {
			for _, e := range v.Executions {
				delete(j.told.over, e.ID)
			}
			delete(j.told.progress, v.Index)
		}
	}
	for _, i := range a.Settled {
		s := j.core.Task(i).Settlement
		state, text := string(s.State), s.How
		if s.Dead {
			state = "dead"
		}
		j.happened(eventlog.Event{Kind: eventlog.Task, Task: i, State: state, Text: j.inPhase(text)})
	}
	for _, s := range a.States {
		if !j.midway(s.State) {
			j.happened(eventlog.Event{Kind: eventlog.Job, State: string(s.State), Text: j.inPhase(s.Reason)})
		}
	}
}

// happenedTo tells once of an execution that is over without a result that
// counts.
func (j *Job) happenedTo(task int, e scheduler.ExecView) {
	switch e.State {
	case scheduler.ExecFailed, scheduler.ExecLost, scheduler.ExecWrong, scheduler.ExecDeclined:
	default:
		return
	}
	if j.told.over[e.ID] || e.Ended.Before(j.taken) {
		return
	}
	j.told.over[e.ID] = true
	j.happened(eventlog.Event{
		Kind: eventlog.Execution, Task: task, Execution: e.ID, Peer: e.Peer, State: string(e.State), Text: j.inPhase(e.Reason),
	})
}

// inPhase marks what is said of the reduction.
func (j *Job) inPhase(text string) string {
	switch {
	case j.phase != phaseReduce:
		return text
	case text == "":
		return "the reduction"
	}
	return "the reduction: " + text
}

// happenedProgress tells of a task whose guest is further by a step.
func (j *Job) happenedProgress(v scheduler.TaskView) {
	if v.Settlement != nil {
		return
	}
	t := j.taskMessage(v)
	if t.Progress == nil {
		return
	}
	last, known := j.told.progress[v.Index]
	if known && t.Progress.Fraction < last+progressStep {
		return
	}
	j.told.progress[v.Index] = t.Progress.Fraction
	j.happened(eventlog.Event{Kind: eventlog.Progress, Task: v.Index, State: string(v.State), Text: t.Progress.Text, Fraction: t.Progress.Fraction})
}

// happened tells of an event of a lease.
func (l *taken) happened(state, text string) {
	l.j.happened(eventlog.Event{Kind: eventlog.Lease, Peer: l.peer, State: state, Text: text})
}

// words gives in a word, and in others, how a lease's stream ended; broken: the
// lease goes on without it.
func (e ending) words(broken bool) (state, text string) {
	switch {
	case e.no != nil:
		return "declined", fmt.Sprintf("%s: %s", e.no.Reason, e.no.Detail)
	case e.err == nil:
		return "released", ""
	case broken:
		return "broken", proto.ClipDetail(e.err.Error())
	}
	return "lost", proto.ClipDetail(e.err.Error())
}
