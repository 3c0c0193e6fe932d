package executor

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"
	"github.com/tetratelabs/wazero/sys"
)

// The machine's name, and what it is made of. The version is wazero's in go.mod.
const (
	profileName   = "wasip1/0"
	engineName    = "wazero"
	engineVersion = "1.12.0"
)

// maxTable is the most entries that a table of a program may begin with.
const maxTable = 1 << 20

// A machine holds one compiled program and runs it for one task at a time. It
// lives in a child.
type machine struct {
	rt   wazero.Runtime
	code wazero.CompiledModule
	conf wazero.ModuleConfig
	min  uint64 // bytes of memory that the program begins with
	mem  arena
	host *host // of the present task
}

// newMachine validates and compiles program; what is wrong with it comes as a
// *ProgramError.
func newMachine(ctx context.Context, program []byte) (*machine, error) {
	if err := checkHeader(program); err != nil {
		return nil, err
	}
	m := &machine{conf: wazero.NewModuleConfig().WithName("").WithStartFunctions()}
	m.rt = wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfig().WithCoreFeatures(api.CoreFeaturesV2).WithDebugInfoEnabled(false))
	if err := exportWASI(ctx, m.rt, func() *host { return m.host }); err != nil {
		return nil, fmt.Errorf("export wasi: %w", err)
	}
	code, err := m.rt.CompileModule(experimental.WithCompilationWorkers(ctx, runtime.GOMAXPROCS(0)), program)
	if err != nil {
		return nil, &ProgramError{"not a valid WebAssembly module: " + clip(err.Error())}
	}
	m.code = code
	if err := checkModule(program, code); err != nil {
		return nil, err
	}
	m.min = uint64(code.ExportedMemories()["memory"].Min()) * pageSize
	return m, nil
}

// clip bounds a reason.
func clip(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	return strings.ToValidUTF8(s[:min(len(s), 500)], "")
}

// checkModule tells whether a valid module fits this machine.
func checkModule(program []byte, code wazero.CompiledModule) error {
	if err := checkSections(program); err != nil {
		return err
	}
	for _, f := range code.ImportedFunctions() {
		_, name, _ := f.Import()
		want := append(valueTypes(wasiParams(name)), valueTypes("i")...)
		if name == "proc_exit" {
			want = valueTypes("i")
		}
		if !slices.Equal(append(slices.Clone(f.ParamTypes()), f.ResultTypes()...), want) {
			return &ProgramError{fmt.Sprintf("it imports %s.%s with another signature: build for wasip1 (WASI preview 1)", wasiModule, name)}
		}
	}
	start := code.ExportedFunctions()["_start"]
	switch {
	case start == nil:
		return &ProgramError{"it does not export _start, so it is a library: build a command (for Go without -buildmode=c-shared, for C without -mexec-model=reactor)"}
	case len(start.ParamTypes()) > 0 || len(start.ResultTypes()) > 0:
		return &ProgramError{"its _start takes or returns values: build a command for wasip1"}
	case code.ExportedMemories()["memory"] == nil:
		return &ProgramError{`it does not export its memory as "memory": build for wasip1`}
	}
	return nil
}

// wasiParams gives the parameters of a WASI function.
func wasiParams(name string) string {
	if name == "proc_exit" {
		return "i"
	}
	return wasiFuncs[name].params
}

// run runs the program to its end within h. Its error is ours, not the guest's.
func (m *machine) run(ctx context.Context, h *host, memory uint64) (done, error) {
	memory -= memory % pageSize
	if m.min > memory {
		return done{outcome: Trapped, trap: len(Traps) - 1}, nil
	}
	if err := m.mem.reset(memory); err != nil {
		return done{}, err
	}
	m.host = h
	defer func() { m.host = nil }()
	ctx = experimental.WithMemoryAllocator(ctx, &m.mem)
	mod, err := m.rt.InstantiateModule(ctx, m.code, m.conf)
	if err == nil {
		_, err = mod.ExportedFunction("_start").Call(ctx)
		mod.Close(ctx)
	}
	d, err := outcome(err)
	d.peak, d.full = uint64(m.mem.used), h.fs.quota.refused
	return d, err
}

// outcome turns the end of a call into what is told of it.
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
	for i, trap := range Traps {
		if strings.HasSuffix(cause.Error(), trap) {
			return done{outcome: Trapped, trap: i}, nil
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
