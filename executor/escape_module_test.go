package executor

import (
	"encoding/binary"
	"fmt"
	"slices"
)

// A modText is a module being put together: sections as bytes, so that it may
// be as wrong as it likes. The WebAssembly core specification 2.0, §5.
type modText struct {
	types   [][]byte // after the first, () -> ()
	imports [][]byte
	funcs   []funcText
	tables  [][]byte
	memory  []byte // nil: one page, no maximum
	globals [][]byte
	exports [][]byte // besides "memory" and "_start"
	start   int      // the index of the start section's function; 0: none
	elems   [][]byte
	data    [][]byte
	calls   map[string]int // of imported functions
}

// A funcText is a function: its type and its body without the length.
type funcText struct {
	typ    int
	locals []byte // nil: none
	code   []byte // without the end
}

// Opcodes that the guests here are made of.
const (
	opUnreachable, opNop, opBlock, opLoop, opEnd    = 0x00, 0x01, 0x02, 0x03, 0x0b
	opBr, opBrIf, opBrTable, opReturn, opCall       = 0x0c, 0x0d, 0x0e, 0x0f, 0x10
	opCallIndirect, opDrop, opLocalGet, opLocalSet  = 0x11, 0x1a, 0x20, 0x21
	opLoad, opStore, opStore8, opSize, opGrow       = 0x28, 0x36, 0x3a, 0x3f, 0x40
	opI32, opI64, opEqz, opNe, opAdd, opI32Or       = 0x41, 0x42, 0x45, 0x47, 0x6a, 0x72
	opPrefix, opRefNull, typeI32, typeI64, typeFunc = 0xfc, 0xd0, 0x7f, 0x7e, 0x60
	noResult                                        = 0x40
)

func uleb(n uint64) []byte { return binary.AppendUvarint(nil, n) }

func sleb(n int64) (b []byte) {
	for {
		c := byte(n & 0x7f)
		n >>= 7
		if n == 0 && c&0x40 == 0 || n == -1 && c&0x40 != 0 {
			return append(b, c)
		}
		b = append(b, c|0x80)
	}
}

// text joins opcodes (bytes or ints below 256), strings of bytes, and other text.
func text(parts ...any) (b []byte) {
	for _, p := range parts {
		switch p := p.(type) {
		case int:
			b = append(b, byte(p))
		case byte:
			b = append(b, p)
		case []byte:
			b = append(b, p...)
		case string:
			b = append(b, p...)
		default:
			panic(fmt.Sprintf("text of %T", p))
		}
	}
	return b
}

// i32 and i64 push a constant; named gives a name with its length.
func i32(n int64) []byte         { return text(opI32, sleb(int64(int32(n)))) }
func i64(n int64) []byte         { return text(opI64, sleb(n)) }
func named(s string) []byte      { return text(uleb(uint64(len(s))), s) }
func vectorOf(l [][]byte) []byte { return text(uleb(uint64(len(l))), slices.Concat(l...)) }

func sectionOf(id int, body []byte) []byte { return text(id, uleb(uint64(len(body))), body) }

// wasi imports a function of WASI, once, and gives its index.
func (m *modText) wasi(name string) int {
	if n, ok := m.calls[name]; ok {
		return n
	}
	params, results := wasiFuncs[name].params, text(1, typeI32)
	if name == "proc_exit" {
		params, results = "i", text(0)
	}
	typ := text(typeFunc, len(params))
	for _, c := range params {
		if c == 'I' {
			typ = append(typ, typeI64)
		} else {
			typ = append(typ, typeI32)
		}
	}
	return m.importFunc(wasiModule, name, text(typ, results))
}

func (m *modText) importFunc(module, name string, typ []byte) int {
	m.types = append(m.types, typ)
	m.imports = append(m.imports, text(named(module), named(name), 0, uleb(uint64(len(m.types)))))
	if m.calls == nil {
		m.calls = map[string]int{}
	}
	m.calls[name] = len(m.imports) - 1
	return m.calls[name]
}

// add adds a function and gives its place among those that are not imported.
func (m *modText) add(typ int, code ...any) int {
	m.funcs = append(m.funcs, funcText{typ: typ, code: text(code...)})
	return len(m.funcs) - 1
}

// module gives the bytes; its last function is _start.
func (m *modText) module() []byte {
	b := []byte("\x00asm\x01\x00\x00\x00")
	put := func(id int, list [][]byte) {
		if len(list) > 0 {
			b = append(b, sectionOf(id, vectorOf(list))...)
		}
	}
	put(1, append([][]byte{text(typeFunc, 0, 0)}, m.types...))
	put(2, m.imports)
	var kinds, bodies [][]byte
	for _, f := range m.funcs {
		locals := f.locals
		if locals == nil {
			locals = text(0)
		}
		body := text(locals, f.code, opEnd)
		kinds = append(kinds, uleb(uint64(f.typ)))
		bodies = append(bodies, text(uleb(uint64(len(body))), body))
	}
	put(3, kinds)
	put(4, m.tables)
	memory := m.memory
	if memory == nil {
		memory = text(0, 1)
	}
	put(5, [][]byte{memory})
	put(6, m.globals)
	last := uint64(len(m.imports) + len(m.funcs) - 1)
	put(7, append([][]byte{text(named("memory"), 2, 0), text(named("_start"), 0, uleb(last))}, m.exports...))
	if m.start > 0 {
		b = append(b, sectionOf(8, uleb(uint64(m.start)))...)
	}
	put(9, m.elems)
	put(10, bodies)
	put(11, m.data)
	return b
}

// startOf is a module whose _start is code.
func startOf(code ...any) []byte {
	m := &modText{}
	m.add(0, code...)
	return m.module()
}

// Where a script keeps things in its page of memory.
const (
	scriptSlots = 64 // up to here it writes descriptors and sizes
	scriptText  = 1024
	scriptNotes = 60_000 // what its calls gave, a byte each
	scriptIovec = 16     // {scriptNotes, number of notes}
)

// A step is one call of a script. Arguments: an int is a number, a string is
// its place and its length, a slot is the number that lies at an address.
type step struct {
	name string
	args []any
	want errno
}

type slot int

func do(want errno, name string, args ...any) step { return step{name, args, want} }

// opens opens a path below directory 3, or below dir, for reading and writing,
// and keeps the descriptor at address to.
func opens(want errno, path string, flags, to int) step { return opensAt(want, 3, path, flags, to) }

func opensAt(want errno, dir any, path string, flags, to int) step {
	rights := rightRead | rightWrite
	if flags&openDirectory != 0 {
		rights = rightRead
	}
	return do(want, "path_open", dir, 0, path, flags, int(rights), int(rights), 0, to)
}

// scripted is a guest that makes calls one after the other and prints what they
// gave, a byte each.
func scripted(steps ...step) []byte {
	m := &modText{}
	var code []byte
	at := scriptText
	for i, s := range steps {
		fn, params := m.wasi(s.name), wasiFuncs[s.name].params
		code = append(code, i32(int64(scriptNotes+i))...)
		n := 0
		for _, a := range s.args {
			switch a := a.(type) {
			case string:
				m.data = append(m.data, text(0, i32(int64(at)), opEnd, named(a)))
				code = append(code, text(i32(int64(at)), i32(int64(len(a))))...)
				at, n = at+len(a), n+1
			case slot:
				code = append(code, text(i32(int64(a)), opLoad, 2, 0)...)
			case int:
				if params[n] == 'I' {
					code = append(code, i64(int64(a))...)
				} else {
					code = append(code, i32(int64(a))...)
				}
			}
			n++
		}
		if n != len(params) || at > scriptNotes {
			panic(fmt.Sprintf("%s takes %d arguments, not %d", s.name, len(params), n))
		}
		code = append(code, text(opCall, uleb(uint64(fn)), opStore8, 0, 0)...)
	}
	write := m.wasi("fd_write")
	code = append(code, text(i32(scriptIovec), i32(scriptNotes), opStore, 2, 0, i32(scriptIovec+4), i32(int64(len(steps))), opStore, 2, 0,
		i32(1), i32(scriptIovec), i32(1), i32(8), opCall, write, opDrop)...)
	m.add(0, code)
	return m.module()
}

// notes is what a script prints if all goes as it should.
func notes(steps []step) string {
	b := make([]byte, len(steps))
	for i, s := range steps {
		b[i] = byte(s.want)
	}
	return string(b)
}
