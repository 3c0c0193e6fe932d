package requester

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/mustermesh/muster/internal/store"
	"github.com/mustermesh/muster/node/api"
	"github.com/mustermesh/muster/scheduler"
)

// keepExplanation has the last write of a job take along why it ended so.
func (j *Job) keepExplanation() error {
	x := j.core.Explain(j.r.Now())
	if j.phase == phaseReduce {
		x.Why, x.Troubled = ofReduction(x.Why), nil
	}
	v, err := marshalExplanation(x)
	if err != nil {
		return err
	}
	j.puts = append(j.puts, record{jobKey(j.id, "/explain"), v})
	return nil
}

func ofReduction(why string) string { return "Its tasks are settled. Of the reduction: " + why }

// Explain says why the job is in its state, and of every peer that it heard of
// why it was or was not chosen: of a job that ended, as it was then.
func (j *Job) Explain(ctx context.Context) (*api.ExplainJobResponse, error) {
	now := j.r.Now()
	var x scheduler.Explanation
	var troubled []scheduler.TaskView
	reduces := false
	live := j.ask(ctx, func(core *scheduler.Job) {
		x, reduces = core.Explain(now), j.phase == phaseReduce
		for _, i := range x.Troubled {
			troubled = append(troubled, core.Task(i))
		}
	})
	if err := ctx.Err(); err != nil {
		return nil, err // and the loop may still be at it
	}
	if !live {
		var err error
		if x, troubled, err = j.past(); err != nil {
			return nil, err
		}
	}
	if reduces {
		x.Why = ofReduction(x.Why)
	}
	out := &api.ExplainJobResponse{Job: j.Summary(), Why: x.Why, Change: x.Change, Needs: x.Needs, History: historyMessages(j.snapshot().History)}
	if !x.Expires.IsZero() {
		out.ExpiresMs = x.Expires.UnixMilli()
	}
	for _, w := range x.Peers {
		out.Peers = append(out.Peers, peerMessage(w))
	}
	for _, v := range troubled {
		t, err := j.trouble(v)
		if err != nil {
			return nil, err
		}
		if reduces {
			t.Why = "the reduction: " + t.Why
		}
		out.Tasks = append(out.Tasks, t)
	}
	return out, nil
}

// past gives what is on disk of why a job is in its state. Of one that is open
// nothing is, but that no node works on it.
func (j *Job) past() (x scheduler.Explanation, troubled []scheduler.TaskView, err error) {
	v, err := j.r.db.Get(jobKey(j.id, "/explain"))
	switch p := j.snapshot(); {
	case err == nil:
		if err := json.Unmarshal(v, &x); err != nil {
			return x, nil, fmt.Errorf("explanation of job %s: %w", j.id, err)
		}
		if x.Left > 0 {
			x.Why += fmt.Sprintf(" Of the peers that it heard of, %d more are not on record.", x.Left)
		}
	case !errors.Is(err, store.ErrNotFound):
		return x, nil, err
	case !j.Ended():
		x.Why = "It waits: no node runs in this home that could work on it."
		x.Change = []string{"start one: muster daemon"}
	case len(p.History) > 0:
		last := p.History[len(p.History)-1]
		x.Why = fmt.Sprintf("It is %s.", last.State)
		if last.Reason != "" {
			x.Why = fmt.Sprintf("It is %s: %s.", last.State, last.Reason)
		}
	}
	if x.Troubled != nil {
		for _, i := range x.Troubled {
			v, ok, err := loadTask(j.r.db, j.id, phaseTasks, i)
			if err != nil {
				return x, nil, err
			}
			if ok {
				troubled = append(troubled, v)
			}
		}
		return x, troubled, nil
	}
	if j.state() != scheduler.Completed {
		troubled, err = j.troubled()
	}
	return x, troubled, err
}

// maxTroubled is how many tasks in trouble are looked up on disk.
const maxTroubled = 50

// troubled gives the tasks on disk that have no good result.
func (j *Job) troubled() (vs []scheduler.TaskView, err error) {
	for i := 0; i < len(j.spec.Tasks) && len(vs) < maxTroubled; i++ {
		v, ok, err := loadTask(j.r.db, j.id, phaseTasks, i)
		if err != nil {
			return nil, err
		}
		if ok && (v.Settlement == nil || !v.Settlement.Ok()) {
			vs = append(vs, v)
		}
	}
	return vs, nil
}

// trouble tells of a task what is wrong with it. The executions of one that is
// settled are on disk alone.
func (j *Job) trouble(v scheduler.TaskView) (*api.TaskTrouble, error) {
	if v.Settlement != nil && len(v.Executions) == 0 {
		written, ok, err := loadTask(j.r.db, j.id, phaseTasks, v.Index)
		if err != nil {
			return nil, err
		}
		if ok {
			v = written
		}
	}
	m := j.taskMessage(v)
	out := &api.TaskTrouble{Task: m.Index, State: m.State, Why: whyTrouble(v, m), Executions: m.Executions}
	if m.Dead {
		out.State = "dead"
	}
	return out, nil
}

func whyTrouble(v scheduler.TaskView, m *api.Task) string {
	if s := v.Settlement; s != nil {
		return cmp.Or(s.Outcome.Wrong(), s.How)
	}
	last := ""
	for _, e := range v.Executions {
		if e.State == scheduler.ExecFailed || e.State == scheduler.ExecLost {
			last = e.Reason
		}
	}
	return fmt.Sprintf("%d executions failed or were lost so far; the last: %s", m.Failures, cmp.Or(last, "no reason given"))
}

func peerMessage(w scheduler.PeerWhy) *api.PeerDecision {
	m := &api.PeerDecision{
		Peer: w.Peer.String(), Verdict: string(w.Verdict), Class: string(w.Class), Detail: w.Detail, Change: w.Change, Signed: w.Signed,
		Executions: uint32(w.Given), Answered: uint32(w.Answered), Failed: uint32(w.Failed), Price: float64(w.Price) / 1e6,
	}
	if !w.Heard.IsZero() {
		m.TimeMs = w.Heard.UnixMilli()
	}
	return m
}

func historyMessages(h []transition) (out []*api.Transition) {
	for _, t := range h {
		out = append(out, &api.Transition{State: string(t.State), TimeMs: t.TimeMS, Reason: t.Reason})
	}
	return out
}
