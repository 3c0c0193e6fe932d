package executor

import (
	"encoding/binary"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/mustermesh/muster/executor/rewrite"
)

// runPage runs a module on the machine that docs/machine.md describes.
func runPage(t *testing.T, module []byte, fuel uint64, interpret bool) done {
	t.Helper()
	open := bareMachine
	if interpret {
		open = interpreterMachine
	}
	m, err := open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.compile(t.Context(), module); err != nil {
		t.Fatal(err)
	}
	defer m.rt.Close(t.Context())
	h, err := newHost(order{fuel: fuel}, noInput, func(frameType, []byte) {})
	if err != nil {
		t.Fatal(err)
	}
	d, err := m.run(t.Context(), h, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// costModule has _start do code; besides it has function 1, which does leaf,
// function 2, which traps, a table of 4 entries, in the first of them function 1,
// and a passive segment of each kind.
func costModule(code string, leaf ...string) []byte {
	section := func(id byte, body string) string {
		return string(binary.AppendUvarint([]byte{id}, uint64(len(body)))) + body
	}
	function := func(code string) string {
		return string(binary.AppendUvarint(nil, uint64(len(code)+2))) + "\x00" + code + "\x0b"
	}
	return []byte("\x00asm\x01\x00\x00\x00" +
		section(1, "\x01\x60\x00\x00") + section(3, "\x03\x00\x00\x00") + section(4, "\x01\x70\x00\x04") + section(5, "\x01\x00\x01") +
		section(7, "\x02\x06memory\x02\x00\x06_start\x00\x00") +
		section(9, "\x02\x00\x41\x00\x0b\x01\x01\x01\x00\x01\x01") + section(12, "\x01") +
		section(10, "\x03"+function(code)+function(strings.Join(leaf, ""))+function("\x00")) + section(11, "\x01\x01\x02ab"))
}

// pageCosts reads the first table of §3.1.
func pageCosts(t *testing.T) map[string]uint64 {
	costs := map[string]uint64{}
	_, table, _ := strings.Cut(pageSection(t, 3), "### 3.1")
	table, _, _ = strings.Cut(table, "Some cost more")
	for _, row := range regexp.MustCompile(`(?m)^\| (\d+) \| (.*) \|$`).FindAllStringSubmatch(table, -1) {
		n, _ := strconv.ParseUint(row[1], 10, 64)
		for _, name := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(row[2], -1) {
			costs[name[1]] = n
		}
	}
	if len(costs) == 0 {
		t.Fatal("the page prices no instructions")
	}
	return costs
}

const (
	zero32 = "\x41\x00"             // i32.const
	drop   = "\x1a"                 // costs nothing
	half32 = "\x43\x00\x00\x00\x3f" // f32.const
	half64 = "\x44\x00\x00\x00\x00\x00\x00\xe0\x3f"
	lanes  = "\xfd\x0c" + "0123456789abcdef"
)

func TestThePagePricesInstructions(t *testing.T) {
	costs, untried := pageCosts(t), map[string]bool{}
	for name := range costs {
		untried[name] = true
	}
	one, long := "\x41\x01", "\x42\x01"
	for _, c := range []struct {
		names, code string
		more        uint64 // by the last operand
	}{
		{"nop block end loop end i32.const drop", "\x01\x02\x40\x0b\x03\x40\x0b" + zero32 + drop, 0},
		{"i32.const if else end", one + "\x04\x40\x05\x0b", 0},
		{"block br end", "\x02\x40\x0c\x00\x0b", 0},
		{"block i32.const br_if end", "\x02\x40" + one + "\x0d\x00\x0b", 0},
		{"block i32.const br_table end", "\x02\x40" + zero32 + "\x0e\x00\x00\x0b", 0},
		{"return", "\x0f", 0},
		{"unreachable", "\x00", 0},
		{"call", "\x10\x01", 0},
		{"i32.const call_indirect", zero32 + "\x11\x00\x00", 0},
		{"i32.const i32.const i32.const select drop", zero32 + zero32 + zero32 + "\x1b" + drop, 0},
		{"i32.const i32.load drop", zero32 + "\x28\x02\x00" + drop, 0},
		{"i32.const i64.const i64.store", zero32 + long + "\x37\x03\x00", 0},
		{"memory.size drop", "\x3f\x00" + drop, 0},
		{"i32.const memory.grow drop", "\x41\x03\x40\x00" + drop, 3 * 4096},
		{"i32.const memory.grow drop", "\x41\xff\xff\x03\x40\x00" + drop, 65535 * 4096}, // fails
		{"i32.const table.get drop", zero32 + "\x25\x00" + drop, 0},
		{"i32.const ref.null table.set", zero32 + "\xd0\x70\x26\x00", 0},
		{"ref.null ref.is_null drop", "\xd0\x70\xd1" + drop, 0},
		{"i32.const i32.const i32.mul drop", one + one + "\x6c" + drop, 0},
		{"i32.const i32.const i32.div_s drop", one + one + "\x6d" + drop, 0},
		{"i32.const i32.const i32.div_u drop", one + one + "\x6e" + drop, 0},
		{"i32.const i32.const i32.rem_s drop", one + one + "\x6f" + drop, 0},
		{"i32.const i32.const i32.rem_u drop", one + one + "\x70" + drop, 0},
		{"i32.const i32.const i32.and drop", one + one + "\x71" + drop, 0},
		{"i64.const i64.const i64.mul drop", long + long + "\x7e" + drop, 0},
		{"i64.const i64.const i64.div_s drop", long + long + "\x7f" + drop, 0},
		{"i64.const i64.const i64.div_u drop", long + long + "\x80" + drop, 0},
		{"i64.const i64.const i64.rem_s drop", long + long + "\x81" + drop, 0},
		{"i64.const i64.const i64.rem_u drop", long + long + "\x82" + drop, 0},
		{"i64.const i64.const i64.and drop", long + long + "\x83" + drop, 0},
		{"f32.const f32.nearest drop", half32 + "\x90" + drop, 0},
		{"f32.const f32.sqrt drop", half32 + "\x91" + drop, 0},
		{"f32.const f32.const f32.mul drop", half32 + half32 + "\x94" + drop, 0},
		{"f32.const f32.const f32.div drop", half32 + half32 + "\x95" + drop, 0},
		{"f64.const f64.sqrt drop", half64 + "\x9f" + drop, 0},
		{"f64.const f64.const f64.mul drop", half64 + half64 + "\xa2" + drop, 0},
		{"f64.const f64.const f64.div drop", half64 + half64 + "\xa3" + drop, 0},
		{"f32.const i32.trunc_sat_f32_s drop", half32 + "\xfc\x00" + drop, 0},
		{"i32.const i32.const i32.const memory.init", zero32 + zero32 + "\x41\x02\xfc\x08\x00\x00", 0},
		{"data.drop", "\xfc\x09\x00", 0},
		{"i32.const i32.const i32.const memory.copy", zero32 + zero32 + "\x41\x3f\xfc\x0a\x00\x00", 3},
		{"i32.const i32.const i32.const memory.fill", zero32 + zero32 + "\x41\x30\xfc\x0b\x00", 3},
		{"i32.const i32.const i32.const table.init", zero32 + zero32 + one + "\xfc\x0c\x01\x00", 2},
		{"elem.drop", "\xfc\x0d\x01", 0},
		{"i32.const i32.const i32.const table.copy", zero32 + zero32 + "\x41\x04\xfc\x0e\x00\x00", 8},
		{"ref.null i32.const table.grow drop", "\xd0\x70\x41\x05\xfc\x0f\x00" + drop, 10},
		{"table.size drop", "\xfc\x10\x00" + drop, 0},
		{"i32.const ref.null i32.const table.fill", zero32 + "\xd0\x70\x41\x04\xfc\x11\x00", 8},
		{"v128.const drop", lanes + drop, 0},
		{"i32.const v128.load drop", zero32 + "\xfd\x00\x04\x00" + drop, 0},
		{"v128.const v128.const f32x4.mul drop", lanes + lanes + "\xfd\xe6\x01" + drop, 0},
		{"v128.const v128.const f32x4.div drop", lanes + lanes + "\xfd\xe7\x01" + drop, 0},
		{"v128.const v128.const i8x16.shuffle i32x4.extract_lane drop", lanes + lanes + "\xfd\x0d" + strings.Repeat("\x1f", 16) + "\xfd\x1b\x03" + drop, 0},
		{"i32.const i32x4.splat v128.const f64x2.pmin v128.any_true drop", zero32 + "\xfd\x11" + lanes + "\xfd\xf6\x01\xfd\x53" + drop, 0},
		{"v128.const f32x4.sqrt drop", lanes + "\xfd\xe3\x01" + drop, 0},
		{"v128.const v128.const f64x2.div drop", lanes + lanes + "\xfd\xf3\x01" + drop, 0},
		{"v128.const f64x2.sqrt drop", lanes + "\xfd\xef\x01" + drop, 0},
	} {
		want := c.more
		for _, name := range strings.Fields(c.names) {
			n, named := costs[name]
			if !named && strings.HasPrefix(name, "v128") || strings.Contains(name, "x") && !named {
				n = 2
			} else if !named {
				n = 1
			}
			want += n
			untried[name] = false
		}
		d := runPage(t, costModule(c.code), 0, true)
		if trapped := c.names == "unreachable"; d.fuel != want || (d.outcome == Trapped) != trapped {
			t.Errorf("%s: %v after %d units, want %d", c.names, d.outcome, d.fuel, want)
		}
	}
	for name, is := range untried {
		if is {
			t.Errorf("nothing tries what the page says %s costs", name)
		}
	}
}

func TestThePageCutsRegions(t *testing.T) {
	trap := "\x41\x7f\x28\x02\x00" + drop                 // 2 units: beyond memory
	more := zero32 + drop + zero32 + drop + zero32 + drop // 3 units
	for name, c := range map[string]struct {
		code string
		want uint64
	}{
		"a trap gives nothing back":                     {trap + more, 5},
		"a call is no boundary":                         {"\x10\x02" + more, 7},
		"a block is none":                               {more + "\x02\x40" + trap + "\x0b", 5},
		"nor its end, if no branch leads there":         {"\x02\x40" + trap + "\x0b" + more, 5},
		"nor if only one does that cannot be reached":   {"\x02\x40" + zero32 + "\x04\x40\x0f\x0c\x01\x0b" + trap + "\x0b" + more, 7},
		"the end of a block to which a branch leads is": {"\x02\x40" + trap + zero32 + "\x0d\x00\x0b" + more, 4},
		"one of a table leads there too":                {"\x02\x40\x02\x40" + trap + zero32 + "\x0e\x01\x01\x00\x0b" + more + "\x0b" + more, 5},
		"br_if is":                                      {"\x02\x40" + trap + zero32 + "\x0d\x00" + more + "\x0b", 4},
		"a loop is":                                     {trap + "\x03\x40" + more + "\x0b", 2},
		"its end is not":                                {"\x03\x40" + trap + "\x0b" + more, 5},
		"a branch to a loop does not change that":       {"\x03\x40" + zero32 + "\x0d\x00" + trap + "\x0b" + more, 7},
		"if is":                                            {trap + zero32 + "\x04\x40" + more + "\x0b", 4},
		"the end of an if is":                              {"\x41\x01\x04\x40" + trap + "\x0b" + more, 4},
		"else is":                                          {zero32 + "\x04\x40" + more + "\x05" + trap + "\x0b", 4},
		"the arms are not paid together":                   {"\x41\x01\x04\x40" + trap + "\x05" + more + "\x0b", 4},
		"what cannot be reached costs nothing":             {"\x02\x40\x0c\x00" + more + "\x0b" + trap, 3},
		"nor does it behind br_table":                      {"\x02\x40" + zero32 + "\x0e\x00\x00" + more + "\x0b" + trap, 5},
		"nor behind unreachable":                           {"\x00" + more, 0},
		"nor behind an endless loop":                       {"\x03\x40" + trap + "\x0c\x00\x0b" + more, 3},
		"behind an if without else code is reached":        {zero32 + "\x04\x40\x0f\x0b" + more, 5},
		"behind an else that returns too, if its if is":    {"\x41\x01\x04\x40\x05\x0f\x0b" + more, 5},
		"not if both arms return":                          {"\x41\x01\x04\x40\x0f\x05\x0f\x0b" + more, 3},
		"a return is no branch to the end of the function": {"\x02\x40" + trap + "\x0f\x0b" + more, 3},
	} {
		t.Run(name, func(t *testing.T) {
			d := runPage(t, costModule(c.code), 0, true)
			if d.fuel != c.want {
				t.Errorf("used %d units, want %d", d.fuel, c.want)
			}
		})
	}
}

func TestThePagesExample(t *testing.T) {
	page := pageSection(t, 3)
	_, wat, _ := strings.Cut(page, "```wat\n")
	wat, _, _ = strings.Cut(wat, "```")
	if source := readGuest(t, "worked.wat"); string(source) != wat {
		t.Error("the example is not testdata/guests/worked.wat")
	}
	said := regexp.MustCompile(`It exits with (\d+), .* has used (\d+) units`).FindStringSubmatch(page)
	if said == nil {
		t.Fatal("the page does not say what comes of its example")
	}
	for _, interpret := range []bool{true, false} {
		d := runPage(t, readGuest(t, "worked.wasm"), 0, interpret)
		if got := fmt.Sprint(d.code, " ", d.fuel); d.outcome != Exited || got != said[1]+" "+said[2] {
			t.Errorf("it exits with and uses %s, want %s", got, said[1:])
		}
	}
}

func TestThePageSaysWhichEndComesFirst(t *testing.T) {
	more := strings.Repeat(zero32+drop, 5)
	for name, c := range map[string]struct {
		code       string
		fuel, used uint64
		trap       string // "": it exits
	}{
		"enough fuel, to the unit":           {more, 5, 5, ""},
		"one too few, found at the end":      {more, 4, 4, OutOfFuel.String()},
		"a trap with too little fuel":        {more + "\x00", 4, 4, OutOfFuel.String()},
		"a trap with enough":                 {more + "\x00", 5, 5, "unreachable"},
		"an endless loop":                    {"\x03\x40" + more + "\x0c\x00\x0b", 100, 100, OutOfFuel.String()},
		"an endless recursion":               {"\x10\x00", 100, 100, OutOfFuel.String()},
		"a range that costs more than there": {zero32 + zero32 + "\x41\x80\x80\x04\xfc\x0b\x00", 4000, 4000, OutOfFuel.String()},
		"a range that is not in memory":      {zero32 + zero32 + "\x41\x80\x80\x08\xfc\x0b\x00", 0, 19 + 131072>>4, "out of bounds memory access"},
		"a segment beyond its end":           {zero32 + zero32 + "\x41\x03\xfc\x08\x00\x00", 0, 19, "out of bounds memory access"},
		"elements beyond their end":          {zero32 + zero32 + "\x41\x02\xfc\x0c\x01\x00", 0, 19 + 4, "invalid table access"},
		"a table beyond its end":             {zero32 + "\xd0\x70\x41\x05\xfc\x11\x00", 0, 19 + 10, "invalid table access"},
		"an entry that is not there":         {"\x41\x04\x25\x00" + drop, 0, 3, "invalid table access"},
		"a call of null":                     {"\x41\x01\x11\x00\x00", 0, 9, "invalid table access"},
		"a division by zero":                 {zero32 + zero32 + "\x6d" + drop, 0, 10, "integer divide by zero"},
		"a quotient that is too large":       {"\x41\x80\x80\x80\x80\x78\x41\x7f\x6d" + drop, 0, 10, "integer overflow"},
		"a float that is too large":          {"\x43\x00\x00\x80\x7f\xa8" + drop, 0, 2, "integer overflow"},
		"a NaN as an integer":                {"\x43\x00\x00\xc0\x7f\xa8" + drop, 0, 2, "invalid conversion to integer"},
	} {
		t.Run(name, func(t *testing.T) {
			d := runPage(t, costModule(c.code), c.fuel, true)
			trap := ""
			switch d.outcome {
			case Trapped:
				trap = Traps[d.trap]
			case OutOfFuel:
				trap = d.outcome.String()
			}
			if trap != c.trap || d.fuel != c.used {
				t.Errorf("got %q after %d units, want %q after %d", trap, d.fuel, c.trap, c.used)
			}
		})
	}
}

// TestThePagesStack has functions call themselves until the stack is full; the
// fuel that they used tells how deep they came.
func TestThePagesStack(t *testing.T) {
	page := strings.ReplaceAll(pageSection(t, 4), ",", "")
	if !strings.Contains(page, fmt.Sprintf("%d slots all free", rewrite.StackSlots)) {
		t.Errorf("the page does not say that there are %d slots", rewrite.StackSlots)
	}
	const bare = 32
	padding := strings.Repeat("\x01", 128-4) // with which a body has 128 bytes
	for name, c := range map[string]struct {
		code        string
		frame, cost uint64
	}{
		"nothing but a call":      {"\x10\x00", bare, 4},
		"three operands":          {zero32 + zero32 + zero32 + drop + drop + drop + "\x10\x00", bare + 3, 7},
		"a vector":                {lanes + drop + "\x10\x00", bare + 2, 6},
		"operands nobody reaches": {"\x10\x00\x0f" + zero32 + zero32 + drop + drop, bare + 2, 5},
		"128 bytes":               {padding + "\x10\x00", bare + 1, 4},
		"127 bytes":               {padding[1:] + "\x10\x00", bare, 4},
	} {
		t.Run(name, func(t *testing.T) {
			wantOverflow(t, costModule(c.code), (rewrite.StackSlots/c.frame+1)*c.cost)
		})
	}
}

func wantOverflow(t *testing.T, module []byte, fuel uint64) {
	t.Helper()
	deepen()
	for _, interpret := range []bool{false, true} {
		d := runPage(t, module, 0, interpret)
		if d.outcome != Trapped || Traps[d.trap] != trapStack || d.fuel != fuel {
			t.Errorf("interpreted %t: got %v %d after %d units, want an overflow after %d", interpret, d.outcome, d.trap, d.fuel, fuel)
		}
	}
}

// TestThePagesLeaves has each level of a recursion, of 32 slots, call a function
// that calls nobody.
func TestThePagesLeaves(t *testing.T) {
	again := "\x10\x01\x10\x00"
	leaf := func(operands int) string { return strings.Repeat(zero32, operands) + strings.Repeat(drop, operands) }
	// 400 operands are a frame of 32 + 400 + 1202/128 slots, which is free.
	wantOverflow(t, costModule(again, leaf(400)), rewrite.StackSlots/32*(8+400)+8)
	// 600 are one of 32 + 600 + 1802/128, which have to be left.
	const frame = 32 + 600 + 1802/128
	levels := (rewrite.StackSlots-frame)/32 + 1
	wantOverflow(t, costModule(again, leaf(600)), uint64(levels)*(8+600))
}

// TestThePagesNaNs compares bits.
func TestThePagesNaNs(t *testing.T) {
	const (
		loud  = "\x43\x01\x00\xa0\xff" // f32.const, a negative NaN of another pattern
		loud8 = "\x44\x01\x00\x00\x00\x00\x00\xf4\xff"
		bits  = "\xbc"                 // i32.reinterpret_f32
		upper = "\xbd\x42\x20\x88\xa7" // the upper half of an f64
		good  = uint32(0x7fc00000)
	)
	for name, c := range map[string]struct {
		code string
		want uint32
	}{
		"a sum":                      {loud + half32 + "\x92" + bits, good},
		"a minimum":                  {half32 + loud + "\x96" + bits, good},
		"a rounded one":              {loud + "\x90" + bits, good},
		"a root":                     {"\x43\x00\x00\x80\xbf\x91" + bits, good},
		"a demoted one":              {loud8 + "\xb6" + bits, good},
		"a promoted one":             {loud + "\xbb" + upper, 0x7ff80000},
		"a product of 64 bits":       {loud8 + half64 + "\xa2" + upper, 0x7ff80000},
		"the negative of a sum":      {loud + half32 + "\x92\x8c" + bits, 0xffc00000},
		"the sign of another":        {loud + half32 + "\x92" + loud + "\x98" + bits, 0xffc00000},
		"a constant":                 {loud + bits, 0xffa00001},
		"its negative":               {loud + "\x8c" + bits, 0x7fa00001},
		"its absolute value":         {loud + "\x8b" + bits, 0x7fa00001},
		"one of two":                 {loud + half32 + "\x41\x01\x1b" + bits, 0xffa00001},
		"what was stored as bits":    {zero32 + loud + "\x38\x02\x00" + zero32 + "\x28\x02\x00", 0xffa00001},
		"a lane of a sum":            {loud + "\xfd\x13" + loud + "\xfd\x13\xfd\xe4\x01\xfd\x1f\x02" + bits, good},
		"a lane of a pseudo-minimum": {loud + "\xfd\x13" + loud + "\xfd\x13\xfd\xea\x01\xfd\x1f\x02" + bits, 0xffa00001},
	} {
		t.Run(name, func(t *testing.T) {
			want := "\x41" + string(sleb32(int32(c.want)))
			module := costModule(c.code + want + "\x47\x04\x40\x00\x0b") // trap if it is another
			for _, interpret := range []bool{true, false} {
				if d := runPage(t, module, 0, interpret); d.outcome != Exited {
					t.Errorf("it is not %#x (interpreted: %t)", c.want, interpret)
				}
			}
		})
	}
}

// sleb32 writes a signed number in LEB128.
func sleb32(v int32) (b []byte) {
	for {
		low := byte(v & 0x7f)
		if v >>= 7; v == 0 && low&0x40 == 0 || v == -1 && low&0x40 != 0 {
			return append(b, low)
		}
		b = append(b, low|0x80)
	}
}
