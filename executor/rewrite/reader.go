package rewrite

import (
	"encoding/binary"
	"errors"
	"fmt"
	"unicode/utf8"
)

// Why a module is refused; every error of [Rewrite] wraps one of them.
var (
	ErrMalformed   = errors.New("not WebAssembly")
	ErrInvalid     = errors.New("invalid WebAssembly")
	ErrUnsupported = errors.New("WebAssembly that this machine does not run")
)

// A reader reads the binary format. The first fault stays, and everything after
// it reads as zero.
type reader struct {
	b   []byte
	at  int
	err error
}

func (r *reader) fail(kind error, format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: %s", kind, fmt.Sprintf(format, args...))
		r.at = len(r.b)
	}
}

func (r *reader) more() bool { return r.err == nil && r.at < len(r.b) }

func (r *reader) byte() byte {
	if r.at >= len(r.b) {
		r.fail(ErrMalformed, "unexpected end")
		return 0
	}
	r.at++
	return r.b[r.at-1]
}

func (r *reader) take(n int) []byte {
	if n < 0 || n > len(r.b)-r.at {
		r.fail(ErrMalformed, "unexpected end")
		return nil
	}
	r.at += n
	return r.b[r.at-n : r.at]
}

// u32 reads an unsigned number in LEB128.
func (r *reader) u32() uint32 {
	if r.at < len(r.b) && r.b[r.at] < 0x80 { // most are short
		r.at++
		return uint32(r.b[r.at-1])
	}
	var v uint32
	for shift := 0; ; shift += 7 {
		b := r.byte()
		if shift == 28 && b > 0x0f {
			r.fail(ErrMalformed, "a number is too long or too large")
			return 0
		}
		v |= uint32(b&0x7f) << shift
		if b < 0x80 {
			return v
		}
	}
}

// signed reads a signed number in LEB128, of 32, 33 or 64 bits.
func (r *reader) signed(bits int) int64 {
	var v int64
	for shift := 0; ; shift += 7 {
		b := r.byte()
		left := bits - shift // bits that this byte may still give
		if left < 7 {
			rest := int8(b<<1) >> left // the sign, and what is above it
			if b >= 0x80 || rest != 0 && rest != -1 {
				r.fail(ErrMalformed, "a number is too long or too large")
				return 0
			}
		}
		v |= int64(b&0x7f) << shift
		if b < 0x80 {
			if shift += 7; shift < 64 {
				v = v << (64 - shift) >> (64 - shift)
			}
			return v
		}
	}
}

// name reads a length and as many bytes of UTF-8.
func (r *reader) name() string {
	b := r.take(r.length())
	if !utf8.Valid(b) {
		r.fail(ErrMalformed, "malformed UTF-8 in a name")
	}
	return string(b)
}

// length reads how many bytes follow, of those that are there.
func (r *reader) length() int {
	n := r.u32()
	if uint64(n) > uint64(len(r.b)-r.at) {
		r.fail(ErrMalformed, "unexpected end: %d bytes are announced", n)
		return 0
	}
	return int(n)
}

// count reads how many things follow, each of at least one byte.
func (r *reader) count() int {
	n := r.u32()
	if uint64(n) > uint64(len(r.b)-r.at) {
		r.fail(ErrMalformed, "unexpected end: %d entries are announced", n)
		return 0
	}
	return int(n)
}

func (r *reader) valType() valType {
	t := valType(r.byte())
	switch t {
	case typeI32, typeI64, typeF32, typeF64, typeV128, typeFunc, typeExtern:
	default:
		r.fail(ErrMalformed, "malformed value type 0x%x", byte(t))
	}
	return t
}

func (r *reader) refType() valType {
	t := r.valType()
	if r.err == nil && !t.reference() {
		r.fail(ErrMalformed, "malformed reference type %s", t)
	}
	return t
}

// maxTypes is how many parameters, and results, a function or block may have.
const maxTypes = 1000

func (r *reader) valTypes() []valType {
	n := r.count()
	if n > maxTypes {
		r.fail(ErrUnsupported, "a function of %d parameters or results; at most %d", n, maxTypes)
		return nil
	}
	types := make([]valType, 0, n)
	for range n {
		types = append(types, r.valType())
	}
	return types
}

// appendU32 appends an unsigned number in LEB128.
func appendU32(b []byte, v uint32) []byte { return binary.AppendUvarint(b, uint64(v)) }

// appendSigned appends a signed number in LEB128.
func appendSigned(b []byte, v int64) []byte {
	for {
		low := byte(v & 0x7f)
		v >>= 7
		if v == 0 && low&0x40 == 0 || v == -1 && low&0x40 != 0 {
			return append(b, low)
		}
		b = append(b, low|0x80)
	}
}

// appendBytes appends a length and p.
func appendBytes(b, p []byte) []byte { return append(appendU32(b, uint32(len(p))), p...) }

// second reads the opcode behind a prefix. The standard lets it be longer than it
// needs to be; engines that do not would take what follows for something else
// than is meant here, so it may not.
func (r *reader) second() uint32 {
	at := r.at
	n := r.u32()
	if r.at-at > 1 && n < 128 || r.at-at > 2 {
		r.fail(ErrUnsupported, "an opcode is longer than it needs to be")
	}
	return n
}
