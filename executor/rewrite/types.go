package rewrite

import (
	"fmt"
)

// A valType is the type of a value, as the binary format has it.
type valType byte

const (
	typeI32    valType = 0x7f
	typeI64    valType = 0x7e
	typeF32    valType = 0x7d
	typeF64    valType = 0x7c
	typeV128   valType = 0x7b
	typeFunc   valType = 0x70 // a reference to a function
	typeExtern valType = 0x6f
	typeAny    valType = 0 // of a value that unreachable code takes from nowhere
)

func (t valType) String() string {
	switch t {
	case typeI32:
		return "i32"
	case typeI64:
		return "i64"
	case typeF32:
		return "f32"
	case typeF64:
		return "f64"
	case typeV128:
		return "v128"
	case typeFunc:
		return "funcref"
	case typeExtern:
		return "externref"
	case typeAny:
		return "anything"
	}
	return fmt.Sprintf("type 0x%x", byte(t))
}

func (t valType) reference() bool { return t == typeFunc || t == typeExtern }

// slots is how much of a frame a value takes.
func (t valType) slots() int {
	if t == typeV128 {
		return 2
	}
	return 1
}

// A funcType is the signature of a function or of a block.
type funcType struct {
	params, results []valType
}

// A limits is how large a table or a memory is and may become.
type limits struct {
	min, max uint32
	bounded  bool
}

type tableType struct {
	elem valType
	limits
}

type globalType struct {
	typ     valType
	mutable bool
}
