package executor

import (
	"bytes"
	"fmt"
	"reflect"
	"testing"

	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"
)

// differ tells how two results that must be alike are not, or gives "". The fuel
// and the stack are compared where both count them.
func (r result) differ(o result) string {
	switch {
	case r.absent != o.absent || (r.err == nil) != (o.err == nil):
		return fmt.Sprintf("%v and %v", r.err, o.err)
	case r.trap != o.trap:
		return fmt.Sprintf("traps %q and %q", r.trap, o.trap)
	case r.fuel != o.fuel:
		return fmt.Sprintf("%d and %d fuel", r.fuel, o.fuel)
	case r.stack != o.stack:
		return fmt.Sprintf("%d and %d stack left", r.stack, o.stack)
	case len(r.words) != len(o.words):
		return fmt.Sprintf("%d and %d words", len(r.words), len(o.words))
	}
	theirs := split(o.words, o.types)
	for i, words := range split(r.words, r.types) {
		for j, w := range words {
			reference := r.types[i] == api.ValueTypeExternref || r.types[i] == api.ValueType(0x70)
			v := theirs[i][j]
			if r.types[i] == api.ValueTypeI32 || r.types[i] == api.ValueTypeF32 { // the upper half means nothing
				v, w = v&0xffffffff, w&0xffffffff
			}
			if v != w && !(reference && v != 0 && w != 0) {
				return fmt.Sprintf("%#x and %#x as result %d", words, theirs[i], i)
			}
		}
	}
	return ""
}

// differentState tells how the memory and globals of two modules are not alike.
func differentState(a, b api.Module) string {
	if p, q := memoryOf(a), memoryOf(b); !bytes.Equal(p, q) {
		return "memory: " + firstDifference(p, q)
	}
	g, h := a.(experimental.InternalModule), b.(experimental.InternalModule)
	for i := range min(g.NumGlobal(), h.NumGlobal()) {
		if t := g.Global(i).Type(); t == api.ValueTypeExternref || t == api.ValueType(0x70) {
			continue
		}
		if v, w := g.Global(i).Get(), h.Global(i).Get(); v != w {
			return fmt.Sprintf("global %d: %#x and %#x", i, v, w)
		}
	}
	return ""
}

// memoryOf gives the memory of m, nil if it has none.
func memoryOf(m api.Module) []byte {
	mem := m.Memory()
	if reflect.ValueOf(mem).IsNil() {
		return nil
	}
	p, _ := mem.Read(0, mem.Size())
	return p
}

func firstDifference(p, q []byte) string {
	if len(p) != len(q) {
		return fmt.Sprintf("%d and %d bytes", len(p), len(q))
	}
	for i := range p {
		if p[i] != q[i] {
			from, to := max(0, i-i%8), min(len(p), i-i%8+8)
			return fmt.Sprintf("at %d: %x and %x", i, p[from:to], q[from:to])
		}
	}
	return "none"
}

// TestRandomModules compares rewritten modules in both engines with each other,
// fuel and stack included, and with the same program that was not rewritten but
// made by a generator that settles each NaN where it comes about.
func TestRandomModules(t *testing.T) {
	n := uint64(1200)
	if testing.Short() {
		n = 100
	}
	var calls, returned int
	for seed := range n {
		d := newDuel(t, seed)
		for range 2 {
			for i, sig := range d.sigs {
				r := d.call(fmt.Sprint("f", i), d.args(sig))
				calls++
				if r.trap == "" {
					returned++
				}
			}
			if t.Failed() {
				return
			}
		}
		d.starve()
		d.close()
	}
	t.Logf("%d modules, %d calls, %d returned", n, calls, returned)
	if returned*10 < calls*3 {
		t.Errorf("%d of %d calls returned: the modules are too poor to tell much", returned, calls)
	}
}

// A duel is one program in three forms.
type duel struct {
	t      *testing.T
	seed   uint64
	g      *generator // for arguments
	sigs   []string
	worlds []*world
	mods   []api.Module
}

func newDuel(t *testing.T, seed uint64) *duel {
	d := &duel{t: t, seed: seed, g: newGenerator(seed+1<<32, false)}
	plain, sigs := newGenerator(seed, false).module()
	eager, _ := newGenerator(seed, true).module()
	d.sigs = sigs
	for _, w := range []specWay{compiledWay, interpretedWay, originalWay} {
		module := plain
		if !w.rewritten {
			module = eager
		}
		world := newWorld(t, w)
		mod, r := world.open("", module)
		if r.err != nil {
			t.Fatalf("seed %d: %s: %v", seed, w.name, r.err)
		}
		d.worlds, d.mods = append(d.worlds, world), append(d.mods, mod)
	}
	return d
}

func (d *duel) close() {
	for _, w := range d.worlds {
		w.rt.Close(w.ctx)
	}
}

// args makes arguments for a signature.
func (d *duel) args(sig string) (words []uint64) {
	for i := 0; sig[i] != '>'; i++ {
		switch sig[i] {
		case 'f':
			words = append(words, uint64(genFloats[d.g.IntN(len(genFloats))]))
		case 'i':
			words = append(words, uint64(d.g.Uint32N(100)))
		case 'v':
			words = append(words, genWides[d.g.IntN(len(genWides))])
			fallthrough
		default:
			words = append(words, genWides[d.g.IntN(len(genWides))])
		}
	}
	return words
}

// call calls a function in all three forms, and compares.
func (d *duel) call(name string, args []uint64) result {
	var results []result
	for i, w := range d.worlds {
		results = append(results, w.call(d.mods[i], name, args...))
	}
	if how := results[0].differ(results[1]); how != "" {
		d.t.Errorf("seed %d: %s(%#x): compiler and interpreter differ: %s", d.seed, name, args, how)
	}
	results[2].fuel, results[2].stack = results[0].fuel, results[0].stack
	if how := results[0].differ(results[2]); how != "" {
		d.t.Errorf("seed %d: %s(%#x): rewritten and original differ: %s", d.seed, name, args, how)
	}
	for i, other := range []string{"compiler and interpreter", "rewritten and original"} {
		if how := differentState(d.mods[0], d.mods[1+i]); how != "" {
			d.t.Errorf("seed %d: after %s(%#x): %s differ: %s", d.seed, name, args, other, how)
		}
	}
	return results[0]
}

// starve calls the first function with too little fuel.
func (d *duel) starve() {
	args := d.args(d.sigs[0])
	full := d.call("f0", args)
	if full.fuel < 2 || d.t.Failed() {
		return
	}
	var results []result
	for i, w := range d.worlds[:2] {
		w.budget = full.fuel / 2
		results = append(results, w.call(d.mods[i], "f0", args...))
	}
	if how := results[0].differ(results[1]); how != "" {
		d.t.Errorf("seed %d: with little fuel compiler and interpreter differ: %s", d.seed, how)
	}
	if how := differentState(d.mods[0], d.mods[1]); how != "" {
		d.t.Errorf("seed %d: after little fuel compiler and interpreter differ: %s", d.seed, how)
	}
}
