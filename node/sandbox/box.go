package sandbox

import (
	"bytes"
	"cmp"
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

// A Fetcher brings a root from peers, or without any from whoever is known to
// have it, into a view of the content store: at most so many bytes.
type Fetcher func(ctx context.Context, into *View, root proto.CID, from []proto.PeerID, most int64) error

// A Config is what a [Box] works with. All of it must be set.
type Config struct {
	Executor   executor.Executor
	Engine     proto.Engine // of the executor, as answers name it
	Content    *content.Store
	Self       proto.PeerID // whose tasks may read all that is here
	Fetch      Fetcher
	Temp       string // folder for spooled output
	MaxProgram int64  // bytes
	MaxInput   int64  // bytes fetched for one task
}

// A Box is the sandbox: it runs tasks. It fetches what they need, feeds the executor out of
// the content store, and puts what the guest made into one output root. The
// provider and the requester's own runs share it. Safe for concurrent use.
type Box struct {
	exec       executor.Executor
	content    *content.Store
	self       proto.PeerID
	fetch      Fetcher
	temp       string
	maxProgram int64
	maxInput   int64
	engine     proto.Engine
	shown      shown
}

// New makes a box; nothing runs yet.
func New(cfg Config) *Box {
	return &Box{
		exec: cfg.Executor, content: cfg.Content, self: cfg.Self, fetch: cfg.Fetch, temp: cfg.Temp,
		maxProgram: cfg.MaxProgram, maxInput: cfg.MaxInput, engine: cfg.Engine,
	}
}

// Content gives the store that programs and inputs are read from, and outputs
// put into.
func (b *Box) Content() *content.Store { return b.content }

// Engine gives the engine that answers name, unless they are of the interpreter.
func (b *Box) Engine() proto.Engine { return b.engine }

// MaxProgram gives the size of the largest program that is run, in bytes.
func (b *Box) MaxProgram() int64 { return b.maxProgram }

// Check tells why a program could never run here; nil: it could.
func (b *Box) Check(pr proto.Program) error { return b.exec.Check(requirementOf(pr)) }

func requirementOf(pr proto.Program) executor.Requirement {
	return executor.Requirement{Profile: pr.Profile, Memory: pr.Resources.Memory, Disk: pr.Resources.Disk, Module: int64(pr.CodeSize)}
}

// A Work is one execution to do.
type Work struct {
	Owner    proto.PeerID
	Program  proto.Program
	Task     proto.Task
	From     []proto.PeerID // whom to ask for what is not here
	Tag      string         // under which the output is recorded and pinned
	InputTag string         // under which what is fetched is recorded
	// Interpret runs it on the engine's interpreter, in the place of its compiler.
	Interpret bool
	// Started is called once, when the guest begins, with the execution; it must not
	// stop it, and not keep Run waiting. May be nil.
	Started func(executor.Execution)
}

// A Failure is why an execution gave no answer; it is nobody's result.
type Failure struct {
	Reason proto.Reason
	Detail string
}

// Error gives reason and detail.
func (f *Failure) Error() string { return f.Reason.String() + ": " + f.Detail }

// Run executes one task. Its error is a *[Failure] unless ctx ended. The output
// root is recorded and pinned under w.Tag.
func (b *Box) Run(ctx context.Context, w Work) (proto.Answer, error) {
	if err := b.ensure(ctx, w); err != nil {
		return proto.Answer{}, err
	}
	out := newOutput(ctx, b.content, b.temp)
	defer out.discard()
	task, err := b.prepare(ctx, w, out)
	if err != nil {
		return proto.Answer{}, err
	}
	res, err := b.execute(ctx, task, w.Started)
	var invalid *executor.ProgramError
	switch {
	case errors.As(err, &invalid):
		return b.finish(ctx, w, out, proto.Answer{Outcome: proto.OutcomeInvalid, Trap: proto.ClipDetail(invalid.Reason), Engine: b.engine})
	case err != nil:
		return proto.Answer{}, failureOf(ctx, err)
	}
	return b.finish(ctx, w, out, proto.Answer{
		Outcome: outcomeOf(res), ExitCode: res.ExitCode, Trap: trapOf(res), Fuel: fuelOf(res, w.Program.Fuel),
		CPU: res.CPU, Wall: res.Wall, PeakMemory: res.PeakMemory, Engine: b.engineOf(res),
	})
}

// fuelOf gives the fuel that an answer names: never more than the limit, and all
// of it if the guest ran out, however far below zero its count had gone by then.
func fuelOf(res executor.Result, limit uint64) uint64 {
	if outcomeOf(res) == proto.OutcomeOutOfFuel {
		return limit
	}
	return min(res.Fuel, limit)
}

// engineOf names the engine that ran an execution.
func (b *Box) engineOf(res executor.Result) proto.Engine {
	e := b.engine
	e.Name = cmp.Or(res.Engine, e.Name)
	return e
}

func (b *Box) execute(ctx context.Context, task executor.Task, started func(executor.Execution)) (executor.Result, error) {
	x, err := b.exec.Start(ctx, task)
	if err != nil {
		return executor.Result{}, err
	}
	if started != nil {
		started(x)
	}
	res, err := x.Wait(ctx)
	if err != nil && ctx.Err() != nil {
		x.Stop()
	}
	return res, err
}

// ensure brings program, input and stdin here.
func (b *Box) ensure(ctx context.Context, w Work) error {
	if w.Program.CodeSize > uint64(b.maxProgram) {
		return &Failure{proto.ReasonDisk, fmt.Sprintf("the program has %d bytes; at most %d are taken", w.Program.CodeSize, b.maxProgram)}
	}
	release := b.content.Hold() // until what is fetched is recorded
	defer release()
	code := content.Public
	if w.Program.Private {
		code = content.Job
	}
	needs := []struct {
		root  proto.CID
		most  int64
		class content.Class
	}{
		{w.Program.Code, b.maxProgram + b.maxProgram/64, code},
		{w.Task.Input, b.maxInput, content.Job},
		{w.Task.Stdin, b.maxInput, content.Job},
	}
	for _, n := range needs {
		if n.root.IsZero() {
			continue
		}
		if missing, err := b.content.Missing(ctx, n.root, 1); err == nil && len(missing) == 0 && b.mayRead(w.Owner, n.root) {
			b.content.Touch(n.root)
			continue
		}
		if len(w.From) == 0 {
			return &Failure{proto.ReasonInput, fmt.Sprintf("%s is not here", n.root)}
		}
		if err := b.fetchFor(ctx, w.Owner, n.root, w.From, n.most); err != nil {
			return &Failure{proto.ReasonInput, proto.ClipDetail(err.Error())}
		}
		if err := b.content.Record(ctx, content.Node{CID: n.root}, content.Use{Class: n.class, Tag: w.InputTag}); err != nil {
			return &Failure{proto.ReasonDisk, proto.ClipDetail(err.Error())}
		}
	}
	return nil
}

// MaxInput is how large an input of this node's own jobs may be, in bytes.
const MaxInput = 64 << 30

func (b *Box) prepare(ctx context.Context, w Work, out *output) (executor.Task, error) {
	t := executor.Task{
		Owner: w.Owner, Args: w.Program.Args, Env: taskEnv(w.Program.Env, w.Task),
		Outputs: w.Program.Outputs, Seed: proto.TaskDigest(w.Program, w.Task), Sink: out, Interpret: w.Interpret,
		Program: executor.Program{CID: w.Program.Code, Open: func(ctx context.Context) ([]byte, error) { return b.readProgram(ctx, w.Program.Code) }},
		Limits:  executor.Limits{Memory: w.Program.Resources.Memory, Disk: w.Program.Resources.Disk, Timeout: w.Program.Timeout, Fuel: w.Program.Fuel},
	}
	if !w.Task.Stdin.IsZero() {
		f, err := b.content.OpenFile(ctx, w.Task.Stdin)
		if err != nil {
			return t, &Failure{proto.ReasonInput, "stdin: " + err.Error()}
		}
		t.Stdin = f
	}
	if !w.Task.Input.IsZero() {
		tree, err := b.content.OpenTree(ctx, w.Task.Input)
		if err != nil {
			return t, &Failure{proto.ReasonInput, "input: " + err.Error()}
		}
		t.Input = inputTree{tree}
	}
	return t, nil
}

func (b *Box) readProgram(ctx context.Context, id proto.CID) ([]byte, error) {
	f, err := b.content.OpenFile(ctx, id)
	if err != nil {
		return nil, err
	}
	if f.Size() > b.maxProgram {
		return nil, fmt.Errorf("program of %d bytes; at most %d", f.Size(), b.maxProgram)
	}
	code := make([]byte, f.Size())
	_, err = io.ReadFull(f, code)
	return code, err
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
func (b *Box) finish(ctx context.Context, w Work, out *output, a proto.Answer) (proto.Answer, error) {
	root, err := out.root(ctx, statusText(a))
	if err != nil {
		return a, &Failure{proto.ReasonDisk, err.Error()}
	}
	use := content.Use{Class: content.Result, Tag: w.Tag}
	if err := b.content.Record(ctx, root, use); err != nil {
		return a, &Failure{proto.ReasonDisk, err.Error()}
	}
	if err := b.content.Pin(ctx, root.CID, w.Tag); err != nil {
		return a, &Failure{proto.ReasonDisk, err.Error()}
	}
	a.Output, a.OutputSize = root.CID, uint64(root.Size)
	a.Digest = proto.TaskDigest(w.Program, w.Task)
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

func outcomeOf(res executor.Result) proto.Outcome {
	switch {
	case res.Outcome == executor.Exited:
		return proto.OutcomeExited
	case res.Outcome == executor.OutOfFuel:
		return proto.OutcomeOutOfFuel
	default:
		return proto.OutcomeTrapped
	}
}

// trapOf gives the word of a trap; out of fuel has none besides its outcome.
func trapOf(res executor.Result) string {
	if outcomeOf(res) != proto.OutcomeTrapped {
		return ""
	}
	return res.Trap
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
		return &Failure{proto.ReasonCancelled, ctx.Err().Error()}
	}
	for _, r := range reasons {
		if errors.Is(err, r.err) {
			return &Failure{r.reason, proto.ClipDetail(err.Error())}
		}
	}
	return &Failure{proto.ReasonOther, proto.ClipDetail(err.Error())}
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

// Inline gives the blocks of a small output, to ride with the answer; none of a
// large one.
func (b *Box) Inline(ctx context.Context, a proto.Answer) (blocks []proto.Block) {
	if a.OutputSize > proto.MaxInline {
		return nil
	}
	var size int64
	for cid, err := range b.content.Blocks(ctx, a.Output) {
		if err != nil {
			return nil
		}
		data, err := b.content.Get(ctx, cid)
		if err != nil {
			return nil
		}
		if size += int64(len(data)); !proto.InlineFits(len(blocks)+1, size) {
			return nil
		}
		blocks = append(blocks, proto.Block{CID: cid, Data: bytes.Clone(data)})
	}
	return blocks
}
