package rewrite

import "math"

// An origin says where the bits of a value come from, as far as NaN patterns go.
// From 0 on it is the number of a producer.
type origin int32

const (
	fromBits   origin = -1 // all machines agree on them, and they must stay as they are
	fromNumber origin = -2 // it is no NaN, whatever floats it is taken for

	// Of integers, where an engine may take a wrong branch (see compare):
	fromAny  origin = -3  // of a block, or unreachable
	fromZero origin = -4  // the constant 0
	fromAnd  origin = -5  // the result of an and
	fromSlot origin = -16 // the value of local 0; below, of the others
)

// A value is what validation knows of an operand.
type value struct {
	typ  valType
	from origin
}

// A frame is a block that is open; the first is the function.
type frame struct {
	code     byte // that opened it
	sig      funcType
	base     int  // operands below it
	stuck    bool // what follows cannot be reached, and takes operands from nowhere
	live     bool // its beginning can be reached
	ends     bool // its end can be reached by a branch, or from the arm before its else
	targeted bool // somebody branches to its end
}

// takes gives what a branch to the frame takes along.
func (f *frame) takes() []valType {
	if f.code == opLoop {
		return f.sig.params
	}
	return f.sig.results
}

// A checker validates the body of one function, by the algorithm in the appendix
// of the specification, and plans what is to be changed in it.
type checker struct {
	m      *module
	r      reader
	locals []valType
	params int
	stack  []value
	frames []frame
	live   bool // what follows can be reached
	slots  int  // of the operands
	most   int  // slots, ever
	sum    int  // locals of all functions so far
	plan
}

// maxNesting is how many blocks may be open in one function.
const maxNesting = 10_000

// function checks the body of function number i of those that are not imported.
func (c *checker) function(i int) error {
	sig := c.m.types[c.m.functions[c.m.imported+i]]
	c.r = reader{b: c.m.bodies[i]}
	c.locals, c.params = append(c.locals[:0], sig.params...), len(sig.params)
	c.readLocals()
	c.stack, c.frames, c.slots, c.most = c.stack[:0], c.frames[:0], 0, 0
	c.plan.reset(c.locals, c.params)
	c.begin, c.live = c.r.at, true
	c.open(opBlock, funcType{nil, sig.results})
	c.region(false)
	for c.r.err == nil && len(c.frames) > 0 {
		c.instruction()
	}
	if c.r.more() {
		c.r.fail(ErrMalformed, "a function is longer than its code")
	}
	if c.r.err == nil {
		c.resolve()
	}
	return c.r.err
}

func (c *checker) readLocals() {
	c.groups = c.r.count()
	c.declared = c.r.at
	all := uint64(len(c.locals))
	for range c.groups {
		n, t := c.r.u32(), c.r.valType()
		if all += uint64(n); all > maxLocals {
			continue
		}
		for range n {
			c.locals = append(c.locals, t)
		}
	}
	switch {
	case all > math.MaxUint32:
		c.r.fail(ErrMalformed, "too many locals")
	case all > maxLocals:
		c.r.fail(ErrUnsupported, "a function has %d locals, more than %d", all, maxLocals)
	}
	if c.sum += len(c.locals); c.sum > sumLocals+perByte*c.m.size {
		c.r.fail(ErrUnsupported, "its functions have too many locals: more than %d", sumLocals+perByte*c.m.size)
	}
}

func (c *checker) invalid(format string, args ...any) { c.r.fail(ErrInvalid, format, args...) }

func (c *checker) push(t valType, from origin) {
	c.stack = append(c.stack, value{t, from})
	c.slots += t.slots()
	c.most = max(c.most, c.slots)
}

func (c *checker) pushAll(types []valType, from origin) {
	for _, t := range types {
		c.push(t, from)
	}
}

// pop takes an operand of type want, typeAny for any.
func (c *checker) pop(want valType) value {
	f := &c.frames[len(c.frames)-1]
	if len(c.stack) == f.base {
		if !f.stuck {
			c.invalid("type mismatch: an operand is missing")
		}
		return value{want, fromAny}
	}
	v := c.stack[len(c.stack)-1]
	c.stack = c.stack[:len(c.stack)-1]
	c.slots -= v.typ.slots()
	if v.typ == typeAny {
		v.typ = want
	} else if v.typ != want && want != typeAny {
		c.invalid("type mismatch: %s where %s is expected", v.typ, want)
	}
	return v
}

// popAll takes operands that all their bits are looked at of.
func (c *checker) popAll(types []valType) {
	for i := len(types) - 1; i >= 0; i-- {
		c.use(c.pop(types[i]), noFloat)
	}
}

func (c *checker) open(code byte, sig funcType) {
	if len(c.frames) >= maxNesting {
		c.r.fail(ErrUnsupported, "more than %d blocks inside each other", maxNesting)
		return
	}
	c.frames = append(c.frames, frame{code: code, sig: sig, base: len(c.stack), live: c.live})
	c.pushAll(sig.params, fromAny)
}

// close ends the innermost frame and gives it.
func (c *checker) close() frame {
	f := c.frames[len(c.frames)-1]
	c.popAll(f.sig.results)
	if len(c.stack) != f.base {
		c.invalid("type mismatch: values remain at the end of a block")
	}
	c.frames = c.frames[:len(c.frames)-1]
	return f
}

// stuck notes that what follows cannot be reached.
func (c *checker) stuck() {
	f := &c.frames[len(c.frames)-1]
	for _, v := range c.stack[f.base:] {
		c.slots -= v.typ.slots()
	}
	c.stack, f.stuck = c.stack[:f.base], true
	c.live = false
	c.noRegion()
}

// label gives the frame that a branch goes to.
func (c *checker) label(depth uint32) *frame {
	if int64(depth) >= int64(len(c.frames)) {
		c.invalid("unknown label %d", depth)
		return &c.frames[0]
	}
	f := &c.frames[len(c.frames)-1-int(depth)]
	if c.live && f.code != opLoop {
		f.targeted, f.ends = true, true
	}
	return f
}

// blockType reads the signature of a block.
func (c *checker) blockType() funcType {
	if !c.r.more() {
		c.r.fail(ErrMalformed, "unexpected end")
		return funcType{}
	}
	switch t := valType(c.r.b[c.r.at]); t {
	case 0x40:
		c.r.at++
		return funcType{}
	case typeI32, typeI64, typeF32, typeF64, typeV128, typeFunc, typeExtern:
		c.r.at++
		return funcType{nil, oneType(t)}
	}
	index := c.r.signed(33)
	switch {
	case index < 0:
		c.r.fail(ErrMalformed, "malformed block type")
	case index >= int64(len(c.m.types)):
		c.invalid("unknown type %d", index)
	default:
		return c.m.types[index]
	}
	return funcType{}
}

// oneType gives t as a list, without making one.
func oneType(t valType) []valType { return singles[typeExtern^t : typeExtern^t+1 : typeExtern^t+1] }

// singles holds each type where its bits tell.
var singles = func() (s [256]valType) {
	for _, t := range []valType{typeI32, typeI64, typeF32, typeF64, typeV128, typeFunc, typeExtern} {
		s[typeExtern^t] = t
	}
	return s
}()
