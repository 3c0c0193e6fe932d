package rewrite

import (
	"bytes"
	"strings"
)

// Sections of a module.
const (
	sectionCustom    = 0
	sectionType      = 1
	sectionImport    = 2
	sectionFunction  = 3
	sectionTable     = 4
	sectionMemory    = 5
	sectionGlobal    = 6
	sectionExport    = 7
	sectionStart     = 8
	sectionElement   = 9
	sectionCode      = 10
	sectionData      = 11
	sectionDataCount = 12
)

// sectionOrder is where each section stands, by its id.
var sectionOrder = [...]int{
	sectionType: 1, sectionImport: 2, sectionFunction: 3, sectionTable: 4, sectionMemory: 5, sectionGlobal: 6, sectionExport: 7,
	sectionStart: 8, sectionElement: 9, sectionDataCount: 10, sectionCode: 11, sectionData: 12,
}

// What a module may have.
const (
	maxPages     = 1 << 16 // of memory
	maxTable     = 1 << 20 // entries of a table, ever, and …
	maxEntries   = 4 << 20 // … of all together
	maxTables    = 100
	maxFunctions = 1 << 20
	maxGlobals   = 1 << 20
	maxLocals    = 50_000  // of a function
	maxTargets   = 65_520  // of a br_table
	sumLocals    = 1 << 20 // of all functions, and …
	perByte      = 64      // … so many more for each byte of the module
)

// Kinds of imports and exports.
const (
	kindFunction = 0
	kindTable    = 1
	kindMemory   = 2
	kindGlobal   = 3
)

// A module is what is known of one before its code is read. Of what is numbered,
// imports come first.
type module struct {
	types     []funcType
	functions []uint32 // their types
	imported  int      // functions that are imported
	tables    []tableType
	ownTables int // where the tables begin that are not imported
	memories  int
	globals   []globalType
	foreign   int // globals that are imported
	elements  []valType
	datas     int    // -1: not told before the code
	declared  []bool // functions that code may take references to
	start     int    // -1: none
	exports   map[string]bool

	size     int
	sections [len(sectionOrder)][]byte // bodies; nil: not there
	bodies   [][]byte                  // of functions, from their locals on
}

// parse reads a module and validates it but for the code.
func parse(b []byte) (*module, error) {
	if len(b) < 8 || !bytes.Equal(b[:8], []byte("\x00asm\x01\x00\x00\x00")) {
		r := &reader{}
		r.fail(ErrMalformed, "it does not begin as a module of version 1")
		return nil, r.err
	}
	m := &module{start: -1, datas: -1, size: len(b), exports: make(map[string]bool)}
	r := &reader{b: b, at: 8}
	for last := 0; r.more(); {
		id := r.byte()
		body := r.take(r.length())
		if id == sectionCustom {
			c := &reader{b: body}
			if c.name(); c.err != nil {
				r.err = c.err
			}
			continue
		}
		if int(id) >= len(sectionOrder) {
			r.fail(ErrMalformed, "malformed section id %d (exceptions, stringref and components are not part of this machine)", id)
			break
		}
		if sectionOrder[id] <= last {
			r.fail(ErrMalformed, "section %d comes out of order, or twice", id)
			break
		}
		last = sectionOrder[id]
		if m.sections[id] = body; body == nil {
			m.sections[id] = []byte{}
		}
	}
	if r.err != nil {
		return nil, r.err
	}
	return m, m.read()
}

// read reads the sections in their order.
func (m *module) read() error {
	for _, s := range []struct {
		id   int
		read func(*reader)
	}{
		{sectionType, m.readTypes}, {sectionImport, m.readImports}, {sectionFunction, m.readFunctions}, {sectionTable, m.readTables},
		{sectionMemory, m.readMemories}, {sectionGlobal, m.readGlobals}, {sectionExport, m.readExports}, {sectionStart, m.readStart},
		{sectionElement, m.readElements}, {sectionDataCount, m.readDataCount}, {sectionCode, m.readCode}, {sectionData, m.readData},
	} {
		if m.sections[s.id] == nil {
			continue
		}
		r := &reader{b: m.sections[s.id]}
		s.read(r)
		if r.more() {
			r.fail(ErrMalformed, "section %d is longer than what is in it", s.id)
		}
		if r.err != nil {
			return r.err
		}
	}
	return m.check()
}

// check compares sections with each other.
func (m *module) check() error {
	r := &reader{}
	switch {
	case len(m.functions)-m.imported != len(m.bodies):
		r.fail(ErrMalformed, "function and code section have inconsistent lengths")
	case m.memories > 1:
		r.fail(ErrInvalid, "multiple memories")
	case m.sections[sectionData] == nil && m.datas > 0:
		r.fail(ErrMalformed, "data count and data section have inconsistent lengths")
	}
	for name := range m.exports {
		if strings.HasPrefix(name, reserved) {
			r.fail(ErrUnsupported, "it exports %q: names that begin with %q are this machine's own", name, reserved)
		}
	}
	return r.err
}

func (m *module) readTypes(r *reader) {
	n := r.count()
	m.types = make([]funcType, 0, n)
	for range n {
		if form := r.byte(); form != 0x60 {
			r.fail(ErrMalformed, "malformed form of type 0x%x (GC is not part of this machine)", form)
		}
		if r.err != nil {
			return
		}
		m.types = append(m.types, funcType{r.valTypes(), r.valTypes()})
	}
}

func (m *module) readImports(r *reader) {
	for n := r.count(); n > 0 && r.err == nil; n-- {
		r.name()
		r.name()
		switch kind := r.byte(); kind {
		case kindFunction:
			m.addFunction(r)
			m.imported++
		case kindTable:
			m.tables = append(m.tables, r.tableType())
		case kindMemory:
			r.memoryType()
			m.memories++
		case kindGlobal:
			m.globals = append(m.globals, r.globalType())
			m.foreign++
		default:
			r.fail(ErrMalformed, "malformed kind of import 0x%x", kind)
		}
	}
	m.ownTables = len(m.tables)
}

// addFunction reads the type of a function.
func (m *module) addFunction(r *reader) {
	t := r.u32()
	if int64(t) >= int64(len(m.types)) {
		r.fail(ErrInvalid, "unknown type %d", t)
	}
	if len(m.functions) >= maxFunctions {
		r.fail(ErrUnsupported, "more than %d functions", maxFunctions)
	}
	m.functions = append(m.functions, t)
}

func (m *module) readFunctions(r *reader) {
	for n := r.count(); n > 0 && r.err == nil; n-- {
		m.addFunction(r)
	}
}

func (m *module) readTables(r *reader) {
	for n := r.count(); n > 0 && r.err == nil; n-- {
		m.tables = append(m.tables, r.tableType())
	}
	if len(m.tables) > maxTables {
		r.fail(ErrUnsupported, "more than %d tables", maxTables)
	}
	for _, t := range m.tables[m.ownTables:] {
		if t.min > m.tableRoom() {
			r.fail(ErrUnsupported, "a table of more than %d entries, beside %d others", m.tableRoom(), len(m.tables)-1)
		}
	}
}

// tableRoom is how many entries each table may have.
func (m *module) tableRoom() uint32 {
	return min(maxTable, maxEntries/max(uint32(len(m.tables)), 1))
}

func (m *module) readMemories(r *reader) {
	for n := r.count(); n > 0 && r.err == nil; n-- {
		r.memoryType()
		m.memories++
	}
}

func (r *reader) limits() (l limits) {
	flags := r.byte()
	if flags > 1 {
		r.fail(ErrMalformed, "malformed limits flags 0x%x (threads, and shared and 64-bit memories, are not part of this machine)", flags)
	}
	l.bounded = flags == 1
	if l.min = r.u32(); l.bounded {
		l.max = r.u32()
	}
	if l.bounded && l.max < l.min {
		r.fail(ErrInvalid, "size minimum must not be greater than maximum")
	}
	return l
}

func (r *reader) tableType() tableType {
	t := tableType{r.refType(), r.limits()}
	return t
}

func (r *reader) memoryType() {
	if l := r.limits(); l.min > maxPages || l.max > maxPages {
		r.fail(ErrInvalid, "memory size must be at most 65536 pages (4 GiB)")
	}
}

func (r *reader) globalType() globalType {
	g := globalType{typ: r.valType()}
	mutable := r.byte()
	if mutable > 1 {
		r.fail(ErrMalformed, "malformed mutability 0x%x", mutable)
	}
	g.mutable = mutable == 1
	return g
}

func (m *module) readGlobals(r *reader) {
	for n := r.count(); n > 0 && r.err == nil; n-- {
		g := r.globalType()
		m.constant(r, g.typ)
		if len(m.globals) >= maxGlobals {
			r.fail(ErrUnsupported, "more than %d globals", maxGlobals)
		}
		m.globals = append(m.globals, g)
	}
}

func (m *module) readExports(r *reader) {
	for n := r.count(); n > 0 && r.err == nil; n-- {
		name, kind, index := r.name(), r.byte(), int64(r.u32())
		if r.err != nil {
			return
		}
		if kind > kindGlobal {
			r.fail(ErrMalformed, "malformed kind of export 0x%x", kind)
			return
		}
		if m.exports[name] {
			r.fail(ErrInvalid, "duplicate export name %.100q", name)
		}
		m.exports[name] = true
		if have := []int{len(m.functions), len(m.tables), m.memories, len(m.globals)}[kind]; index >= int64(have) {
			r.fail(ErrInvalid, "unknown %s %d is exported", kindName(kind), index)
		} else if kind == kindFunction {
			m.declare(r, uint32(index))
		}
	}
}

func kindName(kind byte) string { return []string{"function", "table", "memory", "global"}[kind] }

// declare notes that code may take references to a function.
func (m *module) declare(r *reader, f uint32) {
	if int64(f) >= int64(len(m.functions)) {
		r.fail(ErrInvalid, "unknown function %d", f)
		return
	}
	if m.declared == nil {
		m.declared = make([]bool, len(m.functions))
	}
	m.declared[f] = true
}

func (m *module) readStart(r *reader) {
	f := r.u32()
	if int64(f) >= int64(len(m.functions)) {
		r.fail(ErrInvalid, "unknown function %d", f)
		return
	}
	if t := m.types[m.functions[f]]; len(t.params)+len(t.results) > 0 {
		r.fail(ErrInvalid, "the start function takes or gives values")
	}
	m.start = int(f)
}

func (m *module) readDataCount(r *reader) { m.datas = int(r.u32()) }

func (m *module) readCode(r *reader) {
	n := r.count()
	m.bodies = make([][]byte, 0, n)
	for ; n > 0 && r.err == nil; n-- {
		m.bodies = append(m.bodies, r.take(r.length()))
	}
}

func (m *module) readData(r *reader) {
	n := r.count()
	if m.datas >= 0 && m.datas != n {
		r.fail(ErrMalformed, "data count and data section have inconsistent lengths")
	}
	for ; n > 0 && r.err == nil; n-- {
		switch flag := r.u32(); flag {
		case 2:
			m.needMemory(r, r.u32())
			m.constant(r, typeI32)
		case 0:
			m.needMemory(r, 0)
			m.constant(r, typeI32)
		case 1:
		default:
			r.fail(ErrMalformed, "malformed data segment flag %d", flag)
		}
		r.take(r.length())
	}
}

func (m *module) needMemory(r *reader, index uint32) {
	if int64(index) >= int64(m.memories) {
		r.fail(ErrInvalid, "unknown memory %d", index)
	}
}
