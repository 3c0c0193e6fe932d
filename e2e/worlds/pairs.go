package main

import (
	"embed"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
)

// inputs are programs for interpreters.
//
//go:embed inputs
var inputs embed.FS

// A program is a module that is there before a run of worlds.
type program struct {
	name, language string
	file           string // from the root of the repository
	need           string // what makes it
}

var programs = []program{
	{"goawk", "Go", "e2e/bin/goawk.wasm", "make programs"},
	{"gojq", "Go", "e2e/bin/gojq.wasm", "make programs"},
	{"lua", "Go", "e2e/bin/lua.wasm", "make programs"},
	{"jsonnet", "Go", "e2e/bin/jsonnet.wasm", "make programs"},
	{"wordcount", "Go", "examples/bin/wordcount.wasm", "make examples"},
	{"raytrace", "Go", "examples/bin/raytrace.wasm", "make examples"},
	{"chaos", "Go", "e2e/bin/chaos.wasm", "make examples"},
	{"cat", "Go", "e2e/bin/cat.wasm", "make examples"},
	{"crash", "Go", "e2e/bin/crash.wasm", "make examples"},
	{"sqlite", "C", "e2e/bin/sqlite.wasm", "make programs, with clang"},
	{"zstd", "C", "e2e/bin/zstd.wasm", "make programs, with clang"},
	{"floats", "C", "e2e/bin/floats.wasm", "make programs, with clang"},
	{"kernels", "C", "e2e/bin/kernels.wasm", "make programs, with clang"},
	{"kernels-simd", "C", "e2e/bin/kernels-simd.wasm", "make programs, with clang"},
	{"files", "C", "executor/testdata/guests/files.wasm", "a whole checkout"},
	{"python", "CPython", "e2e/bin/python.wasm", "make programs, with npm"},
	{"grow", "WAT", "executor/testdata/guests/grow.wasm", "a whole checkout"},
	{"flood", "WAT", "executor/testdata/guests/flood.wasm", "a whole checkout"},
	{"trap", "WAT", "executor/testdata/guests/trap.wasm", "a whole checkout"},
	{"spin", "WAT", "executor/testdata/guests/spin.wasm", "a whole checkout"},
	{"worked", "WAT", "executor/testdata/guests/worked.wasm", "a whole checkout"},
}

// A pair is a program with one input: all that its result may depend on.
type pair struct {
	name    string // PROGRAM/WHAT
	program string
	args    []string
	env     []string
	stdin   []byte
	in      map[string][]byte // files, by path
	outputs []string
	memory  uint64 // bytes
	disk    uint64 // bytes
	fuel    uint64 // 0: as much as there is
}

// A book collects pairs.
type book struct{ pairs []pair }

// add makes a pair of a program, with the limits that most have.
func (b *book) add(program, what string, args ...string) *pair {
	b.pairs = append(b.pairs, pair{
		name: program + "/" + what, program: program, args: args, memory: 256 << 20, disk: 16 << 20,
	})
	return &b.pairs[len(b.pairs)-1]
}

func (p *pair) reads(path string, data []byte) *pair {
	if p.in == nil {
		p.in = map[string][]byte{}
	}
	p.in[path] = data
	return p
}

func (p *pair) hears(stdin []byte) *pair   { p.stdin = stdin; return p }
func (p *pair) writes(path string) *pair   { p.outputs = append(p.outputs, path); return p }
func (p *pair) knows(env ...string) *pair  { p.env = env; return p }
func (p *pair) uses(fuel uint64) *pair     { p.fuel = fuel; return p }
func (p *pair) within(memory uint64) *pair { p.memory = memory; return p }
func (p *pair) holds(disk uint64) *pair    { p.disk = disk; return p }

// follows has a program of an interpreter among the input.
func (p *pair) follows(name string) *pair { return p.reads("in/"+name, script(name)) }

// script gives a file of inputs.
func script(name string) []byte {
	b, err := inputs.ReadFile("inputs/" + name)
	if err != nil {
		panic(err) // no pair may name one that is not there
	}
	return b
}

// allPairs gives every pair. It is the same list each time.
func allPairs() []pair {
	var b book
	b.interpretersInGo()
	b.ownPrograms()
	b.programsInC()
	b.python()
	return b.pairs
}

func (b *book) interpretersInGo() {
	words, table := prose(1, 500), measurements(150)
	awk := func(what string, args ...string) *pair {
		return b.add("goawk", what, append(args, "-f", "/in/"+what+".awk")...).follows(what + ".awk")
	}
	awk("numbers")
	awk("mandelbrot")
	awk("words").hears(words)
	awk("columns", "-v", "out=/out").hears(table).writes("/out")
	awk("text").hears(words).knows("WHO=Ada")
	awk("fib", "-v", "n=15")
	awk("deep").uses(60_000_000)

	json := records(15)
	jq := func(what, query string) *pair { return b.add("gojq", what, "-c", query).hears(json) }
	jq("group", `[.[] | {kind, value}] | group_by(.kind) | map({kind: .[0].kind, n: length, sum: (map(.value) | add)})`)
	jq("sort", `sort_by(-.value, .name) | map(.name) | .[:20], (map(length) | unique)`)
	jq("paths", `[paths(type == "number")] | length, (tostream | select(length == 2) | .[1] | tostring | length)`)
	jq("floats", `map(.value | sqrt, log, sin, (. * 1e300), tostring, floor) | .[:60], (map(tostring) | join(" ") | @base64 | length)`)
	jq("dates", `now | ., todate, (gmtime | mktime), strftime("%A %j")`)
	jq("words", `[.[].name | ascii_upcase | gsub("(?<v>[AEIOU])"; "<\(.v)>") | explode | add] | add`)
	jq("error", `.[0].name + 1`)

	lua := func(what string) *pair { return b.add("lua", what, "/in/"+what+".lua").follows(what + ".lua") }
	lua("hash")
	lua("floats")
	lua("sort")
	lua("strings").reads("in/words.txt", prose(10, 120)).writes("/out")
	lua("queens")
	lua("fail")

	jsonnet := func(what string, args ...string) *pair {
		return b.add("jsonnet", what, append(args, "/in/"+what+".jsonnet")...).follows(what + ".jsonnet")
	}
	jsonnet("config", "-m", "/out").writes("/out")
	jsonnet("numbers")
	jsonnet("fail")
}

func (b *book) ownPrograms() {
	b.add("wordcount", "three books", "-top", "20").
		reads("in/a.txt", prose(2, 3000)).reads("in/b.txt", prose(3, 2000)).reads("in/deep/er/c.txt", prose(4, 1000)).writes("/out")
	b.add("wordcount", "out of fuel", "-top", "20").reads("in/a.txt", prose(5, 3000)).writes("/out").uses(3_000_000)
	b.add("raytrace", "small", "-width", "32", "-height", "20", "-samples", "1").writes("/out")
	b.add("raytrace", "a strip", "-width", "40", "-height", "30", "-samples", "1").writes("/out").
		knows("MUSTER_TASK_INDEX=2", "MUSTER_TASK_COUNT=4")
	b.add("raytrace", "out of fuel", "-width", "640", "-height", "400").writes("/out").uses(15_000_000)
	b.add("chaos", "first").knows("MUSTER_TASK_INDEX=0", "MUSTER_TASK_COUNT=2")
	b.add("chaos", "second").knows("MUSTER_TASK_INDEX=1", "MUSTER_TASK_COUNT=2")
	b.add("cat", "stdin").hears(prose(6, 4000))
	b.add("crash", "as it does")
	b.add("files", "a tour").reads("in/a.txt", prose(7, 10)).reads("in/sub/b.txt", nil).writes("/out")
	b.add("grow", "4 MiB").within(4 << 20)
	b.add("grow", "8 MiB").within(8 << 20)
	b.add("flood", "1 MiB").holds(1 << 20)
	for i := range 8 {
		b.add("trap", fmt.Sprint("way ", i), strings.Split(strings.Repeat("x", i), "")...)
	}
	b.add("spin", "out of fuel").uses(2_000_000)
	b.add("worked", "example")
}

func (b *book) programsInC() {
	for _, what := range []string{"tree", "tables", "chance", "text", "floats", "wrong"} {
		b.add("sqlite", what, "/out/db").hears(script(what + ".sql")).writes("/out")
	}
	b.add("zstd", "prose, level 1", "1", "/out/z").hears(prose(8, 4000)).writes("/out")
	b.add("zstd", "prose, level 9", "9", "/out/z").hears(prose(8, 2000)).writes("/out")
	b.add("zstd", "table, level 3", "3", "/out/z").hears(measurements(2000)).writes("/out")
	b.add("zstd", "noise, level 5", "5", "/out/z").hears(noise(40_000)).writes("/out")
	b.add("floats", "libm", "libm", "60")
	b.add("floats", "libm of any bits", "wild", "60")
	b.add("floats", "text", "text", "25")
	b.add("floats", "nans", "nans")
	b.add("floats", "chance", "chance").knows("TZ=Europe/Berlin")
	b.add("floats", "deep", "deep", "300")
	b.add("floats", "too deep", "deep", "10000000")
	b.add("floats", "hoard", "hoard").within(8 << 20)
	b.add("floats", "abort", "abort")
	b.add("floats", "exit code")
	for _, name := range []string{"kernels", "kernels-simd"} {
		b.add(name, "integers", "collatz", "2000", "sieve", "60000", "mix", "60000", "fib", "16")
		b.add(name, "sort", "sortq", "3000")
		b.add(name, "floats", "nbody", "600", "mandel", "40")
		b.add(name, "matrices", "matmul", "12", "saxpy", "1")
	}
	b.add("kernels", "out of fuel", "fib", "60").uses(5_000_000)
}

func (b *book) python() {
	py := func(what string, args ...string) *pair {
		return b.add("python", what, append([]string{"-I", "-S", "/in/" + what + ".py"}, args...)...).follows(what + ".py")
	}
	py("numbers", "an", "argument").knows("A=b", "HOME=/nowhere")
	py("ends").reads("in/words.txt", prose(9, 200)).writes("/out").within(64 << 20)
}

func random(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 7)) }

// prose is so many words, in lines of ten; the shorter are the more frequent.
func prose(seed uint64, n int) []byte {
	r := random(seed)
	var b strings.Builder
	for i := range n {
		w := int(math.Exp(r.Float64() * 6))
		for k := range 1 + w%7 {
			b.WriteByte(byte('a' + (w*(k+3)+k*k)%26))
		}
		b.WriteString(map[bool]string{true: ".\n", false: " "}[i%10 == 9])
	}
	return []byte(b.String())
}

// measurements is a table in CSV.
func measurements(n int) []byte {
	r := random(uint64(n))
	b := []byte("time,station,value\n")
	for i := range n {
		b = fmt.Appendf(b, "%d,st%02d,%.4f\n", 1_600_000_000+i*60, r.IntN(20), r.NormFloat64()*30)
	}
	return b
}

// records is an array in JSON.
func records(n int) []byte {
	r := random(uint64(n))
	b := []byte("[")
	for i := range n {
		b = fmt.Appendf(b, `{"name":"item %x","kind":"%c","value":%g,"tags":[%d,%t,null,{"deep":[%d]}]},`, r.Uint32(), 'a'+r.IntN(6), r.Float64()*1000, i, i%3 == 0, r.IntN(9))
	}
	return append(b[:len(b)-1], "]\n"...)
}

func noise(n int) []byte {
	r, b := random(uint64(n)), make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32() & 0x3f)
	}
	return b
}
