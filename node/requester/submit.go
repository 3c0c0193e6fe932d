package requester

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	protobuf "google.golang.org/protobuf/proto"

	"github.com/mustermesh/muster/internal/content"
	"github.com/mustermesh/muster/internal/store"
	"github.com/mustermesh/muster/node/api"
	"github.com/mustermesh/muster/node/sandbox"
	"github.com/mustermesh/muster/proto"
	"github.com/mustermesh/muster/scheduler"
)

// ErrSpecification is wrapped by everything that is wrong with a job as its
// user wrote it.
var ErrSpecification = errors.New("job specification")

// DefaultFuel is what an execution gets where its job does not say: more than a
// processor of today burns in the longest timeout, so that it is the clock that
// stops a program without end. (Measured: about 1.2e10 units a second; in the 30
// days of proto.MaxTimeout 3.1e16, of 7.2e16.)
const DefaultFuel = 1 << 56

// Defaults of a job.
const (
	defaultConfidence   = 900_000 // parts per million
	defaultMemory       = 256 << 20
	defaultDisk         = 256 << 20
	defaultTimeout      = 10 * time.Minute
	defaultQueueTimeout = 5 * time.Minute
)

// Submit reads a job, writes it down and starts it; it returns once the job
// survives a crash. It calls progress, unless nil, with the bytes and files that
// were read so far. What is wrong with the job itself is an [ErrSpecification].
func (r *Requester) Submit(ctx context.Context, req *api.SubmitJobRequest, progress func(int64, int)) (j *Job, err error) {
	trail, submitted := r.beginTrail(ctx)
	defer func() { submitted(j, err) }()
	release := r.content().Hold()
	defer release()
	im := &importer{r: r, progress: progress, tag: "import:" + proto.ExecutionID(newNonce()).String()}
	defer func() {
		if err := r.content().Release(context.WithoutCancel(ctx), im.tag); err != nil {
			r.Log.Warn("unpin inputs", "err", err)
		}
	}()
	spec, err := im.specify(ctx, req.Job)
	if err != nil {
		return nil, err
	}
	if req.Local {
		spec.Confidence = 0
	}
	interpret, err := engineOf(req)
	if err != nil {
		return nil, err
	}
	spec.Trace = trail.parent
	envelope, id := r.SignSpecification(spec)
	written, err := protojson.Marshal(asWritten(req.Job, spec))
	if err != nil {
		return nil, err
	}
	kept, err := r.content().AddReader(ctx, bytes.NewReader(envelope))
	if err != nil {
		return nil, err
	}
	j = r.newJob(id, spec, jobRecord{
		Version: recordVersion, Spec: kept.CID, Local: req.Local, Interpret: interpret, Written: written, Number: r.Now().UnixNano(), InputBytes: im.largest,
	})
	j.trail = trail
	if req.ValidateOnly {
		return j, nil
	}
	j.progress.History = []transition{{scheduler.Pending, "", r.Now().UnixMilli()}}
	j.progress.Counts.Tasks = len(spec.Tasks)
	j.progress.Run, j.fresh = 1, true
	if err := r.pinJob(ctx, j); err != nil {
		return nil, err
	}
	return j, r.persist(ctx, j)
}

// engineOf tells whether a job is to run on the engine's interpreter.
func engineOf(req *api.SubmitJobRequest) (interpret bool, err error) {
	switch req.Engine {
	case "", "compiler":
		return false, nil
	case "interpreter":
		if !req.Local {
			return false, fmt.Errorf("%w: the engine can be chosen for a local run alone; add --local, or leave --engine out", ErrSpecification)
		}
		return true, nil
	}
	return false, fmt.Errorf("%w: engine %.40q; it is compiler or interpreter", ErrSpecification, req.Engine)
}

// asWritten gives the job for its record: what came with the request is named by
// its content id there.
func asWritten(in *api.Job, s proto.Specification) *api.Job {
	if !in.Program.HasStdinData {
		return in
	}
	out := protobuf.CloneOf(in)
	out.Program.StdinData, out.Program.HasStdinData = nil, false
	out.Program.Stdin = s.Tasks[0].Stdin.String()
	return out
}

func newNonce() (n [16]byte) {
	r := newRand()
	for i := range n {
		n[i] = byte(r.Uint32())
	}
	return n
}

// pinJob records what the job needs under the job's own tag.
func (r *Requester) pinJob(ctx context.Context, j *Job) error {
	tag := sandbox.JobTag(r.Self, j.id)
	class := content.Public
	if j.spec.Program.Private {
		class = content.Job
	}
	roots := map[proto.CID]content.Class{j.spec.Program.Code: class, j.record.Spec: content.Result}
	if j.spec.Reduce != nil {
		roots[j.spec.Reduce.Code] = class
	}
	for _, t := range j.spec.Tasks {
		for _, c := range []proto.CID{t.Input, t.Stdin} {
			if !c.IsZero() {
				roots[c] = content.Job
			}
		}
	}
	for root, class := range roots {
		if err := r.content().Record(ctx, content.Node{CID: root}, content.Use{Class: class, Tag: tag}); err != nil {
			return err
		}
		if err := r.content().Pin(ctx, root, tag); err != nil {
			return err
		}
	}
	return nil
}

// persist writes a new job to disk for good, then starts it.
func (r *Requester) persist(ctx context.Context, j *Job) error {
	var b store.Batch
	rec, err := json.Marshal(j.record)
	if err != nil {
		return err
	}
	prog, err := json.Marshal(j.snapshot())
	if err != nil {
		return err
	}
	b.Put(jobKey(j.id, "/job"), rec)
	b.Put(jobKey(j.id, "/progress"), prog)
	if err := r.content().FlushFiles(ctx); err != nil {
		return err
	}
	if err := r.db.Commit(ctx, &b, store.Durable); err != nil {
		return fmt.Errorf("job not accepted: %w", err)
	}
	return r.start(ctx, j)
}
