package requester

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/mustermesh/muster/executor"
	"github.com/mustermesh/muster/internal/livelog"
	"github.com/mustermesh/muster/node/sandbox"
	"github.com/mustermesh/muster/proto"
	"github.com/mustermesh/muster/scheduler"
)

// A jobDesk is where the readers of one phase of a job's logs ask.
type jobDesk struct {
	j     *Job
	phase int
}

// look asks the loop while there is one. What is settled comes from disk: nobody
// hears of a result that a crash could take back.
func (d jobDesk) look(ctx context.Context, tasks []int) (map[int]scheduler.TaskView, error) {
	j, views := d.j, make(map[int]scheduler.TaskView, len(tasks))
	j.ask(ctx, func(core *scheduler.Job) {
		for _, i := range tasks {
			if j.phase == d.phase && i < len(j.tasks) {
				views[i] = core.Task(i)
			}
		}
	})
	if err := ctx.Err(); err != nil {
		return nil, err // and the loop may still be at it
	}
	for _, i := range tasks {
		v, ok := views[i]
		if ok && v.Settlement == nil {
			continue
		}
		written, found, err := loadTask(j.r.db, j.id, d.phase, i)
		switch {
		case err != nil:
			return nil, err
		case found:
			views[i] = written
		default:
			v.Settlement = nil // not yet
			views[i] = v
		}
	}
	return views, nil
}

// live reads without waiting: its context has ended.
func (d jobDesk) live(ctx context.Context, k livelog.Key, offset uint64) (livelog.Chunk, error) {
	ctx, cancel := context.WithCancel(ctx)
	cancel()
	c, err := d.j.r.logs.Read(ctx, k, offset)
	if errors.Is(err, context.Canceled) || errors.Is(err, livelog.ErrUnknown) || errors.Is(err, livelog.ErrClosed) {
		return c, errNothing
	}
	return c, err
}

// nearlyFull is how little must be left of a task's disk for it to count as
// used up, in bytes: a write that does not fit is refused whole.
const nearlyFull = 64 << 10

// output opens a stream of an output, and says so where the guest used up its
// disk: what did not fit is not there.
func (d jobDesk) output(ctx context.Context, task int, root proto.CID, stderr bool) (f *io.SectionReader, note string, err error) {
	store, path := d.j.r.content(), sandbox.PathStdout
	if stderr {
		path = sandbox.PathStderr
	}
	var used uint64
	for _, part := range []string{sandbox.PathStdout, sandbox.PathStderr, sandbox.PathOut} {
		n, err := store.Sub(ctx, root, part)
		if err != nil {
			return nil, "", err
		}
		used += uint64(n.Size)
		if part == path {
			file, err := store.OpenFile(ctx, n.CID)
			if err != nil {
				return nil, "", err
			}
			f = file.SectionReader
		}
	}
	limit := d.j.spec.Program.Resources.Disk
	if d.phase == phaseReduce {
		limit = d.j.spec.Reduce.Resources.Disk
	}
	if used+nearlyFull > limit && limit > nearlyFull {
		note = fmt.Sprintf("task %d: what it printed and left takes %d of the %d bytes that its disk limit allows; what did not fit was not kept", task, used, limit)
	}
	return f, note, nil
}

// listen has an ear hear of the job, until stop is called.
func (j *Job) listen(e *ear) (stop func()) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.ears[e] = struct{}{}
	return func() {
		j.mu.Lock()
		defer j.mu.Unlock()
		delete(j.ears, e)
	}
}

// printed tells those who listen that a guest printed something.
func (j *Job) printed(phase, task int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for e := range j.ears {
		e.print(phase, task)
	}
}

// hush ends the logs of executions that are over. Where there is a result they
// are dropped: it has all of them.
func (j *Job) hush(views []scheduler.TaskView) {
	for _, v := range views {
		for _, e := range v.Executions {
			settled := v.Settlement != nil && !v.Settlement.Output.IsZero()
			if !settled && (e.State == scheduler.ExecAssigned || e.State == scheduler.ExecRunning) {
				continue
			}
			j.words.forget(e.ID)
			if settled {
				j.r.logs.Drop(e.ID)
			} else {
				j.r.logs.End(e.ID)
			}
		}
	}
}

// hush ends the logs of what was in flight on a lease when its phase was over.
func (l *taken) hush() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for e := range l.tasks {
		l.j.words.forget(e)
		l.j.r.logs.End(e)
	}
}

// hearOwn keeps what the guest of an own run says.
func (j *Job) hearOwn(ctx context.Context, phase int, a scheduler.RunLocal, x executor.Execution) {
	sandbox.Talk(ctx, x, sandbox.Listener{
		Log: func(_ context.Context, p executor.Piece) error {
			err := j.r.logs.Write(proto.Log{Execution: a.Execution, Stderr: p.Stderr, Offset: p.Offset, Data: p.Data})
			j.printed(phase, a.Task)
			return err
		},
		Progress: func(_ context.Context, p executor.Progress) error {
			j.heard(phase, a.Task, p.Frame(a.Execution))
			return nil
		},
	})
}
