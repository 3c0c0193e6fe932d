package executor

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"slices"
	"testing"
)

// A nanCase is a float instruction, and what it has to give.
type nanCase struct {
	name    string
	code    []byte
	binary  bool
	in, out int // bits of a float, or of a lane
	vector  bool
}

// nanCases lists every instruction that gives floats of floats.
func nanCases() (list []nanCase) {
	for _, o := range []struct {
		name                   string
		f32, f64, f32x4, f64x2 int
		binary                 bool
	}{
		{"abs", 0x8b, 0x99, 224, 236, false}, {"neg", 0x8c, 0x9a, 225, 237, false}, {"ceil", 0x8d, 0x9b, 103, 116, false},
		{"floor", 0x8e, 0x9c, 104, 117, false}, {"trunc", 0x8f, 0x9d, 105, 122, false}, {"nearest", 0x90, 0x9e, 106, 148, false},
		{"sqrt", 0x91, 0x9f, 227, 239, false}, {"add", 0x92, 0xa0, 228, 240, true}, {"sub", 0x93, 0xa1, 229, 241, true},
		{"mul", 0x94, 0xa2, 230, 242, true}, {"div", 0x95, 0xa3, 231, 243, true}, {"min", 0x96, 0xa4, 232, 244, true},
		{"max", 0x97, 0xa5, 233, 245, true}, {"copysign", 0x98, 0xa6, 0, 0, true}, {"pmin", 0, 0, 234, 246, true}, {"pmax", 0, 0, 235, 247, true},
	} {
		if o.f32 != 0 {
			list = append(list, nanCase{o.name, []byte{byte(o.f32)}, o.binary, 32, 32, false}, nanCase{o.name, []byte{byte(o.f64)}, o.binary, 64, 64, false})
		}
		if o.f32x4 != 0 {
			list = append(list, nanCase{o.name, vectorCode(o.f32x4), o.binary, 32, 32, true}, nanCase{o.name, vectorCode(o.f64x2), o.binary, 64, 64, true})
		}
	}
	return append(list,
		nanCase{"move", nil, false, 32, 32, false}, nanCase{"move", nil, false, 64, 64, false}, nanCase{"move", nil, false, 32, 32, true},
		nanCase{"convert", []byte{0xb6}, false, 64, 32, false}, nanCase{"convert", []byte{0xbb}, false, 32, 64, false},
		nanCase{"convert", vectorCode(94), false, 64, 32, true}, nanCase{"convert", vectorCode(95), false, 32, 64, true})
}

func vectorCode(n int) []byte { return binary.AppendUvarint([]byte{0xfd}, uint64(n)) }

func (c nanCase) String() string {
	if c.vector {
		return fmt.Sprintf("f%dx%d.%s to %d", c.in, 128/c.in, c.name, c.out)
	}
	return fmt.Sprintf("f%d.%s to %d", c.in, c.name, c.out)
}

// result says what the instruction gives, of operands and as bytes in memory.
func (c nanCase) result(a, b []byte) []byte {
	lanes, out := 1, make([]byte, c.out/8)
	if c.vector {
		lanes, out = 128/max(c.in, c.out), make([]byte, 16)
	}
	for i := range lanes {
		putBits(out, c.out, i, c.soft(getBits(a, c.in, i), getBits(b, c.in, i)))
	}
	return out
}

func getBits(p []byte, width, lane int) uint64 {
	if width == 32 {
		return uint64(binary.LittleEndian.Uint32(p[4*lane:]))
	}
	return binary.LittleEndian.Uint64(p[8*lane:])
}

func putBits(p []byte, width, lane int, v uint64) {
	if width == 32 {
		binary.LittleEndian.PutUint32(p[4*lane:], uint32(v))
	} else {
		binary.LittleEndian.PutUint64(p[8*lane:], v)
	}
}

// soft is the rule: what only moves bits or changes a sign is exact; a NaN that
// anything else gives is the positive canonical one.
func (c nanCase) soft(a, b uint64) uint64 {
	sign := uint64(1) << (c.in - 1)
	x, y := toFloat(a, c.in), toFloat(b, c.in)
	switch c.name {
	case "move":
		return a
	case "abs":
		return a &^ sign
	case "neg":
		return a ^ sign
	case "copysign":
		return a&^sign | b&sign
	case "pmin":
		if y < x {
			return b
		}
		return a
	case "pmax":
		if x < y {
			return b
		}
		return a
	}
	if c.binary && math.IsNaN(y) {
		x = y
	}
	if math.IsNaN(x) {
		return fromFloat(x, c.out)
	}
	return fromFloat(map[string]func(x, y float64) float64{
		"ceil": func(x, _ float64) float64 { return math.Ceil(x) }, "floor": func(x, _ float64) float64 { return math.Floor(x) },
		"trunc": func(x, _ float64) float64 { return math.Trunc(x) }, "nearest": func(x, _ float64) float64 { return math.RoundToEven(x) },
		"sqrt": func(x, _ float64) float64 { return math.Sqrt(x) }, "convert": func(x, _ float64) float64 { return x },
		"add": func(x, y float64) float64 { return x + y }, "sub": func(x, y float64) float64 { return x - y },
		"mul": func(x, y float64) float64 { return x * y }, "div": func(x, y float64) float64 { return x / y },
		"min": math.Min, "max": math.Max,
	}[c.name](x, y), c.out)
}

// toFloat is exact. Rounding a sum, product, quotient or root of two float32 in
// float64 and then once more is the same as rounding it once (Figueroa 1995).
func toFloat(v uint64, width int) float64 {
	if width == 32 {
		return float64(math.Float32frombits(uint32(v)))
	}
	return math.Float64frombits(v)
}

func fromFloat(x float64, width int) uint64 {
	switch {
	case width == 32 && math.IsNaN(x):
		return 0x7fc00000
	case width == 32:
		return uint64(math.Float32bits(float32(x)))
	case math.IsNaN(x):
		return 0x7ff8000000000000
	}
	return math.Float64bits(x)
}

// A nanForm is how the types of a case are written.
type nanForm struct {
	typ               byte
	load, store, zero []byte
}

func (c nanCase) form(width int) nanForm {
	switch {
	case c.vector:
		return nanForm{0x7b, []byte{0xfd, 0, 0, 0}, []byte{0xfd, 11, 0, 0}, append([]byte{0xfd, 12}, make([]byte, 16)...)}
	case width == 32:
		return nanForm{0x7d, []byte{0x2a, 0, 0}, []byte{0x38, 0, 0}, append([]byte{0x43}, make([]byte, 4)...)}
	}
	return nanForm{0x7c, []byte{0x2b, 0, 0}, []byte{0x39, 0, 0}, append([]byte{0x44}, make([]byte, 8)...)}
}

// What the module of a case has besides its ways to look: functions 0, which
// gives what it takes, and 1, which computes and returns.
const nanHelpers = 2

// compute reads the operands at the addresses in locals 0 and 1.
func (c nanCase) compute() []byte {
	load := c.form(c.in).load
	code := slices.Concat([]byte{0x20, 0}, load)
	if c.binary {
		code = slices.Concat(code, []byte{0x20, 1}, load)
	}
	return append(code, c.code...)
}

// looks gives all ways to see the bits of the result, by name: code that leaves it
// on the stack.
func (c nanCase) looks() map[string][]byte {
	x, f := c.compute(), c.form(c.out)
	looks := map[string][]byte{
		"store":          x,
		"local":          slices.Concat(x, []byte{0x21, 3, 0x20, 3}),
		"tee":            slices.Concat(x, []byte{0x22, 3, 0x1a, 0x20, 3}),
		"teed operand":   slices.Concat(x, []byte{0x22, 3}),
		"global":         slices.Concat(x, []byte{0x24, 0, 0x23, 0}),
		"block":          slices.Concat([]byte{0x02, f.typ}, x, []byte{0x0b}),
		"loop":           slices.Concat([]byte{0x03, f.typ}, x, []byte{0x0b}),
		"br":             slices.Concat([]byte{0x02, f.typ}, x, []byte{0x0c, 0, 0x0b}),
		"br_if":          slices.Concat([]byte{0x02, f.typ}, x, []byte{0x41, 1, 0x0d, 0, 0x1a}, f.zero, []byte{0x0b}),
		"br_if not":      slices.Concat([]byte{0x02, f.typ}, x, []byte{0x41, 0, 0x0d, 0, 0x0b}),
		"br_table":       slices.Concat([]byte{0x02, f.typ}, x, []byte{0x20, 0, 0x0e, 1, 0, 0, 0x0b}),
		"if":             slices.Concat([]byte{0x41, 1, 0x04, f.typ}, x, []byte{0x05}, f.zero, []byte{0x0b}),
		"select":         slices.Concat(x, f.zero, []byte{0x41, 1, 0x1b}),
		"select other":   slices.Concat(f.zero, x, []byte{0x41, 0, 0x1c, 1, f.typ}),
		"call":           slices.Concat(x, []byte{0x10, 0}),
		"call_indirect":  slices.Concat(x, []byte{0x41, 0, 0x11, 1, 0}),
		"return":         {0x20, 0, 0x20, 1, 0x10, 1},
		"memory and out": slices.Concat([]byte{0x20, 2}, x, f.store, []byte{0x20, 2}, f.load),
	}
	neg := map[byte][]byte{0x7d: {0x8c}, 0x7c: {0x9a}, 0x7b: vectorCode(225)}[f.typ]
	looks["twice negated"] = slices.Concat(x, neg, neg)
	switch f.typ {
	case 0x7d:
		looks["reinterpret"] = slices.Concat(x, []byte{0xbc, 0xbe})
		looks["copysign"] = slices.Concat(x, []byte{0x22, 3, 0x20, 3, 0x98})
		looks["lane"] = slices.Concat(x, vectorCode(19), vectorCode(31), []byte{3})
	case 0x7c:
		looks["reinterpret"] = slices.Concat(x, []byte{0xbd, 0xbf})
		looks["copysign"] = slices.Concat(x, []byte{0x22, 3, 0x20, 3, 0xa6})
		looks["lane"] = slices.Concat(x, vectorCode(20), vectorCode(33), []byte{1})
	default:
		looks["not not"] = slices.Concat(x, vectorCode(77), vectorCode(77))
		looks["or"] = slices.Concat(f.zero, x, vectorCode(80))
		looks["shuffle"] = slices.Concat(f.zero, x, vectorCode(13), []byte{16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31})
		looks["bitselect"] = slices.Concat(x, f.zero, f.zero, vectorCode(77), vectorCode(82))
		looks["lanes"] = slices.Concat(x, []byte{0x22, 3, 0x20, 3}, vectorCode(31), []byte{1}, vectorCode(32), []byte{1, 0x22, 3, 0x20, 3}, vectorCode(33), []byte{1}, vectorCode(34), []byte{1})
		looks["integers"] = slices.Concat(x, f.zero, vectorCode(174))
	}
	return looks
}

// module makes a module with a function o0, o1, … for each of these ways. They
// take the addresses of two operands and of the result.
func (c nanCase) module(looks [][]byte) []byte {
	f := c.form(c.out)
	bodies := [][]byte{{0, 0x20, 0, 0x0b}, slices.Concat([]byte{0}, c.compute(), []byte{0x0f, 0x0b})}
	funcs, exports := []byte{1, 2}, []byte{6, 'm', 'e', 'm', 'o', 'r', 'y', 2, 0}
	for i, look := range looks {
		bodies = append(bodies, slices.Concat([]byte{1, 1, f.typ, 0x20, 2}, look, f.store, []byte{0x0b}))
		funcs = append(funcs, 0)
		exports = append(exports, 3, 'o', '0'+byte(i/10), '0'+byte(i%10), 0, byte(i+nanHelpers))
	}
	var codes []byte
	for _, b := range bodies {
		codes = append(binary.AppendUvarint(codes, uint64(len(b))), b...)
	}
	return assemble(
		section{1, 3, []byte{0x60, 3, 0x7f, 0x7f, 0x7f, 0, 0x60, 1, f.typ, 1, f.typ, 0x60, 2, 0x7f, 0x7f, 1, f.typ}},
		section{3, len(bodies), funcs}, section{4, 1, []byte{0x70, 0, 1}}, section{5, 1, []byte{0, 1}},
		section{6, 1, slices.Concat([]byte{f.typ, 1}, f.zero, []byte{0x0b})}, section{7, len(looks) + 1, exports},
		section{9, 1, []byte{0, 0x41, 0, 0x0b, 1, 0}}, section{10, len(bodies), codes})
}

// nanOperands gives operands that matter; of a vector all lanes.
func (c nanCase) operands() (list [][]byte) {
	words := genWides
	if c.in == 32 {
		words = nil
		for _, w := range genFloats {
			words = append(words, uint64(w))
		}
	}
	words = words[:13]
	for i := range words {
		p := make([]byte, 16)
		for lane := range 128 / c.in {
			putBits(p, c.in, lane, words[(i+3*lane)%len(words)])
		}
		list = append(list, p)
	}
	return list
}

// TestNaNs looks at the result of every float instruction in every way that its
// bits can be seen.
func TestNaNs(t *testing.T) {
	var n nanTally
	for _, c := range nanCases() {
		looks := c.looks()
		names := slices.Sorted(maps.Keys(looks))
		var codes [][]byte
		for _, name := range names {
			codes = append(codes, looks[name])
		}
		module := c.module(codes)
		for _, w := range []specWay{compiledWay, interpretedWay} {
			n.look(t, c, newWorld(t, w), module, names)
			if t.Failed() {
				return
			}
		}
	}
	t.Logf("%d results looked at; %d of %d computations give a NaN", n.looked, n.nans, n.computed)
	if n.looked < 250_000 || n.nans*4 < n.computed {
		t.Errorf("too few: %+v", n)
	}
}

type nanTally struct{ looked, computed, nans int }

// look runs all functions of a case's module on all operands.
func (n *nanTally) look(t *testing.T, c nanCase, w *world, module []byte, names []string) {
	mod, r := w.open("", module)
	if r.err != nil {
		t.Fatalf("%s: %s: %v", c, w.name, r.err)
	}
	defer w.rt.Close(w.ctx)
	list := c.operands()
	for i, a := range list {
		others := list
		if !c.binary {
			others = list[i : i+1]
		}
		mod.Memory().Write(0, a)
		for _, b := range others {
			mod.Memory().Write(16, b)
			want := c.result(a, b)
			n.computed++
			if math.IsNaN(toFloat(getBits(want, c.out, 0), c.out)) {
				n.nans++
			}
			for j, name := range names {
				mod.Memory().Write(32, make([]byte, 16))
				r := w.call(mod, fmt.Sprintf("o%02d", j), 0, 16, 32)
				got, _ := mod.Memory().Read(32, uint32(len(want)))
				if r.trap != "" || !slices.Equal(got, want) {
					t.Errorf("%s: %s of %x, %x by %s: got %x %s, want %x", w.name, c, a, b, name, got, r.trap, want)
				}
				n.looked++
			}
		}
	}
}

// A section is one of a module: its entries, and how many.
type section struct {
	id   byte
	n    int
	body []byte
}

// assemble makes a module.
func assemble(sections ...section) []byte {
	out := []byte("\x00asm\x01\x00\x00\x00")
	for _, s := range sections {
		body := append(binary.AppendUvarint(nil, uint64(s.n)), s.body...)
		out = append(binary.AppendUvarint(append(out, s.id), uint64(len(body))), body...)
	}
	return out
}
