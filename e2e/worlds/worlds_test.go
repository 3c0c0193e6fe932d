package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/mustermesh/muster/executor"
)

func TestMain(m *testing.M) {
	executor.ChildMain()
	if hidden(os.Args) {
		return
	}
	os.Exit(m.Run())
}

// cheap matches pairs of programs that are here without a download.
const cheap = `^(trap/way [0-6]|worked|files|flood|chaos)`

// someWorlds gives three that have little in common.
func someWorlds() (some []world) {
	for _, w := range allWorlds() {
		if slices.Contains([]string{"one processor", "new sandboxes", "large environment"}, w.Name) {
			some = append(some, w)
		}
	}
	return some
}

func newWorlds(t *testing.T, runs int) (*worlds, *bytes.Buffer) {
	t.Setenv("TMPDIR", t.TempDir())
	var out bytes.Buffer
	return &worlds{out: &out, root: filepath.Join("..", ".."), foreign: "none", runs: runs, jobs: 2, all: someWorlds()}, &out
}

func TestASampleIsTheSameInEveryWorld(t *testing.T) {
	w, out := newWorlds(t, 3)
	if err := w.run(t.Context(), cheap, ""); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, p := range programs {
		if strings.Contains(out.String(), "want of "+p.file) {
			t.Logf("NOT CHECKED: %s, for want of %s: %s", p.name, p.file, p.need)
		}
	}
	for _, p := range w.pairs {
		for _, interpret := range []bool{false, true} {
			if got := w.ledger.runs[p.name][engine(interpret)]; got != 3 {
				t.Errorf("%s was run %d times on the %s, want 3", p.name, got, engine(interpret))
			}
		}
		if f := w.ledger.findings[p.name]; len(f) != 1 || f[0].times != 6 || f[0].result.Fuel == 0 {
			t.Errorf("%s has %v, want one result with fuel, 6 times", p.name, f)
		}
	}
	trapsDiffer(t, w)
	isEmpty(t, os.Getenv("TMPDIR"))
}

// trapsDiffer: pairs of one program end differently, so that what is compared is
// not the same of all.
func trapsDiffer(t *testing.T, w *worlds) {
	t.Helper()
	seen := map[result]string{}
	for _, p := range w.pairs {
		if p.program != "trap" {
			continue
		}
		r := w.ledger.findings[p.name][0].result
		if was, ok := seen[r]; ok || r.Trap == "" {
			t.Errorf("%s is as %q is: %s", p.name, was, r)
		}
		seen[r] = p.name
	}
	if len(seen) != 7 {
		t.Errorf("%d ways to trap were run, want 7", len(seen))
	}
}

func isEmpty(t *testing.T, dir string) {
	t.Helper()
	left, err := os.ReadDir(dir)
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// An interrupter cancels when a word is written.
type interrupter struct {
	bytes.Buffer
	word   string
	cancel func()
}

func (i *interrupter) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte(i.word)) {
		i.cancel()
	}
	return i.Buffer.Write(p)
}

func TestAnInterruptLeavesNothing(t *testing.T) {
	w, _ := newWorlds(t, 10_000)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out := &interrupter{word: "in sandboxes", cancel: cancel} // the first runner has begun
	w.out = out
	if err := w.run(ctx, "^trap", ""); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled\n%s", err, out)
	}
	isEmpty(t, os.Getenv("TMPDIR"))
}

func TestADifferenceIsFound(t *testing.T) {
	like := reading{Pair: "trap/way 0", Outcome: "exited", Fuel: 7, Stdout: "aa"}
	for name, change := range map[string]func(*reading){
		"outcome": func(x *reading) { x.Outcome = "trapped" }, "code": func(x *reading) { x.Code = 1 },
		"trap": func(x *reading) { x.Trap = "unreachable" }, "fuel": func(x *reading) { x.Fuel++ },
		"memory": func(x *reading) { x.Peak = 65536 }, "disk": func(x *reading) { x.Full = true },
		"stdout": func(x *reading) { x.Stdout = "bb" }, "stderr": func(x *reading) { x.Stderr = "bb" },
		"files": func(x *reading) { x.Files = "bb" },
	} {
		other := like
		change(&other)
		w, out := newWorlds(t, 1)
		w.ledger, w.walls, w.calls = newLedger(), map[string]string{}, map[string]int{}
		w.pairs = []pair{{name: like.Pair, program: "trap"}}
		w.hears(t, "here", false, like)
		w.hears(t, "there", true, like, other)
		if err := w.verdict(nil); err == nil || !strings.Contains(err.Error(), "1 of 1 pairs differ") {
			t.Errorf("%s: got %v", name, err)
		}
		for _, want := range []string{"NOT 1", "DIFFERENT: trap/way 0", "2 times, first in here, compiler, m68k: " + like.result().String(), "1 times, first in there, interpreter, m68k: " + other.result().String()} {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%s: the report lacks %q:\n%s", name, want, out)
			}
		}
	}
}

// hears is a runner that says all.
func (w *worlds) hears(t *testing.T, where string, interpret bool, all ...reading) {
	t.Helper()
	var lines bytes.Buffer
	enc := json.NewEncoder(&lines)
	enc.Encode(reading{Arch: "m68k", Level: "none"})
	for _, x := range all {
		enc.Encode(x)
	}
	if n, _, err := w.listen(&lines, order{World: world{Name: where}, Interpret: interpret}); err != nil || n != len(all) {
		t.Fatalf("got %d, %v; want %d readings", n, err, len(all))
	}
}

func TestWhatDoesNotRunFails(t *testing.T) {
	w, out := newWorlds(t, 1)
	w.ledger, w.walls, w.calls = newLedger(), map[string]string{}, map[string]int{}
	w.pairs = []pair{{name: "trap/way 0", program: "trap"}}
	w.hears(t, "here", false, reading{Pair: "trap/way 0", Err: "sandbox died"})
	if err := w.verdict(nil); err == nil || !strings.Contains(out.String(), "FAILED: trap/way 0 in here, compiler, m68k: sandbox died") {
		t.Errorf("got %v and\n%s", err, out)
	}
}

func TestWhatIsMissingIsNamed(t *testing.T) {
	w, out := newWorlds(t, 1)
	there := filepath.Join("executor", "testdata", "guests", "worked.wasm")
	module, err := os.ReadFile(filepath.Join(w.root, there))
	if err != nil {
		t.Fatal(err)
	}
	w.root = t.TempDir()
	if err := os.MkdirAll(filepath.Join(w.root, filepath.Dir(there)), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(w.root, there), module, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := w.run(t.Context(), "", ""); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, p := range programs {
		named := strings.Contains(out.String(), "of "+p.name+", for want of "+p.file)
		if here := p.name == "worked"; named == here {
			t.Errorf("%s: named as missing: %t, there: %t\n%s", p.name, named, here, out)
		}
	}
}

func TestThePairsAreWhatTheyAreSaidToBe(t *testing.T) {
	seen, used := map[string]bool{}, map[string]int{}
	for _, p := range allPairs() {
		if seen[p.name] {
			t.Errorf("%s is there twice", p.name)
		}
		seen[p.name] = true
		used[p.program]++
	}
	if len(seen) < 50 {
		t.Errorf("there are %d pairs, want at least 50", len(seen))
	}
	for _, p := range programs {
		if used[p.name] == 0 {
			t.Errorf("no pair uses %s", p.name)
		}
		delete(used, p.name)
	}
	if len(used) > 0 {
		t.Errorf("pairs of programs that are not listed: %v", used)
	}
}

func TestTheWorldsDoAllRunsTogether(t *testing.T) {
	for runs := range 250 {
		sum := 0
		for i := range 10 {
			sum += share(runs, i, 10)
		}
		if sum != runs {
			t.Errorf("ten worlds do %d runs, want %d", sum, runs)
		}
	}
}
