package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/mustermesh/muster/executor"
	"github.com/mustermesh/muster/node"
	"github.com/mustermesh/muster/proto"
)

// kindVar makes this test binary a node of the kind that it names.
const kindVar = "MUSTER_E2E_NODE"

// Kinds of nodes that the muster binary cannot be.
const (
	gated    = "gated"    // an honest provider that keeps its results back until something comes on its standard input
	constant = "constant" // answers every task with the same bytes
	tenth    = "tenth"    // runs everything, and falsifies one task of ten
	stranger = "stranger" // has another engine, which computes wrongly
	vanisher = "vanisher" // answers at once without running anything, and is gone when it feels checked
)

// runNode is a node as a program outside this module would build it: the real
// sandbox, behind something of its own. It ends with its standard input, so that
// it does not outlive the tests.
func runNode(kind string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	released := make(chan struct{})
	go func() { // ends with the input, or with the process
		if n, _ := os.Stdin.Read(make([]byte, 1)); n == 1 {
			close(released)
		}
		_, _ = io.Copy(io.Discard, os.Stdin)
		stop()
	}()
	cfg := node.DefaultConfig()
	cfg.Home, cfg.Network, cfg.MDNS = os.Getenv("MUSTER_HOME"), os.Getenv("MUSTER_NETWORK"), false
	cfg.Listen = strings.Split(os.Getenv("MUSTER_LISTEN"), ",")
	if b := os.Getenv("MUSTER_BOOTSTRAP"); b != "" {
		cfg.Bootstrap = strings.Split(b, ",")
	}
	cfg.Roles = []string{node.RoleProvider}
	cfg.Lend = node.Lend{CPU: 2, Memory: 4 << 30, Disk: 4 << 30, Slots: 2}
	cfg.AcceptWeakIsolation = true
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	err := node.Run(ctx, cfg, log, node.Parts{
		Executor: func(ec executor.Config, log *slog.Logger) (executor.Executor, error) {
			real, err := executor.OpenWASM(ec, log)
			if err != nil {
				return nil, err
			}
			return crook(kind, real, released)
		},
		Ready: func(i node.Info) {
			b, _ := json.Marshal(map[string]any{"id": i.ID, "addrs": i.Addrs}) // strings alone
			fmt.Printf("%s\n", b)
		},
	})
	if err != nil {
		log.Error("node", "err", err)
		return 1
	}
	return 0
}

func crook(kind string, real *executor.WASM, released chan struct{}) (executor.Executor, error) {
	switch kind {
	case gated:
		return &gate{WASM: real, open: released}, nil
	case constant:
		return &liar{WASM: real, lie: func(t executor.Task) executor.Task {
			t.Sink = &falsified{Sink: t.Sink, deaf: true, first: "forty-two\n"}
			return t
		}}, nil
	case tenth:
		return &liar{WASM: real, lie: func(t executor.Task) executor.Task {
			if t.Seed[0]%10 == 0 { // the seed is a hash of the task
				t.Sink = &falsified{Sink: t.Sink, first: "x"}
			}
			return t
		}}, nil
	case stranger:
		return &another{liar{WASM: real, lie: func(t executor.Task) executor.Task {
			t.Sink = &falsified{Sink: t.Sink, first: "x"}
			return t
		}}}, nil
	case vanisher:
		return &ghost{WASM: real, asked: map[proto.CID]int{}}, nil
	}
	return nil, fmt.Errorf("no kind of node is called %q", kind)
}

// A gate keeps the results of executions back.
type gate struct {
	*executor.WASM
	open chan struct{}
}

func (g *gate) Start(ctx context.Context, t executor.Task) (executor.Execution, error) {
	x, err := g.WASM.Start(ctx, t)
	if err != nil {
		return nil, err
	}
	return &kept{x, g.open}, nil
}

type kept struct {
	executor.Execution
	open chan struct{}
}

func (k *kept) Wait(ctx context.Context) (executor.Result, error) {
	select {
	case <-k.open:
		return k.Execution.Wait(ctx)
	case <-ctx.Done():
		return executor.Result{}, ctx.Err()
	}
}

// A liar runs tasks other than it was asked to.
type liar struct {
	*executor.WASM
	lie func(executor.Task) executor.Task
}

func (l *liar) Start(ctx context.Context, t executor.Task) (executor.Execution, error) {
	return l.WASM.Start(ctx, l.lie(t))
}

// Another is an executor with another engine than all others have.
type another struct{ liar }

const strangeEngine = "other/0.1"

func (s *another) Fingerprint(ctx context.Context) (executor.Fingerprint, error) {
	f, err := s.WASM.Fingerprint(ctx)
	f.Engine, f.Version, _ = strings.Cut(strangeEngine, "/")
	return f, err
}

// A falsified sink puts something before what the guest prints, or in its place.
type falsified struct {
	executor.Sink
	first string
	deaf  bool
	begun bool
}

func (f *falsified) Stdout(p []byte) error {
	if !f.begun {
		f.begun = true
		if err := f.Sink.Stdout([]byte(f.first)); err != nil || f.deaf {
			return err
		}
	}
	if f.deaf {
		return nil
	}
	return f.Sink.Stdout(p)
}

// A ghost makes its answers up. A requester that gives it the same program again
// and again is checking it, it thinks: then its process ends, and with it every
// stream.
type ghost struct {
	*executor.WASM

	mu    sync.Mutex
	asked map[proto.CID]int // how often, by program
}

// suspicious is how often a ghost takes the same program.
const suspicious = 3

func (g *ghost) Start(_ context.Context, t executor.Task) (executor.Execution, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.asked[t.Program.CID]++; g.asked[t.Program.CID] > suspicious {
		os.Exit(0)
	}
	return invented{t.Sink.Stdout([]byte("done\n"))}, nil
}

// invented is an execution that never was.
type invented struct{ err error }

func (i invented) Wait(context.Context) (executor.Result, error) {
	return executor.Result{StdoutBytes: 5, CPU: time.Millisecond, Wall: time.Millisecond}, i.err
}

func (invented) Stop() {}

func (invented) Logs(context.Context, int64) ([]byte, int64, error) { return nil, 0, io.EOF }
