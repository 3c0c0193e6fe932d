package requester

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/mustermesh/muster/internal/eventlog"
	"github.com/mustermesh/muster/internal/store"
	"github.com/mustermesh/muster/proto"
	"github.com/mustermesh/muster/scheduler"
)

// ErrNothingToRetry says that a job has nothing that could run again.
var ErrNothingToRetry = errors.New("nothing to retry")

// retried is the reason of the state in which a job that is retried begins.
const retried = "retried by its requester"

// Retry runs the tasks of a job that has ended again which have no good result,
// and the reduction after them; it gives the job as it goes on, under the same
// id, and how many tasks run again. It is an [ErrNothingToRetry] where the job
// goes on, or is completed. What was decided is on disk when it returns.
func (r *Requester) Retry(ctx context.Context, id proto.JobID) (again *Job, tasks int, err error) {
	r.tidy.Lock()
	defer r.tidy.Unlock()
	j := r.job(id)
	switch {
	case j == nil:
		return nil, 0, fmt.Errorf("%w: %s", ErrNoJob, id.Short())
	case !j.Ended():
		return nil, 0, fmt.Errorf("%w: job %s still goes on, and tries by itself what failed", ErrNothingToRetry, id.Short())
	case j.state() == scheduler.Completed:
		return nil, 0, fmt.Errorf("%w: job %s is completed", ErrNothingToRetry, id.Short())
	}
	select {
	case <-j.over:
	case <-ctx.Done():
		return nil, 0, ctx.Err()
	}
	rec := j.record
	rec.progress = j.snapshot()
	forget, tasks, err := r.retryable(j, &rec.progress)
	if err != nil {
		return nil, 0, err
	}
	rec.progress.History = append(slices.Clone(rec.progress.History), transition{scheduler.Pending, retried, r.Now().UnixMilli()})
	again = r.newJob(id, j.spec, rec)
	p, err := json.Marshal(rec.progress)
	if err != nil {
		return nil, 0, err
	}
	if err := r.remove(ctx, forget); err != nil { // if it stops here, the job is as it was but for its bad results
		return nil, 0, err
	}
	var b store.Batch
	b.Put(jobKey(id, "/progress"), p)
	if err := r.db.Commit(ctx, &b, store.Durable); err != nil {
		return nil, 0, err
	}
	again.happened(eventlog.Event{Kind: eventlog.Job, State: string(scheduler.Pending), Text: retried})
	r.mu.Lock()
	r.jobs[id] = again
	r.mu.Unlock()
	return again, tasks, r.begin(ctx, again)
}

// retryable gives the records of what runs again, and brings the progress to what
// is left.
func (r *Requester) retryable(j *Job, p *progress) (forget [][]byte, tasks int, err error) {
	counts := scheduler.Counts{Tasks: len(j.spec.Tasks), Executions: p.Counts.Executions, Hedges: p.Counts.Hedges}
	for i := range j.spec.Tasks {
		v, ok, err := loadTask(r.db, j.id, phaseTasks, i)
		switch {
		case err != nil:
			return nil, 0, err
		case !ok:
			tasks++
		case v.Settlement == nil || !v.Settlement.Ok():
			tasks++
			forget = append(forget, taskKey(j.id, phaseTasks, i))
		case v.Settlement.State == scheduler.TaskVerified:
			counts.Verified++
			counts.Fuel = scheduler.AddFuel(counts.Fuel, v.Settlement.Outcome.Fuel)
		default:
			counts.Accepted++
			counts.Fuel = scheduler.AddFuel(counts.Fuel, v.Settlement.Outcome.Fuel)
		}
	}
	p.Phase, p.Output, p.Exit, p.Late, p.Counts = phaseTasks, proto.CID{}, 0, false, counts
	p.Reached, p.How, p.Reduced = 0, "", 0
	if j.spec.Reduce != nil {
		forget = append(forget, taskKey(j.id, phaseReduce, 0))
		if tasks == 0 {
			p.Phase, tasks = phaseReduce, 1
		}
	}
	forget = append(forget, jobKey(j.id, "/explain"))
	for _, prefix := range []string{"/x/", "/l/"} {
		keys, err := keysOf(r.db, jobKey(j.id, prefix))
		if err != nil {
			return nil, 0, err
		}
		forget = append(forget, keys...)
	}
	return forget, tasks, nil
}
