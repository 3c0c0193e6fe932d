package executor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"github.com/mustermesh/muster/proto"
)

// WASM is the Executor for WebAssembly core modules built for WASI preview 1.
// Each program of each owner has processes of its own.
type WASM struct {
	cfg     Config
	log     *slog.Logger
	starter starter
	cache   *codeCache
	pool    *pool
	cancel  context.CancelFunc // of the making of spares
	running sync.WaitGroup     // executions
	started atomic.Uint64      // sandboxes

	compiled, restored atomic.Uint64 // programs

	mu    sync.Mutex
	print *Fingerprint // once known
}

var _ Executor = (*WASM)(nil)

// OpenWASM makes an executor. It starts no process: the first task does, or
// Fingerprint. Close it.
func OpenWASM(cfg Config, log *slog.Logger) (*WASM, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	path := cfg.ChildPath
	if path == "" {
		if !hooked.Load() {
			return nil, fmt.Errorf("executor: %w", ErrNoChildHook)
		}
		path = "/proc/self/exe"
	}
	cache, err := openCodeCache(cfg.CacheDir, cfg.CacheBytes, newCodeMaker(cfg.ChildPath))
	if err != nil {
		return nil, fmt.Errorf("executor: %w", err)
	}
	w := &WASM{cfg: cfg, log: log, starter: starter{cfg: cfg, path: path, ways: ways()}, cache: cache}
	ctx, cancel := context.WithCancel(context.Background())
	w.pool, w.cancel = newPool(cfg, w.startBox), cancel
	w.pool.bare = func() (*box, error) { return w.starter.shut(ctx) }
	return w, nil
}

// Close kills every sandbox and waits for the executions to end.
func (w *WASM) Close() error {
	w.cancel()
	w.pool.close()
	w.running.Wait()
	w.starter.spawner.close()
	return nil
}

// Fingerprint starts a sandbox, the first time, to see what this host enforces.
// It is kept as a spare, where there may be one.
func (w *WASM) Fingerprint(ctx context.Context) (Fingerprint, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.print != nil {
		return *w.print, nil
	}
	b, err := w.starter.shut(ctx)
	if err != nil {
		return Fingerprint{}, fmt.Errorf("probe the sandbox: %w", err)
	}
	w.pool.keep(b)
	w.print = &Fingerprint{
		Name: "wasm", Profile: profileName, Engine: engineName, Version: engineRelease(), Arch: runtime.GOARCH,
		Level: levelOf(b.layers), Layers: b.layers, MaxMemory: w.cfg.MaxMemory, MaxDisk: w.cfg.MaxDisk,
	}
	return *w.print, nil
}

// engineRelease is the engine's version. An engine that was changed is another one:
// what it computes wrongly is not held against who runs it, nor against this one.
func engineRelease() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return engineVersion
	}
	for _, dep := range info.Deps {
		if dep.Path == enginePath && dep.Replace != nil {
			return engineVersion + "-changed"
		}
	}
	return engineVersion
}

// Check compares r with the configuration.
func (w *WASM) Check(r Requirement) error {
	switch {
	case r.Profile != profileName:
		return fmt.Errorf("%w: machine profile %q; this executor has %q", ErrRefused, r.Profile, profileName)
	case r.Memory < pageSize:
		return fmt.Errorf("%w: %d bytes of memory; at least 64 KiB are needed", ErrRefused, r.Memory)
	case r.Memory > w.cfg.MaxMemory:
		return fmt.Errorf("%w: %d bytes of memory; at most %d here", ErrRefused, r.Memory, w.cfg.MaxMemory)
	case r.Disk > w.cfg.MaxDisk:
		return fmt.Errorf("%w: %d bytes of disk; at most %d here", ErrRefused, r.Disk, w.cfg.MaxDisk)
	case r.Module > w.cfg.MaxModule:
		return fmt.Errorf("%w: a program of %d bytes; at most %d here", ErrRefused, r.Module, w.cfg.MaxModule)
	}
	return nil
}

// Prepare does nothing if there is a sandbox for owner and program.
func (w *WASM) Prepare(ctx context.Context, owner proto.PeerID, program Program) error {
	key := boxKey{owner: owner, program: program.CID}
	if w.pool.has(key) {
		return nil
	}
	b, err := w.pool.take(ctx, key, program)
	if err != nil {
		return fmt.Errorf("prepare %s: %w", program.CID, err)
	}
	w.pool.give(b)
	return nil
}

// Start gives ErrTask for a task that no executor could run, and ErrRefused for
// one that asks for more than there is here.
func (w *WASM) Start(ctx context.Context, t Task) (Execution, error) {
	if err := w.Check(Requirement{Profile: profileName, Memory: t.Limits.Memory, Disk: t.Limits.Disk}); err != nil {
		return nil, err
	}
	e, err := newExecution(ctx, w, t)
	if err != nil {
		return nil, err
	}
	b, err := w.pool.take(ctx, boxKey{t.Owner, t.Program.CID, t.Interpret}, t.Program)
	if err != nil {
		e.cancel(nil)
		return nil, fmt.Errorf("start %s: %w", t.Program.CID, err)
	}
	e.box = b
	if !w.pool.busy(b, e) {
		e.cancel(nil)
		w.pool.drop(b)
		return nil, fmt.Errorf("start %s: %w", t.Program.CID, ErrStopped)
	}
	w.running.Go(e.run)
	return e, nil
}

// Release returns once they are dead.
func (w *WASM) Release(owner proto.PeerID, program proto.CID) {
	w.pool.clear(func(k boxKey) bool { return k.owner == owner && k.program == program && k != boxKey{} })
}

// Started counts the sandboxes that were started for programs.
func (w *WASM) Started() uint64 { return w.started.Load() }

// Loaded counts how often a sandbox compiled its program, and how often it took
// code that another had compiled before.
func (w *WASM) Loaded() (compiled, restored uint64) { return w.compiled.Load(), w.restored.Load() }

// startBox makes a child that is ready for tasks of p: of the spare one, or of a
// new one where there is none.
func (w *WASM) startBox(ctx context.Context, spare *box, key boxKey, p Program) (*box, error) {
	var err error
	if spare == nil {
		if spare, err = w.starter.shut(ctx); err != nil {
			return nil, err
		}
	}
	w.started.Add(1)
	b, err := w.loadBox(ctx, spare, key, p)
	if err != nil {
		return nil, err
	}
	b.key = key
	w.log.Debug("sandbox started", "peer", key.owner, "program", key.program, "pid", b.proc.Pid)
	return b, nil
}

// loadBox has b, or in the end another in its place, load p. After an error
// none is left.
func (w *WASM) loadBox(ctx context.Context, b *box, key boxKey, p Program) (*box, error) {
	program, err := w.bytesOf(ctx, p)
	if err == nil && key.interpret {
		_, err = w.starter.compile(ctx, b, loadOrder{interpret: true, program: program})
	} else if err == nil {
		b, err = w.loadCode(ctx, b, p.CID, program)
	}
	if err == nil {
		return b, nil
	}
	if b != nil {
		b.kill()
	}
	var refused *ProgramError
	if !errors.As(err, &refused) {
		w.log.Warn("sandbox did not load program", "program", p.CID, "err", err)
	}
	return nil, err
}

func (w *WASM) bytesOf(ctx context.Context, p Program) ([]byte, error) {
	if p.Open == nil {
		return nil, fmt.Errorf("%w: a program without bytes", ErrTask)
	}
	program, err := p.Open(ctx)
	if err != nil {
		return nil, fmt.Errorf("open program: %w", err)
	}
	if int64(len(program)) > w.cfg.MaxModule {
		return nil, &ProgramError{fmt.Sprintf("it has %d bytes, more than the %d that this node takes: strip debug information (-ldflags=-s, wasm-opt --strip-debug)", len(program), w.cfg.MaxModule)}
	}
	return program, nil
}

// loadCode has b take up compiled code, or compile program and keep the code. A
// child that was given code that turns out damaged is killed, and nil or another
// returned.
func (w *WASM) loadCode(ctx context.Context, b *box, id proto.CID, program []byte) (*box, error) {
	key := w.cache.maker.key(program)
	done, err := w.cache.turn(ctx, key)
	if err != nil {
		return b, err
	}
	defer done()
	if kept := w.cache.open(key); kept != nil {
		err := w.starter.restore(ctx, b, kept)
		kept.close()
		if err == nil {
			w.restored.Add(1)
			return b, nil
		} else if ctx.Err() != nil {
			return b, err
		}
		w.log.Warn("compiled program dropped", "program", id, "err", err)
		w.cache.drop(key)
		b.kill()
		if b, err = w.starter.shut(ctx); err != nil {
			return nil, err
		}
	}
	code, err := w.starter.compile(ctx, b, loadOrder{keep: w.cache.limit(), program: program})
	if err == nil {
		w.compiled.Add(1)
	}
	if err == nil && code != nil {
		if err := w.cache.put(key, code); err != nil {
			w.log.Warn("compiled program not kept", "program", id, "err", err)
		}
	}
	return b, err
}
