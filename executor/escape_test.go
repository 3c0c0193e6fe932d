package executor

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The ways in which a hostile guest may end.
const (
	endExited  = "exited"
	endTrapped = "trapped"
	endFuel    = "out of fuel"
	endRefused = "refused"   // the program, before it runs
	endTimeout = "timed out" // killed at its deadline
	endTask    = "malformed" // the task
)

// An escape is a hostile guest and how it may end.
type escape struct {
	name   string
	module []byte
	ends   string      // one of the ways, or several between spaces and "or"
	stdout string      // if it exits
	change func(*Task) // of the task, if it is not an ordinary one
}

// TestHostileGuests runs each of them twice, and a good program after each. No
// matter what they do they end in the same way, and leave nothing behind.
func TestHostileGuests(t *testing.T) {
	const secret = "of nobody's business"
	host := openDir(t)
	canary := filepath.Join(host, "canary")
	if err := os.WriteFile(canary, []byte(secret), 0o666); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", host)
	t.Setenv("MUSTER_CANARY", secret)
	list := hostileGuests()
	for _, s := range hostileScripts(canary) {
		list = append(list, escape{name: s.name, module: scripted(s.steps...), ends: endExited, stdout: notes(s.steps)})
	}
	if len(list) < 60 {
		t.Errorf("only %d hostile guests", len(list))
	}
	before := openFiles(t)
	quick := quickChild(t)
	w := openTest(t, func(c *Config) {
		if c.PrepareTimeout = time.Minute; quick != nil {
			quick(c)
		}
	})
	good := task(wat(t, "noop"))
	for _, g := range list {
		t.Run(g.name, func(t *testing.T) {
			first, out := runHostile(t, w, g)
			again, outAgain := runHostile(t, w, g)
			if !strings.Contains(g.ends, first) || first != again || out != outAgain {
				t.Errorf("it %s, then %s (%v); want %s", first, again, out == outAgain, g.ends)
			}
			if first == endExited && g.stdout != "" && out != g.stdout {
				t.Errorf("it got %v, want %v", []byte(out), []byte(g.stdout))
			}
			if strings.Contains(out, secret) {
				t.Error("it read a file of the host")
			}
			if res, _ := mustRun(t, w, good); res.Outcome != Exited {
				t.Errorf("a good program after it: %+v", res)
			}
		})
	}
	w.Close()
	if left, err := os.ReadDir(host); err != nil || len(left) != 1 {
		t.Errorf("%d files are there, %v; want the canary alone", len(left), err)
	}
	if after := openFiles(t); after > before {
		t.Errorf("%d descriptors are open, before it were %d", after, before)
	}
	if left := sandboxes(t); len(left) > 0 {
		t.Errorf("these sandboxes are left: %v", left)
	}
}

// TestAProgramThatIsNeverCompiledIsGivenUp: what takes the engine minutes costs
// as long as preparing may take, and one sandbox.
func TestAProgramThatIsNeverCompiledIsGivenUp(t *testing.T) {
	w := openTest(t, func(c *Config) { c.PrepareTimeout = time.Second })
	const ways = 65_000
	m := &modText{}
	for range 100 {
		m.add(0, i32(5), opBrTable, uleb(ways), bytes.Repeat([]byte{0}, ways+1))
	}
	bomb := program(m.module())
	begun := time.Now()
	err := w.Prepare(t.Context(), peer(1), bomb)
	if took := time.Since(begun); !errors.Is(err, ErrTimeout) || took > 20*time.Second {
		t.Errorf("got %v after %v, want ErrTimeout", err, took)
	}
	if left := sandboxes(t); len(left) > 0 {
		t.Errorf("these sandboxes are left: %v", left)
	}
	mustRun(t, openTest(t, nil), task(wat(t, "noop")))
}

// runHostile tells how a guest ended, and what it printed.
func runHostile(t *testing.T, w *WASM, g escape) (end, stdout string) {
	t.Helper()
	k := task(program(g.module))
	k.Input, k.Outputs = memTree{"in/a": []byte("abc"), "in/d": nil}, []string{"/out"}
	k.Limits.Timeout = 20 * time.Second
	if g.change != nil {
		g.change(&k)
	}
	sink := &memSink{}
	k.Sink = sink
	defer w.Release(k.Owner, k.Program.CID)
	e, err := w.Start(t.Context(), k)
	var bad *ProgramError
	switch {
	case errors.As(err, &bad):
		return endRefused, ""
	case errors.Is(err, ErrTask):
		return endTask, ""
	case err != nil:
		t.Fatalf("start: %v", err)
	}
	begun := time.Now()
	res, err := e.Wait(context.WithoutCancel(t.Context()))
	switch {
	case errors.Is(err, ErrTimeout):
		t.Logf("killed %v after its deadline", time.Since(begun)-k.Limits.Timeout)
		return endTimeout, ""
	case err != nil:
		t.Fatalf("wait: %v", err)
	case res.Outcome == Exited:
		return endExited, sink.stdout.String()
	case res.Outcome == OutOfFuel:
		return endFuel, sink.stdout.String()
	}
	t.Logf("trap: %s", res.Trap)
	return endTrapped, sink.stdout.String()
}

// openFiles counts this process's descriptors.
func openFiles(t *testing.T) int {
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skipf("NOT CHECKED: %v", err)
	}
	return len(list)
}

// sandboxes lists the children of this process that are sandboxes.
func sandboxes(t *testing.T) (pids []string) {
	tasks, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil || len(tasks) == 0 {
		t.Logf("NOT CHECKED that no process is left: this kernel lists no children")
	}
	for _, path := range tasks {
		b, _ := os.ReadFile(path)
		for _, pid := range strings.Fields(string(b)) {
			if name, _ := os.ReadFile("/proc/" + pid + "/cmdline"); strings.HasPrefix(string(name), childName) {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}
