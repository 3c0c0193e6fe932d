package node

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/mustermesh/muster/p2p"
	"github.com/mustermesh/muster/proto"
	"github.com/mustermesh/muster/scheduler"
)

// fetch brings an output here from the provider that answered.
func (j *job) fetch(f scheduler.Fetch) {
	_, h, _ := j.heldAnswer(f.Execution)
	phase, quota := j.phase, j.prog.Resources.Disk
	started := j.r.crew.try(func(ctx context.Context) {
		err := j.r.fetchOutput(ctx, f, h.answer, quota)
		j.post(func(core *scheduler.Job) {
			switch {
			case j.phase != phase:
			case err != nil:
				core.FetchFailed(j.r.now(), f.Execution, proto.ClipDetail(err.Error()))
			default:
				core.Held(j.r.now(), f.Task, f.Output)
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
func (r *requester) fetchOutput(ctx context.Context, f scheduler.Fetch, a proto.Answer, quota uint64) error {
	if a.Output != f.Output {
		return errors.New("the answer is not held any more")
	}
	if a.OutputSize > quota+1<<20 {
		return fmt.Errorf("an output of %d bytes, more than the task's quota of %d", a.OutputSize, quota)
	}
	release := r.content().Hold()
	defer release()
	if missing, err := r.content().Missing(ctx, f.Output, 1); err != nil || len(missing) > 0 {
		err := r.net.Fetch(ctx, p2p.FetchRequest{
			Root: f.Output, From: []proto.PeerID{f.Peer}, MaxBytes: int64(quota + quota/8 + 64<<20),
		}, blocks{r.content()})
		if err != nil {
			return err
		}
	}
	if err := r.checkOutput(ctx, a); err != nil {
		return err
	}
	return r.content().Pin(ctx, f.Output, resultTag(r.self, f.Execution))
}

// errOutput says that an output root is not what docs/wire.md §5 describes.
var errOutput = errors.New("malformed output")

// checkOutput checks the form of an output that is here: status, stdout, stderr
// and out/, and that its status says what its provider signed.
func (r *requester) checkOutput(ctx context.Context, a proto.Answer) error {
	tree, err := r.content().OpenTree(ctx, a.Output)
	if err != nil {
		return fmt.Errorf("%w: %v", errOutput, err)
	}
	for _, file := range []string{pathStatus, pathStdout, pathStderr} {
		if e, ok := tree.Find(file); !ok || e.Dir {
			return fmt.Errorf("%w: no file %s", errOutput, file)
		}
	}
	if e, ok := tree.Find(pathOut); !ok || !e.Dir {
		return fmt.Errorf("%w: no directory %s", errOutput, pathOut)
	}
	want := statusText(a)
	status, _ := tree.Find(pathStatus)
	got := make([]byte, len(want))
	if status.Size != int64(len(want)) {
		return fmt.Errorf("%w: status is not %q", errOutput, want)
	}
	if _, err := tree.ReadAt(ctx, pathStatus, got, 0); err != nil && !errors.Is(err, io.EOF) || string(got) != want {
		return fmt.Errorf("%w: status is not %q", errOutput, want)
	}
	return nil
}
