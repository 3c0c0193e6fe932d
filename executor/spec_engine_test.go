package executor

import (
	"encoding/binary"
	"slices"
	"testing"

	"github.com/mustermesh/muster/executor/rewrite"
)

// oneFunction makes a module with one page of memory and a function f of i64 ->
// results, with locals v128, i32, i32, i64 from 1 on.
func oneFunction(results []byte, code ...byte) []byte {
	body := slices.Concat([]byte{4, 1, 0x7b, 1, 0x7f, 1, 0x7f, 1, 0x7e}, code, []byte{0x0b})
	return assemble(section{1, 1, slices.Concat([]byte{0x60, 1, 0x7e, byte(len(results))}, results)}, section{3, 1, []byte{0}},
		section{5, 1, []byte{0, 1}}, section{7, 2, []byte{1, 'f', 0, 0, 6, 'm', 'e', 'm', 'o', 'r', 'y', 2, 0}},
		section{10, 1, append(binary.AppendUvarint(nil, uint64(len(body))), body...)})
}

// TestEngineFaults runs what some versions of the engine's compiler get wrong: as
// it is rewritten it must come out right.
func TestEngineFaults(t *testing.T) {
	twice := []byte{0x41, 2, 0x21, 2, 0x02, 0x40, 0x03, 0x40, 0x20, 2, 0x41, 1, 0x6b, 0x22, 2, 0x41, 0, 0x48, 0x0d, 1}
	again := []byte{0x0c, 0, 0x0b, 0x0b}
	vec := append([]byte{0xfd, 12}, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16)
	choice := []byte{0x04, 0x7f, 0x41, 1, 0x05, 0x41, 2, 0x0b}
	for _, c := range []struct {
		name   string
		module []byte
		arg    uint64
		want   uint64
	}{
		{"a vector that is chosen after a copy", oneFunction([]byte{0x7e}, slices.Concat(twice, []byte{0x41, 1, 0x20, 3, 0x41, 5, 0xfc, 10, 0, 0, 0x41, 16, 0x20, 1}, vec,
			[]byte{0x41, 0, 0x1c, 1, 0x7b, 0xfd, 11, 4, 0}, again, []byte{0x41, 16, 0x29, 0, 0})...), 0, 0x0807060504030201},
		{"zero less than a masked number", oneFunction([]byte{0x7f}, slices.Concat([]byte{0x41, 0, 0x20, 0, 0xa7, 0x41, 0xc0, 1, 0x71, 0x48}, choice)...), 64, 1},
		{"zero greater than a masked number", oneFunction([]byte{0x7f}, slices.Concat([]byte{0x42, 0, 0x20, 0, 0x42, 0xc0, 1, 0x83, 0x56}, choice)...), 64, 2},
		{"zero less than a masked number shifted by nothing", oneFunction([]byte{0x7f}, slices.Concat([]byte{0x41, 0, 0x20, 0, 0xa7, 0x41, 0xc0, 1, 0x71, 0x41, 0, 0x74, 0x48}, choice)...), 64, 1},
		{"zero shifted by all bits less than a masked number", oneFunction([]byte{0x7f}, slices.Concat([]byte{0x41, 0, 0x41, 0x20, 0x74, 0x20, 0, 0xa7, 0x41, 0xc0, 1, 0x71, 0x48}, choice)...), 64, 1},
		{"zero greater than a masked number shifted by nothing", oneFunction([]byte{0x7f}, slices.Concat([]byte{0x42, 0, 0x20, 0, 0x42, 0xc0, 1, 0x83, 0x42, 0, 0x88, 0x56}, choice)...), 64, 2},
		{"a zero local greater than a masked local", oneFunction([]byte{0x7f}, slices.Concat([]byte{0x20, 0, 0x42, 0xc0, 1, 0x83, 0x21, 0, 0x20, 4, 0x20, 0, 0x56}, choice)...), 64, 2},
	} {
		for _, way := range []specWay{compiledWay, interpretedWay} {
			w := newWorld(t, way)
			mod, r := w.open("", c.module)
			if r.err != nil {
				t.Fatalf("%s: %v", c.name, r.err)
			}
			if r := w.call(mod, "f", c.arg); r.trap != "" || r.words[0] != c.want {
				t.Errorf("%s: %s: got %#x %s, want %#x", c.name, way.name, r.words, r.trap, c.want)
			}
		}
	}
}

// TestStackRunsOutBeforeTheEngines recurses without end on the machine's whole
// stack, with frames of many shapes: it is our count that ends it.
func TestStackRunsOutBeforeTheEngines(t *testing.T) {
	for _, c := range []struct {
		name string
		typ  byte
		n    int  // locals
		live bool // across the call
	}{{"small frames", 0x7e, 0, false}, {"some integers", 0x7e, 16, true}, {"many integers", 0x7e, 300, true}, {"some vectors", 0x7b, 16, true}, {"many vectors", 0x7b, 300, true}, {"many that are not used", 0x7e, 2000, false}} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, compiledWay)
			mod, r := w.open("", recursion(c.typ, c.n, c.live))
			if r.err != nil {
				t.Fatal(r.err)
			}
			w.slots = rewrite.StackSlots
			if r := w.call(mod, "f", 1<<40); r.trap != "stack overflow" || r.stack >= 0 {
				t.Errorf("got trap %q with %d slots left, want ours", r.trap, r.stack)
			}
			if r := w.call(mod, "f", 3); r.trap != "" || r.stack != rewrite.StackSlots {
				t.Errorf("then: got trap %q with %d slots left", r.trap, r.stack)
			}
		})
	}
}

// recursion makes a module whose f calls itself as often as its argument says,
// with n locals of a type, which all are set before and read after if they live.
func recursion(typ byte, n int, live bool) []byte {
	var before, after []byte
	for i := range n {
		at := binary.AppendUvarint(nil, uint64(i+5))
		read := []byte{0x20, 0}
		if typ == 0x7b {
			read = append(read, 0xfd, 18)
		}
		if live {
			before = slices.Concat(before, read, []byte{0x21}, at)
			after = slices.Concat(after, []byte{0x41, 0, 0x20}, at, map[byte][]byte{0x7e: {0x37, 0, 0}, 0x7b: {0xfd, 11, 0, 0}}[typ])
		}
	}
	code := slices.Concat(before, []byte{0x20, 0, 0x50, 0x04, 0x40, 0x05, 0x20, 0, 0x42, 1, 0x7d, 0x10, 0, 0x0b}, after)
	body := slices.Concat([]byte{5, 1, 0x7b, 1, 0x7f, 1, 0x7f, 1, 0x7e}, binary.AppendUvarint(nil, uint64(n)), []byte{typ}, code, []byte{0x0b})
	return assemble(section{1, 1, []byte{0x60, 1, 0x7e, 0}}, section{3, 1, []byte{0}}, section{5, 1, []byte{0, 1}}, section{7, 1, []byte{1, 'f', 0, 0}},
		section{10, 1, append(binary.AppendUvarint(nil, uint64(len(body))), body...)})
}
