package rewrite

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// FuzzRewrite wants of any bytes: no panic, an error of a kind that is told, and
// of a module that is taken a rewritten one that does not depend on anything
// else, is not much larger, and is not taken again.
func FuzzRewrite(f *testing.F) {
	for _, m := range fuzzSeeds(f) {
		f.Add(m)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		before := bytes.Clone(in)
		out, err := Rewrite(in)
		if !bytes.Equal(in, before) {
			t.Fatal("the module was changed in place")
		}
		if err != nil {
			if out != nil || !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrInvalid) && !errors.Is(err, ErrUnsupported) {
				t.Fatalf("got %d bytes and %v", len(out), err)
			}
			return
		}
		if again, err := Rewrite(in); err != nil || !bytes.Equal(out, again) {
			t.Fatalf("another result the second time: %v", err)
		}
		if most := 64*len(in) + 1024; len(out) > most {
			t.Fatalf("%d bytes became %d, want at most %d", len(in), len(out), most)
		}
		if _, err := Rewrite(out); !errors.Is(err, ErrUnsupported) {
			t.Fatalf("what was rewritten is taken again: %v", err)
		}
	})
}

// fuzzSeeds gives small modules, one for each kind of change and then some.
func fuzzSeeds(f *testing.F) (list [][]byte) {
	f.Helper()
	i32, i64, wide, vec := typeI32, typeI64, typeF64, typeV128
	list = [][]byte{
		wasm(),
		aFunction(nil, nil, nil),
		aFunction([]valType{i32}, []valType{i32}, nil, opLocalGet, 0, opReturn),
		aFunction(nil, nil, nil, opLoop, 0x40, opI32Const, 1, opBrIf, 0, opEnd),
		aFunction(nil, nil, nil, opBlock, 0x40, opBlock, 0x40, opI32Const, 1, opBrTable, 1, 0, 1, opEnd, opEnd),
		aFunction(nil, []valType{i32}, nil, opI32Const, 1, opIf, i32, opI32Const, 2, opElse, opUnreachable, opEnd),
		aFunction(nil, nil, nil, opCall, 0, opI32Const, 0, opCallIndirect, 0, 0),
		aFunction([]valType{wide, wide}, []valType{wide}, []valType{wide}, opLocalGet, 0, opLocalGet, 1, 0xa3, 0x22, 2, 0x9a, opLocalGet, 2, opI32Const, 0, opSelect),
		aFunction([]valType{vec}, []valType{vec, i64}, []valType{vec}, opLocalGet, 0, opLocalGet, 0, opVector, 0xe7, 1, 0x22, 1, opLocalGet, 1, opVector, 29, 1),
		aFunction(nil, nil, nil, opI32Const, 0, opI32Const, 1, opI32Const, 2, opMisc, miscMemoryCopy, 0, 0, opI32Const, 1, opMemoryGrow, 0, opDrop),
		aFunction(nil, nil, nil, opRefNull, typeFunc, opI32Const, 1, opMisc, miscTableGrow, 0, opDrop, opUnreachable, opMisc, miscTableSize, 0, opDrop),
		wasm(section(sectionType, 1, 0x60, 0, 0), section(sectionFunction, 1, 0), section(sectionStart, 0), section(sectionCode, 1, 2, 0, opEnd)),
	}
	guests, err := filepath.Glob("../testdata/guests/*.wasm")
	if err != nil || len(guests) == 0 {
		f.Fatalf("no guests: %v", err)
	}
	for _, g := range guests {
		b, err := os.ReadFile(g)
		if err != nil {
			f.Fatal(err)
		}
		if len(b) < 4<<10 {
			list = append(list, b)
		}
	}
	return list
}
