package executor

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"slices"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"

	"github.com/mustermesh/muster/executor/rewrite"
)

// ruleset numbers what prepare does. A change of it makes all compiled code that
// is kept worthless, and has to.
const ruleset = rewrite.Version

// prepare makes of a program what is compiled in its place; what is wrong with
// it comes as a *ProgramError.
func prepare(program []byte) ([]byte, error) {
	module, err := rewrite.Rewrite(program)
	if err != nil {
		return nil, &ProgramError{clip(err.Error())}
	}
	return module, nil
}

// bareMachine makes a machine without a program: all that a child can do before
// it knows what it is for.
func bareMachine(ctx context.Context) (*machine, error) {
	m := &machine{conf: wazero.NewModuleConfig().WithName("").WithStartFunctions()}
	config := wazero.NewRuntimeConfig()
	if cache, err := slotCache(&m.slot); err == nil { // without it, it compiles all the same
		config = config.WithCompilationCache(cache)
	}
	return m, m.open(ctx, config)
}

// interpreterMachine is a bareMachine that compiles nothing.
func interpreterMachine(ctx context.Context) (*machine, error) {
	deepen()
	m := &machine{conf: wazero.NewModuleConfig().WithName("").WithStartFunctions()}
	return m, m.open(ctx, wazero.NewRuntimeConfigInterpreter())
}

func (m *machine) open(ctx context.Context, config wazero.RuntimeConfig) error {
	m.rt = wazero.NewRuntimeWithConfig(ctx, config.WithCoreFeatures(api.CoreFeaturesV2).WithDebugInfoEnabled(false))
	if err := exportWASI(ctx, m.rt, func() *host { return m.host }); err != nil {
		return fmt.Errorf("export wasi: %w", err)
	}
	return nil
}

// compile validates and compiles program, and gives what was compiled. What is
// wrong with it comes as a *ProgramError.
func (m *machine) compile(ctx context.Context, program []byte) (module []byte, err error) {
	if err := checkHeader(program); err != nil {
		return nil, err
	}
	if module, err = prepare(program); err != nil {
		return nil, err
	}
	code, err := m.rt.CompileModule(experimental.WithCompilationWorkers(ctx, runtime.GOMAXPROCS(0)), module)
	if err != nil {
		return nil, &ProgramError{"the engine refuses it: " + clip(err.Error())}
	}
	return module, m.accept(module, code)
}

// restore takes up what another child's compile made of a program: the skeleton
// of what it compiled, and the code. Its error is never the program's fault.
func (m *machine) restore(ctx context.Context, skeleton []byte, code io.Reader) error {
	m.slot.stored = code
	compiled, err := m.rt.CompileModule(ctx, skeleton)
	if err != nil {
		return fmt.Errorf("take up compiled code: %w", err)
	}
	if err := m.slot.restored(); err != nil {
		return err
	}
	if err := m.accept(skeleton, compiled); err != nil {
		return fmt.Errorf("compiled code of another program: %s", err.Error())
	}
	return nil
}

// accept makes code, of module, the machine's program.
func (m *machine) accept(module []byte, code wazero.CompiledModule) error {
	m.code = code
	if err := checkModule(module, code); err != nil {
		return err
	}
	m.min = uint64(code.ExportedMemories()["memory"].Min()) * pageSize
	return nil
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
