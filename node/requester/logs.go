package requester

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/mustermesh/muster/internal/livelog"
	"github.com/mustermesh/muster/node/api"
	"github.com/mustermesh/muster/proto"
	"github.com/mustermesh/muster/scheduler"
)

// A logDesk is where a reader of logs asks; a [Job] has one, tests another.
type logDesk interface {
	// look tells how tasks stand; one of which nothing is known is left out.
	look(ctx context.Context, tasks []int) (map[int]scheduler.TaskView, error)
	// live reads what an execution printed so far, without waiting. There is
	// nothing (now, or any more) where it gives errNothing.
	live(ctx context.Context, k livelog.Key, offset uint64) (livelog.Chunk, error)
	// output opens a stream of a settled task, and gives what there is to say of it.
	output(ctx context.Context, task int, root proto.CID, stderr bool) (f *io.SectionReader, note string, err error)
}

var errNothing = errors.New("nothing is there")

const (
	logChunk = 256 << 10 // bytes of one message of a stream
	lookMany = 256       // tasks that are looked at together
	readMany = 16        // pieces of one task before others have their turn
)

// verifiedAgain stands for the execution of a verified output that is sent from
// its start though something else was shown: no execution has this id, so that a
// reader does not take it for more of the same.
const verifiedAgain = "verified"

// A logReader shows one reader what tasks print, each byte once where that is
// possible. It says what it cannot.
type logReader struct {
	desk   logDesk
	self   proto.PeerID
	stderr bool
	live   bool   // show what is not settled, too
	offset uint64 // where to begin
	send   func(*api.LogChunk) error

	lines map[int]*line // of tasks of which something was shown, and more may be
	done  map[int]bool
}

// A line is what a reader has of one task.
type line struct {
	task   int
	exec   proto.ExecutionID // whose log is read; zero: none yet
	at     uint64            // where it is read next
	dry    bool              // it was read to its end
	warned bool              // that this is one provider's word; true for an own run
	shown  shown
	check  *check // of exec with what was shown of another; nil: it need not be compared
}

func newLogReader(desk logDesk, self proto.PeerID, req *api.JobLogsRequest, send func(*api.LogChunk) error) *logReader {
	return &logReader{
		desk: desk, self: self, stderr: req.Stderr, live: req.Follow || req.Task != logsResult, offset: req.Offset, send: send,
		lines: make(map[int]*line), done: make(map[int]bool),
	}
}

// follow shows tasks until all is over, and what came until then was shown. For
// as long as nothing happens it waits, without a clock.
func (r *logReader) follow(ctx context.Context, tasks []int, e *ear, over, leaving <-chan struct{}, ended func() bool) error {
	e.change(e.phase, tasks...)
	for {
		last := ended() // before looking: what is seen then is final
		if last {
			e.change(e.phase, tasks...)
		}
		if err := r.catchUp(ctx, e, last); err != nil || last {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-leaving:
			return ErrLeaving
		case <-over:
			if !ended() {
				return ErrLeaving
			}
		case <-e.news:
		}
	}
}

// catchUp shows what is new. In the end it shows all that there is.
func (r *logReader) catchUp(ctx context.Context, e *ear, last bool) error {
	changed, printed := e.take()
	for _, i := range printed {
		l := r.lines[i]
		if l == nil || l.exec == (proto.ExecutionID{}) {
			changed = append(changed, i)
			continue
		}
		more, err := r.read(ctx, l, readMany)
		if err != nil {
			return err
		}
		if more {
			e.print(e.phase, i)
		}
	}
	slices.Sort(changed)
	return r.visit(ctx, changed, func(v scheduler.TaskView) error {
		most := readMany
		if last {
			most = -1
		}
		more, err := r.show(ctx, v, most)
		if more {
			e.print(e.phase, v.Index)
		}
		return err
	})
}

// all shows what there is of tasks now, in order.
func (r *logReader) all(ctx context.Context, tasks []int) error {
	return r.visit(ctx, tasks, func(v scheduler.TaskView) error {
		_, err := r.show(ctx, v, -1)
		delete(r.lines, v.Index)
		return err
	})
}

func (r *logReader) visit(ctx context.Context, tasks []int, show func(scheduler.TaskView) error) error {
	for some := range slices.Chunk(tasks, lookMany) {
		some = slices.DeleteFunc(slices.Clone(some), func(i int) bool { return r.done[i] })
		views, err := r.desk.look(ctx, some)
		if err != nil {
			return err
		}
		for _, i := range some {
			if v, ok := views[i]; ok {
				if err := show(v); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// show brings a reader up to date with a task, as far as so many pieces go (-1:
// whole), and tells whether there may be more.
func (r *logReader) show(ctx context.Context, v scheduler.TaskView, most int) (more bool, err error) {
	l := r.lines[v.Index]
	if l == nil {
		l = &line{task: v.Index, at: r.offset, shown: newShown(r.offset)}
	}
	if v.Settlement != nil {
		delete(r.lines, v.Index)
		r.done[v.Index] = true
		return false, r.settle(ctx, l, v)
	}
	if !r.live {
		return false, nil
	}
	if err := r.choose(ctx, l, v); err != nil {
		return false, err
	}
	if l.exec == (proto.ExecutionID{}) {
		return false, nil
	}
	r.lines[v.Index] = l
	return r.read(ctx, l, most)
}

// choose decides whose log of an open task is read: that of the first that runs,
// until it is over without an answer and another runs.
func (r *logReader) choose(ctx context.Context, l *line, v scheduler.TaskView) error {
	if i := slices.IndexFunc(v.Executions, func(e scheduler.ExecView) bool { return e.ID == l.exec }); i >= 0 {
		switch v.Executions[i].State {
		case scheduler.ExecAssigned, scheduler.ExecRunning, scheduler.ExecAnswered:
			return nil
		}
	}
	i := slices.IndexFunc(v.Executions, func(e scheduler.ExecView) bool { return e.State == scheduler.ExecRunning })
	if i < 0 {
		return nil
	}
	next := v.Executions[i]
	if l.exec == (proto.ExecutionID{}) {
		r.begin(l, next)
		return nil
	}
	if _, err := r.read(ctx, l, -1); err != nil { // what the one before still had
		return err
	}
	if l.shown.any() {
		if err := r.note(l, "task %d: execution %s is over without a result; execution %s does it again, at %s", l.task, short(l.exec), short(next.ID), next.Peer.Short()); err != nil {
			return err
		}
		l.check = newCheck(&l.shown)
	}
	r.begin(l, next)
	return nil
}

// begin has a line read what another execution prints.
func (r *logReader) begin(l *line, e scheduler.ExecView) {
	l.exec, l.at, l.dry, l.warned = e.ID, r.offset, false, e.Peer == r.self
}

func short(e proto.ExecutionID) string { return e.String()[:8] }

// read shows what an execution has printed since, as far as so many pieces go
// (-1: all), and tells whether there may be more.
func (r *logReader) read(ctx context.Context, l *line, most int) (more bool, err error) {
	for ; most != 0 && !l.dry; most-- {
		c, err := r.desk.live(ctx, livelog.Key{Execution: l.exec, Stderr: r.stderr}, l.at)
		switch {
		case errors.Is(err, io.EOF):
			l.dry = true
			return false, nil
		case errors.Is(err, errNothing):
			return false, nil
		case err != nil:
			return false, err
		}
		if err := r.take(l, c); err != nil {
			return false, err
		}
	}
	return !l.dry, nil
}

// take shows a piece, unless it is compared with what was shown before.
func (r *logReader) take(l *line, c livelog.Chunk) error {
	l.at = c.At + uint64(len(c.Data))
	if l.check != nil {
		l.check.add(c)
		if l.at < l.shown.next {
			return nil
		}
		again, err := r.compared(l)
		if err != nil || again {
			return err
		}
	}
	if c.At < l.shown.next {
		n := min(l.shown.next-c.At, uint64(len(c.Data)))
		c.At, c.Data = c.At+n, c.Data[n:]
	}
	if len(c.Data) == 0 {
		return nil
	}
	if !l.warned {
		l.warned = true
		if err := r.note(l, "task %d: what it prints while it runs is the word of one provider, and not verified", l.task); err != nil {
			return err
		}
	}
	cut := c.At - l.shown.next
	l.shown.add(c.At, c.Data)
	return r.send(&api.LogChunk{
		Task: uint32(l.task), Stderr: r.stderr, Offset: c.At, Cut: cut, Data: c.Data, Live: true, Execution: l.exec.String(),
	})
}

// compared ends the comparison of an execution with the one before it; again
// says that it has to be shown from its start.
func (r *logReader) compared(l *line) (again bool, err error) {
	c := l.check
	l.check = nil
	switch {
	case c.gap:
		return false, r.note(l, "task %d: whether execution %s printed the same before cannot be told: that is not kept", l.task, short(l.exec))
	case c.same():
		return false, nil
	}
	l.shown, l.at = newShown(r.offset), r.offset
	return true, r.note(l, "task %d: execution %s prints something else than was shown; here it is from its start", l.task, short(l.exec))
}

// settle shows the output that was verified, from where the reader is; or, where
// there is none, what the last execution printed.
func (r *logReader) settle(ctx context.Context, l *line, v scheduler.TaskView) error {
	s := v.Settlement
	if s.Output.IsZero() {
		return r.noOutput(ctx, l, v)
	}
	f, note, err := r.desk.output(ctx, l.task, s.Output, r.stderr)
	if err != nil {
		return err
	}
	from, exec := l.shown.next, makerOf(v, l.exec)
	same, err := l.shown.in(f, f.Size())
	switch {
	case err != nil:
		return err
	case !same:
		from, exec = 0, verifiedAgain
		if err := r.note(l, "task %d: what was shown differs from the verified output; here is the verified output from its start", l.task); err != nil {
			return err
		}
	case l.shown.any() && r.offset == 0 && !l.shown.whole():
		if err := r.note(l, "task %d: what was left out while it ran is in the verified output: muster job logs, without --follow", l.task); err != nil {
			return err
		}
	}
	if err := r.sendFrom(l, f, from, exec); err != nil || note == "" {
		return err
	}
	return r.note(l, "%s", note)
}

// makerOf names an execution that made the output of a settled task: the one
// that was shown, if it did.
func makerOf(v scheduler.TaskView, shown proto.ExecutionID) string {
	maker := v.Settlement.Winner
	for _, e := range slices.Backward(v.Executions) {
		if e.Outcome.Output != v.Settlement.Output {
			continue
		}
		if maker = e.ID; e.ID == shown {
			break
		}
	}
	if maker == (proto.ExecutionID{}) {
		return ""
	}
	return maker.String()
}

func (r *logReader) sendFrom(l *line, f *io.SectionReader, from uint64, exec string) error {
	buf := make([]byte, min(logChunk, f.Size()))
	for at := int64(from); at < f.Size(); {
		n, err := f.ReadAt(buf[:min(int64(len(buf)), f.Size()-at)], at)
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if err := r.send(&api.LogChunk{Task: uint32(l.task), Stderr: r.stderr, Offset: uint64(at), Data: buf[:n], Execution: exec}); err != nil {
			return err
		}
		at += int64(n)
	}
	return nil
}

// noOutput shows what there is of a task that has no result.
func (r *logReader) noOutput(ctx context.Context, l *line, v scheduler.TaskView) error {
	if !r.live {
		return nil
	}
	for _, e := range slices.Backward(v.Executions) {
		if l.exec != (proto.ExecutionID{}) {
			break
		}
		if _, err := r.desk.live(ctx, livelog.Key{Execution: e.ID, Stderr: r.stderr}, l.at); err == nil {
			r.begin(l, e)
		}
	}
	if _, err := r.read(ctx, l, -1); err != nil {
		return err
	}
	return r.note(l, "task %d is %s: it has no verified output", l.task, v.State)
}

// note tells the reader something in words.
func (r *logReader) note(l *line, format string, args ...any) error {
	return r.send(&api.LogChunk{Task: uint32(l.task), Stderr: r.stderr, Note: fmt.Sprintf(format, args...)})
}

// Logs shows what tasks print: with follow until the job has ended and all was
// shown, or else what there is. It gives the error of send or ctx, [ErrLeaving]
// when the node ends before, or a *[NoTaskError].
func (j *Job) Logs(ctx context.Context, leaving <-chan struct{}, req *api.JobLogsRequest, send func(*api.LogChunk) error) error {
	phase, tasks, err := j.tasksOf(req.Task)
	if err != nil {
		return err
	}
	r := newLogReader(jobDesk{j, phase}, j.r.Self, req, send)
	if req.Task < 0 {
		r.offset = 0
	}
	if !req.Follow || j.r.Net == nil {
		return r.all(ctx, tasks)
	}
	e := newEar(phase)
	defer j.listen(e)()
	return r.follow(ctx, tasks, e, j.over, leaving, j.Ended)
}
