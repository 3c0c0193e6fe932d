package rewrite

// instruction checks the next instruction.
func (c *checker) instruction() {
	at := c.r.at
	code := c.r.byte()
	if o := &plain[code]; o.known {
		switch {
		case isOrder(code):
			c.compare(code, o)
		case isShift(code):
			from := c.below()
			c.plainInstruction(o)
			c.stack[len(c.stack)-1].from = from
		case code == opI32And || code == opI64And:
			c.plainInstruction(o)
			c.stack[len(c.stack)-1].from = fromAnd
		default:
			c.plainInstruction(o)
		}
		return
	}
	switch code {
	case opLocalGet, opLocalSet, opLocalTee:
		c.local(code)
	case opI32Const, opI64Const, opF32Const, opF64Const:
		c.constant(code)
	case opVector:
		n := c.r.second()
		if n > 255 || !vector[n].known {
			c.r.fail(ErrUnsupported, "unknown vector instruction %d (relaxed SIMD is not part of this machine)", n)
			return
		}
		c.vectorInstruction(byte(n), &vector[n])
	case opMisc:
		c.miscInstruction(at)
	case opGlobalGet, opGlobalSet:
		c.global(code)
	case opDrop:
		c.pop(typeAny)
	case opSelect, opSelectTyped:
		c.choose(code, at)
	case opMemorySize, opMemoryGrow:
		c.memorySize(code, at)
	case opTableGet, opTableSet:
		c.tableEntry(code)
	case opRefNull, opRefIsNull, opRefFunc:
		c.reference(code)
	default:
		c.control(code, at)
	}
}

// plainInstruction takes and gives what its signature says.
func (c *checker) plainInstruction(o *opcode) {
	switch o.imm {
	case immMemory:
		c.memoryArg(o)
	case immMemoryLane:
		c.memoryArg(o)
		c.lane(o)
	case immLane:
		c.lane(o)
	}
	var taken [3]value
	for i := len(o.in) - 1; i >= 0; i-- {
		taken[i] = c.pop(letters[o.in[i]])
		if o.role != roleMove {
			c.use(taken[i], o.takes)
		}
	}
	c.spend(int(o.cost))
	if o.out == typeAny {
		return
	}
	from := fromBits
	switch {
	case o.role == roleArith:
		from = c.produce(o.gives)
	case o.role == roleMove:
		from = c.move(taken[:len(o.in)], o.takes, o.gives)
	case o.role == roleNumber && o.out != typeV128:
		from = fromNumber
	}
	c.push(o.out, from)
}

// move gives the origin of what holds whole floats of the values, which are of
// one shape. If all are results of float operations, so is that; else they are
// looked at.
func (c *checker) move(values []value, takes, gives shape) origin {
	results := 0
	for _, v := range values {
		if c.arithmetic(v.from, takes) {
			results++
		} else if v.from != fromNumber {
			results = -len(values)
		}
	}
	switch {
	case results > 0:
		return c.produce(gives)
	case results == 0 && gives <= f64:
		return fromNumber
	}
	for _, v := range values {
		c.use(v, noFloat)
	}
	return fromBits
}

func (c *checker) vectorInstruction(n byte, o *opcode) {
	switch o.imm {
	case immV128:
		from := fromBits
		if neverNaN(c.r.take(16)) {
			from = fromNumber
		}
		c.spend(int(o.cost))
		c.push(typeV128, from)
		return
	case immShuffle:
		c.shuffle(o)
		return
	}
	c.plainInstruction(o)
}

func (c *checker) shuffle(o *opcode) {
	lanes := c.r.take(16)
	for _, l := range lanes {
		if l >= 32 {
			c.invalid("invalid lane index %d", l)
		}
	}
	b := c.pop(typeV128)
	a := c.pop(typeV128)
	c.spend(int(o.cost))
	s := noFloat
	switch {
	case c.arithmetic(a.from, f64x2) && moves(lanes, 8):
		s = f64x2
	case c.arithmetic(a.from, f32x4) && moves(lanes, 4):
		s = f32x4
	}
	c.push(typeV128, c.move([]value{a, b}, s, max(s, f32x4)))
}

// moves tells whether a shuffle moves whole floats of so many bytes.
func moves(lanes []byte, size int) bool {
	for i, l := range lanes {
		if first := lanes[i-i%size]; int(first)%size != 0 || l != first+byte(i%size) {
			return false
		}
	}
	return true
}

func (c *checker) lane(o *opcode) {
	if l := c.r.byte(); l >= o.lanes {
		c.invalid("invalid lane index %d", l)
	}
}

func (c *checker) memoryArg(o *opcode) {
	if align := c.r.u32(); align >= 32 {
		c.r.fail(ErrMalformed, "malformed memop flags")
	} else if align > uint32(o.align) {
		c.invalid("alignment must not be larger than natural")
	}
	c.r.u32()
	c.m.needMemory(&c.r, 0)
}

func (c *checker) local(code byte) {
	i := c.r.u32()
	if int64(i) >= int64(len(c.locals)) {
		c.invalid("unknown local %d", i)
		return
	}
	c.spend(costPlain)
	t := c.locals[i]
	if code == opLocalGet {
		c.push(t, c.got(int32(i)))
		return
	}
	v := c.pop(t)
	if c.live {
		c.set(int32(i), v.from)
	}
	if code == opLocalTee {
		c.push(t, v.from)
	}
}

func (c *checker) constant(code byte) {
	c.spend(costPlain)
	switch code {
	case opI32Const:
		c.push(typeI32, fromInteger(c.r.signed(32)))
	case opI64Const:
		c.push(typeI64, fromInteger(c.r.signed(64)))
	case opF32Const:
		c.push(typeF32, fromConstant(c.r.take(4)))
	case opF64Const:
		c.push(typeF64, fromConstant(c.r.take(8)))
	}
}

func (c *checker) global(code byte) {
	i := c.r.u32()
	if int64(i) >= int64(len(c.m.globals)) {
		c.invalid("unknown global %d", i)
		return
	}
	c.spend(costPlain)
	g := c.m.globals[i]
	switch {
	case code == opGlobalGet:
		c.push(g.typ, fromBits)
	case !g.mutable:
		c.invalid("global %d is immutable", i)
	default:
		c.use(c.pop(g.typ), noFloat)
	}
}

func (c *checker) choose(code byte, at int) {
	c.spend(costPlain)
	var want valType
	if code == opSelectTyped {
		if n := c.r.byte(); n != 1 {
			c.invalid("invalid result arity %d of select", n)
			return
		}
		want = c.r.valType()
	}
	c.pop(typeI32)
	a := c.pop(want)
	if want == typeAny {
		want = a.typ
	}
	b := c.pop(want)
	if want == typeAny {
		want = b.typ
	}
	if code == opSelect && want.reference() {
		c.invalid("type mismatch: select of references needs a type")
	}
	if want == typeF32 || want == typeF64 || want == typeV128 {
		c.change(at, changeSelect, int64(want))
	}
	c.push(want, c.chosen(a, b))
}

// chosen gives the origin of one of two values.
func (c *checker) chosen(a, b value) origin {
	s := noFloat
	if v := max(a.from, b.from); v >= 0 {
		s = c.producers[v].shape
	}
	return c.move([]value{a, b}, s, s)
}

func (c *checker) memorySize(code byte, at int) {
	if c.r.byte() != 0 {
		c.r.fail(ErrMalformed, "zero byte expected")
	}
	c.m.needMemory(&c.r, 0)
	c.spend(costPlain)
	if code == opMemoryGrow {
		c.bulk(at, priceOf{each: costPage})
		c.pop(typeI32)
	}
	c.push(typeI32, fromBits)
}

func (c *checker) table(i uint32) valType {
	if int64(i) >= int64(len(c.m.tables)) {
		c.invalid("unknown table %d", i)
		return typeFunc
	}
	return c.m.tables[i].elem
}

func (c *checker) tableEntry(code byte) {
	c.spend(costElement)
	t := c.table(c.r.u32())
	if code == opTableSet {
		c.pop(t)
		c.pop(typeI32)
		return
	}
	c.pop(typeI32)
	c.push(t, fromBits)
}

func (c *checker) reference(code byte) {
	c.spend(costPlain)
	switch code {
	case opRefNull:
		c.push(c.r.refType(), fromBits)
	case opRefIsNull:
		if v := c.pop(typeAny); v.typ != typeAny && !v.typ.reference() {
			c.invalid("type mismatch: %s where a reference is expected", v.typ)
		}
		c.push(typeI32, fromBits)
	case opRefFunc:
		f := c.r.u32()
		switch {
		case int64(f) >= int64(len(c.m.functions)):
			c.invalid("unknown function %d", f)
		case c.m.declared == nil || !c.m.declared[f]:
			c.invalid("undeclared function reference %d", f)
		}
		c.push(typeFunc, fromBits)
	}
}
