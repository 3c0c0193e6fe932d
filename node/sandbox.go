package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"

	"github.com/mustermesh/muster/executor"
	"github.com/mustermesh/muster/internal/content"
	"github.com/mustermesh/muster/proto"
)

// A fetcher brings a root here from peers, at most so many bytes.
type fetcher func(ctx context.Context, root proto.CID, from []proto.PeerID, most int64) error

// A sandbox runs tasks: it fetches what they need, feeds the executor out of
// the content store, and puts what the guest made into one output root. The
// provider and the requester's own runs share it.
type sandbox struct {
	exec       executor.Executor
	content    *content.Store
	self       proto.PeerID
	fetch      func(ctx context.Context, owner proto.PeerID, root proto.CID, from []proto.PeerID, most int64) error
	shown      shown
	temp       string // folder for spooled output
	maxProgram int64  // bytes
	maxInput   int64  // bytes fetched for one task
	engine     proto.Engine
}

// A work is one execution to do.
type work struct {
	owner    proto.PeerID
	program  proto.Program
	task     proto.Task
	from     []proto.PeerID // whom to ask for what is not here
	tag      string         // under which the output is recorded and pinned
	inputTag string         // under which what is fetched is recorded
	started  func()
}

// A failure is why an execution gave no answer; it is nobody's result.
type failure struct {
	reason proto.Reason
	detail string
}

func (f *failure) Error() string { return f.reason.String() + ": " + f.detail }

// run executes one task. Its error is a *failure unless ctx ended. The output
// root is recorded and pinned under w.tag.
func (s *sandbox) run(ctx context.Context, w work) (proto.Answer, error) {
	if err := s.ensure(ctx, w); err != nil {
		return proto.Answer{}, err
	}
	out := newOutput(ctx, s.content, s.temp)
	defer out.discard()
	task, err := s.prepare(ctx, w, out)
	if err != nil {
		return proto.Answer{}, err
	}
	res, err := s.execute(ctx, task, w.started)
	var invalid *executor.ProgramError
	switch {
	case errors.As(err, &invalid):
		return s.finish(ctx, w, out, proto.Answer{Outcome: proto.OutcomeInvalid, Trap: proto.ClipDetail(invalid.Reason)})
	case err != nil:
		return proto.Answer{}, failureOf(ctx, err)
	}
	return s.finish(ctx, w, out, proto.Answer{
		Outcome: outcomeOf(res.Outcome), ExitCode: res.ExitCode, Trap: res.Trap, Fuel: res.Fuel,
		CPU: res.CPU, Wall: res.Wall, PeakMemory: res.PeakMemory,
	})
}

func (s *sandbox) execute(ctx context.Context, task executor.Task, started func()) (executor.Result, error) {
	x, err := s.exec.Start(ctx, task)
	if err != nil {
		return executor.Result{}, err
	}
	if started != nil {
		started()
	}
	res, err := x.Wait(ctx)
	if err != nil && ctx.Err() != nil {
		x.Stop()
	}
	return res, err
}

// ensure brings program, input and stdin here.
func (s *sandbox) ensure(ctx context.Context, w work) error {
	if w.program.CodeSize > uint64(s.maxProgram) {
		return &failure{proto.ReasonDisk, fmt.Sprintf("the program has %d bytes; at most %d are taken", w.program.CodeSize, s.maxProgram)}
	}
	release := s.content.Hold() // until what is fetched is recorded
	defer release()
	code := content.Public
	if w.program.Private {
		code = content.Job
	}
	needs := []struct {
		root  proto.CID
		most  int64
		class content.Class
	}{
		{w.program.Code, s.maxProgram + s.maxProgram/64, code},
		{w.task.Input, s.maxInput, content.Job},
		{w.task.Stdin, s.maxInput, content.Job},
	}
	for _, n := range needs {
		if n.root.IsZero() {
			continue
		}
		if missing, err := s.content.Missing(ctx, n.root, 1); err == nil && len(missing) == 0 && s.mayRead(w.owner, n.root) {
			s.content.Touch(n.root)
			continue
		}
		if len(w.from) == 0 {
			return &failure{proto.ReasonInput, fmt.Sprintf("%s is not here", n.root)}
		}
		if err := s.fetch(ctx, w.owner, n.root, w.from, n.most); err != nil {
			return &failure{proto.ReasonInput, proto.ClipDetail(err.Error())}
		}
		if err := s.content.Record(ctx, content.Node{CID: n.root}, content.Use{Class: n.class, Tag: w.inputTag}); err != nil {
			return &failure{proto.ReasonDisk, proto.ClipDetail(err.Error())}
		}
	}
	return nil
}

// maxInput is how large an input of this node's own jobs may be, in bytes.
const maxInput = 64 << 30

func (s *sandbox) prepare(ctx context.Context, w work, out *output) (executor.Task, error) {
	t := executor.Task{
		Owner: w.owner, Args: w.program.Args, Env: taskEnv(w.program.Env, w.task),
		Outputs: w.program.Outputs, Seed: proto.TaskDigest(w.program, w.task), Sink: out,
		Program: executor.Program{CID: w.program.Code, Open: func(ctx context.Context) ([]byte, error) { return s.readProgram(ctx, w.program.Code) }},
		Limits:  executor.Limits{Memory: w.program.Resources.Memory, Disk: w.program.Resources.Disk, Timeout: w.program.Timeout, Fuel: w.program.Fuel},
	}
	if !w.task.Stdin.IsZero() {
		f, err := s.content.OpenFile(ctx, w.task.Stdin)
		if err != nil {
			return t, &failure{proto.ReasonInput, "stdin: " + err.Error()}
		}
		t.Stdin = f
	}
	if !w.task.Input.IsZero() {
		tree, err := s.content.OpenTree(ctx, w.task.Input)
		if err != nil {
			return t, &failure{proto.ReasonInput, "input: " + err.Error()}
		}
		t.Input = inputTree{tree}
	}
	return t, nil
}

func (s *sandbox) readProgram(ctx context.Context, code proto.CID) ([]byte, error) {
	f, err := s.content.OpenFile(ctx, code)
	if err != nil {
		return nil, err
	}
	if f.Size() > s.maxProgram {
		return nil, fmt.Errorf("program of %d bytes; at most %d", f.Size(), s.maxProgram)
	}
	b := make([]byte, f.Size())
	_, err = io.ReadFull(f, b)
	return b, err
}

// Variables that tell a task its place.
const (
	envIndex = "MUSTER_TASK_INDEX"
	envCount = "MUSTER_TASK_COUNT"
)

func taskEnv(env []string, t proto.Task) []string {
	out := append(slices.Clone(env), envIndex+"="+strconv.Itoa(t.Index), envCount+"="+strconv.Itoa(t.Count))
	slices.Sort(out)
	return out
}

// finish builds the output root and completes the answer.
func (s *sandbox) finish(ctx context.Context, w work, out *output, a proto.Answer) (proto.Answer, error) {
	root, err := out.root(ctx, statusText(a))
	if err != nil {
		return a, &failure{proto.ReasonDisk, err.Error()}
	}
	use := content.Use{Class: content.Result, Tag: w.tag}
	if err := s.content.Record(ctx, root, use); err != nil {
		return a, &failure{proto.ReasonDisk, err.Error()}
	}
	if err := s.content.Pin(ctx, root.CID, w.tag); err != nil {
		return a, &failure{proto.ReasonDisk, err.Error()}
	}
	a.Output, a.OutputSize = root.CID, uint64(root.Size)
	a.Digest = proto.TaskDigest(w.program, w.task)
	a.Engine = s.engine
	return a, nil
}

// statusText is the file "status" of an output root. docs/wire.md §5.
func statusText(a proto.Answer) string {
	switch a.Outcome {
	case proto.OutcomeExited:
		return fmt.Sprintf("exited %d\n", a.ExitCode)
	case proto.OutcomeTrapped:
		return "trapped " + a.Trap + "\n"
	case proto.OutcomeInvalid:
		return "invalid " + a.Trap + "\n"
	default:
		return a.Outcome.String() + "\n"
	}
}

func outcomeOf(o executor.Outcome) proto.Outcome {
	switch o {
	case executor.Exited:
		return proto.OutcomeExited
	case executor.OutOfFuel:
		return proto.OutcomeOutOfFuel
	default:
		return proto.OutcomeTrapped
	}
}

func failureOf(ctx context.Context, err error) error {
	reasons := []struct {
		err    error
		reason proto.Reason
	}{
		{executor.ErrTimeout, proto.ReasonTimeout},
		{executor.ErrKilled, proto.ReasonKilled},
		{executor.ErrStopped, proto.ReasonCancelled},
		{executor.ErrBusy, proto.ReasonBusy},
		{executor.ErrTask, proto.ReasonInput},
	}
	if ctx.Err() != nil {
		return &failure{proto.ReasonCancelled, ctx.Err().Error()}
	}
	for _, r := range reasons {
		if errors.Is(err, r.err) {
			return &failure{r.reason, proto.ClipDetail(err.Error())}
		}
	}
	return &failure{proto.ReasonOther, proto.ClipDetail(err.Error())}
}

// inputTree shows a content tree to the executor.
type inputTree struct{ *content.Tree }

func (t inputTree) Entries(context.Context) ([]executor.Entry, error) {
	var es []executor.Entry
	for _, e := range t.Tree.Entries() {
		es = append(es, executor.Entry{Path: e.Path, Size: e.Size, Dir: e.Dir})
	}
	return es, nil
}

// inline gives the blocks of a small output, to ride with the answer; none of a
// large one.
func (s *sandbox) inline(ctx context.Context, a proto.Answer) (blocks []proto.Block) {
	if a.OutputSize > proto.MaxInline {
		return nil
	}
	var size int64
	for cid, err := range s.content.Blocks(ctx, a.Output) {
		if err != nil {
			return nil
		}
		b, err := s.content.Get(ctx, cid)
		if err != nil {
			return nil
		}
		if size += int64(len(b)); !proto.InlineFits(len(blocks)+1, size) {
			return nil
		}
		blocks = append(blocks, proto.Block{CID: cid, Data: bytes.Clone(b)})
	}
	return blocks
}
