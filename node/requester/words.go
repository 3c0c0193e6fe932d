package requester

import (
	"sync"
	"time"

	"github.com/mustermesh/muster/node/api"
	"github.com/mustermesh/muster/proto"
	"github.com/mustermesh/muster/scheduler"
)

// toldEvery is how often a job's watchers hear of its guests' words, at most.
const toldEvery = 500 * time.Millisecond

// words are what the guests of a job that run now last said of how far they are.
// Nobody verified it. Safe for concurrent use.
type words struct {
	mu     sync.Mutex // guards all below
	latest map[proto.ExecutionID]word
	fresh  map[int]bool // tasks of whose words the watchers do not know
	told   time.Time
}

type word struct {
	phase, task int
	proto.Progress
}

// hear takes a guest's word, and tells whether the loop has to be woken for it.
func (w *words) hear(phase, task int, p proto.Progress) (wake bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.latest == nil {
		w.latest, w.fresh = make(map[proto.ExecutionID]word), make(map[int]bool)
	}
	wake = len(w.fresh) == 0
	w.latest[p.Execution] = word{phase, task, p}
	w.fresh[task] = true
	return wake
}

// forget drops the word of an execution that is over.
func (w *words) forget(e proto.ExecutionID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.latest, e)
}

// due gives the tasks of which the watchers are to be told now; or else when
// there will be some: zero if there is nothing to tell.
func (w *words) due(now time.Time) (tasks []int, next time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case len(w.fresh) == 0:
		return nil, time.Time{}
	case now.Before(w.told.Add(toldEvery)):
		return nil, w.told.Add(toldEvery)
	}
	for i := range w.fresh {
		tasks = append(tasks, i)
	}
	clear(w.fresh)
	w.told = now
	return tasks, time.Time{}
}

// of gives the word of an execution; nil if it said nothing.
func (w *words) of(id proto.ExecutionID) *api.Progress {
	w.mu.Lock()
	defer w.mu.Unlock()
	p, ok := w.latest[id]
	if !ok {
		return nil
	}
	return &api.Progress{Fraction: fractionOf(p.Progress), Text: p.Text}
}

// fractionOf gives how far a guest says it is, from 0 to 1; below 0: unknown.
func fractionOf(p proto.Progress) float64 {
	if p.Fraction > proto.ProgressUnit {
		return -1
	}
	return float64(p.Fraction) / proto.ProgressUnit
}

// sum adds up how far the tasks of a phase are that run now: of each, as far as
// the furthest of its executions.
func (w *words) sum(phase int) (total float64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	far := make(map[int]float64)
	for _, p := range w.latest {
		if p.phase == phase {
			far[p.task] = max(far[p.task], fractionOf(p.Progress))
		}
	}
	for _, f := range far {
		total += f
	}
	return total
}

// heard takes a guest's word on how far it is.
func (j *Job) heard(phase, task int, p proto.Progress) {
	if j.words.hear(phase, task, p) {
		j.post(func(*scheduler.Job) {}) // the loop looks, see tellWords
	}
}

// tellWords tells the watchers what guests said, and gives when it must be
// called again: not after wake.
func (j *Job) tellWords(wake time.Time) time.Time {
	tasks, next := j.words.due(j.r.Now())
	if u := (update{phase: j.phase}); len(tasks) > 0 {
		for _, i := range tasks {
			if i < len(j.tasks) { // else of the phase before
				v := j.core.Task(i)
				u.tasks = append(u.tasks, v)
				j.happenedProgress(v)
			}
		}
		j.tell(u)
	}
	if next.IsZero() || !wake.IsZero() && wake.Before(next) {
		return wake
	}
	return next
}

// taskMessage is a task with what its guests say.
func (j *Job) taskMessage(v scheduler.TaskView) *api.Task {
	t := taskMessage(v)
	for i, e := range v.Executions {
		p := j.words.of(e.ID)
		if p == nil {
			continue
		}
		t.Executions[i].Progress = p
		if t.Progress == nil || p.Fraction > t.Progress.Fraction {
			t.Progress = p
		}
	}
	return t
}

// fraction gives how far a job is, from 0 to 1: the mean of its tasks and its
// reduction, where one that is settled counts whole and one that runs as far as
// its guest says.
func (j *Job) fraction(p progress) float64 {
	all := len(j.spec.Tasks)
	done := float64(p.Counts.Accepted+p.Counts.Verified+p.Counts.Disputed+p.Counts.Failed) + j.words.sum(phaseTasks)
	if j.spec.Reduce != nil {
		all++
		done += j.words.sum(phaseReduce)
	}
	if n := len(p.History); n > 0 && p.History[n-1].State == scheduler.Completed {
		return 1
	}
	return min(done/float64(all), 1)
}
