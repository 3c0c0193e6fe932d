package requester

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mustermesh/muster/node/api"
	"github.com/mustermesh/muster/proto"
	"github.com/mustermesh/muster/scheduler"
	"google.golang.org/protobuf/encoding/protojson"
)

// ErrLeaving says that the node ends before the job has.
var ErrLeaving = errors.New("the node is leaving")

// Watch sends the job's summary, and the tasks that changed, again and again,
// until the job has ended, ctx ends, or send fails, whose error it gives. When
// leaving is closed it gives [ErrLeaving].
func (j *Job) Watch(ctx context.Context, leaving <-chan struct{}, send func(*api.WatchJobResponse) error) error {
	updates, stop := j.watch()
	defer stop()
	tick := time.NewTicker(time.Second) // what a job waits for changes without an event
	defer tick.Stop()
	pending := make(map[int]scheduler.TaskView)
	for {
		ended := j.Ended() // before the summary: what it says then is final
		if err := j.sendChanged(send, j.taskMessages(pending), ended); err != nil || ended {
			return err
		}
		clear(pending)
		select {
		case <-ctx.Done():
			return nil
		case <-leaving:
			return ErrLeaving
		case <-tick.C:
		case <-j.over:
			if !j.Ended() {
				return ErrLeaving
			}
		case u := <-updates:
			collect(pending, u, updates)
		}
	}
}

// maxChanged is how many tasks, and maxChangedExecutions how many of their
// executions in all, one message to a watcher names at most.
const (
	maxChanged           = 256
	maxChangedExecutions = 2048
)

// sendChanged sends what changed in as many messages as it takes; the last alone
// says that the job has ended.
func (j *Job) sendChanged(send func(*api.WatchJobResponse) error, changed []*api.Task, ended bool) error {
	for {
		n, executions := 0, 0
		for n < min(len(changed), maxChanged) && (n == 0 || executions+len(changed[n].Executions) <= maxChangedExecutions) {
			executions += len(changed[n].Executions)
			n++
		}
		last := n == len(changed)
		if err := send(&api.WatchJobResponse{Job: j.Summary(), Changed: changed[:n], Ended: ended && last}); err != nil || last {
			return err
		}
		changed = changed[n:]
	}
}

// collect takes the updates that are waiting; of each task the last counts.
func collect(pending map[int]scheduler.TaskView, u update, more chan update) {
	for {
		if u.phase == phaseTasks {
			for _, t := range u.tasks {
				pending[t.Index] = t
			}
		}
		select {
		case u = <-more:
		default:
			return
		}
	}
}

func (j *Job) taskMessages(views map[int]scheduler.TaskView) (out []*api.Task) {
	for _, v := range views {
		out = append(out, j.taskMessage(v))
	}
	return out
}

// Describe tells all that is known of the job.
func (j *Job) Describe(ctx context.Context) (*api.DescribeJobResponse, error) {
	out := &api.DescribeJobResponse{Job: j.Summary(), Spec: &api.Job{}}
	if err := protojson.Unmarshal(j.record.Written, out.Spec); err != nil {
		return nil, err
	}
	p := j.snapshot()
	out.History = historyMessages(p.History)
	tasks, reduce, bids, err := j.views(ctx)
	if err != nil {
		return nil, err
	}
	for i, v := range tasks {
		m := j.taskMessage(v)
		m.Digest = proto.TaskDigest(j.spec.Program, j.spec.Task(i)).String()
		out.Tasks = append(out.Tasks, m)
	}
	if reduce != nil {
		out.Reduce = j.taskMessage(*reduce)
	}
	for _, b := range bids {
		m := &api.Bid{Peer: b.Peer.String(), Price: float64(b.Price) / 1e6, Slots: uint32(b.Slots)}
		if b.Refusal != nil {
			m.Refused, m.Reason = true, b.Refusal.Reason.String()+": "+b.Refusal.Detail
		}
		out.Bids = append(out.Bids, m)
	}
	return out, nil
}

// views gives every task as it stands: out of the loop while it runs, from disk
// otherwise.
func (j *Job) views(ctx context.Context) (tasks []scheduler.TaskView, reduce *scheduler.TaskView, bids []scheduler.BidView, err error) {
	live := make(map[int]scheduler.TaskView)
	phase := phaseTasks
	j.ask(ctx, func(core *scheduler.Job) {
		phase = j.phase
		for i := range j.tasks {
			live[i] = core.Task(i)
		}
		bids = core.Bids()
	})
	for i := range j.spec.Tasks {
		v, ok := live[i]
		restored := v.Settlement != nil && len(v.Executions) == 0 // by an earlier run, and told on disk
		if !ok || phase != phaseTasks || restored {
			if v, ok, err = loadTask(j.r.db, j.id, phaseTasks, i); err != nil {
				return nil, nil, nil, err
			}
		}
		if !ok {
			v = scheduler.TaskView{Index: i, State: scheduler.TaskWaiting}
		}
		tasks = append(tasks, v)
	}
	if j.spec.Reduce == nil {
		return tasks, nil, bids, nil
	}
	v, ok := live[0]
	if !ok || phase != phaseReduce {
		if v, ok, err = loadTask(j.r.db, j.id, phaseReduce, 0); err != nil {
			return nil, nil, nil, err
		}
	}
	if ok {
		reduce = &v
	}
	return tasks, reduce, bids, nil
}

func taskMessage(v scheduler.TaskView) *api.Task {
	out := &api.Task{Index: uint32(v.Index), State: string(v.State), Failures: uint32(v.Failures())}
	if s := v.Settlement; s != nil {
		out.How, out.Output, out.Ok, out.Dead = s.How, s.Output.String(), s.Ok(), s.Dead
		if s.Outcome.Result != 0 {
			out.Outcome = s.Outcome.Result.String()
		}
		out.ExitCode, out.Trap, out.Fuel = s.Outcome.ExitCode, s.Outcome.Trap, s.Outcome.Fuel
	}
	for _, e := range v.Executions {
		out.Executions = append(out.Executions, executionMessage(e))
	}
	return out
}

func executionMessage(e scheduler.ExecView) *api.Execution {
	out := &api.Execution{
		Id: e.ID.String(), Peer: e.Peer.String(), Role: string(e.Role), State: string(e.State), Reason: e.Reason,
		Output: e.Outcome.Output.String(), CpuSeconds: e.Outcome.CPU.Seconds(), WallSeconds: e.Outcome.Wall.Seconds(), Fuel: e.Outcome.Fuel, Away: e.Away,
	}
	if !e.Created.IsZero() {
		out.CreatedMs = e.Created.UnixMilli()
	}
	if e.Outcome.Engine.Name != "" {
		out.Engine = e.Outcome.Engine.String()
	}
	if !e.Started.IsZero() {
		out.StartedMs = e.Started.UnixMilli()
	}
	if !e.Ended.IsZero() {
		out.EndedMs = e.Ended.UnixMilli()
	}
	return out
}

// Summary tells how the job stands, shortly.
func (j *Job) Summary() *api.JobSummary {
	j.mu.Lock()
	defer j.mu.Unlock()
	p := j.progress
	out := &api.JobSummary{
		Id: j.id.String(), Name: j.spec.Name, Tasks: uint32(len(j.spec.Tasks)), Accepted: uint32(p.Counts.Accepted),
		Verified: uint32(p.Counts.Verified), Disputed: uint32(p.Counts.Disputed), Failed: uint32(p.Counts.Failed),
		Running: uint32(p.Counts.Running), ConfidenceWanted: float64(j.spec.Confidence) / proto.ConfidenceUnit,
		ConfidenceReached: float64(p.Reached) / proto.ConfidenceUnit, How: p.How, OutputRoot: p.Output.String(),
		Waiting: j.waiting, Labels: j.spec.Labels, Spent: float64(p.Spent) / 1e6, Local: j.record.Local,
		ExitCode: p.Exit, TimedOut: p.Late, Notes: p.Notes, Dead: uint32(p.Counts.Dead), Hedges: uint32(p.Counts.Hedges), Executions: uint32(p.Counts.Executions),
		Sequence: j.latest.Load(), SubmittedMs: j.spec.Submitted.UnixMilli(),
		Progress: j.fraction(p), Fuel: scheduler.AddFuel(p.Counts.Fuel, p.Reduced),
	}
	if n := len(p.History); n > 0 {
		last := p.History[n-1]
		out.State, out.Reason = string(last.State), last.Reason
		if last.State.Ended() {
			out.EndedMs, out.Waiting = last.TimeMS, ""
		}
	}
	if j.spec.Reduce != nil {
		out.ReduceState = reduceState(p, out.State)
	}
	return out
}

func reduceState(p progress, state string) string {
	switch {
	case p.Phase == phaseTasks:
		return "waiting"
	case scheduler.State(state).Ended():
		return state
	}
	return "running"
}

// Values of JobLogsRequest.Task besides an index.
const (
	logsAll    = -1
	logsResult = -2
)

// NoTaskError says that a job has no such task.
type NoTaskError struct {
	job   proto.JobID
	task  int64
	tasks int
}

// Error says which tasks there are.
func (e *NoTaskError) Error() string {
	return fmt.Sprintf("job %s has tasks 0 to %d, no task %d", e.job.Short(), e.tasks-1, e.task)
}

// tasksOf gives the tasks that a request for logs means: one, by its index; all
// (-1); or the result (-2), which is the reduction's, or else all. Where there is
// no such task, the error is a *[NoTaskError].
func (j *Job) tasksOf(task int64) (phase int, tasks []int, err error) {
	all := len(j.spec.Tasks)
	switch {
	case task == logsResult && j.spec.Reduce != nil:
		return phaseReduce, []int{0}, nil
	case task >= int64(all) || task < logsResult:
		return 0, nil, &NoTaskError{j.id, task, all}
	case task >= 0:
		return phaseTasks, []int{int(task)}, nil
	}
	for i := range all {
		tasks = append(tasks, i)
	}
	return phaseTasks, tasks, nil
}

// SoFar calls f with the output of every task that is settled and has one, in
// order, and stops at its first error.
func (j *Job) SoFar(f func(task int, output proto.CID) error) error {
	for i := range j.spec.Tasks {
		v, ok, err := loadTask(j.r.db, j.id, phaseTasks, i)
		if err != nil {
			return err
		}
		if ok && v.Settlement != nil && !v.Settlement.Output.IsZero() {
			if err := f(i, v.Settlement.Output); err != nil {
				return err
			}
		}
	}
	return nil
}
