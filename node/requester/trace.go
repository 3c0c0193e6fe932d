package requester

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/mustermesh/muster/node/overlay"
	"github.com/mustermesh/muster/proto"
	"github.com/mustermesh/muster/scheduler"
)

// A trail is the spans of a job: one for the job, and below it what happens to it.
// All of its executions are sent one and the same traceparent, that of the job.
// Beside job and parent it is the loop's.
type trail struct {
	tracer     overlay.Tracer
	parent     string                             // of the job's own span; "" without a tracer
	job        overlay.Span                       // nil: not begun in this run
	bidding    overlay.Span                       // nil: no bids are waited for
	executions map[proto.ExecutionID]overlay.Span // under way, traced or not; while the loop runs
}

func (r *Requester) newTrail(parent string) trail {
	return trail{tracer: r.Tracer, parent: parent}
}

// beginTrail begins the trace of a job that is being submitted. The function that
// it gives is told of the job, or why there is none.
func (r *Requester) beginTrail(ctx context.Context) (t trail, submitted func(*Job, error)) {
	_, job := r.Tracer.Start(ctx, "job", "")
	t = r.newTrail(job.Traceparent())
	t.job = job
	_, submit := r.Tracer.Start(ctx, "submit", t.parent)
	return t, func(j *Job, err error) {
		submit.End(err)
		if err != nil {
			job.End(err)
			return
		}
		if !j.started() { // it was only looked at
			job.End(nil)
		}
	}
}

// started tells whether the job is to run: it has a history.
func (j *Job) started() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.progress.History) > 0
}

// run begins a span of its own, below the job's, where an earlier run began that.
func (t *trail) run(id proto.JobID, tasks int) {
	t.executions = make(map[proto.ExecutionID]overlay.Span)
	if t.job == nil && t.parent != "" {
		_, t.job = t.tracer.Start(context.Background(), "job resumed", t.parent)
	}
	if t.job != nil {
		t.job.Set("job", id.String())
		t.job.Set("tasks", strconv.Itoa(tasks))
	}
}

// begin begins a span below the job's. Safe for concurrent use.
func (t *trail) begin(name string) overlay.Span {
	if t.parent == "" {
		_, none := overlay.NoTracer{}.Start(context.Background(), name, "")
		return none
	}
	_, s := t.tracer.Start(context.Background(), name, t.parent)
	return s
}

// step follows the job's states.
func (t *trail) step(a scheduler.Actions) {
	for _, s := range a.States {
		switch {
		case s.State == scheduler.Bidding && t.bidding == nil:
			t.bidding = t.begin("bidding")
		case s.State != scheduler.Bidding && t.bidding != nil:
			t.bidding.End(nil)
			t.bidding = nil
		}
	}
}

func (t *trail) began(task int, e scheduler.ExecView) {
	s := t.begin("execution")
	s.Set("peer", e.Peer.String())
	s.Set("task", strconv.Itoa(task))
	s.Set("role", string(e.Role))
	t.executions[e.ID] = s
}

func (t *trail) over(e scheduler.ExecView) {
	s := t.executions[e.ID]
	delete(t.executions, e.ID)
	s.Set("state", string(e.State))
	if e.State == scheduler.ExecAnswered || e.State == scheduler.ExecCancelled {
		s.End(nil)
		return
	}
	s.End(fmt.Errorf("%s: %s", e.State, e.Reason))
}

// end ends all spans: the job has ended, or this run of it.
func (t *trail) end(state scheduler.State) {
	var err error
	if state != scheduler.Completed {
		err = fmt.Errorf("%s", state)
	}
	for _, s := range t.executions {
		s.End(errors.New("the job is over"))
	}
	t.executions = nil
	if t.bidding != nil {
		t.bidding.End(nil)
		t.bidding = nil
	}
	if t.job != nil {
		t.job.Set("state", string(state))
		t.job.End(err)
		t.job = nil
	}
}
