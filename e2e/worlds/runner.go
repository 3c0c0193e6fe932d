package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/mustermesh/muster/executor"
	"github.com/mustermesh/muster/proto"
)

// An order is what a runner has to do. It gets it on its standard input, which
// stays open for as long as the runner is wanted.
type order struct {
	World     world
	Interpret bool
	Runs      int      // of each pair
	Pairs     []string // by name
	Root      string   // of the repository
	Dir       string   // the runner's own
	Shared    string   // a folder for compiled code that others use, too
	Child     string   // the binary of the sandbox; empty: the runner itself
	Show      int      // how many bytes of stdout and stderr to give back
}

// A reading is one line of a runner: first what it is, then one for each run.
type reading struct {
	Layers []executor.Layer `json:",omitempty"` // in the first
	Arch   string           `json:",omitempty"` // in the first
	Level  string           `json:",omitempty"` // in the first

	Pair    string        `json:",omitempty"`
	Outcome string        `json:",omitempty"`
	Code    uint32        `json:",omitempty"`
	Trap    string        `json:",omitempty"`
	Fuel    uint64        `json:",omitempty"`
	Peak    uint64        `json:",omitempty"` // bytes of memory at the end
	Full    bool          `json:",omitempty"` // the disk was
	Stdout  string        `json:",omitempty"` // digests
	Stderr  string        `json:",omitempty"`
	Files   string        `json:",omitempty"`
	Took    time.Duration `json:",omitempty"`
	Text    string        `json:",omitempty"` // for people, as far as it was asked for
	Err     string        `json:",omitempty"` // why there is no result
}

// A runner does an order.
type runner struct {
	order
	pairs map[string]pair
	files map[string]string // modules, by program
	exec  *executor.WASM

	mu  sync.Mutex
	out *json.Encoder
}

// runRunner is the main of a process of one world.
func runRunner(in io.Reader, out io.Writer) error {
	dec := json.NewDecoder(in)
	r := runner{pairs: map[string]pair{}, files: map[string]string{}, out: json.NewEncoder(out)}
	if err := dec.Decode(&r.order); err != nil {
		return fmt.Errorf("read the order: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() { // ends with the process
		io.Copy(io.Discard, in)
		cancel()
	}()
	for _, p := range allPairs() {
		r.pairs[p.name] = p
	}
	for _, p := range programs {
		r.files[p.name] = filepath.Join(r.Root, p.file)
	}
	for range r.World.Spin {
		go func() {
			for ctx.Err() == nil {
			}
		}()
	}
	return r.run(ctx)
}

func (r *runner) run(ctx context.Context) (err error) {
	cfg := executor.Config{
		ChildPath: r.Child, MaxModule: 64 << 20, MaxMemory: 512 << 20, MaxDisk: 64 << 20,
		MaxChildren: r.World.Together + 1, Spare: min(1, r.World.Together),
		IdleTimeout: time.Minute, PrepareTimeout: 10 * time.Minute,
	}
	switch r.World.Cache {
	case "fresh":
		cfg.CacheDir, cfg.CacheBytes = filepath.Join(r.Dir, "code"), 1<<30
	case "shared":
		cfg.CacheDir, cfg.CacheBytes = r.Shared, 1<<30
	case "memory":
		cfg.CacheBytes = 1 << 30
	}
	r.exec, err = executor.OpenWASM(cfg, slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.exec.Close()) }()
	f, err := r.exec.Fingerprint(ctx)
	if err != nil {
		return err
	}
	r.say(reading{Layers: f.Layers, Arch: f.Arch, Level: f.Level.String()})
	for _, name := range r.sequence() {
		if err := r.repeat(ctx, r.pairs[name]); err != nil {
			return err
		}
	}
	return nil
}

// sequence gives the pairs in an order of this world's own, those of one program
// together.
func (r *runner) sequence() []string {
	rnd := r.random()
	names := slices.Clone(r.Pairs)
	rnd.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	place := map[string]int{}
	for i, n := range names {
		if p := r.pairs[n].program; place[p] == 0 {
			place[p] = i + 1
		}
	}
	slices.SortStableFunc(names, func(a, b string) int {
		return cmp.Compare(place[r.pairs[a].program], place[r.pairs[b].program])
	})
	return names
}

func (r *runner) random() *rand.Rand {
	return rand.New(rand.NewChaCha8(sha256.Sum256([]byte(r.World.Name))))
}

// repeat runs a pair as often as ordered. Its error is that of the whole runner.
func (r *runner) repeat(ctx context.Context, p pair) error {
	tree, err := r.layOut(p)
	if err != nil {
		return err
	}
	module, err := os.ReadFile(r.files[p.program])
	if err != nil {
		return err
	}
	t := executor.Task{
		Interpret: r.Interpret, Args: p.args, Env: p.env, Input: tree, Outputs: p.outputs,
		Program: executor.Program{CID: proto.RawCID(module), Open: func(context.Context) ([]byte, error) { return module, nil }},
		Stdin:   stdinOf(p), Seed: sha256.Sum256([]byte(p.name)),
		Limits: executor.Limits{Memory: p.memory, Disk: p.disk, Fuel: p.fuel, Timeout: 10 * time.Minute},
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(r.World.Together)
	for n := range r.Runs {
		t := t
		t.Owner = r.owner(p, n)
		g.Go(func() error {
			if x := r.once(ctx, p, t); ctx.Err() == nil {
				r.say(x)
			}
			return ctx.Err()
		})
	}
	return g.Wait()
}

// owner gives whom the n-th run of a pair is for. No two owners share a sandbox,
// so this decides how many runs one serves; an interpreter is a long time in
// loading.
func (r *runner) owner(p pair, n int) proto.PeerID {
	who := proto.PeerID{1}
	if r.World.Fresh {
		if r.Interpret {
			n /= 5
		}
		sum := sha256.Sum256(fmt.Appendf(nil, "%s %d", p.name, n))
		copy(who[1:], sum[:])
	}
	return who
}

// once runs a task.
func (r *runner) once(ctx context.Context, p pair, t executor.Task) reading {
	s := newSink(r.Show)
	t.Sink = s
	e, err := r.exec.Start(ctx, t)
	if err != nil {
		return reading{Pair: p.name, Err: err.Error()}
	}
	res, err := e.Wait(ctx)
	if err != nil {
		e.Stop()
		return reading{Pair: p.name, Err: err.Error()}
	}
	return reading{
		Pair: p.name, Outcome: res.Outcome.String(), Code: res.ExitCode, Trap: res.Trap, Fuel: res.Fuel, Peak: res.PeakMemory,
		Full: res.DiskFull, Took: res.Wall, Text: string(s.text),
		Stdout: digest(s.stdout), Stderr: digest(s.stderr), Files: digest(s.files),
	}
}

func (r *runner) say(x reading) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.out.Encode(x) // a parent that does not listen any more closes our input, too
}

// A sink hashes what a guest leaves.
type sink struct {
	stdout, stderr, files hash.Hash
	text                  []byte
	room                  int
}

func newSink(show int) *sink {
	return &sink{stdout: sha256.New(), stderr: sha256.New(), files: sha256.New(), room: show}
}

func (s *sink) keep(p []byte) {
	n := min(len(p), s.room-len(s.text))
	s.text = append(s.text, p[:n]...)
}

func (s *sink) Stdout(p []byte) error { s.stdout.Write(p); s.keep(p); return nil }
func (s *sink) Stderr(p []byte) error { s.stderr.Write(p); s.keep(p); return nil }
func (s *sink) Dir(path string) error { fmt.Fprintf(s.files, "dir %q\n", path); return nil }

func (s *sink) File(path string, size int64, r io.Reader) error {
	fmt.Fprintf(s.files, "file %q %d\n", path, size)
	s.keep(fmt.Appendf(nil, "[%s: %d bytes]\n", path, size))
	_, err := io.Copy(s.files, r)
	return err
}

func digest(h hash.Hash) string { return hex.EncodeToString(h.Sum(nil)[:12]) }
