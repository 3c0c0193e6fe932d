package scheduler

import (
	"math"
	"slices"
)

// Counts are how many tasks stand where.
type Counts struct {
	Tasks, Accepted, Verified, Disputed, Failed, Running int
	Dead                                                 int    // given up; counted as failed, too
	Executions                                           int    // started so far
	Hedges                                               int    // of them, because another was slow
	Fuel                                                 uint64 // used by the results of the settled tasks; checks not counted
}

// totals count as tasks change, so that nobody has to look at all of them.
type totals struct {
	counts   Counts
	theirs   int // settled tasks that do not rest on the requester's own run
	checkers int // the least number of checkers that agreed on one of them
	hows     []How
}

// setTask changes where a task stands.
func (j *Job) setTask(t *task, s TaskState) {
	j.totals.count(t.state, -1)
	j.totals.count(s, 1)
	t.state = s
}

func (y *totals) count(s TaskState, by int) {
	switch s {
	case TaskAccepted:
		y.counts.Accepted += by
	case TaskVerified:
		y.counts.Verified += by
	case TaskDisputed:
		y.counts.Disputed += by
	case TaskRunning, TaskChecking:
		y.counts.Running += by
	}
}

func (y *totals) settle(s Settlement) {
	if s.State != TaskDisputed && !s.Ok() {
		y.counts.Failed++
	}
	if s.Dead {
		y.counts.Dead++
	}
	y.counts.Fuel = AddFuel(y.counts.Fuel, s.Outcome.Fuel)
	if !s.Own {
		if y.theirs++; y.theirs == 1 || s.Checkers < y.checkers {
			y.checkers = s.Checkers
		}
	}
	i := slices.IndexFunc(y.hows, func(h How) bool { return h.Text == s.How })
	switch {
	case i >= 0:
		y.hows[i].Tasks++
	case len(y.hows) < maxHows:
		y.hows = append(y.hows, How{Text: s.How, Tasks: 1})
	default:
		if len(y.hows) == maxHows {
			y.hows = append(y.hows, How{Text: "settled in other ways; see: muster job describe"})
		}
		y.hows[maxHows].Tasks++
	}
}

// AddFuel gives a and b together, at most the greatest number: a hundred thousand
// tasks can claim more.
func AddFuel(a, b uint64) uint64 {
	if sum := a + b; sum >= a {
		return sum
	}
	return math.MaxUint64
}

// Count tells how many tasks stand where. A task whose program failed counts as
// failed and as verified or accepted: both are true of it.
func (j *Job) Count() Counts {
	c := j.totals.counts
	c.Tasks = len(j.tasks)
	return c
}

// Confidence is the least that any settled task has reached, as the number of
// agreeing checkers; own tells that every one of them rests on the requester's
// own run.
func (j *Job) Confidence() (checkers int, own bool) {
	return j.totals.checkers, j.totals.theirs == 0 && j.settled > 0
}

// A How says in words how so many tasks were settled.
type How struct {
	Text  string
	Tasks int
}

// maxHows is how many different ways [Job.Hows] tells apart: the first that
// occur.
const maxHows = 4

// Hows tells how the settled tasks were settled, the most frequent way first;
// beyond a few ways, the rest as one.
func (j *Job) Hows() []How {
	hows := slices.Clone(j.totals.hows)
	slices.SortStableFunc(hows[:min(len(hows), maxHows)], func(a, b How) int { return b.Tasks - a.Tasks })
	return hows
}
