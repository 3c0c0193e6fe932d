package rewrite

// constant reads an initializer, which gives one value of type want. It tells
// the value if it is a plain i32.
func (m *module) constant(r *reader, want valType) (v uint32, known bool) {
	var got valType
	n, at := 0, r.at
	for r.err == nil {
		code := r.byte()
		if code == opEnd {
			break
		}
		got = m.constantValue(r, code)
		n++
	}
	if r.err == nil && (n != 1 || got != want) {
		r.fail(ErrInvalid, "type mismatch in an initializer: want one %s", want)
	}
	if r.err != nil || r.b[at] != opI32Const {
		return 0, false
	}
	value := &reader{b: r.b, at: at + 1}
	return uint32(value.signed(32)), true
}

func (m *module) constantValue(r *reader, code byte) valType {
	switch code {
	case opI32Const:
		r.signed(32)
		return typeI32
	case opI64Const:
		r.signed(64)
		return typeI64
	case opF32Const:
		r.take(4)
		return typeF32
	case opF64Const:
		r.take(8)
		return typeF64
	case opRefNull:
		return r.refType()
	case opRefFunc:
		m.declare(r, r.u32())
		return typeFunc
	case opGlobalGet:
		return m.constantGlobal(r)
	case opVector:
		if r.second() == vectorConst {
			r.take(16)
			return typeV128
		}
	}
	r.fail(ErrInvalid, "constant expression required, or type mismatch")
	return typeAny
}

func (m *module) constantGlobal(r *reader) valType {
	g := r.u32()
	switch {
	case int64(g) >= int64(m.foreign):
		r.fail(ErrInvalid, "unknown global %d in an initializer: only imported ones can be read", g)
	case m.globals[g].mutable:
		r.fail(ErrInvalid, "constant expression required: global %d is mutable", g)
	default:
		return m.globals[g].typ
	}
	return typeAny
}

// readElements reads element segments, in their eight forms: bit 0 is set where
// the segment is not active, bit 1 where it names its table (or, not active, is
// only declared), bit 2 where it has expressions.
func (m *module) readElements(r *reader) {
	for n := r.count(); n > 0 && r.err == nil; n-- {
		flags := r.u32()
		if flags > 7 {
			r.fail(ErrMalformed, "malformed element segment flag %d", flags)
			return
		}
		table := uint32(0)
		if flags&3 == 2 {
			table = r.u32()
		}
		first, known := uint32(0), false
		if flags&1 == 0 {
			if int64(table) >= int64(len(m.tables)) {
				r.fail(ErrInvalid, "unknown table %d", table)
				return
			}
			first, known = m.constant(r, typeI32)
		}
		elem := m.elementKind(r, flags)
		if r.err == nil && flags&1 == 0 && m.tables[table].elem != elem {
			r.fail(ErrInvalid, "type mismatch: a segment of %s for a table of %s", elem, m.tables[table].elem)
		}
		m.elements = append(m.elements, elem)
		n := m.readElement(r, flags, elem)
		if known && int(table) >= m.ownTables && uint64(first)+uint64(n) > uint64(m.tables[table].min) {
			r.fail(ErrUnsupported, "%d elements do not fit into table %d from %d on", n, table, first)
		}
	}
}

func (m *module) elementKind(r *reader, flags uint32) valType {
	switch {
	case flags&3 == 0:
	case flags&4 != 0:
		return r.refType()
	default:
		if kind := r.byte(); kind != 0 {
			r.fail(ErrMalformed, "malformed element kind 0x%x", kind)
		}
	}
	return typeFunc
}

// readElement reads the references in a segment, and counts them.
func (m *module) readElement(r *reader, flags uint32, elem valType) int {
	n := r.count()
	for i := 0; i < n && r.err == nil; i++ {
		if flags&4 != 0 {
			m.constant(r, elem)
		} else {
			m.declare(r, r.u32())
		}
	}
	return n
}
