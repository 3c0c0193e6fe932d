package node

import (
	"context"
	"fmt"

	"github.com/mustermesh/muster/p2p"
	"github.com/mustermesh/muster/proto"
	"github.com/mustermesh/muster/scheduler"
)

// fetch brings an output here from the provider that answered.
func (j *job) fetch(f scheduler.Fetch) {
	size := uint64(0)
	for _, l := range j.leases {
		if l.peer != f.Peer {
			continue
		}
		l.mu.Lock()
		if h, ok := l.answers[f.Execution]; ok {
			size = h.answer.OutputSize
		}
		l.mu.Unlock()
	}
	started := j.r.crew.try(func(ctx context.Context) {
		err := j.r.fetchOutput(ctx, f, size, j.prog.Resources.Disk)
		j.post(func(core *scheduler.Job) {
			if err != nil {
				core.FetchFailed(j.r.now(), f.Execution, proto.ClipDetail(err.Error()))
			} else {
				core.Held(j.r.now(), f.Task, f.Output)
			}
		})
	})
	if !started { // nobody's fault: try again
		j.soon(func(*scheduler.Job) { j.fetch(f) })
	}
}

// fetchOutput fetches an output of at most the size that its provider signed
// for, and never more than the task's quota with the graph's overhead.
func (r *requester) fetchOutput(ctx context.Context, f scheduler.Fetch, size, quota uint64) error {
	if missing, err := r.content().Missing(ctx, f.Output, 1); err == nil && len(missing) == 0 {
		return nil
	}
	if size > quota+1<<20 {
		return fmt.Errorf("an output of %d bytes, more than the task's quota of %d", size, quota)
	}
	return r.net.Fetch(ctx, p2p.FetchRequest{
		Root: f.Output, From: []proto.PeerID{f.Peer}, MaxBytes: int64(quota + quota/8 + 64<<20),
	}, blocks{r.content()})
}
