package rewrite

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestWhatIsRefused(t *testing.T) {
	none := func(code ...any) []byte { return aFunction(nil, nil, nil, code...) }
	types := section(sectionType, 1, 0x60, 0, 0)
	for name, c := range map[string]struct {
		module []byte
		want   error
		word   string
	}{
		"nothing":                         {nil, ErrMalformed, "begin"},
		"a component":                     {[]byte("\x00asm\x0d\x00\x01\x00"), ErrMalformed, "begin"},
		"a section that is cut off":       {wasm([]byte{1, 5, 0}), ErrMalformed, "end"},
		"a section twice":                 {wasm(types, types), ErrMalformed, "twice"},
		"sections out of order":           {wasm(section(sectionFunction, 0), types), ErrMalformed, "order"},
		"a section with something left":   {wasm(section(sectionType, 0, 0)), ErrMalformed, "longer"},
		"a function without code":         {wasm(types, section(sectionFunction, 1, 0)), ErrMalformed, "inconsistent"},
		"a missing operand":               {none(0x6a), ErrInvalid, "missing"},
		"an operand of another type":      {none(opI64Const, 0, 0x45, opDrop), ErrInvalid, "i64 where i32"},
		"a value that is left":            {none(opI32Const, 0), ErrInvalid, "remain"},
		"a branch to nowhere":             {none(opBr, 1), ErrInvalid, "label"},
		"the fuel, guessed":               {none(opI64Const, 0, opGlobalSet, 0), ErrInvalid, "global 0"},
		"the stack, guessed":              {none(opGlobalGet, 1, opDrop), ErrInvalid, "global 1"},
		"a local that is not there":       {none(opLocalGet, 0, opDrop), ErrInvalid, "local 0"},
		"a type that is not there":        {none(opBlock, 7, opEnd), ErrInvalid, "type 7"},
		"a name of ours":                  {wasm(section(sectionGlobal, 1, typeI64, 1, opI64Const, 0, opEnd), section(sectionExport, 1, appendBytes(nil, []byte(Fuel)), 3, 0)), ErrUnsupported, "muster."},
		"two memories":                    {wasm(section(sectionMemory, 2, 0, 1, 0, 1)), ErrInvalid, "memories"},
		"a shared memory":                 {wasm(section(sectionMemory, 1, 3, 1, 1)), ErrMalformed, "shared"},
		"a 64-bit memory":                 {wasm(section(sectionMemory, 1, 4, 1)), ErrMalformed, "64-bit"},
		"more than 4 GiB":                 {wasm(section(sectionMemory, 1, 0, 0x81, 0x80, 4)), ErrInvalid, "65536"},
		"a huge table":                    {wasm(section(sectionTable, 1, typeFunc, 0, 0x81, 0x80, 0x40)), ErrUnsupported, "1048576"},
		"elements that do not fit":        {wasm(types, section(sectionFunction, 1, 0), section(sectionTable, 1, typeFunc, 0, 1), section(sectionElement, 1, 0, opI32Const, 1, opEnd, 1, 0), section(sectionCode, 1, 2, 0, opEnd)), ErrUnsupported, "fit"},
		"an atomic instruction":           {none(0xfe, 0, 0), ErrMalformed, "threads"},
		"a tail call":                     {none(0x12, 0), ErrMalformed, "tail calls"},
		"an exception":                    {none(0x08, 0), ErrMalformed, "exceptions"},
		"relaxed SIMD":                    {none(opVector, 0x80, 2), ErrUnsupported, "relaxed"},
		"a number that is too long":       {none(opI32Const, 0x80, 0x80, 0x80, 0x80, 0x80, 0, opDrop), ErrMalformed, "too long"},
		"a number that is too large":      {none(opI32Const, 0xff, 0xff, 0xff, 0xff, 0x4f, opDrop), ErrMalformed, "too large"},
		"a name that is not UTF-8":        {wasm(section(sectionExport, 1, 1, 0xff, 0, 0)), ErrMalformed, "UTF-8"},
		"50,001 locals":                   {wasm(types, section(sectionFunction, 1, 0), section(sectionCode, 1, 6, 1, 0xd1, 0x86, 3, typeI32, opEnd)), ErrUnsupported, "50001"},
		"more locals than can be counted": {wasm(types, section(sectionFunction, 1, 0), section(sectionCode, 1, 14, 2, 0xff, 0xff, 0xff, 0xff, 15, typeI32, 0xff, 0xff, 0xff, 0xff, 15, typeI32, opEnd)), ErrMalformed, "too many locals"},
		"a data segment without a count":  {none(opMisc, miscDataDrop, 0), ErrMalformed, "data count"},
		"a reference that is undeclared":  {none(opRefFunc, 0, opDrop), ErrInvalid, "undeclared"},
		"an alignment beyond the access":  {none(opI32Const, 0, 0x28, 3, 0, opDrop), ErrInvalid, "alignment"},
		"a lane that is not there":        {none(opVector, vectorConst, strings.Repeat("\x00", 16), opVector, 27, 4, opDrop), ErrInvalid, "lane"},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := Rewrite(c.module)
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.word) {
				t.Errorf("got %d bytes and %v, want %v about %q", len(out), err, c.want, c.word)
			}
		})
	}
}

func TestWhatIsRewrittenIsRefused(t *testing.T) {
	once, err := Rewrite(aFunction(nil, nil, nil))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Rewrite(once); !errors.Is(err, ErrUnsupported) {
		t.Errorf("got %v", err)
	}
}

// checked gives what the checker found in the only function of a module.
func checked(t *testing.T, module []byte) *checker {
	t.Helper()
	m, err := parse(module)
	if err != nil {
		t.Fatal(err)
	}
	c := &checker{m: m}
	if err := c.function(0); err != nil {
		t.Fatal(err)
	}
	return c
}

// charges gives the fuel that each region of the only function takes, in the
// order of the code.
func charges(t *testing.T, module []byte) (out []int64) {
	t.Helper()
	c := checked(t, module)
	for _, change := range c.changes {
		if change.kind == changeCharge || change.kind == changeLoop {
			out = append(out, change.arg)
		}
	}
	return out
}

func TestWhatRegionsCost(t *testing.T) {
	i32 := []valType{typeI32}
	for name, c := range map[string]struct {
		code []any
		want []int64
	}{
		"a straight line":             {[]any{opI32Const, 1, opLocalSet, 0, opNop}, []int64{2}},
		"a block that nobody leaves":  {[]any{opI32Const, 1, opBlock, 0x40, opNop, opEnd, opDrop}, []int64{1}},
		"a block that is left":        {[]any{opBlock, 0x40, opI32Const, 1, opBrIf, 0, opI32Const, 1, opDrop, opEnd, opI32Const, 1, opDrop}, []int64{2, 1, 1}},
		"a loop":                      {[]any{opLoop, 0x40, opI32Const, 1, opBrIf, 0, opEnd}, []int64{0, 2, 0}},
		"both arms of an if":          {[]any{opI32Const, 1, opIf, 0x40, opI32Const, 1, opDrop, opElse, opI32Const, 1, opLocalSet, 0, opEnd, opI32Const, 1, opDrop}, []int64{2, 1, 2, 1}},
		"what cannot be reached":      {[]any{opBlock, 0x40, opBr, 0, opI32Const, 1, opDrop, opEnd}, []int64{1, 0}},
		"behind an endless loop":      {[]any{opLoop, 0x40, opBr, 0, opEnd, opI32Const, 1, opDrop}, []int64{0, 1}},
		"a division":                  {[]any{opI32Const, 1, opI32Const, 1, 0x6d, opDrop}, []int64{2 + costDivide}},
		"an unsigned 64-bit division": {[]any{opI64Const, 1, opI64Const, 1, 0x80, opDrop}, []int64{2 + costDivide}},
		"a vector":                    {[]any{opVector, vectorConst, strings.Repeat("\x00", 16), opDrop}, []int64{costVector}},
	} {
		t.Run(name, func(t *testing.T) {
			got := charges(t, aFunction(nil, nil, i32, c.code...))
			if len(got) != len(c.want) {
				t.Fatalf("got %v, want %v", got, c.want)
			}
			for i := range got {
				if got[i] != c.want[i] {
					t.Fatalf("got %v, want %v", got, c.want)
				}
			}
		})
	}
}

// canonicals gives the opcodes behind which NaNs are made canonical.
func canonicals(t *testing.T, module []byte) (after []byte) {
	t.Helper()
	c := checked(t, module)
	for _, change := range c.changes {
		if change.kind == changeCanonical && c.producers[change.arg].needed {
			after = append(after, c.r.b[change.at-1])
		}
	}
	return after
}

func TestWhereNaNsAreMadeCanonical(t *testing.T) {
	const (
		add, mul, abs, neg, lt, copysign, reinterpret, fromInt = 0xa0, 0xa2, 0x99, 0x9a, 0x63, 0xa6, 0xbd, 0xb9
	)
	load := []any{opI32Const, 0, 0x2b, 3, 0}
	vload := []any{opI32Const, 0, opVector, 0, 4, 0}
	singles, doubles := []any{vload, vload, opVector, 0xe4, 1}, []any{vload, vload, opVector, 0xf0, 1}
	one := bytesOf(opF64Const, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f)
	aNaN := bytesOf(opF64Const, 1, 0, 0, 0, 0, 0, 0xf0, 0x7f)
	var code func(parts ...any) (out []any)
	code = func(parts ...any) (out []any) {
		for _, p := range parts {
			if list, ok := p.([]any); ok {
				out = append(out, code(list...)...)
			} else {
				out = append(out, p)
			}
		}
		return out
	}
	// Locals: two f64, two v128.
	for name, c := range map[string]struct {
		code []any
		want []byte
	}{
		"a sum that is stored":                         {code(opI32Const, 0, load, load, add, 0x39, 3, 0), []byte{add}},
		"a sum that is thrown away":                    {code(load, load, add, opDrop), nil},
		"a product that is added":                      {code(load, load, load, mul, add, reinterpret, opDrop), []byte{add}},
		"a product that is compared":                   {code(load, load, mul, load, lt, opDrop), nil},
		"a sign that is changed":                       {code(load, load, add, neg, opDrop), []byte{add}},
		"a sign that is dropped, and seen":             {code(load, load, add, abs, reinterpret, opDrop), []byte{abs}},
		"the sign of what was loaded":                  {code(load, neg, reinterpret, opDrop), nil},
		"a sign that is copied":                        {code(load, load, add, load, load, mul, copysign, opDrop), []byte{add, mul}},
		"an integer":                                   {code(opI64Const, 1, fromInt, reinterpret, opDrop), nil},
		"what was loaded":                              {code(load, reinterpret, opDrop), nil},
		"a branch that takes it along":                 {code(opBlock, typeF64, load, load, add, opBr, 0, opEnd, opDrop), []byte{add}},
		"the result of a block":                        {code(opBlock, typeF64, load, load, add, opEnd, opDrop), []byte{add}},
		"a choice":                                     {code(load, load, load, add, opI32Const, 0, opSelect, opDrop), []byte{add}},
		"a choice of sums, and of a number":            {code(load, load, add, one, opI32Const, 0, opSelect, reinterpret, opDrop), []byte{opSelect}},
		"a sum in all lanes, and out of one":           {code(load, load, add, opVector, 20, opVector, 33, 1, reinterpret, opDrop), []byte{1}},
		"whole floats that change places":              {code(opLocalGet, 2, opLocalGet, 3, opVector, 0xf0, 1, opLocalTee, 2, opLocalGet, 2, opLocalGet, 3, opVector, 0xf0, 1, opVector, vectorShuffle, "\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10\x11\x12\x13\x14\x15\x16\x17", opLocalSet, 2), nil},
		"bytes that change places":                     {code(opLocalGet, 2, opLocalGet, 3, opVector, 0xf0, 1, opLocalGet, 2, opLocalGet, 3, opVector, 0xf0, 1, opVector, vectorShuffle, "\x09\x08\x0a\x0b\x0c\x0d\x0e\x0f\x10\x11\x12\x13\x14\x15\x16\x17", opDrop), []byte{1, 1}},
		"a local of sums, where it is seen":            {code(one, opLocalSet, 0, opLocalGet, 0, load, add, opLocalSet, 0, opLocalGet, 0, reinterpret, opDrop), []byte{0}},
		"a local of sums that nobody sees":             {code(opLocalGet, 0, load, add, opLocalSet, 0), nil},
		"a local that also holds what was loaded":      {code(load, opLocalSet, 0, opLocalGet, 0, load, add, opLocalSet, 0, opLocalGet, 0, reinterpret, opDrop), []byte{add}},
		"a local that also holds a constant NaN":       {code(aNaN, opLocalSet, 0, opLocalGet, 0, load, add, opLocalSet, 0), []byte{add}},
		"a local that takes another of sums":           {code(load, load, add, opLocalSet, 0, opLocalGet, 0, opLocalSet, 1, opLocalGet, 1, reinterpret, opDrop), []byte{1}},
		"a local that takes another of sums and loads": {code(load, load, add, opLocalSet, 0, opLocalGet, 0, opLocalSet, 1, load, opLocalSet, 1), []byte{0}},
		"a local that is set in passing":               {code(load, load, add, opLocalTee, 0, reinterpret, opDrop), []byte{add}},
		"a vector of sums as other floats":             {code(opLocalGet, 2, opLocalGet, 2, opVector, 0xf0, 1, opLocalGet, 3, opVector, 0xe4, 1, opDrop), []byte{1}},
		"a vector of sums as the same floats":          {code(opLocalGet, 2, opLocalGet, 2, opVector, 0xf0, 1, opLocalGet, 3, opVector, 0xf0, 1, opDrop), nil},
		"a vector of sums as bits":                     {code(opLocalGet, 2, opLocalGet, 2, opVector, 0xe4, 1, opVector, 77, opDrop), []byte{1}},
		"a local that takes one that is set to loads":  {code(opLocalGet, 0, opLocalSet, 1, load, opLocalSet, 0, opLocalGet, 1, reinterpret, opDrop), nil},
		"a vector local that takes another kind":       {code(singles, opLocalSet, 2, doubles, opLocalSet, 3, opLocalGet, 2, opLocalSet, 3), []byte{1, 2}},
		"a vector local that takes its kind":           {code(singles, opLocalSet, 2, opLocalGet, 2, opLocalSet, 3, opLocalGet, 3, opVector, 77, opDrop), []byte{3}},
		"a vector local without floats, as bits":       {code(opLocalGet, 2, opVector, 77, opDrop), nil},
		"a vector local taken for another kind":        {code(singles, opLocalSet, 2, opLocalGet, 2, vload, opVector, 0xf0, 1, opDrop), []byte{1}},
		"a vector local of two kinds of floats":        {code(opLocalGet, 3, opLocalGet, 3, opVector, 0xe4, 1, opLocalSet, 2, opLocalGet, 3, opLocalGet, 3, opVector, 0xf0, 1, opLocalSet, 2), []byte{1, 1}},
	} {
		t.Run(name, func(t *testing.T) {
			got := canonicals(t, aFunction(nil, nil, []valType{typeF64, typeV128}, c.code...))
			if !bytes.Equal(got, c.want) {
				t.Errorf("behind %x, want %x", got, c.want)
			}
		})
	}
}

// However many locals a value goes through before one that also holds what was
// loaded, its pattern is settled before it is set.
func TestALongWayToALocalOfLoads(t *testing.T) {
	const locals = 12
	f64s := slices.Repeat([]valType{typeF64}, locals/2)
	load := []any{opI32Const, 0, 0x2b, 3, 0}
	code := append(append(slices.Clone(load), load...), 0xa0, opLocalSet, 0)
	for i := range locals - 1 {
		code = append(code, opLocalGet, i+1, opLocalSet, i)
	}
	code = append(append(code, load...), opLocalSet, locals-1)
	if got := canonicals(t, aFunction(nil, nil, f64s, code...)); !bytes.Equal(got, []byte{0xa0}) {
		t.Errorf("behind %x, want behind the sum", got)
	}
}

// TestTheRulesDoNotChange compares what becomes of real programs with what this
// version makes of them. Where it differs, raise Version and the machine's.
func TestTheRulesDoNotChange(t *testing.T) {
	guests := []string{"files", "flood", "grow", "noop", "progress", "raw", "spin", "trap", "wide"}
	all := sha256.New()
	for _, g := range guests {
		b, err := os.ReadFile(filepath.Join("../testdata/guests", g+".wasm"))
		if err != nil {
			t.Fatal(err)
		}
		out, err := Rewrite(b)
		if err != nil {
			t.Fatalf("%s: %v", g, err)
		}
		again, err := Rewrite(b)
		if err != nil || !bytes.Equal(out, again) {
			t.Errorf("%s: two rewritings differ", g)
		}
		all.Write(out)
	}
	const want = "29d8318054d2f25e33c5be15499a7206ac2166916fcb2b8406eaabcebe61b342"
	if got := hex.EncodeToString(all.Sum(nil)); got != want {
		t.Errorf("%d guests give %s, want %s", len(guests), got, want)
	}
}
