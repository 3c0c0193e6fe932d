package requester

import (
	"maps"
	"slices"
	"sync"
)

// An ear notes for one reader of a job's logs which tasks have something new. It
// loses nothing, and takes no more room than there are tasks.
type ear struct {
	phase int
	news  chan struct{} // something was noted; one wake-up is enough

	mu      sync.Mutex // guards all below
	changed map[int]bool
	printed map[int]bool
}

func newEar(phase int) *ear {
	return &ear{phase: phase, news: make(chan struct{}, 1), changed: make(map[int]bool), printed: make(map[int]bool)}
}

// change notes tasks that stand otherwise than before.
func (e *ear) change(phase int, tasks ...int) { e.note(e.changed, phase, tasks) }

// print notes a task of which a guest printed something.
func (e *ear) print(phase int, tasks ...int) { e.note(e.printed, phase, tasks) }

func (e *ear) note(which map[int]bool, phase int, tasks []int) {
	if phase != e.phase || len(tasks) == 0 {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, i := range tasks {
		which[i] = true
	}
	select {
	case e.news <- struct{}{}:
	default: // it is awake
	}
}

// take gives what was noted since the last time, in order; what changed is not
// in printed, too.
func (e *ear) take() (changed, printed []int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for i := range e.changed {
		delete(e.printed, i)
	}
	changed, printed = slices.Sorted(maps.Keys(e.changed)), slices.Sorted(maps.Keys(e.printed))
	clear(e.changed)
	clear(e.printed)
	return changed, printed
}
