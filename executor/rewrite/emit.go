package rewrite

import (
	"bytes"
	"encoding/binary"
)

// What frames take of the stack, in slots of 8 bytes.
const (
	// StackSlots is how many slots there are. An engine that runs rewritten code
	// should have some 48 bytes for each; a compiler may take more than that for
	// programs that are made for it.
	StackSlots = 1 << 20
	frameSlots = 32  // of every frame, besides its locals and operands, and …
	frameShift = 7   // … one for each 128 bytes of code: what a compiler spills, mostly
	leafSlots  = 512 // a frame of at most so many that calls nobody is free
)

// leafFuel is what a function that calls nobody may cost, at most, without that it
// is seen at its beginning whether there is as much.
const leafFuel = 64

// An emitter writes the changed body of one function.
type emitter struct {
	*checker
	out         []byte
	fuel, stack uint32 // globals
	temps       temps
}

// temps are locals for the use of what is put in, from local number base on.
type temps struct {
	base uint32
	have []valType
}

// of gives the n-th local for values of type t, which is made if there is none.
func (t *temps) of(typ valType, n int) uint32 {
	for i, h := range t.have {
		if h == typ {
			if n == 0 {
				return t.base + uint32(i)
			}
			n--
		}
	}
	t.have = append(t.have, typ)
	return t.base + uint32(len(t.have)-1)
}

// frame is how much of the stack the function takes.
func (c *checker) frame() int64 {
	slots := frameSlots + c.most + len(c.r.b)>>frameShift
	for _, t := range c.locals {
		slots += t.slots()
	}
	return int64(slots)
}

// body appends the function's new body, with its length before it, to out.
// wrapper is the type of the block that its code goes into.
func (e *emitter) body(out []byte, wrapper []byte) []byte {
	e.out, e.temps = e.out[:0], temps{base: uint32(len(e.locals))}
	e.enter(wrapper)
	e.code()
	e.leave()
	var head []byte
	head = appendU32(head, uint32(e.groups+len(e.temps.have)))
	head = append(head, e.r.b[e.declared:e.begin]...)
	for _, t := range e.temps.have {
		head = append(head, 1, byte(t))
	}
	out = appendU32(out, uint32(len(head)+len(e.out)))
	out = append(out, head...)
	return append(out, e.out...)
}

// enter pays for the first region, and takes the frame from the stack. A
// function that calls others takes it for as long as it runs; one that calls
// nobody only has to see that there is enough. Recursion goes through the former,
// so they stop where there is no fuel.
//
// Where a function may end in the midst, for want of fuel, all of it is in a
// block, and what is behind that block ends the program: in a loop a branch that is
// never taken costs wazero less than a block that is never entered.
func (e *emitter) enter(wrapper []byte) {
	first := e.changes[0].arg
	if e.stops {
		e.out = append(e.out, opBlock, 0x40)
	}
	switch {
	case e.calls:
		fuel, stack := e.temps.of(typeI64, 0), e.temps.of(typeI64, 1)
		e.take(e.fuel, first)
		e.op(opLocalTee, fuel)
		e.op(opGlobalSet, e.fuel)
		e.take(e.stack, e.frame())
		e.op(opLocalTee, stack)
		e.op(opGlobalSet, e.stack)
		e.op(opLocalGet, fuel)
		e.op(opLocalGet, stack)
		e.out = append(e.out, opI64Or)
		e.orTrap()
	case e.costs() > leafFuel:
		left := e.temps.of(typeI64, 0)
		e.take(e.fuel, first)
		e.op(opLocalTee, left)
		e.op(opGlobalSet, e.fuel)
		e.op(opLocalGet, left)
		e.orTrap()
	default:
		e.charge(first)
	}
	if !e.calls && e.frame() > leafSlots {
		e.op(opGlobalGet, e.stack)
		e.constant(e.frame())
		e.out = append(e.out, opI64LtS, opIf, 0x40)
		e.constant(-1)
		e.op(opGlobalSet, e.stack)
		e.out = append(e.out, opUnreachable, opEnd)
	}
	if e.stops || e.calls {
		e.out = append(append(e.out, opBlock), wrapper...)
	}
}

// costs is what the function's regions cost together.
func (e *emitter) costs() (sum int64) {
	for _, c := range e.changes {
		if c.kind == changeCharge || c.kind == changeLoop {
			sum += c.arg
		}
	}
	return sum
}

// orTrap ends the program if what is on the stack is below zero.
func (e *emitter) orTrap() {
	e.constant(0)
	e.out = append(e.out, opI64LtS, opIf, 0x40, opUnreachable, opEnd)
}

// leave gives the frame back.
func (e *emitter) leave() {
	if e.calls {
		e.op(opGlobalGet, e.stack)
		e.constant(e.frame())
		e.out = append(e.out, opI64Add)
		e.op(opGlobalSet, e.stack)
	}
	switch {
	case e.stops:
		e.out = append(e.out, opReturn, opEnd, opUnreachable, opEnd)
	case e.calls:
		e.out = append(e.out, opEnd)
	}
}

// code copies the code, with what is changed in it.
func (e *emitter) code() {
	at := e.begin
	for _, c := range e.changes[1:] {
		e.out = append(e.out, e.r.b[at:c.at]...)
		at = c.at
		switch c.kind {
		case changeCharge:
			e.charge(c.arg)
		case changeLoop:
			e.chargeAndStop(c.arg, c.depth)
		case changeBulk:
			e.price(unpack(c.arg), c.depth)
		case changeCanonical:
			if p := e.producers[c.arg]; p.needed {
				at += e.canonical(p.shape, e.r.b[at])
			}
		case changeSelect:
			e.choice(valType(c.arg))
			at += selectLength(e.r.b[at])
		case changeCompare:
			if e.risky(e.comparisons[c.arg]) {
				e.out = append(e.out, opI32Eqz, opI32Eqz)
			}
		case changeReturn:
			if e.calls {
				e.op(opBr, uint32(c.arg))
				at++
			}
		}
	}
	e.out = append(e.out, e.r.b[at:]...)
}

func (e *emitter) op(code byte, arg uint32) { e.out = appendU32(append(e.out, code), arg) }

func (e *emitter) constant(v int64) { e.out = appendSigned(append(e.out, opI64Const), v) }

// take puts what is left of a global less n on the stack.
func (e *emitter) take(global uint32, n int64) {
	e.op(opGlobalGet, global)
	e.constant(n)
	e.out = append(e.out, opI64Sub)
}

// charge takes fuel.
func (e *emitter) charge(n int64) {
	if n == 0 {
		return
	}
	e.take(e.fuel, n)
	e.op(opGlobalSet, e.fuel)
}

// chargeAndStop takes fuel, and ends the program where there is none left.
func (e *emitter) chargeAndStop(n int64, depth int32) {
	if n == 0 { // a loop that costs nothing is never begun again
		return
	}
	e.take(e.fuel, n)
	e.settle(depth)
}

// settle sets the fuel to what is on the stack, and ends the program if that is
// below zero.
func (e *emitter) settle(depth int32) {
	left := e.temps.of(typeI64, 0)
	e.op(opLocalTee, left)
	e.op(opGlobalSet, e.fuel)
	e.op(opLocalGet, left)
	e.stop(depth)
}

// stop ends the program if what is on the stack is below zero, where so many
// blocks are open.
func (e *emitter) stop(depth int32) {
	e.constant(0)
	e.out = append(e.out, opI64LtS)
	e.op(opBrIf, uint32(depth))
}

// price takes fuel by the operand on the stack, which stays there.
func (e *emitter) price(p priceOf, depth int32) {
	n := e.temps.of(typeI32, 0)
	e.op(opLocalTee, n)
	e.op(opGlobalGet, e.fuel)
	e.op(opLocalGet, n)
	e.out = append(e.out, opI64ExtendU)
	switch {
	case p.each > 1:
		e.constant(p.each)
		e.out = append(e.out, opI64Mul)
	case p.shift > 0:
		e.constant(p.shift)
		e.out = append(e.out, opI64ShrU)
	}
	e.out = append(e.out, opI64Sub)
	e.settle(depth)
}

// The canonical NaNs.
const (
	nan32 = 0x7fc00000
	nan64 = 0x7ff8000000000000
)

// A scalar says how bits and floats of one width are handled.
type scalar struct {
	bits                 valType
	equal                byte // of floats
	constant             byte // of bits
	toBits, toFloat      byte // reinterpretation
	floatStore, bitStore byte
}

var (
	scalar32 = scalar{bits: typeI32, equal: opF32Eq, constant: opI32Const, toBits: 0xbc, toFloat: 0xbe, floatStore: 0x38, bitStore: 0x36}
	scalar64 = scalar{bits: typeI64, equal: opF64Eq, constant: opI64Const, toBits: 0xbd, toFloat: 0xbf, floatStore: 0x39, bitStore: 0x37}
)

// canonical gives the float on the stack, or each of the vector, the canonical
// NaN if it is one. It gives how many bytes of code it has done the work of, of
// what comes next.
func (e *emitter) canonical(s shape, next byte) int {
	switch s {
	case f32:
		return e.settled(typeF32, scalar32, nan32, next)
	case f64:
		return e.settled(typeF64, scalar64, nan64, next)
	case f32x4:
		e.masked(bytes.Repeat(binary.LittleEndian.AppendUint32(nil, nan32), 4), vectorF32x4Eq)
	case f64x2:
		e.masked(bytes.Repeat(binary.LittleEndian.AppendUint64(nil, nan64), 2), vectorF64x2Eq)
	}
	return 0
}

// settled chooses between x and NaN by x = x, as bits: an engine in use chooses
// floats wrongly (see choice). What is stored next need not be a float again.
func (e *emitter) settled(t valType, s scalar, nan int64, next byte) int {
	x := e.temps.of(t, 0)
	e.op(opLocalTee, x)
	e.out = appendSigned(append(e.out, s.toBits, s.constant), nan)
	e.op(opLocalGet, x)
	e.op(opLocalGet, x)
	e.out = append(e.out, s.equal, opSelect)
	if next == s.floatStore {
		e.out = append(e.out, s.bitStore)
		return 1
	}
	e.out = append(e.out, s.toFloat)
	return 0
}

func (e *emitter) masked(nan []byte, equal byte) {
	x := e.temps.of(typeV128, 0)
	e.op(opLocalTee, x)
	e.out = append(append(e.out, opVector, vectorConst), nan...)
	e.op(opLocalGet, x)
	e.op(opLocalGet, x)
	e.out = append(e.out, opVector, equal, opVector, vectorBitselect)
}

// choice is a select of floats or vectors that does not use select: wazero 1.12.0
// gives a stale register for it where the condition is false
// (github.com/wazero/wazero/issues/2534).
func (e *emitter) choice(t valType) {
	switch t {
	case typeV128:
		const splat = 17
		e.out = append(e.out, opI32Eqz, opI32Const, 1, opI32Sub, opVector, splat, opVector, vectorBitselect)
	case typeF32:
		e.chosen(scalar32)
	case typeF64:
		e.chosen(scalar64)
	}
}

func (e *emitter) chosen(s scalar) {
	condition, b := e.temps.of(typeI32, 0), e.temps.of(s.bits, 1)
	e.op(opLocalSet, condition)
	e.out = append(e.out, s.toBits)
	e.op(opLocalSet, b)
	e.out = append(e.out, s.toBits)
	e.op(opLocalGet, b)
	e.op(opLocalGet, condition)
	e.out = append(e.out, opSelect, s.toFloat)
}

// selectLength is how many bytes an instruction takes that begins with a select.
func selectLength(code byte) int {
	if code == opSelectTyped {
		return 3
	}
	return 1
}
