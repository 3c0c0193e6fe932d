package executor

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/mustermesh/muster/proto"
)

func pid(e Execution) int { return e.(*execution).box.proc.Pid }

func TestOpenRefusesABinaryThatWouldStartItself(t *testing.T) {
	hooked.Store(false)
	defer hooked.Store(true)
	if _, err := OpenWASM(testConfig(), slog.New(slog.DiscardHandler)); !errors.Is(err, ErrNoChildHook) {
		t.Errorf("got %v, want ErrNoChildHook", err)
	}
}

func TestConfigIsChecked(t *testing.T) {
	for name, spoil := range map[string]func(*Config){
		"module": func(c *Config) { c.MaxModule = 0 }, "memory": func(c *Config) { c.MaxMemory = 1 << 33 },
		"disk": func(c *Config) { c.MaxDisk = 1 << 50 }, "children": func(c *Config) { c.MaxChildren = 0 },
		"idle": func(c *Config) { c.IdleTimeout = 0 }, "prepare": func(c *Config) { c.PrepareTimeout = -1 },
	} {
		c := testConfig()
		if spoil(&c); c.Validate() == nil {
			t.Errorf("a wrong %s is accepted", name)
		}
	}
}

// TestEngineVersion keeps the name of the engine in step with what is built in.
func TestEngineVersion(t *testing.T) {
	mod, err := os.ReadFile("../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`tetratelabs/wazero v(\S+)`).FindSubmatch(mod)
	if m == nil || string(m[1]) != engineVersion {
		t.Errorf("go.mod has wazero %q, the fingerprint says %s", m, engineVersion)
	}
}

func TestCheck(t *testing.T) {
	w := openTest(t, nil)
	fits := Requirement{Profile: "wasip1/1", Memory: 64 << 20, Disk: 1 << 20, Module: 1 << 20}
	if err := w.Check(fits); err != nil {
		t.Errorf("what fits is refused: %v", err)
	}
	for name, r := range map[string]Requirement{
		"profile": {Profile: "wasip1/0", Memory: 64 << 20}, "memory": {Profile: "wasip1/1", Memory: 1 << 40},
		"no memory": {Profile: "wasip1/1"}, "disk": {Profile: "wasip1/1", Memory: 64 << 20, Disk: 1 << 40},
		"module": {Profile: "wasip1/1", Memory: 64 << 20, Module: 1 << 40},
	} {
		if err := w.Check(r); !errors.Is(err, ErrRefused) {
			t.Errorf("%s: got %v, want ErrRefused", name, err)
		}
	}
}

func TestASandboxServesOneProgramOfOneOwner(t *testing.T) {
	w := openTest(t, nil)
	pids := map[int]string{}
	for _, c := range []struct {
		owner byte
		guest string
	}{{1, "noop"}, {1, "noop"}, {2, "noop"}, {1, "wide"}} {
		k := task(wat(t, c.guest))
		k.Owner = peer(c.owner)
		e, _ := start(t, w, k)
		if _, err := e.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		who := string(c.owner+'0') + " " + c.guest
		if was, ok := pids[pid(e)]; ok && was != who {
			t.Errorf("process %d served %s and %s", pid(e), was, who)
		}
		pids[pid(e)] = who
	}
	if len(pids) != 3 {
		t.Errorf("%d processes, want 3: the warm one was not used again", len(pids))
	}
}

func TestTasksAtTheSameTimeHaveTheirOwnSandboxes(t *testing.T) {
	w := openTest(t, func(c *Config) { c.MaxChildren = 2 })
	k := task(wat(t, "spin"))
	a, _ := start(t, w, k)
	b, _ := start(t, w, k)
	if pid(a) == pid(b) {
		t.Error("two tasks in one process")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := w.Start(ctx, k); !errors.Is(err, ErrBusy) {
		t.Errorf("with all in use: got %v, want ErrBusy", err)
	}
	third := make(chan error, 1)
	go func() { // waits for a place
		e, err := w.Start(t.Context(), task(wat(t, "noop")))
		if err == nil {
			_, err = e.Wait(t.Context())
		}
		third <- err
	}()
	a.Stop()
	if err := <-third; err != nil {
		t.Errorf("the one that waited: %v", err)
	}
	b.Stop()
}

func TestAnIdleSandboxMakesRoomForAnother(t *testing.T) {
	w := openTest(t, func(c *Config) { c.MaxChildren = 1 })
	mustRun(t, w, task(wat(t, "noop")))
	mustRun(t, w, task(wat(t, "wide")))
	if n := len(w.pool.boxes); n != 1 {
		t.Errorf("%d sandboxes, want 1", n)
	}
}

func TestAnIdleSandboxEnds(t *testing.T) {
	w := openTest(t, func(c *Config) { c.IdleTimeout = 20 * time.Millisecond })
	changed := w.pool.changed
	if err := w.Prepare(t.Context(), peer(1), wat(t, "noop")); err != nil {
		t.Fatal(err)
	}
	for deadline := time.After(20 * time.Second); ; {
		w.pool.mu.Lock()
		n, next := len(w.pool.boxes), w.pool.changed
		w.pool.mu.Unlock()
		if n == 0 {
			return
		}
		select {
		case <-changed:
			changed = next
		case <-deadline:
			t.Fatal("it is still there")
		}
	}
}

func TestReleaseEndsWhatRuns(t *testing.T) {
	w := openTest(t, nil)
	k := task(wat(t, "spin"))
	e, _ := start(t, w, k)
	other := k
	other.Owner = peer(2)
	o, _ := start(t, w, other)
	w.Release(k.Owner, k.Program.CID)
	if _, err := e.Wait(t.Context()); !errors.Is(err, ErrStopped) {
		t.Errorf("got %v, want ErrStopped", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := o.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the other owner's ended too: %v", err)
	}
	o.Stop()
}

func TestCloseEndsEverything(t *testing.T) {
	w := openTest(t, nil)
	e, _ := start(t, w, task(wat(t, "spin")))
	w.Close()
	if _, err := e.Wait(t.Context()); !errors.Is(err, ErrStopped) {
		t.Errorf("got %v, want ErrStopped", err)
	}
	if _, err := w.Start(t.Context(), task(wat(t, "noop"))); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: got %v, want ErrClosed", err)
	}
}

func TestASandboxThatDiesIsTheProvidersFailure(t *testing.T) {
	w := openTest(t, nil)
	for probe, want := range map[string]string{"crash": "crashed on purpose", "leave": "EOF", "eat": "it grew over", "hoard": "out of memory"} {
		k := probeTask(t, probe)
		k.Limits.Memory, k.Limits.Disk = 1<<20, 1<<20
		e, _ := start(t, w, k)
		if raceEnabled {
			want = "" // the race detector needs more memory, and dies with words of its own
		}
		if _, err := e.Wait(t.Context()); !errors.Is(err, ErrKilled) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want ErrKilled and %q", probe, err, want)
		}
	}
	mustRun(t, w, task(wat(t, "noop")))
}

func TestASandboxThatDiedWhileIdleIsReplaced(t *testing.T) {
	w := openTest(t, nil)
	k := task(wat(t, "noop"))
	e, _ := start(t, w, k)
	if _, err := e.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	proc := e.(*execution).box.proc
	proc.Kill()
	proc.Wait()
	again, _ := start(t, w, k)
	if _, err := again.Wait(t.Context()); err != nil || pid(again) == pid(e) {
		t.Errorf("after its death: process %d, %v", pid(again), err)
	}
}

func TestPrepareEndsInTime(t *testing.T) {
	w := openTest(t, func(c *Config) { c.PrepareTimeout = time.Nanosecond })
	if err := w.Prepare(t.Context(), peer(1), wat(t, "noop")); !errors.Is(err, ErrTimeout) {
		t.Errorf("got %v, want ErrTimeout", err)
	}
	if w.starter.known {
		t.Error("a slow start was taken for a weak host")
	}
	w = openTest(t, nil)
	p := wat(t, "noop")
	open, ctx := p.Open, t.Context()
	ctx, cancel := context.WithCancel(ctx)
	p.Open = func(ctx context.Context) ([]byte, error) { cancel(); return open(ctx) }
	if err := w.Prepare(ctx, peer(1), p); !errors.Is(err, context.Canceled) || w.pool.has(boxKey{owner: peer(1), program: p.CID}) {
		t.Errorf("got %v, want context.Canceled and no sandbox", err)
	}
}

func TestABinaryThatIsNoChildSaysSo(t *testing.T) {
	w := openTest(t, func(c *Config) { c.ChildPath = "/bin/false" })
	if f, err := w.Fingerprint(t.Context()); !errors.Is(err, ErrKilled) {
		t.Errorf("got %+v, %v", f, err)
	}
	w = openTest(t, func(c *Config) { c.ChildPath = "/does/not/exist" })
	if f, err := w.Fingerprint(t.Context()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %+v, %v", f, err)
	}
}

func TestAWarmProgramIsNotOpenedAgain(t *testing.T) {
	w := openTest(t, nil)
	module, opens := read(t, "noop"), 0
	p := Program{CID: proto.RawCID(module), Open: func(context.Context) ([]byte, error) { opens++; return module, nil }}
	for range 2 {
		if err := w.Prepare(t.Context(), peer(1), p); err != nil {
			t.Fatal(err)
		}
		mustRun(t, w, task(p))
	}
	if opens != 1 {
		t.Errorf("opened %d times", opens)
	}
	p.CID, p.Open = proto.RawCID([]byte("x")), func(context.Context) ([]byte, error) { return nil, io.ErrUnexpectedEOF }
	if err := w.Prepare(t.Context(), peer(1), p); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("got %v", err)
	}
}

// A brokenTree fails when a file is read, a brokenSink when anything is kept.
type brokenTree struct{ memTree }

var errBroken = errors.New("broken")

func (brokenTree) ReadAt(context.Context, string, []byte, int64) (int, error) { return 0, errBroken }

type brokenSink struct{ memSink }

func (*brokenSink) Stdout([]byte) error                 { return errBroken }
func (*brokenSink) File(string, int64, io.Reader) error { return errBroken }

func TestOurOwnFailuresAreNotTheGuests(t *testing.T) {
	w := openTest(t, nil)
	tree := memTree{"in/a": []byte("abc")}
	for name, change := range map[string]func(*Task){
		"input":  func(k *Task) { k.Input, k.Outputs = brokenTree{tree}, []string{"/in"} },
		"stdout": func(k *Task) { k.Sink, k.Program = &brokenSink{}, wat(t, "flood") },
		"output": func(k *Task) { k.Sink, k.Outputs = &brokenSink{}, []string{"/in"} },
	} {
		k := task(wat(t, "noop"))
		k.Input = tree
		change(&k)
		e, _ := start(t, w, k)
		if _, err := e.Wait(t.Context()); !errors.Is(err, ErrHost) || !errors.Is(err, errBroken) {
			t.Errorf("%s: got %v, want ErrHost", name, err)
		}
	}
}

// A hugeFile is a tree with one file of zeros.
type hugeFile int64

func (h hugeFile) Entries(context.Context) ([]Entry, error) {
	return []Entry{{Path: "huge", Size: int64(h)}}, nil
}

func (h hugeFile) ReadAt(_ context.Context, _ string, p []byte, off int64) (int, error) {
	clear(p)
	return len(p), nil
}

func TestInputLargerThanMemoryIsRead(t *testing.T) {
	w := openTest(t, quickChild(t))
	k := tourTask(t, "sum", "/huge")
	k.Input, k.Limits.Disk = hugeFile(80<<20), 1<<20
	if res, sink := mustRun(t, w, k); sink.stdout.String() != "0\n" {
		t.Errorf("%+v %q %q", res, sink.stdout.String(), sink.stderr.String())
	}
}

func BenchmarkWarmNoop(b *testing.B) { benchmarkWarm(b, task(wat(b, "noop"))) }

func BenchmarkWarmGo(b *testing.B) {
	k := task(tour(b))
	benchmarkWarm(b, k)
}

func BenchmarkLoop(b *testing.B) {
	k := task(tour(b))
	k.Args = []string{"count"} // compare with the same program built for this machine
	benchmarkWarm(b, k)
}

func benchmarkWarm(b *testing.B, k Task) {
	w := openTest(b, nil)
	mustRun(b, w, k)
	b.ReportAllocs()
	for b.Loop() {
		mustRun(b, w, k)
	}
}

func BenchmarkColdStart(b *testing.B) {
	w := openTest(b, nil)
	k := task(wat(b, "noop"))
	for b.Loop() {
		mustRun(b, w, k)
		w.Release(k.Owner, k.Program.CID)
	}
}

// A memory of 4 GiB has a length that 32 bits cannot say: nobody gets one.
func TestTheLargestMemoryIsTheSameEverywhere(t *testing.T) {
	m := &modText{memory: text(0, uleb(65_534))}
	grow := func(want int64) []byte {
		return text(i32(1), opGrow, 0, i32(want), opNe, 0x04, 0x40, opUnreachable, opEnd)
	}
	m.add(0, grow(65_534), grow(-1), opSize, 0, i32(65_535), opNe, 0x04, 0x40, opUnreachable, opEnd, i32(-65_540), opLoad, 2, 0, opDrop)
	for _, interpret := range []bool{false, true} {
		w := openTest(t, func(c *Config) { c.MaxMemory = 1 << 32 })
		k := task(program(m.module()))
		k.Interpret, k.Limits.Memory = interpret, 1<<32
		if res, _ := mustRun(t, w, k); res.Outcome != Exited || res.PeakMemory != 65_535*pageSize {
			t.Errorf("interpreted %t: %+v, want that it exits with 65,535 pages", interpret, res)
		}
	}
}
