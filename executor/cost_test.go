package executor

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"

	"github.com/mustermesh/muster/executor/rewrite"
)

// A kernel is a function of testdata/kernels that works on one thing.
type kernel struct {
	name string
	n    uint64
}

var kernels = []kernel{
	{"collatz", 600_000}, {"sieve", 4_000_000}, {"mix", 10_000_000}, {"fib", 32}, {"sort", 500_000},
	{"matmul", 300}, {"saxpy", 300}, {"nbody", 200_000}, {"mandel", 500},
}

// bareModule runs a program outside of any sandbox.
func bareModule(b *testing.B, program []byte) api.Module {
	b.Helper()
	ctx := context.Background()
	rt := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfig().WithCoreFeatures(api.CoreFeaturesV2))
	b.Cleanup(func() { rt.Close(ctx) })
	if err := exportWASI(ctx, rt, func() *host { return nil }); err != nil {
		b.Fatal(err)
	}
	code, err := rt.CompileModule(experimental.WithCompilationWorkers(ctx, 2), program)
	if err != nil {
		b.Fatal(err)
	}
	mod, err := rt.InstantiateModule(ctx, code, wazero.NewModuleConfig().WithStartFunctions())
	if err != nil {
		b.Fatal(err)
	}
	if fuel, ok := mod.ExportedGlobal(rewrite.Fuel).(api.MutableGlobal); ok {
		fuel.Set(MaxFuel)
		mod.ExportedGlobal(rewrite.Stack).(api.MutableGlobal).Set(rewrite.StackSlots)
	}
	return mod
}

// BenchmarkRewritten compares the CPU time of each kernel, rewritten, with that
// of the same kernel as it was, turn by turn in one process, the best of all
// turns each: ×plain.
func BenchmarkRewritten(b *testing.B) {
	for _, file := range []string{"kernels", "kernels-simd"} {
		program, err := os.ReadFile(filepath.Join("testdata/kernels", file+".wasm"))
		if err != nil {
			b.Fatal(err)
		}
		rewritten, err := rewrite.Rewrite(program)
		if err != nil {
			b.Fatal(err)
		}
		mods := []api.Module{bareModule(b, program), bareModule(b, rewritten)}
		for _, k := range kernels {
			b.Run(file+"/"+k.name, func(b *testing.B) { compareKernel(b, mods, k) })
		}
	}
}

func compareKernel(b *testing.B, mods []api.Module, k kernel) {
	best, results := [2]int64{math.MaxInt64, math.MaxInt64}, [2]uint64{}
	for b.Loop() {
		for i, mod := range mods {
			before := cpuTime()
			r, err := mod.ExportedFunction(k.name).Call(context.Background(), k.n)
			if err != nil {
				b.Fatal(err)
			}
			best[i], results[i] = min(best[i], int64(cpuTime()-before)), r[0]
		}
	}
	if results[0] != results[1] {
		b.Errorf("got %x, and %x rewritten", results[0], results[1])
	}
	b.ReportMetric(float64(best[1])/float64(best[0]), "×plain")
	b.ReportMetric(float64(best[0])/1e6, "plain-ms")
	b.ReportMetric(0, "ns/op")
}
