package scheduler

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/mustermesh/muster/proto"
)

// heapBytes gives the bytes that are in use.
func heapBytes() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// finishTasks lets three peers run and check every task of a job, as its owner
// drives it, and gives how many steps that took.
func finishTasks(s *script) (steps int) {
	s.bids(3, 64)
	wait := bidWindow
	for state, _ := s.j.State(); !state.Ended(); state, _ = s.j.State() {
		out := s.step(wait)
		s.j.Settled(out.Settled)
		s.all = Actions{}
		s.accept()
		for id, at := range s.where {
			o := says(fmt.Sprint("output of task ", at.task))
			if s.j.Answered(s.now, id, o) {
				s.j.Held(s.now, at.task, o.Output)
			}
			delete(s.where, id)
		}
		wait, steps = time.Millisecond, steps+1
	}
	return steps
}

// TestAFinishedTaskTakesLittleMemory: what a job keeps does not grow with what
// its executions were.
func TestAFinishedTaskTakesLittleMemory(t *testing.T) {
	const tasks, most = 10_000, 1024
	before := heapBytes()
	s := newScript(t, tasks, 1)
	finishTasks(s)
	s.wantState(Completed, "")
	if n := len(s.j.execs); n != 0 {
		t.Errorf("%d executions are remembered, want none", n)
	}
	s.last, s.where = Actions{}, make(map[proto.ExecutionID]spot)
	each := (heapBytes() - before) / tasks
	if t.Logf("%d bytes for each finished task", each); each > most {
		t.Errorf("%d bytes for each finished task, want at most %d", each, most)
	}
	runtime.KeepAlive(s)
}
