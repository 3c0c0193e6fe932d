package rewrite

// Version numbers the rules of this package: modules of equal bytes, rewritten
// by the same version, have equal bytes.
const Version = 1

// What a rewritten module exports besides what it did. All names that begin with
// "muster." are reserved.
const (
	reserved = "muster."
	// Fuel is a mutable i64: the fuel that is left. It is 0 at first; the host sets
	// it, and charges its own functions to it. Below zero at a trap, or when the host
	// is called, the program has run out of fuel.
	Fuel = reserved + "fuel"
	// Stack is a mutable i64: the slots of the stack that are left, 0 at first; the
	// host sets it to [StackSlots]. Below zero at a trap, with fuel left, the stack
	// has overflowed.
	Stack = reserved + "stack"
	// Start is the function that the module named as its start, which is run by
	// nobody else now; absent where there was none. The host calls it first.
	Start = reserved + "start"
)

// Rewrite gives a module that does what this one does, with these differences:
// it stops with a trap when its fuel or its stack is used up; what a float
// operation gives that is a NaN is the canonical one, positive, wherever a bit of
// it can be seen; tables have at most 1,048,576 entries,
// and 4,194,304 together; its start function
// is not run; custom sections are gone.
//
// The result depends on module alone. Errors wrap ErrMalformed, ErrInvalid or
// ErrUnsupported. It takes time and memory in proportion to len(module), is safe
// for any input, and does not keep or change it.
func Rewrite(module []byte) ([]byte, error) {
	m, err := parse(module)
	if err != nil {
		return nil, err
	}
	w := &writer{m: m, types: m.types, gives: make(map[string]int)}
	code, err := w.code(len(module))
	if err != nil {
		return nil, err
	}
	return w.module(code, len(module)), nil
}

// A writer writes the changed module.
type writer struct {
	m     *module
	types []funcType     // the module's, and those that were added
	gives map[string]int // types that take nothing, by their results
}

// code gives the new code section.
func (w *writer) code(size int) ([]byte, error) {
	c := &checker{m: w.m}
	e := &emitter{checker: c, fuel: uint32(len(w.m.globals)), stack: uint32(len(w.m.globals) + 1)}
	out := appendU32(make([]byte, 0, size+size/4), uint32(len(w.m.bodies)))
	for i := range w.m.bodies {
		if err := c.function(i); err != nil {
			return nil, err
		}
		out = e.body(out, w.blockType(w.m.types[w.m.functions[w.m.imported+i]].results))
	}
	return out, nil
}

// blockType gives the type of a block that takes nothing and gives results.
func (w *writer) blockType(results []valType) []byte {
	switch len(results) {
	case 0:
		return []byte{0x40}
	case 1:
		return []byte{byte(results[0])}
	}
	key := make([]byte, len(results))
	for i, r := range results {
		key[i] = byte(r)
	}
	i, ok := w.gives[string(key)]
	if !ok {
		i = len(w.types)
		w.types = append(w.types[:i:i], funcType{nil, results})
		w.gives[string(key)] = i
	}
	return appendSigned(nil, int64(i))
}

// module writes all sections.
func (w *writer) module(code []byte, size int) []byte {
	out := append(make([]byte, 0, len(code)+size), "\x00asm\x01\x00\x00\x00"...)
	for _, id := range []byte{sectionType, sectionImport, sectionFunction, sectionTable, sectionMemory, sectionGlobal, sectionExport, sectionElement, sectionDataCount, sectionCode, sectionData} {
		body := w.m.sections[id]
		switch {
		case id == sectionType && len(w.types) > len(w.m.types):
			body = w.typeSection()
		case id == sectionTable && body != nil:
			body = w.tableSection(body)
		case id == sectionGlobal:
			body = w.globalSection(body)
		case id == sectionExport:
			body = w.exportSection(body)
		case id == sectionCode && body != nil:
			body = code
		}
		if body != nil {
			out = appendBytes(append(out, id), body)
		}
	}
	return out
}

// more appends n entries to a section, which may be absent.
func more(section []byte, n int, entries []byte) []byte {
	r := &reader{b: section}
	if section != nil {
		n += int(r.u32())
	}
	return append(append(appendU32(nil, uint32(n)), section[r.at:]...), entries...)
}

func (w *writer) typeSection() []byte {
	var added []byte
	for _, t := range w.types[len(w.m.types):] {
		added = append(added, 0x60, 0)
		added = appendU32(added, uint32(len(t.results)))
		for _, r := range t.results {
			added = append(added, byte(r))
		}
	}
	return more(w.m.sections[sectionType], len(w.types)-len(w.m.types), added)
}

// tableSection bounds the tables.
func (w *writer) tableSection([]byte) []byte {
	own := w.m.tables[w.m.ownTables:]
	out := appendU32(nil, uint32(len(own)))
	for _, t := range own {
		most := w.m.tableRoom()
		if t.bounded {
			most = min(most, t.max)
		}
		out = appendU32(append(out, byte(t.elem), 1), t.min)
		out = appendU32(out, most)
	}
	return out
}

func (w *writer) globalSection(body []byte) []byte {
	mutable := []byte{byte(typeI64), 1, opI64Const, 0, opEnd}
	return more(body, 2, append(mutable[:len(mutable):len(mutable)], mutable...))
}

func (w *writer) exportSection(body []byte) []byte {
	n, fuel := 2, uint32(len(w.m.globals))
	added := export(nil, Fuel, kindGlobal, fuel)
	added = export(added, Stack, kindGlobal, fuel+1)
	if w.m.start >= 0 {
		n++
		added = export(added, Start, kindFunction, uint32(w.m.start))
	}
	return more(body, n, added)
}

func export(b []byte, name string, kind byte, index uint32) []byte {
	return appendU32(append(appendBytes(b, []byte(name)), kind), index)
}
