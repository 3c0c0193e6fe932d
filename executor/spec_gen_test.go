package executor

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"strings"
)

// A module generator makes valid modules at random. Two with one seed make the
// same program, but an eager one settles each NaN where it comes about: what it
// makes does by itself what a rewritten module has to do.
type generator struct {
	*rand.Rand
	eager bool
	ops   map[byte][]genOp // by what they give

	types   []string // signatures, as "if>d"
	out     []byte   // code of the present function
	fn      int
	locals  string // letters
	labels  []string
	loops   int // that are open
	flowing int // the type of the locals of flow, of f, d, v
	left    int // instructions that may still come
}

const (
	genFuncs   = 6
	genLeaves  = 3 // functions from here on are in the table
	genGlobals = "iilfdvfdv"
	genLocals  = "iillffddvv"
	genLoops   = 4 // counters
	genFlow    = 5 // locals
)

func newGenerator(seed uint64, eager bool) *generator {
	g := &generator{Rand: rand.New(rand.NewPCG(seed, 1)), eager: eager, ops: map[byte][]genOp{}}
	for _, o := range plainOps() {
		g.ops[o.out] = append(g.ops[o.out], o)
	}
	return g
}

// module makes a module that exports functions f0, f1, … and gives their
// signatures.
func (g *generator) module() (module []byte, sigs []string) {
	for range genFuncs {
		g.types = append(g.types, g.letters(3)+">"+g.letters(2))
	}
	var funcs, exports, codes, elems []byte
	for i := range genFuncs {
		funcs = append(funcs, byte(i))
		exports = append(exports, 2, 'f', '0'+byte(i), 0, byte(i))
		body := g.function(i)
		codes = append(binary.AppendUvarint(codes, uint64(len(body))), body...)
	}
	for i := genLeaves; i < genFuncs; i++ {
		elems = append(elems, byte(i))
	}
	exports = append(exports, 6, 'm', 'e', 'm', 'o', 'r', 'y', 2, 0)
	data := make([]byte, 64)
	for i := range 16 {
		binary.LittleEndian.PutUint32(data[4*i:], genFloats[g.IntN(len(genFloats))])
	}
	return assemble(
		section{1, len(g.types), g.typeSection()}, section{3, genFuncs, funcs}, section{4, 1, []byte{0x70, 0, 8}}, section{5, 1, []byte{1, 1, 3}},
		section{6, len(genGlobals), g.globalSection()}, section{7, genFuncs + 1, exports},
		section{9, 1, slices.Concat([]byte{0, 0x41, 1, 0x0b, genFuncs - genLeaves}, elems)},
		section{10, genFuncs, codes}, section{11, 1, slices.Concat([]byte{0, 0x41, 16, 0x0b, 64}, data)}), g.types[:genFuncs]
}

// letters gives up to most types.
func (g *generator) letters(most int) string {
	b := make([]byte, g.IntN(most+1))
	for i := range b {
		b[i] = g.letter()
	}
	return string(b)
}

func (g *generator) letter() byte { return "ilfdvfdv"[g.IntN(8)] }

func wasmType(letter byte) byte {
	return map[byte]byte{'i': 0x7f, 'l': 0x7e, 'f': 0x7d, 'd': 0x7c, 'v': 0x7b}[letter]
}

func (g *generator) typeSection() (b []byte) {
	for _, sig := range g.types {
		b = append(b, 0x60)
		for _, list := range strings.Split(sig, ">") {
			b = append(b, byte(len(list)))
			for _, c := range []byte(list) {
				b = append(b, wasmType(c))
			}
		}
	}
	return b
}

func (g *generator) globalSection() []byte {
	g.out = nil
	for _, c := range []byte(genGlobals) {
		g.emit(wasmType(c), 1)
		g.constant(c)
		g.emit(0x0b)
	}
	return g.out
}

// function makes the body of function i.
func (g *generator) function(i int) []byte {
	params, results, _ := strings.Cut(g.types[i], ">")
	g.fn, g.locals, g.labels, g.loops, g.out, g.left = i, params+genLocals, []string{results}, 0, nil, 80
	if g.IntN(2) == 0 {
		g.flow()
	}
	for range 1 + g.IntN(6) {
		g.statement(4)
	}
	g.values(results, 4)
	g.emit(0x0b)
	head := []byte{byte(len(genLocals) + 5)}
	for _, c := range []byte(genLocals + "fdv") {
		head = append(head, 1, wasmType(c))
	}
	return slices.Concat(head, []byte{genLoops, 0x7f, genFlow, wasmType("fdv"[g.flowing])}, g.out)
}

// flow lets floats run through locals of their own, of one type, in a loop of few
// turns: most are results of arithmetic or of other locals, few are seen.
func (g *generator) flow() {
	g.flowing = g.IntN(3)
	t, first := "fdv"[g.flowing], len(g.locals)+3+genLoops
	x := func() int { return first + g.IntN(genFlow) }
	var ops []genOp
	for _, o := range g.ops[t] {
		if o.nans != 0 && strings.Trim(o.in, string(t)) == "" {
			ops = append(ops, o)
		}
	}
	ops = []genOp{ops[g.IntN(len(ops))], ops[g.IntN(len(ops))]}
	c := g.counter()
	g.i32(int32(1 + g.IntN(3)))
	g.op(0x21, c)
	g.emit(0x03, 0x40)
	for range 3 + g.IntN(8) {
		switch n := g.IntN(20); {
		case n < 6:
			o := ops[n%2]
			for range o.in {
				g.op(0x20, x())
			}
			g.emit(o.code...)
			if g.eager {
				g.settle(o.nans)
			}
			g.op(0x21, x())
		case n < 15:
			g.op(0x20, x())
			g.op(0x21+byte(n/14), x())
			if n == 14 {
				g.op(0x21, x())
			}
		case n < 16:
			g.load(t, 0)
			g.op(0x21, x())
		default:
			g.i32(int32(32 * g.IntN(16)))
			g.op(0x20, x())
			g.emit(map[byte][]byte{'f': {0x38, 0, 0}, 'd': {0x39, 0, 0}, 'v': {0xfd, 11, 0, 0}}[t]...)
		}
	}
	g.op(0x20, c)
	g.i32(1)
	g.emit(0x6b)
	g.op(0x22, c)
	g.emit(0x0d, 0, 0x0b)
}

// temp gives the local that settling a NaN takes.
func (g *generator) temp(letter byte) int { return len(g.locals) + strings.IndexByte("fdv", letter) }

func (g *generator) counter() int { return len(g.locals) + 3 + g.loops }

func (g *generator) emit(b ...byte) { g.out = append(g.out, b...) }

func (g *generator) op(code byte, arg int) {
	g.out = binary.AppendUvarint(append(g.out, code), uint64(arg))
}

func (g *generator) i32(v int32) { g.out = appendSLEB(append(g.out, 0x41), int64(v)) }

func appendSLEB(b []byte, v int64) []byte {
	for v < -64 || v > 63 {
		b = append(b, byte(v)|0x80)
		v >>= 7
	}
	return append(b, byte(v)&0x7f)
}

// values puts a value of each type on the stack.
func (g *generator) values(types string, depth int) {
	for _, c := range []byte(types) {
		g.value(c, depth)
	}
}

// value puts one on the stack.
func (g *generator) value(t byte, depth int) {
	g.left--
	if depth <= 0 || g.left <= 0 {
		g.simple(t)
		return
	}
	switch n := g.IntN(20); {
	case n < 9:
		g.plain(t, depth)
	case n < 11:
		g.simple(t)
	case n < 13:
		g.load(t, depth)
	case n < 14:
		g.value(t, depth-1)
		g.value(t, depth-1)
		g.value('i', depth-1)
		if g.IntN(2) == 0 {
			g.emit(0x1c, 1, wasmType(t))
		} else {
			g.emit(0x1b)
		}
	case n < 15:
		g.value(t, depth-1)
		g.op(0x22, g.local(t))
	case n < 17:
		g.block(string(t), depth)
	case n < 18:
		g.value('i', depth-1)
		g.enter(0x04, string(t))
		g.value(t, depth-1)
		g.emit(0x05)
		g.value(t, depth-1)
		g.leave()
	default:
		g.invoke(t, depth)
	}
}

func (g *generator) simple(t byte) {
	switch g.IntN(3) {
	case 0:
		g.constant(t)
	case 1:
		g.op(0x20, g.local(t))
	default:
		g.op(0x23, g.global(t))
	}
}

// local picks a local of type t.
func (g *generator) local(t byte) int { return pickIndex(g.Rand, g.locals, t) }

func (g *generator) global(t byte) int { return pickIndex(g.Rand, genGlobals, t) }

func pickIndex(r *rand.Rand, s string, c byte) int {
	at := -1
	for i, n := 0, 1; i < len(s); i++ {
		if s[i] == c {
			if r.IntN(n) == 0 {
				at = i
			}
			n++
		}
	}
	return at
}

// plain uses an instruction that gives a t.
func (g *generator) plain(t byte, depth int) {
	o := g.ops[t][g.IntN(len(g.ops[t]))]
	g.values(o.in, depth-1)
	g.emit(o.code...)
	if g.eager && o.nans != 0 {
		g.settle(o.nans)
	}
}

// settle makes NaNs on the stack canonical, the plain way.
func (g *generator) settle(shape byte) {
	t := map[byte]byte{'f': 'f', 'd': 'd', 'F': 'v', 'D': 'v'}[shape]
	x := g.temp(t)
	g.op(0x22, x)
	nan32, nan64 := []byte{0, 0, 0xc0, 0x7f}, []byte{0, 0, 0, 0, 0, 0, 0xf8, 0x7f}
	switch shape {
	case 'f':
		g.emit(append([]byte{0x43}, nan32...)...)
	case 'd':
		g.emit(append([]byte{0x44}, nan64...)...)
	case 'F':
		g.emit(append([]byte{0xfd, 12}, slices.Repeat(nan32, 4)...)...)
	case 'D':
		g.emit(append([]byte{0xfd, 12}, slices.Repeat(nan64, 2)...)...)
	}
	g.op(0x20, x)
	g.op(0x20, x)
	g.emit(map[byte][]byte{'f': {0x5b, 0x1b}, 'd': {0x61, 0x1b}, 'F': {0xfd, 65, 0xfd, 82}, 'D': {0xfd, 71, 0xfd, 82}}[shape]...)
}

// address puts one on the stack that is within memory, most often.
func (g *generator) address(depth int) {
	g.value('i', depth-1)
	if g.IntN(50) > 0 {
		g.i32(0x7ff)
		g.emit(0x71)
	}
}

// access ends a load or store of 1<<align bytes.
func (g *generator) access(code []byte, align int) {
	g.emit(code...)
	g.emit(byte(g.IntN(align+1)), byte(g.IntN(20)))
}

func (g *generator) load(t byte, depth int) {
	g.address(depth)
	o := map[byte][]genAccess{
		'i': {{[]byte{0x28}, 2}, {[]byte{0x2c}, 0}, {[]byte{0x2f}, 1}}, 'l': {{[]byte{0x29}, 3}, {[]byte{0x34}, 2}},
		'f': {{[]byte{0x2a}, 2}}, 'd': {{[]byte{0x2b}, 3}}, 'v': {{[]byte{0xfd, 0}, 4}, {[]byte{0xfd, 9}, 2}, {[]byte{0xfd, 10}, 3}, {[]byte{0xfd, 92}, 2}, {[]byte{0xfd, 3}, 3}},
	}[t]
	a := o[g.IntN(len(o))]
	g.access(a.code, a.align)
}

type genAccess struct {
	code  []byte
	align int
}

// enter opens a block that takes nothing and gives these types.
func (g *generator) enter(code byte, gives string) {
	switch len(gives) {
	case 0:
		g.emit(code, 0x40)
	case 1:
		g.emit(code, wasmType(gives[0]))
	default:
		g.out = appendSLEB(append(g.out, code), int64(g.typeOf(">"+gives)))
	}
	g.labels = append(g.labels, gives)
}

func (g *generator) typeOf(sig string) int {
	if i := slices.Index(g.types, sig); i >= 0 {
		return i
	}
	g.types = append(g.types, sig)
	return len(g.types) - 1
}

func (g *generator) leave() {
	g.emit(0x0b)
	g.labels = g.labels[:len(g.labels)-1]
}

// block puts a block there that gives these types, with ways out of it.
func (g *generator) block(gives string, depth int) {
	if len(gives) > 0 && g.IntN(3) == 0 { // one that takes values, too
		takes := string(g.letter())
		g.values(takes, depth-1)
		g.out = appendSLEB(append(g.out, 0x02), int64(g.typeOf(takes+">"+gives)))
		g.labels = append(g.labels, gives)
		g.op(0x21, g.local(takes[0]))
	} else {
		g.enter(0x02, gives)
	}
	for range g.IntN(3) {
		g.statement(depth - 1)
	}
	g.values(gives, depth-1)
	g.leave()
}

// statement leaves the stack as it was.
func (g *generator) statement(depth int) {
	g.left--
	if depth <= 0 || g.left <= 0 {
		g.emit(0x01)
		return
	}
	t := g.letter()
	switch g.IntN(16) {
	case 14, 15: // what is only passed on
		t = "fdv"[g.IntN(3)]
		g.op(0x20, g.local(t))
		g.op(0x21, g.local(t))
	case 0, 1, 2:
		g.value(t, depth)
		g.op(0x21, g.local(t))
	case 3:
		g.value(t, depth)
		g.op(0x24, g.global(t))
	case 4, 5:
		g.store(t, depth)
	case 6:
		g.loop(depth)
	case 7:
		g.value('i', depth-1)
		g.enter(0x04, "")
		g.statement(depth - 1)
		if g.IntN(2) == 0 {
			g.emit(0x05)
			g.statement(depth - 1)
		}
		g.leave()
	case 8:
		g.branch(depth)
	case 9:
		g.table(depth)
	case 10:
		g.bulk(depth)
	case 11:
		gives := g.letters(3)
		g.block(gives, depth)
		g.drop(gives)
	case 12:
		g.away(depth)
	default:
		g.value(t, depth)
		g.emit(0x1a)
	}
}

func (g *generator) drop(types string) {
	for range types {
		g.emit(0x1a)
	}
}

func (g *generator) store(t byte, depth int) {
	g.address(depth)
	g.value(t, depth-1)
	o := map[byte][]genAccess{
		'i': {{[]byte{0x36}, 2}, {[]byte{0x3a}, 0}, {[]byte{0x3b}, 1}}, 'l': {{[]byte{0x37}, 3}, {[]byte{0x3e}, 2}},
		'f': {{[]byte{0x38}, 2}}, 'd': {{[]byte{0x39}, 3}}, 'v': {{[]byte{0xfd, 11}, 4}},
	}[t]
	a := o[g.IntN(len(o))]
	g.access(a.code, a.align)
}

// loop puts a loop there whose counter ends it.
func (g *generator) loop(depth int) {
	if g.loops == genLoops {
		g.emit(0x01)
		return
	}
	c := g.counter()
	g.loops++
	g.i32(int32(1 + g.IntN(4)))
	g.op(0x21, c)
	g.enter(0x02, "")
	g.enter(0x03, "")
	g.op(0x20, c)
	g.i32(1)
	g.emit(0x6b)
	g.op(0x22, c)
	g.i32(0)
	g.emit(0x48, 0x0d, 1)
	for range 1 + g.IntN(3) {
		g.statement(depth - 1)
	}
	if g.IntN(2) == 0 {
		g.emit(0x0c, 0)
	} else {
		g.value('i', 1)
		g.emit(0x0d, 0)
	}
	g.leave()
	g.leave()
	g.loops--
}

// branch goes to a label if a value says so.
func (g *generator) branch(depth int) {
	l := g.IntN(len(g.labels))
	types := g.labels[len(g.labels)-1-l]
	g.values(types, depth-1)
	g.value('i', depth-1)
	g.op(0x0d, l)
	g.drop(types)
}

// away leaves for good, out of a block that is gone into if a value says so, and
// has code behind that is never reached.
func (g *generator) away(depth int) {
	g.value('i', depth-1)
	g.i32(3)
	g.emit(0x71, 0x45)
	g.enter(0x04, "")
	l := g.IntN(len(g.labels))
	switch types := g.labels[len(g.labels)-1-l]; {
	case g.IntN(10) == 0:
		g.emit(0x00)
	case g.IntN(4) == 0:
		g.values(g.labels[0], depth-1)
		g.emit(0x0f)
	default:
		g.values(types, depth-1)
		g.op(0x0c, l)
	}
	if g.IntN(2) == 0 {
		g.statement(depth - 1)
	}
	g.leave()
}

// table goes to one of three ends.
func (g *generator) table(depth int) {
	for range 3 {
		g.enter(0x02, "")
	}
	g.value('i', depth-1)
	if g.IntN(3) > 0 {
		g.i32(3)
		g.emit(0x71)
	}
	g.emit(0x0e, 3, byte(g.IntN(3)), 1, byte(g.IntN(3)), 2)
	for range 3 {
		if g.IntN(4) == 0 {
			g.statement(depth - 1)
		}
		g.leave()
		g.statement(depth - 1)
	}
}

// bulk works on ranges, or on sizes.
func (g *generator) bulk(depth int) {
	switch g.IntN(4) {
	case 0:
		g.address(depth)
		g.value('i', depth-1)
		g.i32(int32(g.IntN(100)))
		g.emit(0xfc, 11, 0)
	case 1:
		g.address(depth)
		g.address(depth)
		g.value('i', depth-1)
		g.i32(63)
		g.emit(0x71, 0xfc, 10, 0, 0)
	case 2:
		g.i32(int32(g.IntN(2)))
		g.emit(0x40, 0)
		g.op(0x21, g.local('i'))
	default:
		g.emit(0xd0, 0x70)
		g.i32(int32(g.IntN(3)))
		g.emit(0xfc, 15, 0)
		g.op(0x21, g.local('i'))
	}
}

// invoke calls a later function that gives a t first, or does without.
func (g *generator) invoke(t byte, depth int) {
	var fit []int
	for i := g.fn + 1; i < genFuncs; i++ {
		if _, results, _ := strings.Cut(g.types[i], ">"); strings.HasPrefix(results, string(t)) {
			fit = append(fit, i)
		}
	}
	if len(fit) == 0 {
		g.plain(t, depth)
		return
	}
	i := fit[g.IntN(len(fit))]
	params, results, _ := strings.Cut(g.types[i], ">")
	g.values(params, depth-1)
	if g.fn < genLeaves && g.IntN(3) == 0 {
		g.i32(int32(i - genLeaves + 1))
		if g.IntN(4) == 0 {
			g.value('i', 1)
			g.i32(3)
			g.emit(0x71, 0x6a)
		}
		g.op(0x11, i)
		g.emit(0)
	} else {
		g.op(0x10, i)
	}
	g.drop(results[1:])
}
