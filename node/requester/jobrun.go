package requester

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"

	"github.com/mustermesh/muster/executor"
	"github.com/mustermesh/muster/internal/content"
	"github.com/mustermesh/muster/node/sandbox"
	"github.com/mustermesh/muster/proto"
	"github.com/mustermesh/muster/scheduler"
)

// runLocal runs a task in this node's own sandbox.
func (j *Job) runLocal(a scheduler.RunLocal) {
	ctx, cancel := context.WithCancel(j.ctx)
	task, prog, phase := j.tasks[a.Task], j.prog, j.phase
	j.local[a.Execution] = cancel
	j.r.logs.Begin(a.Execution)
	post := func(event func(*scheduler.Job)) {
		j.post(func(core *scheduler.Job) {
			if j.phase == phase {
				event(core)
			}
		})
	}
	started := j.r.Workers.Try(func(context.Context) {
		var talk sync.WaitGroup
		defer talk.Wait()
		defer cancel()
		answer, err := j.r.box.Run(ctx, sandbox.Work{
			Owner: j.r.Self, Program: prog, Task: task, Tag: sandbox.ResultTag(j.r.Self, a.Execution), Interpret: j.record.Interpret || a.Interpret,
			Started: func(x executor.Execution) {
				post(func(core *scheduler.Job) { core.Started(j.r.Now(), a.Execution) })
				talk.Go(func() { j.hearOwn(ctx, phase, a, x) })
			},
		})
		post(func(core *scheduler.Job) {
			delete(j.local, a.Execution)
			j.localOver(core, a.Execution, answer, err)
		})
	})
	if !started {
		cancel()
		j.soon(func(core *scheduler.Job) {
			core.ExecutionFailed(j.r.Now(), a.Execution, proto.ReasonBusy, "the node is ending, or has too much to do")
		})
	}
}

func (j *Job) localOver(core *scheduler.Job, id proto.ExecutionID, a proto.Answer, err error) {
	now := j.r.Now()
	var f *sandbox.Failure
	switch {
	case err == nil:
		core.Answered(now, id, scheduler.OutcomeOf(a))
	case errors.As(err, &f):
		core.ExecutionFailed(now, id, f.Reason, f.Detail)
	default:
		core.ExecutionFailed(now, id, proto.ReasonOther, err.Error())
	}
}

func (j *Job) cancelLocal(id proto.ExecutionID) {
	if cancel, ok := j.local[id]; ok {
		cancel()
	}
}

// results gives the output roots of all tasks, in order, as they were written.
func (j *Job) results() (roots []proto.CID, err error) {
	for i := range j.spec.Tasks {
		v, ok, err := loadTask(j.r.db, j.id, phaseTasks, i)
		if err != nil {
			return nil, err
		}
		if !ok || v.Settlement == nil {
			return nil, fmt.Errorf("task %d has no result", i)
		}
		roots = append(roots, v.Settlement.Output)
	}
	return roots, nil
}

// prepareReduce makes the one task of the reduction: every task's outputs under
// /in/<index>.
func (j *Job) prepareReduce() error {
	roots, err := j.results()
	if err != nil {
		return fmt.Errorf("reduction: %w", err)
	}
	tree, err := j.tree(j.ctx, roots, "in/")
	if err != nil {
		return fmt.Errorf("reduction: %w", err)
	}
	j.prog, j.inputBytes = *j.spec.Reduce, tree.Size
	j.tasks = []proto.Task{{Index: 0, Count: 1, Input: tree.CID, Seed: j.spec.Seed}}
	tag := sandbox.JobTag(j.r.Self, j.id)
	if err := j.r.content().Record(j.ctx, tree, content.Use{Class: content.Job, Tag: tag}); err != nil {
		return err
	}
	return j.r.content().Pin(j.ctx, tree.CID, tag)
}

// tree puts the collected outputs of results under prefix and their index.
func (j *Job) tree(ctx context.Context, roots []proto.CID, prefix string) (content.Node, error) {
	parts := make([]content.Part, 0, len(roots))
	for i, root := range roots {
		n, err := j.r.content().Sub(ctx, root, sandbox.PathOut)
		if err != nil {
			return content.Node{}, err
		}
		parts = append(parts, content.Part{Path: prefix + strconv.Itoa(i), Node: n})
	}
	return j.r.content().BuildTree(ctx, parts)
}

// outTag follows a job's tag in that of what it left.
const outTag = ":out"

// buildOutput makes the job's output root: the reduction's outputs, those of the
// only task, or those of all tasks under their index.
func (j *Job) buildOutput(ctx context.Context) error {
	count := len(j.tasks)
	roots := make([]proto.CID, count)
	for i := range roots {
		roots[i] = j.core.Task(i).Settlement.Output
	}
	var n content.Node
	var err error
	if count == 1 {
		n, err = j.r.content().Sub(ctx, roots[0], sandbox.PathOut)
	} else {
		n, err = j.tree(ctx, roots, "")
	}
	if err != nil {
		return err
	}
	tag := sandbox.JobTag(j.r.Self, j.id) + outTag
	if err := j.r.content().Record(ctx, n, content.Use{Class: content.Result, Tag: tag}); err != nil {
		return err
	}
	if err := j.r.content().Pin(ctx, n.CID, tag); err != nil {
		return err
	}
	j.mu.Lock()
	j.progress.Output = n.CID
	j.mu.Unlock()
	return nil
}
