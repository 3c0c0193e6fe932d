package executor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// cached gives an executor its cache, in dir; "" is in memory.
func cached(dir string) func(*Config) {
	return func(c *Config) { c.CacheDir, c.CacheBytes = dir, 256<<20 }
}

// loaded says how w came by its programs since the last time.
func wantLoaded(t *testing.T, w *WASM, compiled, restored uint64) {
	t.Helper()
	if c, r := w.Loaded(); c != compiled || r != restored {
		t.Errorf("%d programs were compiled and %d taken from the cache, want %d and %d", c, r, compiled, restored)
	}
}

// codeFiles lists the entries on disk.
func codeFiles(t *testing.T, dir string) []string {
	t.Helper()
	list, err := filepath.Glob(filepath.Join(dir, "*"+codeSuffix))
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// If this fails, wazero has changed how it keeps compiled code, and without a
// change of cache_slot.go every sandbox compiles its program anew.
func TestWazeroStillTakesOurCache(t *testing.T) {
	slot := &codeSlot{}
	if _, err := slotCache(slot); err != nil {
		t.Fatalf("CHILDREN COMPILE WITHOUT A CACHE: %v", err)
	}
	m, err := bareMachine(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	module, err := m.compile(t.Context(), read(t, "files"))
	code := m.slot.take()
	if err != nil || code == nil {
		t.Fatalf("CHILDREN COMPILE WITHOUT A CACHE: wazero did not give what it compiled: %v", err)
	}
	if _, ok := code.(interface{ Len() int }); !ok {
		t.Errorf("CHILDREN COMPILE WITHOUT A CACHE: %T does not say how long it is", code)
	}
	again, err := bareMachine(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := again.restore(t.Context(), skeleton(module), code); err != nil || again.slot.made != nil {
		t.Errorf("it did not take it back: %v", err)
	}
	if err := again.slot.Add([32]byte{}, code); err == nil { // it compiled the skeleton after all
		t.Error("it may run a program whose functions do nothing")
	}
}

func TestCompiledProgramsOutliveTheExecutor(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "code")
	k := tourTask(t, "echo", "a")
	var want string
	for restarts := range uint64(3) {
		w := openTest(t, both(quickChild(t), cached(dir)))
		got := outcomeOf(t, w, k)
		if restarts == 0 {
			want = got
		} else if got != want {
			t.Errorf("taken from the cache it gives %q, compiled %q", got, want)
		}
		wantLoaded(t, w, 1-min(restarts, 1), min(restarts, 1))
		w.Close()
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the folder has mode %v, %v", info.Mode(), err)
	}
	for _, f := range codeFiles(t, dir) {
		if info, err := os.Stat(f); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("a file has mode %v, %v", info.Mode(), err)
		}
	}
}

// outcomeOf is everything that a task gives, in one string.
func outcomeOf(t *testing.T, w *WASM, k Task) string {
	t.Helper()
	res, sink := mustRun(t, w, k)
	return fmt.Sprint(res.Outcome, res.ExitCode, res.Trap, res.Fuel, res.PeakMemory, sink.dump())
}

func both(changes ...func(*Config)) func(*Config) {
	return func(c *Config) {
		for _, change := range changes {
			if change != nil {
				change(c)
			}
		}
	}
}

// Every guest must do from the cache what it did before, traps included.
func TestGuestsAreTheSameFromTheCache(t *testing.T) {
	w := openTest(t, cached(""))
	for i, name := range []string{"noop", "trap", "files", "grow", "wide", "raw"} {
		k := task(wat(t, name))
		k.Input, k.Outputs = memTree{"in/a": []byte("abc")}, []string{"/out"}
		var want string
		for owner := range byte(2) {
			k.Owner = peer(owner + 1)
			got := outcomeOf(t, w, k)
			if owner == 0 {
				want = got
			} else if got != want {
				t.Errorf("%s: taken from the cache it gives %q, compiled %q", name, got, want)
			}
		}
		wantLoaded(t, w, uint64(i+1), uint64(i+1))
	}
}

func TestADamagedEntryIsCompiledAnew(t *testing.T) {
	dir := t.TempDir()
	mustRun(t, openTest(t, cached(dir)), task(wat(t, "files")))
	files := codeFiles(t, dir)
	if len(files) != 1 {
		t.Fatalf("%d entries, want 1", len(files))
	}
	good, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	flip := func(at int) []byte { return flipped(good, at) }
	for name, bad := range map[string][]byte{
		"empty": {}, "cut in the header": good[:40], "cut in the code": good[:len(good)-9], "longer": append(bytes.Clone(good), 0),
		"another magic": flip(0), "another key": flip(len(codeMagic)), "another length": flip(len(codeMagic) + 32), "another digest": flip(int(codeHeader) - 1),
		"another skeleton": flip(int(codeHeader) + 20), "another head of the code": flip(bytes.Index(good, []byte("WAZEVO"))),
		"other data": flip(bytes.Index(good, []byte("WAZEVO")) - 3), "other code": flip(len(good) - 100), "another end": flip(len(good) - 1),
	} {
		if err := os.WriteFile(files[0], bad, 0o600); err != nil {
			t.Fatal(err)
		}
		w := openTest(t, cached(dir))
		if res, _ := mustRun(t, w, task(wat(t, "files"))); res.Outcome != Exited {
			t.Errorf("%s: %+v", name, res)
		}
		wantLoaded(t, w, 1, 0)
		if now, err := os.ReadFile(files[0]); err != nil || !bytes.Equal(now[:codeHeader-32], good[:codeHeader-32]) || bytes.Equal(now, bad) {
			t.Errorf("%s: it was not replaced: %v", name, err)
		}
	}
}

func flipped(b []byte, at int) []byte {
	b = bytes.Clone(b)
	b[at] ^= 1
	return b
}

// TestCodeOfAnotherEngineIsNotUsed: neither by its key, nor, if all else failed,
// by the engine itself, which then would compile the skeleton.
func TestCodeOfAnotherEngineIsNotUsed(t *testing.T) {
	dir := t.TempDir()
	old := openTest(t, cached(dir))
	old.cache.maker.release = "1.11.0"
	mustRun(t, old, task(wat(t, "files")))
	w := openTest(t, cached(dir))
	mustRun(t, w, task(wat(t, "files")))
	wantLoaded(t, w, 1, 0)
	if n := len(codeFiles(t, dir)); n != 2 {
		t.Errorf("%d entries, want one of each engine", n)
	}
	for name, forge := range map[string]func(code []byte) []byte{
		"another version":   func(code []byte) []byte { return flipped(code, len("WAZEVO")+1) },
		"not of wazero":     func(code []byte) []byte { return bytes.Repeat([]byte("x"), len(code)) },
		"nothing":           func([]byte) []byte { return nil },
		"more than its own": func(code []byte) []byte { return append(bytes.Clone(code), 0) },
	} {
		w := openTest(t, cached(dir))
		key := w.cache.maker.key(read(t, "files"))
		kept := w.cache.open(key)
		code, err := io.ReadAll(kept)
		if err != nil || len(code) == 0 {
			t.Fatal(err)
		}
		kept.close()
		if err := w.cache.put(key, &compiled{kept.skeleton, [][]byte{forge(code)}}); err != nil {
			t.Fatal(err)
		}
		if res, _ := mustRun(t, w, task(wat(t, "files"))); res.Outcome != Exited {
			t.Errorf("%s: %+v", name, res)
		}
		wantLoaded(t, w, 1, 0)
		if t.Failed() {
			t.Fatalf("with code of %s", name)
		}
	}
}

func TestEverythingThatDecidesOnCodeIsInItsKey(t *testing.T) {
	a, b := newCodeMaker(""), newCodeMaker("")
	if a.key([]byte("x")) != b.key([]byte("x")) || a.key([]byte("x")) == a.key([]byte("y")) {
		t.Error("the key of one program changes, or is that of another")
	}
	keys := map[codeKey]string{a.key([]byte("x")): "nothing"}
	for name, change := range map[string]func(*codeMaker){
		"version": func(m *codeMaker) { m.version++ }, "rules": func(m *codeMaker) { m.rules++ }, "engine": func(m *codeMaker) { m.engine += "x" },
		"release": func(m *codeMaker) { m.release += "x" }, "os": func(m *codeMaker) { m.os += "x" }, "arch": func(m *codeMaker) { m.arch += "x" },
		"cpu": func(m *codeMaker) { m.cpu += "x" }, "build": func(m *codeMaker) { m.build += "x" },
		"child": func(m *codeMaker) { *m = newCodeMaker(os.Args[0]) },
		"shift": func(m *codeMaker) { m.engine, m.release = m.engine+m.release[:1], m.release[1:] },
	} {
		m := a
		change(&m)
		if was, ok := keys[m.key([]byte("x"))]; ok {
			t.Errorf("a change of %s gives the key of %s", name, was)
		}
		keys[m.key([]byte("x"))] = name
	}
	if !strings.Contains(a.cpu, "HasSSE41") || !strings.Contains(a.cpu, "HasATOMICS") {
		t.Errorf("the processor's features are %.80q...", a.cpu)
	}
}

// forgeCode is what a guest that broke out would do to poison the cache.
func forgeCode([]string) (string, error) {
	_, err := os.Stdin.Write(say(frameMade, []byte("\x00asm\x01\x00\x00\x00"), frameCode, []byte("WAZEVO"), frameCode, []byte{}, frameReady, []byte{}))
	return "", err
}

func TestAChildThatHasRunAGuestIsNotBelieved(t *testing.T) {
	dir := t.TempDir()
	w := openTest(t, cached(dir))
	k := probeTask(t, "forge")
	mustRun(t, w, task(k.Program))
	before, err := os.ReadFile(codeFiles(t, dir)[0])
	if err != nil {
		t.Fatal(err)
	}
	e, _ := start(t, w, k)
	if _, err := e.Wait(t.Context()); !errors.Is(err, errProtocol) {
		t.Errorf("got %v, want a broken protocol", err)
	}
	if b := e.(*execution).box; b.alive() || w.pool.has(b.key) {
		t.Error("the child is still there")
	}
	after, err := os.ReadFile(codeFiles(t, dir)[0])
	if n := len(codeFiles(t, dir)); err != nil || n != 1 || !bytes.Equal(before, after) {
		t.Errorf("the cache has changed: %d entries, %v", n, err)
	}
}

func TestRequestersShareCodeAndNeverASandbox(t *testing.T) {
	w := openTest(t, func(c *Config) { c.CacheBytes, c.MaxChildren = 1<<28, 4 })
	var all sync.WaitGroup
	pids := make([]int, 4)
	for i := range pids {
		all.Go(func() {
			k := task(wat(t, "noop"))
			k.Owner = peer(byte(i))
			e, err := w.Start(t.Context(), k)
			if err != nil {
				t.Error(err)
				return
			}
			pids[i] = pid(e)
			if _, err := e.Wait(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	for i, a := range pids {
		for j, b := range pids[:i] {
			if a == b {
				t.Errorf("process %d served requesters %d and %d", a, j, i)
			}
		}
	}
	wantLoaded(t, w, 1, 3) // at once as they came: the others waited for the first
}

func TestWaitingForACompilationEnds(t *testing.T) {
	w := openTest(t, cached(""))
	done, err := w.cache.turn(t.Context(), codeKey{1})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.cache.turn(ctx, codeKey{1}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	done() // nothing was kept: the next has its turn
	if done, err = w.cache.turn(ctx, codeKey{1}); err != nil {
		t.Fatal(err)
	}
	done()
}

func TestAProgramThatCannotRunIsNotKept(t *testing.T) {
	dir := t.TempDir()
	w := openTest(t, cached(dir))
	for range 2 {
		var refused *ProgramError
		if err := w.Prepare(t.Context(), peer(1), wat(t, "library")); !errors.As(err, &refused) {
			t.Errorf("got %v", err)
		}
	}
	if n := len(codeFiles(t, dir)); n != 0 {
		t.Errorf("%d entries", n)
	}
}

// fill puts entries of size bytes of code, numbered.
func fill(t *testing.T, c *codeCache, size int, numbers ...byte) {
	t.Helper()
	for _, n := range numbers {
		if err := c.put(codeKey{n}, &compiled{[]byte{n}, [][]byte{make([]byte, size)}}); err != nil {
			t.Fatal(err)
		}
	}
}

// there tells which entries there are, and that they are counted right.
func there(t *testing.T, c *codeCache) (list []byte) {
	t.Helper()
	total := int64(0)
	for key, e := range c.entries {
		list = append(list, key[0])
		total += e.size
		if _, err := os.Stat(c.path(key)); err != nil && c.dir != "" {
			t.Error(err)
		}
	}
	if c.total != total || total > c.max {
		t.Errorf("%d bytes are counted, there are %d; at most %d", c.total, total, c.max)
	}
	slices.Sort(list)
	return list
}

func TestTheCacheKeepsWhatWasUsedLast(t *testing.T) {
	for name, dir := range map[string]string{"memory": "", "disk": t.TempDir()} {
		c, err := openCodeCache(dir, 10_000, newCodeMaker(""))
		if err != nil {
			t.Fatal(err)
		}
		fill(t, c, 2000, 1, 2, 3, 4)
		c.open(codeKey{1}).close()
		fill(t, c, 2000, 5, 5, 5)
		fill(t, c, 2600, 6) // more than a quarter
		if got := there(t, c); !bytes.Equal(got, []byte{1, 3, 4, 5}) {
			t.Errorf("%s: %v are there", name, got)
		}
		fill(t, c, 2400, 7, 8, 9)
		c.drop(codeKey{8})
		if got := there(t, c); !bytes.Equal(got, []byte{5, 7, 9}) {
			t.Errorf("%s: %v are there", name, got)
		}
		if dir != "" && len(codeFiles(t, dir)) != 3 {
			t.Errorf("files are left: %v", codeFiles(t, dir))
		}
	}
}

func TestTheCacheFindsItsFilesAgain(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	c, err := openCodeCache(dir, 20_000, newCodeMaker(""))
	if err != nil {
		t.Fatal(err)
	}
	fill(t, c, 2000, 1, 2, 3, 4)
	for n := range byte(4) { // 4 was used first, 1 last
		if err := os.Chtimes(c.path(codeKey{n + 1}), time.Time{}, time.Unix(1000-int64(n), 0)); err != nil {
			t.Fatal(err)
		}
	}
	foreign, half := filepath.Join(dir, "README"), filepath.Join(dir, unfinished+"1")
	for _, f := range []string{foreign, half} {
		if err := os.WriteFile(f, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if c, err = openCodeCache(dir, 5000, newCodeMaker("")); err != nil {
		t.Fatal(err)
	}
	if got := there(t, c); !bytes.Equal(got, []byte{1, 2}) {
		t.Errorf("%v are left of 4 in the room of 2, want those used last", got)
	}
	info, err := os.Stat(dir)
	_, gone := os.Stat(half)
	_, kept := os.Stat(foreign)
	if err != nil || info.Mode().Perm() != 0o700 || !os.IsNotExist(gone) || kept != nil || len(codeFiles(t, dir)) != 2 {
		t.Errorf("mode %v, unfinished: %v, foreign: %v, %d entries", info.Mode(), gone, kept, len(codeFiles(t, dir)))
	}
}

func TestACacheThatCannotBeWrittenStopsNothing(t *testing.T) {
	dir := t.TempDir()
	w := openTest(t, cached(dir))
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	mustRun(t, w, task(wat(t, "noop")))
	wantLoaded(t, w, 1, 0)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := testConfig()
	cfg.CacheDir, cfg.CacheBytes = filepath.Join(file, "code"), 1
	if _, err := OpenWASM(cfg, slog.New(slog.DiscardHandler)); err == nil {
		t.Error("a folder inside a file was accepted")
	}
}
