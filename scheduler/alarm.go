package scheduler

import (
	"container/heap"
	"time"
)

// Alarms are times at which something is due for executions, one each at most.
// The soonest is due[0].
type alarms struct {
	due   []alarm
	place map[*exec]int // in due
}

type alarm struct {
	at   time.Time
	exec *exec
}

func newAlarms() *alarms { return &alarms{place: make(map[*exec]int)} }

// set sets or moves the alarm of an execution.
func (a *alarms) set(e *exec, at time.Time) {
	if i, ok := a.place[e]; ok {
		a.due[i].at = at
		heap.Fix(a, i)
		return
	}
	heap.Push(a, alarm{at, e})
}

// drop takes the alarm of an execution away, if it has one.
func (a *alarms) drop(e *exec) {
	if i, ok := a.place[e]; ok {
		heap.Remove(a, i)
	}
}

// pop takes the soonest alarm; there must be one.
func (a *alarms) pop() *exec { return heap.Pop(a).(alarm).exec }

// Len, Less, Swap, Push and Pop are for container/heap.
func (a *alarms) Len() int           { return len(a.due) }
func (a *alarms) Less(i, j int) bool { return a.due[i].at.Before(a.due[j].at) }

func (a *alarms) Swap(i, j int) {
	a.due[i], a.due[j] = a.due[j], a.due[i]
	a.place[a.due[i].exec], a.place[a.due[j].exec] = i, j
}

func (a *alarms) Push(x any) {
	a.place[x.(alarm).exec] = len(a.due)
	a.due = append(a.due, x.(alarm))
}

func (a *alarms) Pop() any {
	last := a.due[len(a.due)-1]
	a.due[len(a.due)-1] = alarm{}
	a.due = a.due[:len(a.due)-1]
	delete(a.place, last.exec)
	return last
}
