package executor

import (
	"encoding/binary"
	"fmt"
)

// checkHeader tells what program is, if it is not a WebAssembly core module.
func checkHeader(program []byte) error {
	switch {
	case len(program) < 8 || string(program[:4]) != "\x00asm":
		return &ProgramError{"it is not WebAssembly: build it for wasip1 (GOOS=wasip1 GOARCH=wasm, --target=wasm32-wasip1)"}
	case binary.LittleEndian.Uint16(program[6:]) == 1:
		return &ProgramError{"it is a WebAssembly component, not a core module: build it for wasip1 instead of wasip2, or take the core module out with `wasm-tools component unbundle`"}
	case binary.LittleEndian.Uint32(program[4:]) != 1:
		return &ProgramError{"it is WebAssembly of an unknown version"}
	}
	return nil
}

const sectionImport = 2

// checkSections looks at the imports, of every kind. The module has been
// validated.
func checkSections(program []byte) error {
	r := &moduleReader{b: program[8:]}
	for len(r.b) > 0 && !r.bad {
		id := r.byte()
		body := &moduleReader{b: r.bytes()}
		if id != sectionImport {
			continue
		}
		if err := checkImports(body); err != nil {
			return err
		}
	}
	if r.bad {
		return &ProgramError{"it is cut off"}
	}
	return nil
}

func checkImports(r *moduleReader) error {
	for n := r.u32(); n > 0 && !r.bad; n-- {
		module, name, kind := string(r.bytes()), string(r.bytes()), r.byte()
		_, known := wasiFuncs[name]
		if kind != 0 || module != wasiModule || !known && name != "proc_exit" {
			return &ProgramError{fmt.Sprintf("it imports %s %.80q of module %.80q, which is not there: only the functions of %s are", importKind(kind), name, module, wasiModule)}
		}
		r.u32() // the function's type
	}
	return nil
}

func importKind(kind byte) string {
	names := []string{"function", "table", "memory", "global"}
	if int(kind) < len(names) {
		return names[kind]
	}
	return "something"
}

// A moduleReader reads the binary format. After the first fault everything
// reads as zero.
type moduleReader struct {
	b   []byte
	bad bool
}

func (r *moduleReader) byte() byte {
	if len(r.b) == 0 {
		r.bad = true
		return 0
	}
	v := r.b[0]
	r.b = r.b[1:]
	return v
}

func (r *moduleReader) u32() uint32 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 || n > 5 || v > 1<<32-1 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return uint32(v)
}

// bytes reads a length and that many bytes.
func (r *moduleReader) bytes() []byte {
	n := int64(r.u32())
	if n > int64(len(r.b)) {
		r.bad, r.b = true, nil
		return nil
	}
	p := r.b[:n]
	r.b = r.b[n:]
	return p
}
