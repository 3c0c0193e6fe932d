package requester

import (
	"bytes"
	"cmp"
	"context"
	crand "crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/mustermesh/muster/internal/content"
	"github.com/mustermesh/muster/node/api"
	"github.com/mustermesh/muster/node/sandbox"
	"github.com/mustermesh/muster/proto"
	"github.com/mustermesh/muster/scheduler"
)

// An importer turns a job as its user wrote it into a specification: it reads
// programs and inputs into the content store and splits them into tasks.
type importer struct {
	r        *Requester
	tag      string // under which what is read is kept until the job has an id
	progress func(bytes int64, files int)
	largest  int64 // bytes of the largest task's input so far
}

// specify reads everything that a job needs.
func (im *importer) specify(ctx context.Context, in *api.Job) (proto.Specification, error) {
	s, err := basics(in, im.r.Now())
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
		MaxPrice: proto.Credits(in.MaxPrice * 1e6), Constraints: in.Constraints, Labels: in.Labels,
		QueueTimeout:  orDefault(in.QueueTimeoutMs, defaultQueueTimeout),
		RefereeBudget: orDefault(in.RefereeBudgetMs, orDefault(in.TimeoutMs, defaultTimeout)),
		TotalTimeout:  orDefault(in.TotalTimeoutMs, 0),
		Retries:       int(min(in.Retries, proto.MaxRetries+1)), // one too many is refused with the rest
		Submitted:     now.Truncate(time.Millisecond),
	}
	if in.HasConfidence {
		if !(in.Confidence >= 0 && in.Confidence < 1) { // NaN is neither
			return s, fmt.Errorf("%w: confidence %v; it must be at least 0 and below 1, like 0.999", ErrSpecification, in.Confidence)
		}
		s.Confidence = uint32(in.Confidence*proto.ConfidenceUnit + 0.5)
	}
	if in.Comparator != "" {
		s.Comparator = in.Comparator
	}
	if in.MaxPrice < 0 {
		return s, fmt.Errorf("%w: price.max cannot be negative", ErrSpecification)
	}
	if err := checkResources(in.Resources); err != nil {
		return s, err
	}
	_, err := crand.Read(s.Nonce[:])
	return s, err
}

// Most that a task may ask for. docs/wire.md §3.
const (
	maxCores = 1024
	maxBytes = 1 << 50
)

func checkResources(r *api.Resources) error {
	switch {
	case !(r.GetCpu() >= 0 && r.GetCpu() <= maxCores):
		return fmt.Errorf("%w: resources.cpu %v; give cores, from 0 (the default) to %d", ErrSpecification, r.GetCpu(), maxCores)
	case r.GetMemory() > maxBytes || r.GetDisk() > maxBytes:
		return fmt.Errorf("%w: resources.memory and resources.disk are at most 1PiB", ErrSpecification)
	}
	return nil
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
		Fuel: cmp.Or(in.Fuel, DefaultFuel), Timeout: orDefault(in.TimeoutMs, defaultTimeout), Private: in.Private,
	}, nil
}

// checkProgram refuses early what no provider could run. The program itself is
// validated in a sandbox, not here.
func (im *importer) checkProgram(ctx context.Context, name string, code content.Node) error {
	if code.Dir {
		return fmt.Errorf("%w: program %s is a directory, not a WebAssembly module", ErrSpecification, name)
	}
	if code.Size > im.r.box.MaxProgram() {
		return fmt.Errorf("%w: program %s has %d bytes; providers take at most %d", ErrSpecification, name, code.Size, im.r.box.MaxProgram())
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
	if errors.Is(err, content.ErrRefused) || errors.Is(err, content.ErrTooMany) || errors.Is(err, fs.ErrPermission) {
		return content.Node{}, fmt.Errorf("%w: %s: %w", ErrSpecification, what, err)
	}
	if err != nil {
		return content.Node{}, fmt.Errorf("%s: %w", what, err)
	}
	return n, nil
}

func (im *importer) root(ctx context.Context, cid proto.CID) (content.Node, error) {
	if missing, err := im.r.content().Missing(ctx, cid, 1); err != nil || len(missing) > 0 {
		if err := im.r.fetch(ctx, cid, nil, sandbox.MaxInput); err != nil {
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
