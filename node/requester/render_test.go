package requester

import (
	"errors"
	"testing"

	"github.com/mustermesh/muster/node/api"
	"github.com/mustermesh/muster/proto"
	"github.com/mustermesh/muster/scheduler"
)

// changedTasks are n tasks with so many executions each.
func changedTasks(n, executions int) (ts []*api.Task) {
	for i := range n {
		ts = append(ts, &api.Task{Index: uint32(i), Executions: make([]*api.Execution, executions)})
	}
	return ts
}

func TestAWatcherHearsOfManyTasksInMessagesThatAreBounded(t *testing.T) {
	j := &Job{spec: proto.Specification{Tasks: make([]proto.TaskInput, 1)}}
	for _, c := range []struct {
		name              string
		tasks, executions int
		messages          int
	}{
		{"nothing", 0, 0, 1},
		{"few", 3, 2, 1},
		{"many tasks", 10_000, 1, 40},
		{"many executions", 20, 1000, 10},
		{"one with more than fit", 2, 5000, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			messages, next := 0, uint32(0)
			err := j.sendChanged(func(m *api.WatchJobResponse) error {
				messages++
				executions := 0
				for _, task := range m.Changed {
					if task.Index != next {
						t.Fatalf("task %d after %d", task.Index, next)
					}
					next++
					executions += len(task.Executions)
				}
				if len(m.Changed) > maxChanged || len(m.Changed) > 1 && executions > maxChangedExecutions {
					t.Errorf("a message of %d tasks and %d executions", len(m.Changed), executions)
				}
				if last := int(next) == c.tasks; m.Ended != last {
					t.Errorf("message %d says ended %v, is the last: %v", messages, m.Ended, last)
				}
				return nil
			}, changedTasks(c.tasks, c.executions), true)
			if err != nil || int(next) != c.tasks || messages != c.messages {
				t.Errorf("%d tasks in %d messages, %v; want %d in %d", next, messages, err, c.tasks, c.messages)
			}
		})
	}
	gone := errors.New("gone")
	if err := j.sendChanged(func(*api.WatchJobResponse) error { return gone }, changedTasks(1000, 1), false); !errors.Is(err, gone) {
		t.Errorf("a watcher that is gone: %v", err)
	}
}

func TestATaskIsToldWithWhatFailed(t *testing.T) {
	v := scheduler.TaskView{
		Settlement: &scheduler.Settlement{State: scheduler.TaskFailed, Dead: true},
		Executions: []scheduler.ExecView{
			{State: scheduler.ExecFailed, Role: scheduler.RoleExecutor, Away: true},
			{State: scheduler.ExecLost, Role: scheduler.RoleChecker},
			{State: scheduler.ExecFailed, Role: scheduler.RoleReferee}, // its own
			{State: scheduler.ExecDeclined, Role: scheduler.RoleExecutor},
			{State: scheduler.ExecAnswered, Role: scheduler.RoleHedge},
		},
	}
	m := taskMessage(v)
	if m.Failures != 2 || !m.Dead || !m.Executions[0].Away || m.Executions[1].Away || m.Executions[4].Role != "hedge" || m.Output != "" {
		t.Errorf("told as %v, want 2 failures, dead", m)
	}
}
