package rewrite

import (
	"encoding/binary"
	"math"
)

// A change is something to be put into a function's code.
type change struct {
	at    int // offset in the body
	kind  changeKind
	depth int32 // how many blocks are open there, the function counted
	arg   int64
}

type changeKind byte

const (
	changeCharge    changeKind = iota // take arg of fuel
	changeLoop                        // take arg of fuel, and stop if there is none left
	changeBulk                        // take fuel by the last operand; arg: the price, see pack
	changeCanonical                   // give the value its canonical NaN; arg: the producer
	changeSelect                      // choose without select; arg: the type
	changeCompare                     // hide a comparison from what reads it; arg: the comparison
	changeReturn                      // leave by a branch to the outermost block; arg: its label
)

// A producer is an instruction that may give a NaN of any pattern: a float
// operation, or reading a local that holds such values.
type producer struct {
	shape  shape
	local  int32 // that is read, or -1
	needed bool  // somebody looks at the pattern
}

// A float local is either exact, where patterns are settled before a value is
// set, or loose: all that is ever set are results of float operations of one
// shape and numbers, so that the pattern may be settled later.
type floatLocal struct {
	exact   bool
	shape   shape
	integer bool // it holds no floats at all
}

// A transfer sets a local to what a producer gives.
type transfer struct {
	to   int32
	from origin
}

// A plan says what is to be changed in a function.
type plan struct {
	begin, declared int // offsets of the code, and of the groups of locals
	groups          int
	changes         []change
	current         int  // the charge of the region, -1: none
	calls           bool // it calls others
	stops           bool // it may end for want of fuel
	producers       []producer
	floats          []floatLocal
	integers        []integerLocal
	copies          []copied
	comparisons     []comparison
	transfers       []transfer
}

func (p *plan) reset(locals []valType, params int) {
	p.changes, p.producers, p.transfers = p.changes[:0], p.producers[:0], p.transfers[:0]
	p.current, p.calls, p.stops = -1, false, false
	p.floats, p.integers, p.copies, p.comparisons = p.floats[:0], p.integers[:0], p.copies[:0], p.comparisons[:0]
	for i, t := range locals {
		f := floatLocal{exact: i < params}
		switch t {
		case typeF32:
			f.shape = f32
		case typeF64:
			f.shape = f64
		case typeV128:
		default:
			f.exact, f.integer = true, true
		}
		p.floats = append(p.floats, f)
		p.integers = append(p.integers, integerLocal{zero: i >= params})
	}
}

// region begins a straight line of instructions, which are paid for together at
// its beginning. Where code can come again and again it also stops here.
func (c *checker) region(loop bool) {
	if !c.live {
		c.noRegion()
		return
	}
	kind := changeCharge
	if loop {
		kind, c.stops = changeLoop, true
	}
	c.current = len(c.changes)
	c.change(c.r.at, kind, 0)
}

func (p *plan) noRegion() { p.current = -1 }

// spend adds to what the present region costs.
func (p *plan) spend(fuel int) {
	if p.current >= 0 {
		p.changes[p.current].arg += int64(fuel)
	}
}

// bulk prices the instruction at at by its last operand.
func (c *checker) bulk(at int, p priceOf) {
	c.stops = true
	c.change(at, changeBulk, p.pack())
}

func (p priceOf) pack() int64 { return p.each<<8 | p.shift }

func unpack(v int64) priceOf { return priceOf{v >> 8, v & 0xff} }

func (c *checker) leave(at, label int) { c.change(at, changeReturn, int64(label)) }

func (c *checker) change(at int, kind changeKind, arg int64) {
	c.changes = append(c.changes, change{at, kind, int32(len(c.frames)), arg})
}

// produce notes that the instruction just read is a float operation.
func (c *checker) produce(s shape) origin { return c.produceFrom(producer{shape: s, local: -1}) }

func (c *checker) produceFrom(p producer) origin {
	if !c.live {
		return fromBits
	}
	c.producers = append(c.producers, p)
	n := len(c.producers) - 1
	c.change(c.r.at, changeCanonical, int64(n))
	return origin(n)
}

// arithmetic tells whether a value is the result of a float operation.
func (p *plan) arithmetic(from origin, s shape) bool {
	return from >= 0 && p.producers[from].local < 0 && p.producers[from].shape == s
}

// use notes who takes v: somebody that is blind to the NaN patterns of a shape.
func (p *plan) use(v value, blind shape) {
	if v.from < 0 {
		return
	}
	q := &p.producers[v.from]
	switch {
	case blind == noFloat || q.local < 0 && q.shape != blind:
		q.needed = true
	case q.local >= 0:
		p.agree(q.local, blind)
	}
}

// agree makes a local loose in one shape alone.
func (p *plan) agree(local int32, s shape) {
	switch f := &p.floats[local]; f.shape {
	case s:
	case noFloat:
		f.shape = s
	default:
		f.exact = true
	}
}

// got gives the origin of what local i holds.
func (c *checker) got(i int32) origin {
	switch {
	case c.integer(i):
		return fromSlot - origin(i)
	case c.floats[i].exact:
		return fromBits
	}
	return c.produceFrom(producer{local: i})
}

// set notes what local i is set to.
func (p *plan) set(i int32, from origin) {
	switch {
	case p.integer(i):
		p.setInteger(i, from)
	case from < 0 && from != fromNumber:
		p.floats[i].exact = true
	case from >= 0:
		p.transfers = append(p.transfers, transfer{i, from})
		if q := p.producers[from]; q.local < 0 {
			p.agree(i, q.shape)
		}
	}
}

// resolve decides which locals are loose, and so which values are needed exact.
func (p *plan) resolve() {
	p.resolveIntegers()
	for range 8 {
		if !p.spread() {
			break
		}
	}
	if p.spread() {
		for i := range p.floats {
			p.floats[i].exact = true
		}
	}
	for _, t := range p.transfers {
		if p.floats[t.to].exact {
			p.producers[t.from].needed = true
		}
	}
	for i := range p.producers {
		q := &p.producers[i]
		if q.local < 0 {
			continue
		}
		f := p.floats[q.local]
		if q.shape = f.shape; f.exact || f.shape == noFloat {
			q.needed = false
		}
	}
}

// spread makes locals exact that take what exact ones hold, or what is of
// another shape; it tells whether there were any.
func (p *plan) spread() (more bool) {
	for _, t := range p.transfers {
		q, to := p.producers[t.from], &p.floats[t.to]
		if q.local < 0 || to.exact {
			continue
		}
		from := &p.floats[q.local]
		switch {
		case from.exact, from.shape != noFloat && to.shape != noFloat && from.shape != to.shape:
			to.exact, more = true, true
		case from.shape != to.shape:
			p.agree(t.to, from.shape)
			p.agree(q.local, to.shape)
			more = true
		}
	}
	return more
}

// fromConstant gives the origin of a float constant.
func fromConstant(b []byte) origin {
	switch {
	case len(b) == 4 && !isNaN32(binary.LittleEndian.Uint32(b)),
		len(b) == 8 && !isNaN64(binary.LittleEndian.Uint64(b)):
		return fromNumber
	}
	return fromBits
}

func isNaN32(v uint32) bool { return v&0x7fffffff > 0x7f800000 }

func isNaN64(v uint64) bool { return v&(1<<63-1) > math.Float64bits(math.Inf(1)) }

// neverNaN tells whether a vector holds no NaN, of either width.
func neverNaN(b []byte) bool {
	if len(b) < 16 {
		return false
	}
	for i := 0; i < 16; i += 4 {
		if isNaN32(binary.LittleEndian.Uint32(b[i:])) {
			return false
		}
	}
	return !isNaN64(binary.LittleEndian.Uint64(b)) && !isNaN64(binary.LittleEndian.Uint64(b[8:]))
}
