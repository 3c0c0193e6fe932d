package executor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"
	"github.com/tetratelabs/wazero/sys"

	"github.com/mustermesh/muster/executor/rewrite"
)

// The machine's name, and what it is made of. The version is wazero's in go.mod.
const (
	profileName   = "wasip1/1"
	engineName    = "wazero"
	engineVersion = "1.12.0"
	enginePath    = "github.com/tetratelabs/wazero"
	// engineInterpreter is the engine that does not compile.
	engineInterpreter = "wazero-interpreter"
)

// A machine holds one compiled program and runs it for one task at a time. It
// lives in a child.
type machine struct {
	rt   wazero.Runtime
	code wazero.CompiledModule
	conf wazero.ModuleConfig
	min  uint64 // bytes of memory that the program begins with
	mem  arena
	host *host // of the present task
	slot codeSlot
}

// clip bounds a reason.
func clip(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	return strings.ToValidUTF8(s[:min(len(s), 500)], "")
}

// mostMemory is what a program may have, whatever its limit: with a page more,
// wazero's compiler takes its length, of 32 bits, for zero.
const mostMemory = 65_535 * pageSize

// run runs the program to its end within h. Its error is ours, not the guest's.
func (m *machine) run(ctx context.Context, h *host, memory uint64) (done, error) {
	memory = min(memory-memory%pageSize, mostMemory)
	if m.min > memory {
		return trapped(trapMemory), nil
	}
	if err := m.mem.reset(memory); err != nil {
		return done{}, err
	}
	m.host = h
	defer func() { m.host = nil }()
	d, err := m.start(experimental.WithMemoryAllocator(ctx, &m.mem), h)
	d.fuel, d.peak, d.full = h.meter.used(), uint64(m.mem.used), h.fs.quota.refused
	return d, err
}

// start makes an instance of the program and runs it.
func (m *machine) start(ctx context.Context, h *host) (done, error) {
	mod, err := m.rt.InstantiateModule(ctx, m.code, m.conf)
	if err != nil {
		return outcome(err)
	}
	defer mod.Close(ctx)
	stack := mod.ExportedGlobal(rewrite.Stack).(api.MutableGlobal)
	stack.Set(rewrite.StackSlots)
	h.meter = newMeter(mod.ExportedGlobal(rewrite.Fuel).(api.MutableGlobal), h.meter.limit)
	if first := mod.ExportedFunction(rewrite.Start); first != nil {
		_, err = first.Call(ctx)
	}
	if err == nil {
		_, err = mod.ExportedFunction("_start").Call(ctx)
	}
	switch {
	case h.meter.empty():
		return done{outcome: OutOfFuel}, nil
	case int64(stack.Get()) < 0:
		return trapped(trapStack), nil
	}
	return outcome(err)
}

func trapped(trap string) done { return done{outcome: Trapped, trap: slices.Index(Traps, trap)} }

// outcome turns the end of a call into what is told of it. A stack that
// overflowed in the engine, and not by the machine's own count, is the engine's
// failure.
func outcome(err error) (done, error) {
	var exit *sys.ExitError
	switch {
	case err == nil:
		return done{}, nil
	case errors.As(err, &exit):
		return done{code: exit.ExitCode()}, nil
	}
	cause := err
	for next := errors.Unwrap(cause); next != nil; next = errors.Unwrap(cause) {
		cause = next
	}
	for _, trap := range Traps {
		if trap != trapStack && strings.HasSuffix(cause.Error(), trap) {
			return trapped(trap), nil
		}
	}
	return done{}, fmt.Errorf("run program: %w", err)
}

// Allocate makes the arena wazero's allocator: each guest has one memory.
func (a *arena) Allocate(_, _ uint64) experimental.LinearMemory { return a }

// Reallocate lets the guest's memory grow to size, or gives nil at the limit.
func (a *arena) Reallocate(size uint64) []byte {
	if size > uint64(len(a.space)) {
		return nil
	}
	a.used = int(size)
	return a.space[:size:size]
}

// Free does nothing: the next task's reset does.
func (a *arena) Free() {}
