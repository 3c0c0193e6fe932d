package rewrite

// wazero 1.12.0 takes a comparison of the constant 0 with the result of an and,
// under a branch, for one in the other order; on arm64 it also takes an unsigned
// one, in either order, for another. Such comparisons are hidden from the branch,
// by what changes nothing: i32.eqz, twice. Where the operands come by locals or
// blocks they are taken for the worst. A shift by nothing is no instruction to
// wazero, so what is shifted stays what it was.

// An integerLocal is what may ever be in a local.
type integerLocal struct {
	zero bool // the constant 0
	and  bool // the result of an and
}

// A copied is a local that is set to what another holds.
type copied struct{ to, from int32 }

// A comparison is one by order, and where its operands come from.
type comparison struct {
	left, right origin
	unsigned    bool
}

// isOrder tells whether an instruction compares integers by order: lt, gt, le, ge.
func isOrder(code byte) bool { return code >= 0x48 && code <= 0x4f || code >= 0x53 && code <= 0x5a }

// isShift tells whether an instruction shifts or rotates integers.
func isShift(code byte) bool { return code >= 0x74 && code <= 0x78 || code >= 0x86 && code <= 0x8a }

// below gives the origin of the operand below the last.
func (c *checker) below() origin {
	if n := len(c.stack) - 2; n >= c.frames[len(c.frames)-1].base {
		return c.stack[n].from
	}
	return fromAny
}

func (c *checker) compare(code byte, o *opcode) {
	t := letters[o.in[0]]
	right, left := c.pop(t), c.pop(t)
	c.spend(int(o.cost))
	c.push(o.out, fromBits)
	if !c.live || !maybeZero(left.from) && !maybeZero(right.from) {
		return
	}
	// Signed and unsigned take turns.
	c.comparisons = append(c.comparisons, comparison{left.from, right.from, code&1 == 1 == (code < opI64LtS)})
	c.change(c.r.at, changeCompare, int64(len(c.comparisons)-1))
}

func maybeZero(from origin) bool { return from == fromZero || from == fromAny || from <= fromSlot }

// fromInteger gives the origin of an integer constant.
func fromInteger(v int64) origin {
	if v == 0 {
		return fromZero
	}
	return fromBits
}

func (p *plan) integer(i int32) bool { return p.floats[i].integer }

// setInteger notes what an integer local is set to.
func (p *plan) setInteger(i int32, from origin) {
	l := &p.integers[i]
	switch {
	case from <= fromSlot:
		p.copies = append(p.copies, copied{i, int32(fromSlot - from)})
	case from == fromZero:
		l.zero = true
	case from == fromAnd:
		l.and = true
	case from == fromAny:
		l.zero, l.and = true, true
	}
}

// resolveIntegers carries on what locals may hold to those that are set to them.
func (p *plan) resolveIntegers() {
	for range 8 {
		if !p.copyIntegers() {
			return
		}
	}
	for i := range p.integers {
		p.integers[i] = integerLocal{true, true}
	}
}

func (p *plan) copyIntegers() (more bool) {
	for _, c := range p.copies {
		from, to := p.integers[c.from], &p.integers[c.to]
		if from.zero && !to.zero || from.and && !to.and {
			to.zero, to.and = to.zero || from.zero, to.and || from.and
			more = true
		}
	}
	return more
}

// risky tells whether an engine may get a comparison wrong.
func (p *plan) risky(c comparison) bool {
	return p.zero(c.left) && p.and(c.right) || c.unsigned && p.zero(c.right) && p.and(c.left)
}

func (p *plan) zero(from origin) bool {
	if from <= fromSlot {
		return p.integers[fromSlot-from].zero
	}
	return from == fromZero || from == fromAny
}

func (p *plan) and(from origin) bool {
	if from <= fromSlot {
		return p.integers[fromSlot-from].and
	}
	return from == fromAnd || from == fromAny
}
