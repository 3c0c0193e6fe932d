package executor

import "encoding/binary"

// Compiled code is of use only together with the rest of its module: types,
// imports, exports, memory, data. wazero decodes and validates a whole module
// before it asks for compiled code, which takes ten times as long as the rest;
// but of the functions it then needs nothing more than how many there are. So a
// skeleton is kept beside the code, and given to wazero in the module's place.

const (
	sectionCustom = 0
	sectionCode   = 10
)

// emptyBody is the body of a function that fits every type: no locals,
// unreachable, end.
const emptyBody = "\x03\x00\x00\x0b"

// skeleton gives a module that is as module is, but for the bodies of its
// functions and its custom sections. The module has been validated; of another,
// the skeleton may be anything, or nil.
func skeleton(module []byte) []byte {
	if len(module) < 8 {
		return nil
	}
	out := append(make([]byte, 0, len(module)), module[:8]...)
	r := &moduleReader{b: module[8:]}
	for len(r.b) > 0 && !r.bad {
		id := r.byte()
		body := r.bytes()
		switch id {
		case sectionCustom:
			continue
		case sectionCode:
			body = emptyBodies((&moduleReader{b: body}).u32(), len(body))
		}
		out = append(binary.AppendUvarint(append(out, id), uint64(len(body))), body...)
	}
	if r.bad {
		return nil
	}
	return out
}

// emptyBodies gives a code section of n functions, in the place of one of size
// bytes; a function has at least three of them.
func emptyBodies(n uint32, size int) []byte {
	if int64(n) > int64(size) {
		return nil
	}
	b := binary.AppendUvarint(make([]byte, 0, 5+len(emptyBody)*int(n)), uint64(n))
	for range n {
		b = append(b, emptyBody...)
	}
	return b
}
