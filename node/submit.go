package node

import (
	"bytes"
	"context"
	crand "crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mustermesh/muster/internal/content"
	"github.com/mustermesh/muster/internal/store"
	"github.com/mustermesh/muster/node/api"
	"github.com/mustermesh/muster/proto"
	"github.com/mustermesh/muster/scheduler"
	"google.golang.org/protobuf/encoding/protojson"
)

// ErrSpecification is wrapped by everything that is wrong with a job as its
// user wrote it.
var ErrSpecification = errors.New("job specification")

// Defaults of a job.
const (
	defaultConfidence   = 900_000 // parts per million
	defaultMemory       = 256 << 20
	defaultDisk         = 256 << 20
	defaultTimeout      = 10 * time.Minute
	defaultQueueTimeout = 5 * time.Minute
)

// An importer turns a job as its user wrote it into a specification: it reads
// programs and inputs into the content store and splits them into tasks.
type importer struct {
	r        *requester
	tag      string // under which what is read is kept until the job has an id
	progress func(bytes int64, files int)
	fetch    fetcher
}

// specify reads everything that a job needs.
func (im *importer) specify(ctx context.Context, in *api.Job) (proto.Specification, error) {
	s, err := basics(in, im.r.now())
	if err != nil {
		return s, err
	}
	if s.Program, err = im.program(ctx, in, in.Program, in.Outputs); err != nil {
		return s, err
	}
	if s.Tasks, err = im.tasks(ctx, in); err != nil {
		return s, err
	}
	if in.Reduce != nil {
		p, err := im.program(ctx, in, in.Reduce, []string{"/out"})
		if err != nil {
			return s, fmt.Errorf("reduce: %w", err)
		}
		s.Reduce = &p
	}
	if err := s.Validate(); err != nil {
		return s, fmt.Errorf("%w: %v", ErrSpecification, err)
	}
	for _, c := range s.Constraints {
		if _, err := scheduler.ParseConstraint(c); err != nil {
			return s, fmt.Errorf("%w: %v", ErrSpecification, err)
		}
	}
	return s, nil
}

func basics(in *api.Job, now time.Time) (proto.Specification, error) {
	s := proto.Specification{
		Name: in.Name, Seed: []byte(in.Seed), Confidence: defaultConfidence, Comparator: proto.ComparatorExact,
		MaxPrice: credits(in.MaxPrice), Constraints: in.Constraints, Labels: in.Labels,
		QueueTimeout:  orDefault(in.QueueTimeoutMs, defaultQueueTimeout),
		RefereeBudget: orDefault(in.RefereeBudgetMs, orDefault(in.TimeoutMs, defaultTimeout)),
		Submitted:     now.Truncate(time.Millisecond),
	}
	if in.HasConfidence {
		if in.Confidence < 0 || in.Confidence >= 1 {
			return s, fmt.Errorf("%w: confidence %v; it must be at least 0 and below 1, like 0.999", ErrSpecification, in.Confidence)
		}
		s.Confidence = uint32(in.Confidence*proto.ConfidenceUnit + 0.5)
	}
	if in.Comparator != "" {
		s.Comparator = in.Comparator
	}
	if in.Fuel != 0 {
		return s, fmt.Errorf("%w: limits.fuel needs machine profile wasip1/1, which this version does not have; leave it out", ErrSpecification)
	}
	if in.MaxPrice < 0 {
		return s, fmt.Errorf("%w: price.max cannot be negative", ErrSpecification)
	}
	_, err := crand.Read(s.Nonce[:])
	return s, err
}

func orDefault(ms int64, d time.Duration) time.Duration {
	if ms == 0 {
		return d
	}
	return time.Duration(ms) * time.Millisecond
}

func (im *importer) program(ctx context.Context, in *api.Job, p *api.Program, outputs []string) (proto.Program, error) {
	if p == nil || p.Wasm == "" {
		return proto.Program{}, fmt.Errorf("%w: no program; give program: {wasm: FILE}", ErrSpecification)
	}
	code, err := im.node(ctx, p.Wasm, "program")
	if err != nil {
		return proto.Program{}, err
	}
	if err := im.checkProgram(ctx, p.Wasm, code); err != nil {
		return proto.Program{}, err
	}
	class := content.Public
	if in.Private {
		class = content.Job
	}
	if err := im.keep(ctx, code, class); err != nil {
		return proto.Program{}, err
	}
	env, err := programEnv(p.Env)
	if err != nil {
		return proto.Program{}, err
	}
	outputs = slices.Clone(outputs)
	slices.Sort(outputs)
	return proto.Program{
		Executor: proto.ExecutorWASM, Profile: proto.ProfileWASM, Code: code.CID, CodeSize: uint64(code.Size),
		Args: p.Args, Env: env, Outputs: slices.Compact(outputs), Resources: resources(in.Resources),
		Timeout: orDefault(in.TimeoutMs, defaultTimeout), Private: in.Private,
	}, nil
}

// checkProgram refuses early what no provider could run. The program itself is
// validated in a sandbox, not here.
func (im *importer) checkProgram(ctx context.Context, name string, code content.Node) error {
	if code.Dir {
		return fmt.Errorf("%w: program %s is a directory, not a WebAssembly module", ErrSpecification, name)
	}
	if code.Size > im.r.box.maxProgram {
		return fmt.Errorf("%w: program %s has %d bytes; providers take at most %d", ErrSpecification, name, code.Size, im.r.box.maxProgram)
	}
	f, err := im.r.content().OpenFile(ctx, code.CID)
	if err != nil {
		return fmt.Errorf("program %s: %w", name, err)
	}
	head := make([]byte, 8)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("program %s: %w", name, err)
	}
	switch head = head[:n]; {
	case !bytes.HasPrefix(head, []byte("\x00asm")):
		return fmt.Errorf("%w: program %s is not a WebAssembly module; build it for wasip1, with Go: GOOS=wasip1 GOARCH=wasm go build", ErrSpecification, name)
	case bytes.Equal(head, []byte("\x00asm\x0d\x00\x01\x00")):
		return fmt.Errorf("%w: program %s is a component; muster runs core modules: build it for wasip1 (preview 1), or take the core module out with wasm-tools component unbundle", ErrSpecification, name)
	case !bytes.Equal(head, []byte("\x00asm\x01\x00\x00\x00")):
		return fmt.Errorf("%w: program %s is WebAssembly of an unknown version", ErrSpecification, name)
	}
	return nil
}

func programEnv(vars map[string]string) (env []string, err error) {
	for k, v := range vars {
		if strings.HasPrefix(k, "MUSTER_") {
			return nil, fmt.Errorf("%w: variable %s: names that begin with MUSTER_ are muster's own", ErrSpecification, k)
		}
		if k == "" || strings.ContainsAny(k, "=\x00") {
			return nil, fmt.Errorf("%w: variable name %q", ErrSpecification, k)
		}
		env = append(env, k+"="+v)
	}
	slices.SortFunc(env, func(a, b string) int {
		ka, _, _ := strings.Cut(a, "=")
		kb, _, _ := strings.Cut(b, "=")
		return strings.Compare(ka, kb)
	})
	return env, nil
}

func resources(r *api.Resources) proto.Resources {
	out := proto.Resources{CPU: 1000, Memory: defaultMemory, Disk: defaultDisk}
	if r.GetCpu() > 0 {
		out.CPU = uint32(r.Cpu * 1000)
	}
	if r.GetMemory() > 0 {
		out.Memory = r.Memory
	}
	if r.GetDisk() > 0 {
		out.Disk = r.Disk
	}
	out.GPU = r.GetGpu()
	return out
}

// node gives what a path, CID or URL names, reading or fetching it if need be.
func (im *importer) node(ctx context.Context, source, what string) (content.Node, error) {
	if cid, err := proto.ParseCID(source); err == nil {
		return im.root(ctx, cid)
	}
	if strings.HasPrefix(source, "http://") || strings.HasPrefix(source, "https://") {
		return im.url(ctx, source)
	}
	if !filepath.IsAbs(source) {
		return content.Node{}, fmt.Errorf("%w: %s %q is not an absolute path", ErrSpecification, what, source)
	}
	if _, err := os.Stat(source); err != nil {
		return content.Node{}, fmt.Errorf("%w: %s: %v", ErrSpecification, what, err)
	}
	n, err := im.r.content().AddPath(ctx, source, content.AddOptions{Progress: im.progress})
	if err != nil {
		return content.Node{}, fmt.Errorf("%s: %w", what, err)
	}
	return n, nil
}

func (im *importer) root(ctx context.Context, cid proto.CID) (content.Node, error) {
	if missing, err := im.r.content().Missing(ctx, cid, 1); err != nil || len(missing) > 0 {
		if err := im.fetch(ctx, cid, nil, maxInput); err != nil {
			return content.Node{}, fmt.Errorf("%s is not here and nobody who was asked serves it: %w", cid, err)
		}
	}
	return im.r.content().Lookup(ctx, cid)
}

// url reads what a web server gives; what counts afterwards is its content id.
func (im *importer) url(ctx context.Context, source string) (content.Node, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, source, nil)
	if err != nil {
		return content.Node{}, fmt.Errorf("%w: %v", ErrSpecification, err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return content.Node{}, fmt.Errorf("input: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return content.Node{}, fmt.Errorf("input %s: the server answered %s", source, resp.Status)
	}
	return im.r.content().AddReader(ctx, resp.Body)
}

// keep records and pins a root under the importer's tag.
func (im *importer) keep(ctx context.Context, n content.Node, class content.Class) error {
	if err := im.r.content().Record(ctx, n, content.Use{Class: class, Tag: im.tag}); err != nil {
		return err
	}
	return im.r.content().Pin(ctx, n.CID, im.tag)
}

// tasks reads the inputs and deals them out.
func (im *importer) tasks(ctx context.Context, in *api.Job) ([]proto.TaskInput, error) {
	stdin, err := im.stdin(ctx, in.Program)
	if err != nil {
		return nil, err
	}
	var whole []content.Part
	var pieces [][]content.Part
	for _, input := range in.Inputs {
		n, err := im.node(ctx, input.Source, "input")
		if err != nil {
			return nil, err
		}
		target, err := inputTarget(input, n)
		if err != nil {
			return nil, err
		}
		if input.Split == "" {
			whole = append(whole, content.Part{Path: target, Node: n})
			continue
		}
		if pieces != nil {
			return nil, fmt.Errorf("%w: only one input can be split", ErrSpecification)
		}
		if pieces, err = im.split(ctx, input, n, target); err != nil {
			return nil, err
		}
	}
	count := max(int(in.Count), 1)
	if pieces != nil {
		if in.Count > 1 && int(in.Count) != len(pieces) {
			return nil, fmt.Errorf("%w: count is %d, but the split gives %d tasks; leave count out", ErrSpecification, in.Count, len(pieces))
		}
		count = len(pieces)
	}
	if count > proto.MaxTasks {
		return nil, fmt.Errorf("%w: %d tasks; a job has at most %d", ErrSpecification, count, proto.MaxTasks)
	}
	return im.deal(ctx, whole, pieces, count, stdin)
}

// deal builds one input tree per task; tasks without a piece of their own share
// one.
func (im *importer) deal(ctx context.Context, whole []content.Part, pieces [][]content.Part, count int, stdin proto.CID) ([]proto.TaskInput, error) {
	out := make([]proto.TaskInput, count)
	var shared proto.CID
	for i := range out {
		out[i].Stdin = stdin
		if pieces == nil && (len(whole) == 0 || i > 0) {
			out[i].Input = shared
			continue
		}
		parts := slices.Clone(whole)
		if pieces != nil {
			parts = append(parts, pieces[i]...)
		}
		tree, err := im.r.content().BuildTree(ctx, parts)
		if err != nil {
			return nil, fmt.Errorf("%w: inputs: %v", ErrSpecification, err)
		}
		if err := im.keep(ctx, tree, content.Job); err != nil {
			return nil, err
		}
		out[i].Input, shared = tree.CID, tree.CID
	}
	return out, nil
}

func inputTarget(in *api.Input, n content.Node) (string, error) {
	target := in.Target
	if target == "" {
		target = "/in"
		if !n.Dir {
			target += "/" + filepath.Base(in.Source)
		}
	}
	if err := proto.CheckGuestPath(target); err != nil {
		return "", fmt.Errorf("%w: %v", ErrSpecification, err)
	}
	return strings.TrimPrefix(target, "/"), nil
}

// split cuts one input: files (a task per file), files:N (N tasks of about equal
// bytes), lines:N (pieces of N lines of one file).
func (im *importer) split(ctx context.Context, in *api.Input, n content.Node, target string) ([][]content.Part, error) {
	kind, arg, given := strings.Cut(in.Split, ":")
	number := 0
	if given {
		var err error
		if number, err = strconv.Atoi(arg); err != nil || number < 1 {
			return nil, fmt.Errorf("%w: split %q: the number must be at least 1", ErrSpecification, in.Split)
		}
	}
	switch {
	case kind == "files":
		return im.splitFiles(ctx, n, target, number)
	case kind == "lines" && given:
		return im.splitLines(ctx, n, target, number)
	}
	return nil, fmt.Errorf("%w: split %q; known: files, files:N, lines:N", ErrSpecification, in.Split)
}

func (im *importer) splitFiles(ctx context.Context, n content.Node, target string, number int) ([][]content.Part, error) {
	tree, err := im.r.content().OpenTree(ctx, n.CID)
	if err != nil {
		return nil, err
	}
	var pieces [][]content.Part
	for _, group := range content.SplitFiles(tree.Entries(), number) {
		var parts []content.Part
		for _, e := range group {
			p := target
			if e.Path != "" {
				p += "/" + e.Path
			}
			parts = append(parts, content.Part{Path: p, Node: content.Node{CID: e.CID, Size: e.Size}})
		}
		pieces = append(pieces, parts)
	}
	if len(pieces) == 0 {
		return nil, fmt.Errorf("%w: nothing to split: the input has no files", ErrSpecification)
	}
	return pieces, nil
}

func (im *importer) splitLines(ctx context.Context, n content.Node, target string, number int) ([][]content.Part, error) {
	if n.Dir {
		return nil, fmt.Errorf("%w: split lines:%d needs a file, not a directory", ErrSpecification, number)
	}
	nodes, err := im.r.content().SplitLines(ctx, n.CID, number)
	if err != nil {
		return nil, err
	}
	if len(nodes) == 0 {
		return nil, fmt.Errorf("%w: nothing to split: the input is empty", ErrSpecification)
	}
	var pieces [][]content.Part
	for _, piece := range nodes {
		pieces = append(pieces, []content.Part{{Path: target, Node: piece}})
	}
	return pieces, nil
}

func (im *importer) stdin(ctx context.Context, p *api.Program) (proto.CID, error) {
	var n content.Node
	var err error
	switch {
	case p.HasStdinData:
		n, err = im.r.content().AddReader(ctx, bytes.NewReader(p.StdinData))
	case p.Stdin != "":
		n, err = im.node(ctx, p.Stdin, "stdin")
	default:
		return proto.CID{}, nil
	}
	if err == nil && n.Dir {
		err = fmt.Errorf("%w: stdin %s is a directory", ErrSpecification, p.Stdin)
	}
	if err != nil {
		return proto.CID{}, err
	}
	return n.CID, im.keep(ctx, n, content.Job)
}

// submit reads a job, writes it down and starts it; it returns once the job
// survives a crash.
func (r *requester) submit(ctx context.Context, req *api.SubmitJobRequest, fetch fetcher, progress func(int64, int)) (*job, error) {
	release := r.content().Hold()
	defer release()
	im := &importer{r: r, fetch: fetch, progress: progress, tag: "import:" + proto.ExecutionID(newNonce()).String()}
	defer func() {
		if err := r.content().Unpin(context.WithoutCancel(ctx), im.tag); err != nil {
			r.log.Warn("unpin inputs", "err", err)
		}
	}()
	spec, err := im.specify(ctx, req.Job)
	if err != nil {
		return nil, err
	}
	if req.Local {
		spec.Confidence = 0
	}
	envelope, id := proto.SignSpecification(r.key, r.network, spec)
	written, err := protojson.Marshal(req.Job)
	if err != nil {
		return nil, err
	}
	kept, err := r.content().AddReader(ctx, bytes.NewReader(envelope))
	if err != nil {
		return nil, err
	}
	j := r.newJob(id, spec, jobRecord{
		Version: recordVersion, Spec: kept.CID, Local: req.Local, Written: written, Number: r.now().UnixNano(),
	})
	if req.ValidateOnly {
		return j, nil
	}
	j.progress.History = []transition{{scheduler.Pending, "", r.now().UnixMilli()}}
	j.progress.Counts.Tasks = len(spec.Tasks)
	if err := r.pinJob(ctx, j); err != nil {
		return nil, err
	}
	return j, r.persist(ctx, j)
}

func newNonce() (n [16]byte) {
	r := newRand()
	for i := range n {
		n[i] = byte(r.Uint32())
	}
	return n
}

// pinJob records what the job needs under the job's own tag.
func (r *requester) pinJob(ctx context.Context, j *job) error {
	tag := jobTag(r.self, j.id)
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
func (r *requester) persist(ctx context.Context, j *job) error {
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
