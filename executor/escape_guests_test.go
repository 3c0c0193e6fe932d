package executor

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// hostileGuests is what a guest can try with what it computes, and with what it
// says that it is.
func hostileGuests() []escape {
	return slices.Concat(memoryBombs(), stackBombs(), tableBombs(), codeBombs(), endless(), malformed(), imports())
}

// deadline is how long the guests below get that never end.
func deadline(k *Task) { k.Limits.Timeout = 150 * time.Millisecond }

// loop repeats code for ever; until leaves it when code leaves something other
// than zero.
func loop(code ...any) []byte  { return text(opLoop, noResult, text(code...), opBr, 0, opEnd) }
func until(code ...any) []byte { return text(opLoop, noResult, text(code...), opEqz, opBrIf, 0, opEnd) }

// always makes a guest that calls one function of WASI for ever.
func always(name string, args ...[]byte) []byte {
	m := &modText{}
	fn := m.wasi(name)
	m.data = [][]byte{text(0, i32(0), opEnd, named("\x00\x10\x00\x00\x00\x80\x00\x00"))} // at 0 a buffer of 32 KiB
	m.add(0, loop(slices.Concat(args...), opCall, fn, opDrop))
	return m.module()
}

func memoryBombs() []escape {
	withMemory := func(limits []byte, code ...any) []byte {
		m := &modText{memory: limits}
		m.add(0, code...)
		return m.module()
	}
	fill := text(opPrefix, 11, 0)
	outside := func(offset []byte) []byte {
		m := &modText{data: [][]byte{text(0, offset, opEnd, named("outside"))}}
		m.add(0)
		return m.module()
	}
	two := text("\x00asm\x01\x00\x00\x00", sectionOf(5, text(2, 0, 1, 0, 1)))
	return []escape{
		{name: "memory grown to the limit, each page touched", ends: endExited, module: startOf(until(
			opSize, 0, i32(16), 0x74, i32(-4), opAdd, i32(-1), opStore, 2, 0, i32(1), opGrow, 0, i32(-1), 0x46))},
		{name: "memory grown by 65,536 pages", ends: endExited, module: startOf(
			i32(65536), opGrow, 0, i32(-1), opNe, i32(65535), opGrow, 0, i32(-1), opNe, opI32Or, opEqz, opBrIf, 0, opUnreachable)},
		{name: "memory of 4 GiB to begin with", ends: endTrapped, module: withMemory(text(0, uleb(65536)))},
		{name: "memory of more than 4 GiB", ends: endRefused, module: withMemory(text(0, uleb(65537)))},
		{name: "memory that ends before it begins", ends: endRefused, module: withMemory(text(1, 2, 1))},
		{name: "memory filled beyond its end", ends: endTrapped, module: startOf(i32(0), i32(7), i32(-1), fill)},
		{name: "memory filled from beyond its end", ends: endTrapped, module: startOf(i32(-1), i32(7), i32(2), fill)},
		{name: "memory copied from beyond its end", ends: endTrapped, module: startOf(i32(0), i32(65535), i32(2), opPrefix, 10, 0, 0)},
		{name: "a store beyond the end with a huge offset", ends: endTrapped, module: startOf(i32(-1), i32(7), opStore, 2, uleb(1<<32-1))},
		{name: "a load below the start", ends: endTrapped, module: startOf(i32(-4), opLoad, 2, 0, opDrop)},
		{name: "data beyond the end", ends: endTrapped + " or " + endRefused, module: outside(i32(65530))},
		{name: "data below the start", ends: endTrapped + " or " + endRefused, module: outside(i32(-1))},
		{name: "two memories", ends: endRefused, module: two},
		{name: "shared memory", ends: endRefused, module: withMemory(text(3, 1, 1))},
		{name: "memory of 64 bits", ends: endRefused, module: withMemory(text(4, 1))},
	}
}

func stackBombs() []escape {
	endless := &modText{}
	endless.add(0, opCall, 0)

	wide := &modText{}
	wide.add(0)
	wide.funcs[0] = funcText{locals: text(1, uleb(10_000), typeI64), code: text(opCall, 0)}

	many := &modText{types: [][]byte{text(typeFunc, uleb(900), bytes.Repeat([]byte{typeI64}, 900), 0)}}
	var args []byte
	for i := range uint64(900) {
		args = append(args, text(opLocalGet, uleb(i))...)
	}
	many.add(1, args, opCall, 0)
	many.add(0, bytes.Repeat(i64(1), 900), opCall, 0)

	mutual := &modText{tables: [][]byte{text(0x70, 0, 2)}, elems: [][]byte{text(0, i32(0), opEnd, 2, 0, 1)}}
	mutual.add(0, i32(1), opCallIndirect, 0, 0)
	mutual.add(0, i32(0), opCallIndirect, 0, 0)

	started := &modText{start: 1}
	started.add(0)
	started.add(0, opCall, 1)
	started.add(0)
	list := []escape{
		{name: "recursion without end", ends: endTrapped, module: endless.module()},
		{name: "recursion with 10,000 locals", ends: endTrapped, module: wide.module()},
		{name: "recursion with 900 parameters", ends: endTrapped, module: many.module()},
		{name: "recursion through a table", ends: endTrapped, module: mutual.module()},
		{name: "recursion before the start", ends: endTrapped, module: started.module()},
	}
	for _, e := range list {
		e.name, e.change = e.name+", interpreted", func(k *Task) { k.Interpret = true }
		list = append(list, e)
	}
	return list
}

// manyLeaves calls a function that calls nobody so often, in a straight line: what
// it costs grows with the square of the module.
func manyLeaves(calls int) []byte {
	m := &modText{}
	m.add(0, bytes.Repeat(text(opCall, 1), calls))
	m.add(0, bytes.Repeat(text(i64(1), i64(3), opI64DivU, opDrop), calls))
	return m.module()
}

const opI64DivU = 0x80

func tableBombs() []escape {
	withTable := func(table []byte, code ...any) []byte {
		m := &modText{types: [][]byte{text(typeFunc, 1, typeI32, 0)}, tables: [][]byte{table}}
		m.add(0, code...)
		return m.module()
	}
	filled := func(offset int64) []byte {
		m := &modText{tables: [][]byte{text(0x70, 0, 1)}, elems: [][]byte{text(0, i32(offset), opEnd, 1, 0)}}
		m.add(0, i32(-1), opCallIndirect, 0, 0)
		return m.module()
	}
	other := &modText{types: [][]byte{text(typeFunc, 1, typeI32, 0)}, tables: [][]byte{text(0x70, 0, 1)}, elems: [][]byte{text(0, i32(0), opEnd, 1, 0)}}
	other.add(1)
	other.add(0, i32(0), opCallIndirect, 0, 0)
	many := &modText{tables: slices.Repeat([][]byte{text(0x70, 0, uleb(1<<20))}, 1000)}
	many.add(0)
	small := text(0x70, 0, 1)
	grow := func(by int64) []byte { return text(opRefNull, 0x70, i32(by), opPrefix, 15, 0) }
	return []escape{
		{name: "a table of 4,294,967,295 entries", ends: endRefused, module: withTable(text(0x70, 0, uleb(1<<32-1)))},
		{name: "a table that ends before it begins", ends: endRefused, module: withTable(text(0x70, 1, 2, 1))},
		{name: "a thousand large tables", ends: endRefused, module: many.module()},
		{name: "a table grown by 2,147,483,647 entries", ends: endExited, module: withTable(small, until(grow(1<<31-1), i32(-1), 0x46))},
		{name: "a table grown by 4,294,967,295 entries", ends: endExited, module: withTable(small, until(grow(-1), i32(-1), 0x46))},
		{name: "a table grown as often as it will", ends: endExited, module: withTable(small, until(grow(50_000), i32(-1), 0x46))},
		{name: "a call beyond the table", ends: endTrapped, module: filled(0)},
		{name: "a call of nothing", ends: endTrapped, module: withTable(small, i32(0), opCallIndirect, 0, 0)},
		{name: "a call of another type", ends: endTrapped, module: other.module()},
		{name: "elements beyond the table", ends: endTrapped + " or " + endRefused, module: filled(1)},
		{name: "elements below the table", ends: endTrapped + " or " + endRefused, module: filled(-1)},
	}
}

func codeBombs() []escape {
	any := strings.Join([]string{endExited, endTrapped, endRefused}, " or ")
	locals := func(list ...uint64) []byte {
		m := &modText{}
		m.add(0)
		l := uleb(uint64(len(list)))
		for _, n := range list {
			l = append(l, text(uleb(n), typeI64)...)
		}
		m.funcs[0].locals = l
		return m.module()
	}
	functions := &modText{funcs: make([]funcText, 100_000)}
	types := &modText{types: slices.Repeat([][]byte{text(typeFunc, 0, 0)}, 50_000)}
	types.add(0)
	exports := &modText{}
	exports.add(0)
	for i := range 50_000 {
		exports.exports = append(exports.exports, text(named(strings.Repeat("x", 40)+string(rune(0x4e00+i%20_000))+string(rune(0x4e00+i/20_000))), 0, 0))
	}
	nest := func(op byte, depth int) []byte {
		return startOf(bytes.Repeat([]byte{op, noResult}, depth), bytes.Repeat([]byte{opEnd}, depth))
	}
	custom := text(startOf(), sectionOf(0, text(named("name"), bytes.Repeat([]byte{0xff}, 4<<20))))
	data := &modText{data: slices.Repeat([][]byte{text(1, 0)}, 150_000)}
	data.add(0)
	return []escape{
		{name: "a function of a million instructions", ends: any, module: startOf(bytes.Repeat(text(opI32, 0, opDrop), 333_000))},
		{name: "a function that does nothing a million times", ends: any, module: startOf(bytes.Repeat([]byte{opNop}, 1_000_000))},
		{name: "50,000 locals", ends: any, module: locals(50_000)},
		{name: "50,001 locals", ends: any, module: locals(50_001)},
		{name: "locals beyond all counting", ends: endRefused, module: locals(1<<32-1, 1<<32-1, 2)},
		{name: "100,000 functions", ends: any, module: text(functions.module())},
		{name: "50,000 types", ends: any, module: types.module()},
		{name: "50,000 exports", ends: any, module: exports.module()},
		{name: "150,000 pieces of data", ends: any, module: data.module()},
		{name: "1,000 blocks in each other", ends: any, module: nest(opBlock, 1000)},
		{name: "1,000 loops in each other", ends: any, module: nest(opLoop, 1000)},
		{name: "a branch with 10,000 ways", ends: any, module: startOf(i32(5), opBrTable, uleb(10_000), bytes.Repeat([]byte{0}, 10_001))},
		{name: "a name section of garbage", ends: any, module: custom},
	}
}

func endless() []escape {
	start := &modText{start: 1}
	start.add(0)
	start.add(0, loop())
	start.add(0)
	sleep := &modText{data: [][]byte{text(0, i32(24), opEnd, named("\xff\xff\xff\xff\xff\xff\xff\x7f"))}} // a subscription to the clock
	poll := sleep.wasi("poll_oneoff")
	sleep.add(0, loop(i32(0), i32(512), i32(1), i32(8), opCall, poll, opDrop))
	once := &modText{data: sleep.data}
	once.wasi("poll_oneoff")
	once.add(0, i32(0), i32(512), i32(1), i32(8), opCall, 0, opDrop)
	flood := func(fd int64) []byte { return always("fd_write", i32(fd), i32(0), i32(1), i32(8)) }
	full := &modText{data: [][]byte{text(0, i32(0), opEnd, named("\x00\x00\x00\x00\x00\x80\x00\x00"))}}
	write := full.wasi("fd_write")
	full.add(0, until(i32(1), i32(0), i32(1), i32(8), opCall, write))
	exit := &modText{}
	exit.wasi("proc_exit")
	exit.add(0, i32(-1), opCall, 0, opUnreachable)
	args := func(n, size int) func(*Task) {
		return func(k *Task) { k.Args, k.Env = slices.Repeat([]string{strings.Repeat("a", size)}, n), nil }
	}
	return []escape{
		{name: "a loop without end", ends: endTimeout, module: startOf(loop()), change: deadline},
		{name: "a loop without end before the start", ends: endTimeout, module: start.module(), change: deadline},
		{name: "a loop of calls without end", ends: endTimeout, module: always("sched_yield"), change: deadline},
		{name: "sleep without end", ends: endFuel, module: sleep.module()},
		{name: "costly leaves in a straight line", ends: endFuel, module: manyLeaves(50_000), change: func(k *Task) { k.Limits.Fuel = 300_000 }},
		{name: "one sleep of 292 years", ends: endFuel, module: once.module()},
		{name: "stdout without end", ends: endTimeout, module: flood(1), change: deadline},
		{name: "stderr without end", ends: endTimeout, module: flood(2), change: deadline},
		{name: "progress without end", ends: endTimeout, module: flood(1000), change: deadline},
		{name: "stdout until the disk is full", ends: endExited, module: full.module()},
		{name: "randomness without end", ends: endTimeout, module: always("random_get", i32(0), i32(60_000)), change: deadline},
		{name: "files without end", ends: endExited, module: fileFlood(), change: func(k *Task) { k.Outputs = nil }},
		{name: "open files without end", ends: endExited, module: openFlood()},
		{name: "an exit code out of bounds", ends: endExited, module: exit.module()},
		{name: "a bomb of arguments", ends: endTask, module: startOf(), change: args(3, 1<<20)},
		{name: "a bomb of empty arguments", ends: endTask + " or " + endExited, module: startOf(), change: args(1_000_000, 0)},
		{name: "a bomb of environment", ends: endTask, module: startOf(), change: func(k *Task) { k.Env = []string{"A=" + strings.Repeat("x", 2<<20)} }},
	}
}

// fileFlood makes files of ever new names until it may make no more.
func fileFlood() []byte {
	m := &modText{data: [][]byte{text(0, i32(2048), opEnd, named("aaaaaa"))}}
	open, closes := m.wasi("path_open"), m.wasi("fd_close")
	m.add(0, until(
		// The name is the counter at 0 in six letters of four bits.
		letters(), i32(0), i32(0), opLoad, 2, 0, i32(1), opAdd, opStore, 2, 0,
		i32(3), i32(0), i32(2048), i32(6), i32(openCreate), i64(int64(rightWrite)), i64(0), i32(0), i32(16), opCall, open,
		i32(16), opLoad, 2, 0, opCall, closes, opDrop))
	return m.module()
}

func letters() (code []byte) {
	for i := range int64(6) {
		code = append(code, text(i32(2048+i), i32(0), opLoad, 2, 0, i32(4*i), 0x76, i32(15), 0x71, i32('a'), opAdd, opStore8, 0, 0)...)
	}
	return code
}

// openFlood opens one file until it may open no more.
func openFlood() []byte {
	m := &modText{data: [][]byte{text(0, i32(2048), opEnd, named("in/a"))}}
	open := m.wasi("path_open")
	m.add(0, until(i32(3), i32(0), i32(2048), i32(4), i32(0), i64(int64(rightRead)), i64(0), i32(0), i32(16), opCall, open))
	return m.module()
}

func malformed() []escape {
	const magic = "\x00asm\x01\x00\x00\x00"
	whole := startOf(i32(1), opDrop)
	r := rand.New(rand.NewPCG(1, 2))
	garbage := []byte(magic)
	for range 4096 {
		garbage = append(garbage, byte(r.Uint32()))
	}
	list := []escape{
		{name: "nothing at all", module: nil},
		{name: "a program for this machine", module: []byte("\x7fELF\x02\x01\x01" + strings.Repeat("\x00", 100))},
		{name: "a script", module: []byte("#!/bin/sh\nid\n")},
		{name: "another version", module: []byte("\x00asm\x02\x00\x00\x00")},
		{name: "a component", module: []byte("\x00asm\x0d\x00\x01\x00")},
		{name: "a header alone", module: []byte(magic)},
		{name: "garbage", module: garbage},
		{name: "a section longer than the file", module: text(magic, 1, uleb(1<<32-1), 0)},
		{name: "a length without end", module: text(magic, 1, strings.Repeat("\xff", 100))},
		{name: "4,294,967,295 types", module: text(magic, sectionOf(1, text(uleb(1<<32-1), typeFunc, 0, 0)))},
		{name: "4,294,967,295 functions", module: text(magic, sectionOf(3, uleb(1<<32-1)), sectionOf(10, uleb(1<<32-1)))},
		{name: "4,294,967,295 parameters", module: text(magic, sectionOf(1, text(1, typeFunc, uleb(1<<32-1), typeI32)))},
		{name: "sections out of order", module: text(magic, sectionOf(3, text(0)), sectionOf(1, text(0)))},
		{name: "a section twice", module: text(magic, sectionOf(1, text(0)), sectionOf(1, text(0)))},
		{name: "an unknown section", module: text(whole, sectionOf(99, nil))},
		{name: "a function without code", module: text(magic, sectionOf(1, text(1, typeFunc, 0, 0)), sectionOf(3, text(1, 0)))},
		{name: "something after the end of a function", module: startOf(opEnd, opNop)},
		{name: "a value of the wrong type", module: startOf(i64(1), opEqz, opDrop)},
		{name: "a drop of nothing", module: startOf(opDrop)},
		{name: "a branch to nowhere", module: startOf(opBr, uleb(1<<31))},
		{name: "a call of nobody", module: startOf(opCall, uleb(1<<32-1))},
		{name: "a local that is not there", module: startOf(opLocalGet, uleb(1<<32-1), opDrop)},
		{name: "an atomic instruction", module: startOf(0xfe, 0x03, 0)},
		{name: "an exception", module: startOf(0x06, noResult, 0x19, opEnd)},
		{name: "a relaxed SIMD instruction", module: startOf(0xfd, uleb(0x100), opDrop)},
		{name: "an unknown instruction", module: startOf(0xff)},
		{name: "a start that takes something", module: startTakes()},
	}
	for i := range list {
		list[i].ends = endRefused
	}
	for i := 9; i < len(whole)-1; i += 5 {
		list = append(list, escape{name: "cut off", module: whole[:i], ends: endRefused})
	}
	return list
}

func startTakes() []byte {
	m := &modText{types: [][]byte{text(typeFunc, 1, typeI32, 0)}, start: 1}
	m.add(0)
	m.add(1)
	m.add(0)
	return m.module()
}

func imports() []escape {
	imported := func(module, name string, typ ...any) []byte {
		m := &modText{}
		m.importFunc(module, name, text(typ...))
		m.add(0)
		return m.module()
	}
	kind := func(about ...any) []byte {
		m := &modText{imports: [][]byte{text(named("env"), named("x"), text(about...))}}
		m.add(0)
		return m.module()
	}
	exported := func(name string) []byte {
		m := &modText{}
		m.add(0)
		m.exports = [][]byte{text(named(name), 0, 0)}
		return m.module()
	}
	list := []escape{
		{name: "env.system", module: imported("env", "system", typeFunc, 1, typeI32, 1, typeI32)},
		{name: "env.fork", module: imported("env", "fork", typeFunc, 0, 1, typeI32)},
		{name: "an older WASI", module: imported("wasi_unstable", "fd_write", typeFunc, 4, typeI32, typeI32, typeI32, typeI32, 1, typeI32)},
		{name: "threads of WASI", module: imported("wasi", "thread-spawn", typeFunc, 1, typeI32, 1, typeI32)},
		{name: "a WASI function that there is not", module: imported(wasiModule, "proc_exec", typeFunc, 2, typeI32, typeI32, 1, typeI32)},
		{name: "a WASI function with another signature", module: imported(wasiModule, "fd_write", typeFunc, 1, typeI64, 1, typeI32)},
		{name: "a WASI function without a result", module: imported(wasiModule, "fd_close", typeFunc, 1, typeI32, 0)},
		{name: "a function without a name", module: imported("", "", typeFunc, 0, 0)},
		{name: "a memory of somebody", module: kind(2, 0, 1)},
		{name: "a table of somebody", module: kind(1, 0x70, 0, 1)},
		{name: "a global of somebody", module: kind(3, typeI32, 1)},
		{name: "a meter of its own", module: exported("muster.fuel")},
		{name: "its memory twice", module: exported("memory")},
	}
	for i := range list {
		list[i].ends = endRefused
	}
	return list
}
