package executor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"
)

// watchEvery is how often a running child's memory is looked at.
const watchEvery = 100 * time.Millisecond

var (
	_ Execution  = (*execution)(nil)
	_ Tailer     = (*execution)(nil)
	_ Progresser = (*execution)(nil)
)

// An execution is one task in one box.
type execution struct {
	w      *WASM
	box    *box
	task   Task
	order  order
	ctx    context.Context // ends when nothing that the host does for it is of use any more
	cancel context.CancelCauseFunc
	logs   logBuffer

	progress progressCell
	begun    time.Time

	done chan struct{} // closed when the three below are final
	res  Result
	err  error

	mu    sync.Mutex
	over  bool  // the guest has ended: too late to kill
	cause error // why it was killed
	timer *time.Timer
}

func newExecution(ctx context.Context, w *WASM, t Task) (*execution, error) {
	o, err := newOrder(ctx, t)
	if err != nil {
		return nil, err
	}
	e := &execution{w: w, task: t, order: o, done: make(chan struct{})}
	e.ctx, e.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	return e, nil
}

func (e *execution) Wait(ctx context.Context) (Result, error) {
	select {
	case <-e.done:
		return e.res, e.err
	case <-ctx.Done():
		return Result{}, ctx.Err()
	}
}

func (e *execution) Stop() {
	e.fail(ErrStopped)
	<-e.done
}

func (e *execution) Tail(ctx context.Context, from int64) ([]Piece, int64, error) {
	return e.logs.read(ctx, from)
}

func (e *execution) Progress(ctx context.Context, after uint64) (Progress, error) {
	return e.progress.read(ctx, after)
}

// fail kills the child, unless the execution is over already.
func (e *execution) fail(cause error) {
	e.mu.Lock()
	late := e.over
	if !late && e.cause == nil {
		e.cause = cause
	}
	e.mu.Unlock()
	if !late {
		e.cancel(cause)
		e.box.kill()
	}
}

// run talks to the child until the task is done, and makes the outcome known.
func (e *execution) run() {
	defer close(e.done)
	defer e.logs.close()
	defer e.progress.close()
	e.box.group.bound(maxRSS(e.order.memory, e.order.disk))
	e.begun = time.Now()
	e.mu.Lock()
	e.timer = time.AfterFunc(min(watchEvery, e.task.Limits.Timeout), e.watch)
	e.mu.Unlock()
	res, err := e.converse()
	e.mu.Lock()
	e.over = true
	e.timer.Stop()
	cause := e.cause
	e.mu.Unlock()
	e.cancel(nil)
	if cause == nil && err == nil {
		e.res = res
		e.w.pool.give(e.box)
		return
	}
	if cause == nil && errors.Is(err, errEnded) {
		err = e.box.died(err)
	}
	e.w.pool.drop(e.box)
	if e.err = cause; cause == nil {
		e.err = err
	}
}

// watch kills the child when its time is up or it has grown too large.
func (e *execution) watch() {
	e.mu.Lock()
	over := e.over
	e.mu.Unlock()
	left := e.task.Limits.Timeout - time.Since(e.begun)
	limit := maxRSS(e.order.memory, e.order.disk)
	switch {
	case over:
	case left <= 0:
		e.fail(fmt.Errorf("%w after %v", ErrTimeout, e.task.Limits.Timeout))
	case e.box.resident() > limit:
		e.fail(fmt.Errorf("%w: it grew over %d bytes", ErrKilled, limit))
	default:
		e.mu.Lock()
		defer e.mu.Unlock()
		if !e.over {
			e.timer.Reset(min(watchEvery, left))
		}
	}
}

// errEnded is wrapped by what goes wrong with the child, as opposed to our own
// side.
var errEnded = errors.New("sandbox ended")

// converse sends the task and serves the child until the task is done.
func (e *execution) converse() (Result, error) {
	if err := e.box.conn.send(frameTask, e.order.encode()); err != nil {
		return Result{}, fmt.Errorf("%w: %w", errEnded, err)
	}
	out := newReceiver(e)
	for {
		t, body, err := e.box.conn.next()
		if err != nil {
			return Result{}, fmt.Errorf("%w: %w", errEnded, err)
		}
		switch t {
		case frameDone:
			return e.finish(out, body)
		case frameBad:
			return Result{}, fmt.Errorf("%w: %s", ErrTask, clip(string(body)))
		case frameFault:
			return Result{}, fmt.Errorf("%w: %s", ErrKilled, clip(string(body)))
		}
		if err := out.take(t, body); err != nil {
			return Result{}, err
		}
	}
}

// finish checks what the child says of the task's end.
func (e *execution) finish(out *receiver, body []byte) (Result, error) {
	d, err := decodeDone(body)
	if err != nil {
		return Result{}, fmt.Errorf("%w: %w", ErrKilled, err)
	}
	if e.box.conn.r.Buffered() > 0 {
		return Result{}, bad("it goes on after the end")
	}
	switch {
	case d.peak > e.order.memory:
		return Result{}, bad("more memory than there was")
	case d.fuel > e.fuel():
		return Result{}, bad("more fuel than there was")
	}
	wall := time.Since(e.begun)
	res := Result{
		Outcome: d.outcome, ExitCode: d.code, Fuel: d.fuel, PeakMemory: d.peak,
		CPU: min(d.cpu, wall*time.Duration(runtime.NumCPU())), Wall: wall,
		StdoutBytes: out.stdout, StderrBytes: out.stderr, DiskFull: d.full,
	}
	if d.outcome == Trapped {
		res.Trap = Traps[d.trap]
	}
	if e.box.key.interpret {
		res.Engine = engineInterpreter
	}
	return res, nil
}

// fuel is the limit.
func (e *execution) fuel() uint64 { return cmp.Or(e.order.fuel, MaxFuel) }
