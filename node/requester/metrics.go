package requester

import (
	"slices"
	"sync/atomic"
	"time"

	"github.com/mustermesh/muster/scheduler"
)

// A Meter takes how large something was. Safe for concurrent use.
type Meter interface {
	// Observe counts one; of what took time, in seconds.
	Observe(v float64)
}

// Meters take what a requester measures of its own jobs, in seconds. All must be set.
type Meters struct {
	Jobs       Meter // submission, or the latest order to try again, to end
	Executions Meter // start to end
	Waits      Meter // assigned to start
}

// A tally counts by word, of a few that are known in advance. Safe for concurrent
// use.
type tally struct {
	words  []string
	counts []atomic.Uint64
}

func newTally[T ~string](words ...T) *tally {
	t := &tally{counts: make([]atomic.Uint64, len(words))}
	for _, w := range words {
		t.words = append(t.words, string(w))
	}
	return t
}

func (t *tally) add(word string) {
	if i := slices.Index(t.words, word); i >= 0 {
		t.counts[i].Add(1)
	}
}

func (t *tally) all() map[string]uint64 {
	out := make(map[string]uint64, len(t.words))
	for i, w := range t.words {
		out[w] = t.counts[i].Load()
	}
	return out
}

// counts are what happened to the jobs of this node since its start.
type counts struct {
	jobs, tasks, executions, own                     *tally
	hedges, announcements, attaches, conflicts, lies atomic.Uint64
}

// dead is how a task is counted that was given up.
const dead = "dead"

func newCounts() *counts {
	return &counts{
		jobs:       newTally(scheduler.Completed, scheduler.Failed, scheduler.Disputed, scheduler.Cancelled, scheduler.Expired),
		tasks:      newTally(scheduler.TaskAccepted, scheduler.TaskVerified, scheduler.TaskFailed, scheduler.TaskDisputed, dead),
		executions: newTally(scheduler.ExecAnswered, scheduler.ExecFailed, scheduler.ExecLost, scheduler.ExecDeclined, scheduler.ExecCancelled),
		own:        newTally(scheduler.RoleReferee, scheduler.RoleStandIn, scheduler.RoleLocal),
	}
}

// Stats are what a requester does, and did since it was made.
type Stats struct {
	JobsOpen   map[string]int    // by state
	Leases     int               // with a stream now
	JobsEnded  map[string]uint64 // by state
	Tasks      map[string]uint64 // settled, by state; failed: there is a result, and it is no success
	Executions map[string]uint64 // that ended, by state
	OwnRuns    map[string]uint64 // of them, on this node, by role

	Hedges        uint64 // executions begun because another was slow
	Announcements uint64 // sent
	Attaches      uint64 // leases taken up again
	Disputes      uint64 // tasks whose conflict nobody could settle
	Lies          uint64 // answers proven wrong
}

// Stats tells what the requester does.
func (r *Requester) Stats() Stats {
	s := Stats{
		JobsOpen: map[string]int{}, JobsEnded: r.counts.jobs.all(), Tasks: r.counts.tasks.all(), Executions: r.counts.executions.all(), OwnRuns: r.counts.own.all(),
		Hedges: r.counts.hedges.Load(), Announcements: r.counts.announcements.Load(), Attaches: r.counts.attaches.Load(),
		Disputes: r.counts.conflicts.Load(), Lies: r.counts.lies.Load(),
	}
	for _, st := range []scheduler.State{scheduler.Pending, scheduler.Bidding, scheduler.Running} {
		s.JobsOpen[string(st)] = 0
	}
	for _, j := range r.OpenJobs() {
		s.JobsOpen[string(j.state())]++
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, peers := range r.leasing {
		for _, n := range peers {
			s.Leases += n
		}
	}
	return s
}

// state is where the job stands, as it is told.
func (j *Job) state() scheduler.State {
	j.mu.Lock()
	defer j.mu.Unlock()
	if n := len(j.progress.History); n > 0 {
		return j.progress.History[n-1].State
	}
	return scheduler.Pending
}

// observed counts what one step brought, and follows it with spans. views are of
// the tasks that changed.
func (j *Job) observed(a scheduler.Actions, views []scheduler.TaskView) {
	c := j.r.counts
	if a.Announce > 0 {
		c.announcements.Add(1)
	}
	c.attaches.Add(uint64(len(a.Attach)))
	for _, e := range a.Evidence {
		if e.Kind == scheduler.EvidenceWrong {
			c.lies.Add(1)
		}
	}
	for _, i := range a.Settled {
		c.settled(j.core.Task(i).Settlement)
	}
	for _, v := range views {
		for _, e := range v.Executions {
			j.observedExecution(v.Index, e)
		}
	}
	j.trail.step(a)
}

func (c *counts) settled(s *scheduler.Settlement) {
	switch {
	case s.Dead:
		c.tasks.add(dead)
	case s.State == scheduler.TaskDisputed:
		c.tasks.add(string(s.State))
		c.conflicts.Add(1)
	case !s.Ok():
		c.tasks.add(string(scheduler.TaskFailed))
	default:
		c.tasks.add(string(s.State))
	}
}

// observedExecution counts an execution once it is over; of those that were over
// when they were first seen, in an earlier run, nothing is known.
func (j *Job) observedExecution(task int, e scheduler.ExecView) {
	_, under := j.trail.executions[e.ID]
	switch live := e.State == scheduler.ExecAssigned || e.State == scheduler.ExecRunning; {
	case live && !under:
		j.trail.began(task, e)
		if e.Role == scheduler.RoleHedge {
			j.r.counts.hedges.Add(1)
		}
	case !live && under:
		j.trail.over(e)
		if e.State == scheduler.ExecWrong { // it answered, and was found out in the same step
			e.State = scheduler.ExecAnswered
		}
		j.r.counts.executions.add(string(e.State))
		if e.Peer == j.r.Self {
			j.r.counts.own.add(string(e.Role))
		}
		if !e.Started.IsZero() {
			j.r.meters.Executions.Observe(e.Ended.Sub(e.Started).Seconds())
			j.r.meters.Waits.Observe(e.Started.Sub(e.Created).Seconds())
		}
	}
}

// observedEnd counts a job that ended, or notes that this node stops before that.
func (j *Job) observedEnd() {
	state := j.state()
	j.trail.end(state)
	if !j.Ended() {
		return
	}
	j.r.counts.jobs.add(string(state))
	j.r.meters.Jobs.Observe(j.r.Now().Sub(time.UnixMilli(j.since())).Seconds())
}

// Waits tells what the job waits for, for people; "" while it moves.
func (j *Job) Waits() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.waiting
}
