// Command soak lets a mesh on this machine do thousands of tasks while it kills
// its daemons, the requester included, with SIGKILL and starts them again. Then
// it looks at what must hold whatever happened: every task is settled once, and
// its result is what the program gives natively; nothing is left of it on any
// node, in memory, on disk or as a process. Where it hangs, it says why.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/mustermesh/muster/e2e/mesh"
)

func main() {
	s := soak{out: os.Stdout}
	flag.Uint64Var(&s.seed, "seed", 1, "what the texts and the choice of victims follow from")
	flag.IntVar(&s.tasks, "tasks", 10_000, "how many tasks in all")
	flag.IntVar(&s.batch, "batch", 500, "how many tasks of one job")
	flag.IntVar(&s.open, "open", 2, "how many jobs at a time")
	flag.IntVar(&s.nodes, "nodes", 6, "how many daemons, one of which is the requester")
	flag.DurationVar(&s.limit, "limit", 12*time.Minute, "how long it may take in all")
	flag.DurationVar(&s.quiet, "quiet", 90*time.Second, "after how long without a settled task it counts as stuck")
	flag.DurationVar(&s.pause, "pause", 4*time.Second, "how long from one kill to the next, on average; 0: no kills")
	flag.BoolVar(&s.brief, "brief", false, "do not wait at the end for warm sandboxes to end")
	flag.BoolVar(&s.strict, "strict", true, "let no provider keep a result at the end, not even one of which it never heard that it was taken")
	flag.StringVar(&s.muster, "muster", "bin/muster", "the muster to run; make build makes it")
	flag.StringVar(&s.guest, "guest", "examples/bin/wordcount.wasm", "the program for the mesh; make examples makes it")
	flag.StringVar(&s.native, "native", "bin/wordcount", "the same program for this machine")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := s.run(ctx)
	if ctx.Err() != nil {
		err = errors.New("interrupted; everything that was started is stopped and removed")
	}
	stop()
	if err != nil {
		fmt.Printf("soak: seed %d: FAILED: %v\n", s.seed, err)
		os.Exit(1)
	}
	fmt.Printf("soak: seed %d: ok\n", s.seed)
}

// A soak is one run.
type soak struct {
	out                   io.Writer
	seed                  uint64
	tasks, batch, open    int
	nodes                 int
	brief, strict         bool
	limit, quiet, pause   time.Duration
	muster, guest, native string
	dir                   string // all that this run makes besides homes
	fleet                 *fleet
	began                 time.Time
	settled, verified     atomic.Int64 // tasks that the requester told of; that were looked at in the end
	executions, lost      atomic.Int64
	alone                 atomic.Int64 // tasks that rest on the own run of the requester alone
}

// run makes a mesh, soaks it, and removes it.
func (s *soak) run(ctx context.Context) (err error) {
	s.began = time.Now()
	if s.tasks < 1 || s.batch < 1 || s.open < 1 || s.nodes < 3 {
		return errors.New("it takes a task, a job and three nodes at least")
	}
	ctx, cancel := context.WithTimeoutCause(ctx, s.limit, fmt.Errorf("not done within %s", s.limit))
	defer cancel()
	if s.dir, err = os.MkdirTemp("", "muster-soak-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(s.dir)) }()
	// A binary of its own, so that every process that runs it is known for ours.
	own := filepath.Join(s.dir, "muster")
	if err := copyFile(s.muster, own); err != nil {
		return err
	}
	m, err := mesh.Open(own)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.Close(), s.checkProcesses(own)) }()
	if err := os.Mkdir(s.temp(), 0o700); err != nil {
		return err
	}
	if err := os.Setenv("TMPDIR", s.temp()); err != nil {
		return err
	}
	s.fleet = &fleet{mesh: m, rand: rand.New(rand.NewPCG(s.seed, 1)), say: s.say}
	if err := s.fleet.start(ctx, s.nodes); err != nil {
		return err
	}
	s.say("seed %d: %d tasks in jobs of %d over %d daemons, a kill every %s or so; network %s", s.seed, s.tasks, s.batch, s.nodes, s.pause, m.Network)
	if err := s.soak(ctx); err != nil {
		if cause := context.Cause(ctx); cause != nil && !errors.Is(err, cause) {
			err = errors.Join(err, cause)
		}
		return errors.Join(err, s.explain())
	}
	return s.checkNodes(ctx)
}

func (s *soak) temp() string { return filepath.Join(s.dir, "tmp") }

// say prints a line with the time since the beginning.
func (s *soak) say(format string, args ...any) {
	fmt.Fprintf(s.out, "%7s  %s\n", time.Since(s.began).Round(100*time.Millisecond), fmt.Sprintf(format, args...))
}

func copyFile(from, to string) error {
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer src.Close() // opened for reading: nothing to lose
	dst, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(dst, src)
	return errors.Join(err, dst.Close())
}
