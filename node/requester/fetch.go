package requester

import (
	"context"
	"errors"
	"fmt"

	"github.com/mustermesh/muster/node/sandbox"
	"github.com/mustermesh/muster/p2p"
	"github.com/mustermesh/muster/proto"
	"github.com/mustermesh/muster/scheduler"
)

// fetch brings an output here from the provider that answered.
func (j *Job) fetch(f scheduler.Fetch) {
	_, h, _ := j.heldAnswer(f.Execution)
	phase, quota := j.phase, j.prog.Resources.Disk
	started := j.r.Workers.Try(func(ctx context.Context) {
		span := j.trail.begin("fetch")
		err := j.r.fetchOutput(ctx, f, h.answer, quota)
		span.End(err)
		j.post(func(core *scheduler.Job) {
			switch {
			case j.phase != phase:
			case err != nil:
				core.FetchFailed(j.r.Now(), f.Execution, proto.ClipDetail(err.Error()))
			default:
				core.Held(j.r.Now(), f.Task, f.Output)
			}
		})
	})
	if !started { // nobody's fault: try again
		j.soon(func(*scheduler.Job) { j.fetch(f) })
	}
}

// fetchOutput fetches an output of at most the size that its provider signed
// for, and never more than the task's quota with the graph's overhead. It is
// kept until the task is settled.
func (r *Requester) fetchOutput(ctx context.Context, f scheduler.Fetch, a proto.Answer, quota uint64) error {
	if a.Output != f.Output {
		return errors.New("the answer is not held any more")
	}
	if a.OutputSize > quota+1<<20 {
		return fmt.Errorf("an output of %d bytes, more than the task's quota of %d", a.OutputSize, quota)
	}
	release := r.content().Hold()
	defer release()
	if missing, err := r.content().Missing(ctx, f.Output, 1); err != nil || len(missing) > 0 {
		err := r.Net.Fetch(ctx, p2p.FetchRequest{
			Root: f.Output, From: []proto.PeerID{f.Peer}, MaxBytes: int64(quota + quota/8 + 64<<20),
		}, sandbox.Blocks{Store: r.content()})
		if err != nil {
			return err
		}
	}
	if err := r.box.CheckOutput(ctx, a); err != nil {
		return err
	}
	return r.content().Pin(ctx, f.Output, sandbox.ResultTag(r.Self, f.Execution))
}
