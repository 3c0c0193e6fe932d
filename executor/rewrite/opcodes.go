package rewrite

// Opcodes that are more than their signature says.
const (
	opUnreachable  = 0x00
	opNop          = 0x01
	opBlock        = 0x02
	opLoop         = 0x03
	opIf           = 0x04
	opElse         = 0x05
	opEnd          = 0x0b
	opBr           = 0x0c
	opBrIf         = 0x0d
	opBrTable      = 0x0e
	opReturn       = 0x0f
	opCall         = 0x10
	opCallIndirect = 0x11
	opDrop         = 0x1a
	opSelect       = 0x1b
	opSelectTyped  = 0x1c
	opLocalGet     = 0x20
	opLocalSet     = 0x21
	opLocalTee     = 0x22
	opGlobalGet    = 0x23
	opGlobalSet    = 0x24
	opTableGet     = 0x25
	opTableSet     = 0x26
	opMemorySize   = 0x3f
	opMemoryGrow   = 0x40
	opI32Const     = 0x41
	opI64Const     = 0x42
	opF32Const     = 0x43
	opF64Const     = 0x44
	opI32Eqz       = 0x45
	opI64LtS       = 0x53
	opF32Eq        = 0x5b
	opF64Eq        = 0x61
	opI32Sub       = 0x6b
	opI32And       = 0x71
	opI64Add       = 0x7c
	opI64Sub       = 0x7d
	opI64Mul       = 0x7e
	opI64And       = 0x83
	opI64Or        = 0x84
	opI64ShrU      = 0x88
	opI64ExtendU   = 0xad
	opRefNull      = 0xd0
	opRefIsNull    = 0xd1
	opRefFunc      = 0xd2
	opMisc         = 0xfc
	opVector       = 0xfd

	miscMemoryInit = 8
	miscDataDrop   = 9
	miscMemoryCopy = 10
	miscMemoryFill = 11
	miscTableInit  = 12
	miscElemDrop   = 13
	miscTableCopy  = 14
	miscTableGrow  = 15
	miscTableSize  = 16
	miscTableFill  = 17

	vectorConst     = 12
	vectorShuffle   = 13
	vectorF32x4Eq   = 65
	vectorF64x2Eq   = 71
	vectorBitselect = 82
)

// A floatRole says what an instruction has to do with NaN patterns.
type floatRole byte

const (
	roleOther  floatRole = iota // looks at all bits of its operands; gives bits that all machines agree on
	roleArith                   // blind to NaN patterns, and gives a NaN of any pattern
	roleBlind                   // blind to NaN patterns, and gives no floats
	roleNumber                  // gives a float that is never a NaN
	roleMove                    // moves whole floats: it may come before or after NaNs are made canonical
)

// A shape is how the bits of a value are cut into floats.
type shape byte

const (
	noFloat shape = iota
	f32     shape = 1 << (iota - 1)
	f64
	f32x4
	f64x2
)

// An immediate is what follows an opcode.
type immediate byte

const (
	immNone immediate = iota
	immMemory
	immMemoryLane // and a lane
	immLane
	immShuffle
	immV128
)

// An opcode is a plain instruction: what it takes and gives is the same wherever
// it stands.
type opcode struct {
	known bool
	in    string // operands, the deepest first; i, l: i32, i64; f, d: f32, f64; v: v128
	out   valType
	imm   immediate
	align byte // log2 of the bytes that a memory access takes
	lanes byte
	cost  byte
	role  floatRole
	takes shape // that it is blind to the NaN patterns of
	gives shape
}

// letters gives the types of signatures.
var letters = [256]valType{'i': typeI32, 'l': typeI64, 'f': typeF32, 'd': typeF64, 'v': typeV128}

// Costs of instructions, in fuel. What is not named costs 1; block, loop, else,
// end and nop cost nothing. They follow what instructions take on today's
// processors, compiled, roughly.
const (
	costPlain       = 1
	costDivide      = 8
	costCall        = 4
	costIndirect    = 8
	costBranchTable = 2
	costVector      = 2
	costBulk        = 16 // of an instruction that works on a range, and …
	bulkShift       = 4  // … one more for each 16 bytes, and …
	costElement     = 2  // … for each element of a table
	costPage        = 4096
)

func op(sig string, more ...func(*opcode)) opcode {
	o := opcode{known: true, cost: costPlain}
	for i, c := range sig {
		if c == '>' {
			if o.in = sig[:i]; i+1 < len(sig) {
				o.out = letters[sig[i+1]]
			}
		}
	}
	for _, f := range more {
		f(&o)
	}
	return o
}

func cost(n byte) func(*opcode) { return func(o *opcode) { o.cost = n } }

func role(r floatRole, takes, gives shape) func(*opcode) {
	return func(o *opcode) { o.role, o.takes, o.gives = r, takes, gives }
}

func memory(align byte) func(*opcode) {
	return func(o *opcode) { o.imm, o.align = immMemory, align }
}

func lane(n byte) func(*opcode) { return func(o *opcode) { o.imm, o.lanes = immLane, n } }

func memoryLane(align, lanes byte) func(*opcode) {
	return func(o *opcode) { o.imm, o.align, o.lanes = immMemoryLane, align, lanes }
}

// plain, misc and vector hold the instructions of one byte, and those behind the
// prefixes 0xfc and 0xfd.
var (
	plain  = plainOpcodes()
	misc   = miscOpcodes()
	vector = vectorOpcodes()
)

// fill sets the opcodes from first to last.
func fill(t *[256]opcode, first, last int, o opcode) {
	for i := first; i <= last; i++ {
		t[i] = o
	}
}

func plainOpcodes() (t [256]opcode) {
	for i, sig := range []string{"i>i", "i>l", "i>f", "i>d"} {
		t[0x28+i] = op(sig, memory([]byte{2, 3, 2, 3}[i]))
	}
	for i, align := range []byte{0, 0, 1, 1} {
		t[0x2c+i] = op("i>i", memory(align))
	}
	for i, align := range []byte{0, 0, 1, 1, 2, 2} {
		t[0x30+i] = op("i>l", memory(align))
	}
	for i, sig := range []string{"ii>", "il>", "if>", "id>", "ii>", "ii>", "il>", "il>", "il>"} {
		t[0x36+i] = op(sig, memory([]byte{2, 3, 2, 3, 0, 1, 0, 1, 2}[i]))
	}
	fill(&t, 0x45, 0x45, op("i>i"))
	fill(&t, 0x46, 0x4f, op("ii>i"))
	fill(&t, 0x50, 0x50, op("l>i"))
	fill(&t, 0x51, 0x5a, op("ll>i"))
	fill(&t, 0x5b, 0x60, op("ff>i", role(roleBlind, f32, noFloat)))
	fill(&t, 0x61, 0x66, op("dd>i", role(roleBlind, f64, noFloat)))
	fill(&t, 0x67, 0x69, op("i>i"))
	fill(&t, 0x6a, 0x78, op("ii>i"))
	fill(&t, 0x6d, 0x70, op("ii>i", cost(costDivide)))
	fill(&t, 0x79, 0x7b, op("l>l"))
	fill(&t, 0x7c, 0x8a, op("ll>l"))
	fill(&t, 0x7f, 0x82, op("ll>l", cost(costDivide)))
	t[0x8b], t[0x8c] = op("f>f", role(roleMove, f32, f32)), op("f>f")
	fill(&t, 0x8d, 0x90, op("f>f", role(roleArith, f32, f32)))
	fill(&t, 0x91, 0x91, op("f>f", role(roleArith, f32, f32), cost(costDivide)))
	fill(&t, 0x92, 0x97, op("ff>f", role(roleArith, f32, f32)))
	fill(&t, 0x95, 0x95, op("ff>f", role(roleArith, f32, f32), cost(costDivide)))
	fill(&t, 0x98, 0x98, op("ff>f"))
	t[0x99], t[0x9a] = op("d>d", role(roleMove, f64, f64)), op("d>d")
	fill(&t, 0x9b, 0x9e, op("d>d", role(roleArith, f64, f64)))
	fill(&t, 0x9f, 0x9f, op("d>d", role(roleArith, f64, f64), cost(costDivide)))
	fill(&t, 0xa0, 0xa5, op("dd>d", role(roleArith, f64, f64)))
	fill(&t, 0xa3, 0xa3, op("dd>d", role(roleArith, f64, f64), cost(costDivide)))
	fill(&t, 0xa6, 0xa6, op("dd>d"))
	fill(&t, 0xa7, 0xa7, op("l>i"))
	fill(&t, 0xa8, 0xa9, op("f>i", role(roleBlind, f32, noFloat)))
	fill(&t, 0xaa, 0xab, op("d>i", role(roleBlind, f64, noFloat)))
	fill(&t, 0xac, 0xad, op("i>l"))
	fill(&t, 0xae, 0xaf, op("f>l", role(roleBlind, f32, noFloat)))
	fill(&t, 0xb0, 0xb1, op("d>l", role(roleBlind, f64, noFloat)))
	fill(&t, 0xb2, 0xb3, op("i>f", role(roleNumber, noFloat, f32)))
	fill(&t, 0xb4, 0xb5, op("l>f", role(roleNumber, noFloat, f32)))
	fill(&t, 0xb6, 0xb6, op("d>f", role(roleArith, f64, f32)))
	fill(&t, 0xb7, 0xb8, op("i>d", role(roleNumber, noFloat, f64)))
	fill(&t, 0xb9, 0xba, op("l>d", role(roleNumber, noFloat, f64)))
	fill(&t, 0xbb, 0xbb, op("f>d", role(roleArith, f32, f64)))
	t[0xbc], t[0xbd], t[0xbe], t[0xbf] = op("f>i"), op("d>l"), op("i>f"), op("l>d")
	fill(&t, 0xc0, 0xc1, op("i>i"))
	fill(&t, 0xc2, 0xc4, op("l>l"))
	return t
}

func miscOpcodes() (t [8]opcode) {
	for i := range t {
		takes, sig := f32, []string{"f>i", "f>i", "d>i", "d>i", "f>l", "f>l", "d>l", "d>l"}[i]
		if i&2 != 0 {
			takes = f64
		}
		t[i] = op(sig, role(roleBlind, takes, noFloat))
	}
	return t
}

func vectorOpcodes() (t [256]opcode) {
	fill(&t, 35, 255, op("vv>v"))
	for _, reserved := range []int{154, 162, 165, 166, 175, 176, 178, 179, 180, 187, 194, 197, 198, 207, 208, 210, 211, 212, 226, 238} {
		t[reserved] = opcode{}
	}
	for _, unary := range [][2]int{{77, 77}, {96, 98}, {124, 129}, {135, 138}, {160, 161}, {167, 170}, {192, 193}, {199, 202}, {224, 225}, {236, 237}} {
		fill(&t, unary[0], unary[1], op("v>v"))
	}
	for _, shift := range []int{107, 139, 171, 203} {
		fill(&t, shift, shift+2, op("vi>v"))
	}
	for _, test := range []int{83, 99, 100, 131, 132, 163, 164, 195, 196} {
		t[test] = op("v>i")
	}
	vectorMemory(&t)
	vectorLanes(&t)
	vectorFloats(&t)
	for i := range t {
		if t[i].known && t[i].cost == costPlain {
			t[i].cost = costVector
		}
	}
	return t
}

func vectorMemory(t *[256]opcode) {
	for i, align := range []byte{4, 3, 3, 3, 3, 3, 3, 0, 1, 2, 3} {
		t[i] = op("i>v", memory(align))
	}
	t[11] = op("iv>", memory(4))
	t[vectorConst] = op(">v", func(o *opcode) { o.imm = immV128 })
	t[vectorShuffle] = op("vv>v", func(o *opcode) { o.imm = immShuffle })
	t[14] = op("vv>v")
	for i := range 4 {
		t[84+i] = op("iv>v", memoryLane(byte(i), byte(16>>i)))
		t[88+i] = op("iv>", memoryLane(byte(i), byte(16>>i)))
	}
	t[92], t[93] = op("i>v", memory(2)), op("i>v", memory(3))
	t[vectorBitselect] = op("vvv>v")
}

func vectorLanes(t *[256]opcode) {
	for i, c := range "iiilfd" {
		t[15+i] = op(string(c) + ">v")
	}
	for _, x := range []struct {
		at    int
		typ   string
		lanes byte
		twice bool // signed and unsigned
	}{{21, "i", 16, true}, {24, "i", 8, true}, {27, "i", 4, false}, {29, "l", 2, false}, {31, "f", 4, false}, {33, "d", 2, false}} {
		t[x.at] = op("v>"+x.typ, lane(x.lanes))
		if x.twice {
			x.at++
			t[x.at] = op("v>"+x.typ, lane(x.lanes))
		}
		t[x.at+1] = op("v"+x.typ+">v", lane(x.lanes))
	}
}

func vectorFloats(t *[256]opcode) {
	fill(t, 65, 70, op("vv>v", role(roleBlind, f32x4, noFloat)))
	fill(t, 71, 76, op("vv>v", role(roleBlind, f64x2, noFloat)))
	t[94] = op("v>v", role(roleArith, f64x2, f32x4))
	t[95] = op("v>v", role(roleArith, f32x4, f64x2))
	fill(t, 103, 106, op("v>v", role(roleArith, f32x4, f32x4)))
	for _, round := range []int{116, 117, 122, 148} {
		t[round] = op("v>v", role(roleArith, f64x2, f64x2))
	}
	for at, s := range map[int]shape{224: f32x4, 236: f64x2} {
		t[at] = op("v>v", role(roleMove, s, s))
		t[at+3] = op("v>v", role(roleArith, s, s), cost(2*costDivide))
		fill(t, at+4, at+9, op("vv>v", role(roleArith, s, s)))
		t[at+7].cost = 2 * costDivide
	}
	for at, s := range map[int]shape{31: f32x4, 33: f64x2} {
		one := s >> 2
		t[19+(at-31)/2].role, t[19+(at-31)/2].takes, t[19+(at-31)/2].gives = roleMove, one, s
		t[at].role, t[at].takes, t[at].gives = roleMove, s, one
	}
	fill(t, 234, 235, op("vv>v", role(roleMove, f32x4, f32x4)))
	fill(t, 246, 247, op("vv>v", role(roleMove, f64x2, f64x2)))
	fill(t, 248, 249, op("v>v", role(roleBlind, f32x4, noFloat)))
	fill(t, 252, 253, op("v>v", role(roleBlind, f64x2, noFloat)))
	fill(t, 250, 251, op("v>v", role(roleNumber, noFloat, f32x4)))
	fill(t, 254, 255, op("v>v", role(roleNumber, noFloat, f64x2)))
}
