package executor

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/mustermesh/muster/executor/rewrite"
	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

// What each call of a test may use.
const (
	specFuel  = 1 << 40
	specStack = 60_000 // the interpreter takes 2000 frames, and none has fewer than 32 slots
)

// A specWay is how modules are run in a test.
type specWay struct {
	name      string
	compiled  bool
	rewritten bool
}

var (
	compiledWay    = specWay{"compiler", true, true}
	interpretedWay = specWay{"interpreter", false, true}
	originalWay    = specWay{"original", false, false} // the simplest, which all is measured by
)

// A world is an engine, and the modules in it that may import from each other.
type world struct {
	specWay
	ctx     context.Context
	rt      wazero.Runtime
	modules []api.Module
	budget  int64 // of fuel, for each call
	slots   int64 // of the stack
}

func newWorld(t testing.TB, w specWay) *world {
	cfg := wazero.NewRuntimeConfigInterpreter()
	if w.compiled {
		cfg = wazero.NewRuntimeConfigCompiler()
	}
	ctx := context.Background()
	rt := wazero.NewRuntimeWithConfig(ctx, cfg.WithCoreFeatures(api.CoreFeaturesV2))
	t.Cleanup(func() { rt.Close(ctx) })
	return &world{specWay: w, ctx: ctx, rt: rt, budget: specFuel, slots: specStack}
}

// A result is what became of a module or a call.
type result struct {
	err    error // why there is no module
	trap   string
	words  []uint64
	types  []api.ValueType
	fuel   int64 // used, by all modules
	stack  int64 // left, of the module that was called
	absent bool  // no such module or function
}

// open rewrites, compiles and starts a module; without a name nobody can import
// from it.
func (w *world) open(name string, module []byte) (api.Module, result) {
	if w.rewritten {
		var err error
		if module, err = rewrite.Rewrite(module); err != nil {
			return nil, result{err: err}
		}
	}
	mod, err := w.rt.InstantiateWithConfig(w.ctx, module, wazero.NewModuleConfig().WithName(name).WithStartFunctions())
	if err != nil {
		return nil, result{err: err, trap: rootCause(err)}
	}
	w.modules = append(w.modules, mod)
	w.refill()
	if f := mod.ExportedFunction("muster.start"); f != nil {
		if _, err := f.Call(w.ctx); err != nil {
			r := w.used(mod, result{err: err, trap: rootCause(err)})
			w.modules = w.modules[:len(w.modules)-1]
			mod.Close(w.ctx)
			return nil, r
		}
	}
	return mod, w.used(mod, result{})
}

// call calls a function with all budgets full.
func (w *world) call(mod api.Module, name string, args ...uint64) result {
	f := mod.ExportedFunction(name)
	if f == nil {
		return result{absent: true}
	}
	w.refill()
	words, err := f.Call(w.ctx, args...)
	return w.used(mod, result{words: words, types: f.Definition().ResultTypes(), trap: rootCause(err)})
}

func (w *world) refill() {
	for _, m := range w.modules {
		setGlobal(m, "muster.fuel", w.budget)
		setGlobal(m, "muster.stack", w.slots)
	}
}

// used adds to r what was spent, and names traps as the machine does.
func (w *world) used(mod api.Module, r result) result {
	if !w.rewritten {
		r.stack = specStack
		return r
	}
	r.stack = getGlobal(mod, "muster.stack")
	for _, m := range w.modules {
		r.fuel += w.budget - getGlobal(m, "muster.fuel")
		if r.trap == "unreachable" && getGlobal(m, "muster.stack") < 0 {
			r.trap = "stack overflow"
		}
		if r.trap == "unreachable" && getGlobal(m, "muster.fuel") < 0 {
			r.trap = "out of fuel"
		}
	}
	return r
}

func setGlobal(m api.Module, name string, v int64) {
	if g, ok := m.ExportedGlobal(name).(api.MutableGlobal); ok {
		g.Set(uint64(v))
	}
}

func getGlobal(m api.Module, name string) int64 {
	if g := m.ExportedGlobal(name); g != nil {
		return int64(g.Get())
	}
	return 0
}

// rootCause is the engine's own word for a trap; "" without an error.
func rootCause(err error) string {
	if err == nil {
		return ""
	}
	for next := errors.Unwrap(err); next != nil; next = errors.Unwrap(err) {
		err = next
	}
	return err.Error()
}

// play runs a script and gives what became of each command, and the modules that
// lived in the end.
func (w *world) play(t testing.TB, s *specScript) ([]result, []api.Module) {
	t.Helper()
	base, err := os.ReadFile(filepath.Join(s.dir, "..", "..", "testdata", "spectest.wasm"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.rt.InstantiateWithConfig(w.ctx, base, wazero.NewModuleConfig().WithName("spectest")); err != nil {
		t.Fatal(err)
	}
	named := map[string]api.Module{}
	var latest api.Module
	results := make([]result, len(s.Commands))
	for i, c := range s.Commands {
		switch c.Type {
		case "module":
			latest, results[i] = w.open(s.registered(i), w.read(t, s, c))
			named[c.Name] = latest
		case "register":
		case "assert_invalid", "assert_malformed", "assert_unlinkable", "assert_uninstantiable":
			if c.ModuleType == "binary" {
				_, results[i] = w.open("", w.read(t, s, c))
			}
		default:
			mod := latest
			if c.Action.Module != "" {
				mod = named[c.Action.Module]
			}
			results[i] = w.act(mod, c.Action)
		}
	}
	return results, slices.Clone(w.modules)
}

func (w *world) read(t testing.TB, s *specScript, c specCommand) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(s.dir, c.Filename))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// act calls a function, or reads a global.
func (w *world) act(mod api.Module, a specAction) result {
	if mod == nil {
		return result{absent: true}
	}
	if a.Type == "get" {
		g := mod.ExportedGlobal(a.Field)
		if g == nil {
			return result{absent: true}
		}
		return result{words: []uint64{g.Get()}, types: []api.ValueType{g.Type()}, stack: specStack}
	}
	var args []uint64
	for _, v := range a.Args {
		args = append(args, v.words()...)
	}
	return w.call(mod, a.Field, args...)
}
