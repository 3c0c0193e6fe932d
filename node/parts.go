package node

import (
	"context"
	"log/slog"
	"path/filepath"
	"runtime"
	"time"

	"github.com/mustermesh/muster/executor"
)

// Version is this muster's version; the build stamps it.
var Version = "dev"

// Parts are what a program outside this module, or a test, can put in place of
// the real thing. A nil part is the real one.
type Parts struct {
	// Executor runs programs. The node closes it if it has a Close method.
	Executor func(executor.Config, *slog.Logger) (executor.Executor, error)
	// Ready is called once, when the node serves.
	Ready func(Info)
}

// Info is what a node tells of itself once it serves.
type Info struct {
	ID     string
	Addrs  []string // multiaddrs with /p2p/
	Socket string   // of the control API
}

// Bounds of one task. docs/sandbox.md.
const (
	maxTaskMemory = 4 << 30
	maxTaskDisk   = 1 << 40
)

// openExecutor lays the sandbox out for what is lent, and for what its owner may
// come to lend while the node runs.
func (p Parts) openExecutor(cfg Config, log *slog.Logger) (executor.Executor, error) {
	usual := DefaultConfig().Lend
	ec := executor.Config{
		MaxModule: cfg.MaxProgram,
		MaxMemory: min(max(cfg.Lend.Memory, usual.Memory, 1<<20), maxTaskMemory), MaxDisk: min(max(cfg.Lend.Disk, usual.Disk), maxTaskDisk),
		MaxChildren: cfg.mostSlots() + runtime.NumCPU(), IdleTimeout: cfg.SandboxIdle, PrepareTimeout: prepareTimeout,
		Spare: cfg.SandboxSpare, CacheDir: filepath.Join(cfg.Home, "compiled"), CacheBytes: cfg.SandboxCache,
	}
	if p.Executor != nil {
		return p.Executor(ec, log)
	}
	return executor.OpenWASM(ec, log)
}

// prepareTimeout is how long a sandbox may take to start and to compile.
const prepareTimeout = 2 * time.Minute

// closer is an executor that holds something.
type closer interface{ Close() error }

// runner is an executor with a loop of its own.
type runner interface {
	Run(ctx context.Context) error
}
