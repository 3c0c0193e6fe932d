package rewrite

// A priceOf is what an instruction costs whose last operand says how much it
// does: so many units of fuel each, or one for each 1<<shift.
type priceOf struct {
	each  int64
	shift int64
}

var (
	priceOfBytes    = priceOf{shift: bulkShift}
	priceOfElements = priceOf{each: costElement}
)

// miscInstruction checks an instruction behind the prefix 0xfc that began at at.
func (c *checker) miscInstruction(at int) {
	n := c.r.second()
	if int64(n) < int64(len(misc)) {
		c.plainInstruction(&misc[n])
		return
	}
	c.spend(costBulk)
	switch n {
	case miscMemoryInit, miscDataDrop:
		c.dataSegment(n, at)
	case miscMemoryCopy, miscMemoryFill:
		c.memoryRange(n, at)
	case miscTableInit, miscElemDrop:
		c.elementSegment(n, at)
	case miscTableCopy:
		to, from := c.r.u32(), c.r.u32()
		if c.table(to) != c.table(from) {
			c.invalid("type mismatch: tables of different types")
		}
		c.span(at, priceOfElements)
	case miscTableGrow:
		t := c.table(c.r.u32())
		c.bulk(at, priceOfElements)
		c.pop(typeI32)
		c.pop(t)
		c.push(typeI32, fromBits)
	case miscTableSize:
		c.table(c.r.u32())
		c.push(typeI32, fromBits)
	case miscTableFill:
		t := c.table(c.r.u32())
		c.bulk(at, priceOfElements)
		c.pop(typeI32)
		c.pop(t)
		c.pop(typeI32)
	default:
		c.r.fail(ErrMalformed, "illegal opcode 0xfc %d", n)
	}
}

// span takes the three operands of an instruction that works on a range.
func (c *checker) span(at int, p priceOf) {
	c.bulk(at, p)
	c.pop(typeI32)
	c.pop(typeI32)
	c.pop(typeI32)
}

func (c *checker) dataSegment(n uint32, at int) {
	segment := c.r.u32()
	switch {
	case c.m.datas < 0:
		c.r.fail(ErrMalformed, "data count section required")
	case int64(segment) >= int64(c.m.datas):
		c.invalid("unknown data segment %d", segment)
	}
	if n == miscDataDrop {
		return
	}
	c.zeroByte()
	c.m.needMemory(&c.r, 0)
	c.span(at, priceOfBytes)
}

func (c *checker) memoryRange(n uint32, at int) {
	if c.zeroByte(); n == miscMemoryCopy {
		c.zeroByte()
	}
	c.m.needMemory(&c.r, 0)
	c.span(at, priceOfBytes)
}

func (c *checker) zeroByte() {
	if c.r.byte() != 0 {
		c.r.fail(ErrMalformed, "zero byte expected")
	}
}

func (c *checker) elementSegment(n uint32, at int) {
	segment := c.r.u32()
	if int64(segment) >= int64(len(c.m.elements)) {
		c.invalid("unknown elem segment %d", segment)
		return
	}
	if n == miscElemDrop {
		return
	}
	if t := c.table(c.r.u32()); t != c.m.elements[segment] {
		c.invalid("type mismatch: a segment of %s for a table of %s", c.m.elements[segment], t)
	}
	c.span(at, priceOfElements)
}
