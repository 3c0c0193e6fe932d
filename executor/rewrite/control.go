package rewrite

import "slices"

// control checks an instruction that decides what comes next; it began at at.
func (c *checker) control(code byte, at int) {
	switch code {
	case opNop:
	case opUnreachable:
		c.stuck()
	case opBlock, opLoop, opIf:
		c.block(code)
	case opElse:
		c.otherwise()
	case opEnd:
		c.end()
	case opBr:
		c.spend(costPlain)
		c.popAll(c.label(c.r.u32()).takes())
		c.stuck()
	case opBrIf:
		c.spend(costPlain)
		c.pop(typeI32)
		types := c.label(c.r.u32()).takes()
		c.popAll(types)
		c.pushAll(types, fromAny)
		c.region(false)
	case opBrTable:
		c.branchTable()
	case opReturn:
		c.spend(costPlain)
		c.leave(at, len(c.frames)-1)
		c.popAll(c.frames[0].sig.results)
		if c.live {
			c.frames[0].ends = true
		}
		c.stuck()
	case opCall:
		c.call()
	case opCallIndirect:
		c.callIndirect()
	default:
		c.r.fail(ErrMalformed, "illegal opcode 0x%x (threads, exceptions, tail calls and GC are not part of this machine)", code)
	}
}

func (c *checker) block(code byte) {
	sig := c.blockType()
	if code == opIf {
		c.spend(costPlain)
		c.pop(typeI32)
	}
	if c.r.err != nil {
		return
	}
	c.popAll(sig.params)
	c.open(code, sig)
	if code != opBlock {
		c.region(code == opLoop)
	}
}

func (c *checker) otherwise() {
	if c.frames[len(c.frames)-1].code != opIf {
		c.r.fail(ErrMalformed, "else without if")
		return
	}
	f := c.close()
	f.code, f.ends, f.stuck = opElse, f.ends || c.live, false
	c.live = f.live
	c.frames = append(c.frames, f)
	c.pushAll(f.sig.params, fromAny)
	c.region(false)
}

func (c *checker) end() {
	f := c.close()
	if c.r.err != nil {
		return
	}
	if f.code == opIf && !slices.Equal(f.sig.params, f.sig.results) {
		c.invalid("type mismatch: an if without else gives other values than it takes")
	}
	if len(c.frames) == 0 {
		return
	}
	merges := f.targeted || f.code == opElse || f.code == opIf
	c.live = c.live || f.ends || f.code == opIf && f.live
	c.pushAll(f.sig.results, fromAny)
	switch {
	case !c.live:
		c.noRegion()
	case merges:
		c.region(false)
	}
}

func (c *checker) branchTable() {
	c.spend(costBranchTable)
	c.pop(typeI32)
	n := c.r.count()
	if n > maxTargets {
		c.r.fail(ErrUnsupported, "a br_table of %d labels, more than %d", n, maxTargets)
		return
	}
	targets := make([]uint32, 0, n+1)
	for range n + 1 {
		targets = append(targets, c.r.u32())
	}
	if c.r.err != nil {
		return
	}
	fallback := c.label(targets[n]).takes()
	seen := make(map[uint32]bool, min(n, 64))
	for _, t := range targets[:n] {
		if seen[t] {
			continue
		}
		seen[t] = true
		types := c.label(t).takes()
		if len(types) != len(fallback) {
			c.invalid("type mismatch: labels of br_table take different numbers of values")
			return
		}
		c.matches(types)
	}
	c.popAll(fallback)
	c.stuck()
}

// matches checks that operands of these types could be taken.
func (c *checker) matches(types []valType) {
	f := &c.frames[len(c.frames)-1]
	for i := range types {
		want, at := types[len(types)-1-i], len(c.stack)-1-i
		switch {
		case at < f.base && !f.stuck:
			c.invalid("type mismatch: an operand is missing")
		case at >= f.base && c.stack[at].typ != want && c.stack[at].typ != typeAny:
			c.invalid("type mismatch: %s where %s is expected", c.stack[at].typ, want)
		}
	}
}

func (c *checker) call() {
	f := c.r.u32()
	if int64(f) >= int64(len(c.m.functions)) {
		c.invalid("unknown function %d", f)
		return
	}
	c.spend(costCall)
	c.invoke(c.m.types[c.m.functions[f]])
}

func (c *checker) callIndirect() {
	t, table := c.r.u32(), c.r.u32()
	if int64(t) >= int64(len(c.m.types)) {
		c.invalid("unknown type %d", t)
		return
	}
	if c.table(table) != typeFunc {
		c.invalid("type mismatch: call_indirect through a table of externref")
	}
	c.spend(costIndirect)
	c.pop(typeI32)
	c.invoke(c.m.types[t])
}

func (c *checker) invoke(t funcType) {
	c.calls = true
	c.popAll(t.params)
	c.pushAll(t.results, fromBits)
}
