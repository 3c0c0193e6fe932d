package executor

import (
	"bytes"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

// The suite that any Executor of profile wasip1/1 has to pass.
func testConformance(t *testing.T, x Executor) {
	t.Run("a Go program sees its arguments environment and stdin", func(t *testing.T) { testEcho(t, x) })
	t.Run("a C program sees a whole file system", func(t *testing.T) { testCFiles(t, x) })
	t.Run("a Go program sees a sorted tree without times", func(t *testing.T) { testWalk(t, x) })
	t.Run("a Go program makes renames and removes many files", func(t *testing.T) { testManyFiles(t, x) })
	t.Run("each trap has its name", func(t *testing.T) { testTraps(t, x) })
	t.Run("the limits hold", func(t *testing.T) { testLimits(t, x) })
	t.Run("an hour of sleep passes at once", func(t *testing.T) {
		res, sink := mustRun(t, x, tourTask(t, "sleep"))
		if got := sink.stdout.String(); got != "1h0m0s\n" || res.Wall > time.Minute {
			t.Errorf("slept %q in %v", got, res.Wall)
		}
	})
	t.Run("equal tasks give equal bytes", func(t *testing.T) { testDeterminism(t, x) })
	t.Run("memory is zero at the start of each task", func(t *testing.T) { testZeroMemory(t, x) })
	t.Run("outputs come sorted and only from where they were asked", func(t *testing.T) { testOutputs(t, x) })
	t.Run("a guest that loops is killed in time", func(t *testing.T) { testTimeout(t, x) })
	t.Run("stop ends a guest and may be repeated", func(t *testing.T) { testStop(t, x) })
	t.Run("a bad program says what to do", func(t *testing.T) { testBadPrograms(t, x) })
	t.Run("a bad task is refused", func(t *testing.T) { testBadTasks(t, x) })
	t.Run("output can be followed", func(t *testing.T) { testTail(t, x) })
	t.Run("a program says how far it is", func(t *testing.T) { testProgress(t, x) })
	t.Run("a program that then computes for ever has said it all", func(t *testing.T) { testSilence(t, x) })
}

func TestWASMConforms(t *testing.T) { testConformance(t, openTest(t, quickChild(t))) }

func tourTask(t testing.TB, args ...string) Task {
	k := task(tour(t))
	k.Args, k.Outputs = args, []string{"/out"}
	return k
}

func testEcho(t *testing.T, x Executor) {
	k := tourTask(t, "echo", "a b", "ä")
	k.Env = []string{"B=2", "A=1"}
	in := strings.Repeat("0123456789", 300_000)
	k.Stdin = strings.NewReader(in)
	res, sink := mustRun(t, x, k)
	want := "[\"a b\" \"ä\"]\n[\"B=2\" \"A=1\"]\n" + in
	if res.Outcome != Exited || res.ExitCode != 0 || sink.stdout.String() != want {
		t.Errorf("got %v %d and %d bytes, want %d", res.Outcome, res.ExitCode, sink.stdout.Len(), len(want))
	}
	if res.StdoutBytes != uint64(len(want)) || res.PeakMemory == 0 || res.Wall <= 0 {
		t.Errorf("result %+v", res)
	}
}

// wantCFiles is what files.c prints; strerror's words are wasi-libc's.
const wantCFiles = `args: 2 last
env: red
stdin: 5 bytes
/: . .. in out
/in: . .. a b sub
copy on write: 2
read back: 5
aXYde
grow: 0
end: 8
mkdir again: -1 File exists
/out/d/two: 0
/out/d/one: 0
append: 1
/out/d: . .. one two
rmdir full: -1 Directory not empty
rename over: 0
rename into itself: -1 Invalid argument
/out/d: . .. one
unlink: 0
unlink again: -1 No such file or directory
unlink directory: -1 Is a directory
exclusive: -1 File exists
no directory: -1 Not a directory
symlink: -1 Not supported
link: -1 Not supported
escape: -1 Capabilities insufficient
stat: size 8 inode 3 mtime 0
time: 946684800
an hour later: 946688400
random: 3b500763
/out/last: 0
`

func testCFiles(t *testing.T, x Executor) {
	k := task(wat(t, "files"))
	k.Args, k.Env, k.Stdin = []string{"last"}, []string{"COLOUR=red"}, strings.NewReader("12345678")
	k.Input = memTree{"in/b": []byte("b"), "in/a": []byte("abcde"), "in/sub": nil}
	k.Outputs = []string{"/out", "/in/a"}
	k.Seed = [32]byte{1, 2, 3}
	res, sink := mustRun(t, x, k)
	if got := sink.stdout.String(); got != wantCFiles {
		t.Errorf("stdout:\n%s\nwant:\n%s", got, wantCFiles)
	}
	if res.ExitCode != 7 || sink.stderr.String() != "to stderr\n" {
		t.Errorf("exit code %d, stderr %q", res.ExitCode, sink.stderr.String())
	}
	want := map[string]string{"in/a": "aXYde\x00\x00\x00", "out/d/one": "2", "out/last": "done\n"}
	if !maps.Equal(sink.files, want) {
		t.Errorf("files %q, want %q", sink.files, want)
	}
	if order := []string{"in/a", "out/", "out/d/", "out/d/one", "out/last"}; !slices.Equal(sink.order, order) {
		t.Errorf("order %q, want %q", sink.order, order)
	}
}

func testWalk(t *testing.T, x Executor) {
	k := tourTask(t, "walk")
	k.Input = memTree{"in/z": []byte("zz"), "in/a-b": []byte("x"), "in/a/c": []byte(""), "in/empty": nil}
	_, sink := mustRun(t, x, k)
	want := "/ true 0 0\n/in true 0 0\n/in/a true 0 0\n/in/a/c false 0 0\n/in/a-b false 1 0\n" +
		"/in/empty true 0 0\n/in/z false 2 0\n/out true 0 0\n"
	if got := sink.stdout.String(); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func testManyFiles(t *testing.T, x Executor) {
	res, sink := mustRun(t, x, tourTask(t, "files"))
	if got := sink.stdout.String(); got != "300 f001 zz\n" || res.ExitCode != 0 {
		t.Errorf("got %q, exit code %d: %s", got, res.ExitCode, sink.stderr.String())
	}
	if want := map[string]string{"out/f299": "+", "out/zz": "\x00"}; !maps.Equal(sink.files, want) {
		t.Errorf("files %q, want %q", sink.files, want)
	}
}

func testTraps(t *testing.T, x Executor) {
	want := []string{
		"unreachable", "integer divide by zero", "integer overflow", "invalid conversion to integer",
		"out of bounds memory access", "invalid table access", "indirect call type mismatch", "stack overflow",
	}
	for n, trap := range want {
		k := task(wat(t, "trap"))
		k.Args = make([]string, n)
		if res, _ := mustRun(t, x, k); res.Outcome != Trapped || res.Trap != trap {
			t.Errorf("got %v %q, want %q", res.Outcome, res.Trap, trap)
		}
	}
}

func testLimits(t *testing.T, x Executor) {
	k := tourTask(t, "fill")
	k.Limits.Disk = 1_234_567
	res, sink := mustRun(t, x, k)
	if got := sink.stdout.String(); got != "1200000\n" || res.ExitCode != 3 || !strings.Contains(sink.stderr.String(), "No space left") {
		t.Errorf("fill: got %q %q, exit code %d", got, sink.stderr.String(), res.ExitCode)
	}
	k = task(wat(t, "flood"))
	k.Limits.Disk = 200_000
	if res, sink = mustRun(t, x, k); res.ExitCode != uint32(eNoSpc) || sink.stdout.Len() != 3<<16 {
		t.Errorf("flood: exit code %d after %d bytes", res.ExitCode, sink.stdout.Len())
	}
	k = tourTask(t, "alloc")
	if res, sink = mustRun(t, x, k); res.ExitCode != 2 || !strings.Contains(sink.stderr.String(), "out of memory") || res.PeakMemory != k.Limits.Memory {
		t.Errorf("alloc: exit code %d, %d bytes, %.100s", res.ExitCode, res.PeakMemory, sink.stderr.String())
	}
	if res, sink = mustRun(t, x, tourTask(t, "deep")); res.ExitCode != 2 && res.Outcome != Trapped {
		t.Errorf("deep: %+v %.100s", res, sink.stderr.String())
	}
	k = task(wat(t, "wide"))
	k.Limits.Memory = 1 << 20
	if res, _ = mustRun(t, x, k); res.Trap != "memory limit below the program's minimum" {
		t.Errorf("wide: %+v", res)
	}
	if res, _ = mustRun(t, x, tourTask(t, "panic")); res.Outcome != Exited || res.ExitCode != 2 {
		t.Errorf("panic: %+v", res)
	}
}

func testDeterminism(t *testing.T, x Executor) {
	k := tourTask(t, "chaos")
	k.Input = memTree{"in/a": []byte("a"), "in/b": []byte("b")}
	res1, first := mustRun(t, x, k)
	for range 3 {
		res2, again := mustRun(t, x, k)
		res2.CPU, res2.Wall = res1.CPU, res1.Wall
		if res1 != res2 || first.dump() != again.dump() {
			t.Fatalf("two runs differ:\n%+v\n%s\n%+v\n%s", res1, first.dump(), res2, again.dump())
		}
	}
	k.Seed[5] = 1
	if _, other := mustRun(t, x, k); other.dump() == first.dump() {
		t.Error("another seed changed nothing")
	}
}

func testZeroMemory(t *testing.T, x Executor) {
	for _, pages := range []uint64{2, 2, 300, 300, 2, 1000} { // below and above what is cleared by hand
		k := task(wat(t, "grow"))
		k.Limits.Memory = pages*pageSize + 10
		res, _ := mustRun(t, x, k)
		if uint64(res.ExitCode) != pages || res.PeakMemory != pages*pageSize {
			t.Errorf("exit code %d (9999 is dirty memory), peak %d, want %d pages", res.ExitCode, res.PeakMemory, pages)
		}
	}
}

func testOutputs(t *testing.T, x Executor) {
	k := tourTask(t, "walk")
	big := bytes.Repeat([]byte("0123456789abcdef"), 200_000)
	k.Input = memTree{"keep/b": big, "keep/a": []byte("a"), "other/x": []byte("x")}
	k.Outputs = []string{"/out", "/keep"}
	_, sink := mustRun(t, x, k)
	if want := []string{"keep/", "keep/a", "keep/b", "out/"}; !slices.Equal(sink.order, want) {
		t.Errorf("order %q, want %q", sink.order, want)
	}
	if sink.files["keep/b"] != string(big) {
		t.Errorf("a file of %d bytes came back with %d", len(big), len(sink.files["keep/b"]))
	}
}

func testTimeout(t *testing.T, x Executor) {
	for _, k := range []Task{task(wat(t, "spin")), tourTask(t, "loop")} {
		k.Limits.Timeout = 300 * time.Millisecond
		if err := x.Prepare(t.Context(), k.Owner, k.Program); err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		e, _ := start(t, x, k)
		_, err := e.Wait(t.Context())
		if took := time.Since(begun); !errors.Is(err, ErrTimeout) || took < k.Limits.Timeout || took > 10*time.Second {
			t.Errorf("got %v after %v", err, took)
		}
	}
}

func testStop(t *testing.T, x Executor) {
	e, _ := start(t, x, task(wat(t, "spin")))
	e.Stop()
	e.Stop()
	if _, err := e.Wait(t.Context()); !errors.Is(err, ErrStopped) {
		t.Errorf("got %v, want ErrStopped", err)
	}
	e, _ = start(t, x, task(wat(t, "noop")))
	want, err := e.Wait(t.Context())
	e.Stop()
	if got, again := e.Wait(t.Context()); err != nil || again != nil || got != want {
		t.Errorf("a stop after the end changed %+v %v to %+v %v", want, err, got, again)
	}
}

func testBadPrograms(t *testing.T, x Executor) {
	noop, _ := wat(t, "noop").Open(t.Context())
	cases := []struct {
		name, want string
		module     []byte
	}{
		{"text", "not WebAssembly", []byte("#!/bin/sh\necho hello")},
		{"nothing", "not WebAssembly", nil},
		{"a component", "component", []byte("\x00asm\x0d\x00\x01\x00rest")},
		{"another version", "unknown version", []byte("\x00asm\x07\x00\x00\x00")},
		{"cut off", "not WebAssembly: unexpected end", noop[:len(noop)-5]},
		{"an unknown import", `"launch" of module "env"`, read(t, "badimport")},
		{"a library", "_start", read(t, "library")},
		{"too large", "65 more", nil},
	}
	cases[len(cases)-1].module = append(slices.Clone(noop), make([]byte, 64<<20)...)
	cases[len(cases)-1].want = "bytes, more than"
	for _, c := range cases {
		var bad *ProgramError
		err := x.Prepare(t.Context(), peer(1), program(c.module))
		if !errors.As(err, &bad) || !strings.Contains(bad.Reason, c.want) {
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
	}
}

func read(t *testing.T, name string) []byte {
	b, err := wat(t, name).Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func testBadTasks(t *testing.T, x Executor) {
	cases := map[string]func(*Task){
		"no time":               func(k *Task) { k.Limits.Timeout = 0 },
		"too much fuel":         func(k *Task) { k.Limits.Fuel = MaxFuel + 1 },
		"relative output":       func(k *Task) { k.Outputs = []string{"out"} },
		"output is everything":  func(k *Task) { k.Outputs = []string{"/"} },
		"output upwards":        func(k *Task) { k.Outputs = []string{"/../x"} },
		"outputs inside others": func(k *Task) { k.Outputs = []string{"/out/x", "/out"} },
		"input upwards":         func(k *Task) { k.Input = memTree{"../x": {1}} },
		"input with long name":  func(k *Task) { k.Input = memTree{strings.Repeat("n", 256): {1}} },
		"zero byte":             func(k *Task) { k.Args = []string{"a\x00b"} },
		"file and directory":    func(k *Task) { k.Input = memTree{"a": {1}, "a/b": {1}} },
		"output below a file":   func(k *Task) { k.Input, k.Outputs = memTree{"a": {1}}, []string{"/a/b"} },
	}
	for name, spoil := range cases {
		k := task(wat(t, "noop"))
		spoil(&k)
		e, err := x.Start(t.Context(), k)
		if err == nil {
			_, err = e.Wait(t.Context())
		}
		if !errors.Is(err, ErrTask) {
			t.Errorf("%s: got %v, want ErrTask", name, err)
		}
	}
	k := task(wat(t, "noop"))
	k.Limits.Memory = 1 << 60
	if _, err := x.Start(t.Context(), k); !errors.Is(err, ErrRefused) {
		t.Errorf("much memory: got %v", err)
	}
}
