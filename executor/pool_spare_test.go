package executor

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"
)

// spares gives the process ids of the sandboxes that wait for a program, once no
// more are being made.
func spares(w *WASM) (pids []int) {
	w.pool.makers.Wait()
	w.pool.mu.Lock()
	defer w.pool.mu.Unlock()
	for b := range w.pool.boxes {
		if b.key == (boxKey{}) {
			pids = append(pids, b.proc.Pid)
		}
	}
	return pids
}

// finish runs k, and gives the process that ran it.
func finish(t *testing.T, w *WASM, k Task) int {
	t.Helper()
	e, _ := start(t, w, k)
	if _, err := e.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	return pid(e)
}

func TestANewProgramStartsInASpare(t *testing.T) {
	w := openTest(t, func(c *Config) { c.Spare = 1 })
	if n := len(spares(w)); n != 0 {
		t.Errorf("%d spares before anything ran", n)
	}
	k := task(wat(t, "noop"))
	seen := map[int]bool{finish(t, w, k): true}
	for owner := range byte(2) { // the next are others' sandboxes
		ready := spares(w)
		if len(ready) != 1 {
			t.Fatalf("%d spares, want 1", len(ready))
		}
		k.Owner = peer(owner + 2)
		ran := finish(t, w, k)
		if ran != ready[0] || seen[ran] {
			t.Errorf("process %d ran it, the spare is %d, seen before: %v", ran, ready[0], seen[ran])
		}
		seen[ran] = true
	}
	if again := finish(t, w, k); !seen[again] {
		t.Error("the warm sandbox was not used again")
	}
}

func TestTheProbeOfTheHostIsKept(t *testing.T) {
	w := openTest(t, func(c *Config) { c.Spare = 1 })
	if _, err := w.Fingerprint(t.Context()); err != nil {
		t.Fatal(err)
	}
	ready := spares(w)
	if len(ready) != 1 {
		t.Fatalf("%d spares, want the probe", len(ready))
	}
	if ran := finish(t, w, task(wat(t, "noop"))); ran != ready[0] {
		t.Errorf("process %d ran the first task, want %d", ran, ready[0])
	}
	w = openTest(t, nil)
	if _, err := w.Fingerprint(t.Context()); err != nil || len(spares(w)) != 0 {
		t.Errorf("%d spares where there are to be none, %v", len(spares(w)), err)
	}
}

// children counts the sandboxes that there are, as the pool knows them.
func children(w *WASM) int {
	w.pool.makers.Wait()
	w.pool.mu.Lock()
	defer w.pool.mu.Unlock()
	return len(w.pool.boxes) + w.pool.opening + w.pool.making
}

func TestSparesTakeNobodysPlace(t *testing.T) {
	w := openTest(t, func(c *Config) { c.MaxChildren, c.Spare = 3, 2 })
	bare, made := w.pool.bare, atomic.Int32{}
	w.pool.bare = func() (*box, error) { made.Add(1); return bare() }
	k := task(wat(t, "noop"))
	first := finish(t, w, k)
	if n, all := len(spares(w)), children(w); n != 2 || all != 3 {
		t.Fatalf("%d spares of %d sandboxes, want 2 of 3", n, all)
	}
	var running []Execution
	for owner := range byte(2) {
		spin := task(wat(t, "spin"))
		spin.Owner = peer(owner + 2)
		e, _ := start(t, w, spin)
		running = append(running, e)
	}
	if n, all := len(spares(w)), children(w); n != 0 || all != 3 {
		t.Errorf("%d spares of %d sandboxes, want none of 3: no place is left", n, all)
	}
	if n := made.Load(); n != 2 {
		t.Errorf("%d spares were made, want 2: for more there was no place", n)
	}
	if again := finish(t, w, k); again != first {
		t.Error("a warm sandbox made place for a spare")
	}
	for _, e := range running {
		e.Stop()
	}
}

func TestADeadSpareIsNotUsed(t *testing.T) {
	w := openTest(t, func(c *Config) { c.Spare = 1 })
	k := task(wat(t, "noop"))
	finish(t, w, k)
	spares(w)
	w.pool.mu.Lock()
	spare := w.pool.latest(boxKey{})
	w.pool.mu.Unlock()
	spare.proc.Kill()
	spare.proc.Wait()
	k.Owner = peer(2)
	if ran := finish(t, w, k); ran == spare.proc.Pid {
		t.Error("the dead ran it")
	}
	if ready := spares(w); len(ready) != 1 || ready[0] == spare.proc.Pid {
		t.Errorf("the spares are %v", ready)
	}
}

// TestAFaultEndsOneSandbox: what a guest does to its own sandbox does not reach
// the spare, and the sandbox is never used again.
func TestAFaultEndsOneSandbox(t *testing.T) {
	w := openTest(t, func(c *Config) { c.Spare = 1 })
	k := probeTask(t, "crash")
	e, _ := start(t, w, k)
	if _, err := e.Wait(t.Context()); !errors.Is(err, ErrKilled) {
		t.Fatalf("got %v, want %v", err, ErrKilled)
	}
	ready := spares(w)
	if len(ready) != 1 || ready[0] == pid(e) {
		t.Fatalf("the spares are %v, and %d crashed", ready, pid(e))
	}
	if ran := finish(t, w, task(k.Program)); ran != ready[0] {
		t.Errorf("process %d ran the next, want the spare %d", ran, ready[0])
	}
}

func TestSparesThatNobodyNeedsGo(t *testing.T) {
	w := openTest(t, func(c *Config) { c.Spare, c.IdleTimeout = 2, 20*time.Millisecond })
	finish(t, w, task(wat(t, "noop")))
	w.pool.makers.Wait()
	for deadline := time.After(30 * time.Second); ; {
		w.pool.mu.Lock()
		left, changed := len(w.pool.boxes), w.pool.changed
		w.pool.mu.Unlock()
		if left == 0 {
			break
		}
		select {
		case <-changed:
		case <-deadline:
			t.Fatalf("%d sandboxes are left", left)
		}
	}
	if n := children(w); n != 0 {
		t.Errorf("%d sandboxes were made again", n)
	}
}

func TestCloseEndsTheSpares(t *testing.T) {
	w := openTest(t, func(c *Config) { c.Spare = 3 })
	finish(t, w, task(wat(t, "noop")))
	w.pool.mu.Lock()
	bare := w.pool.latest(boxKey{})
	w.pool.mu.Unlock()
	w.Close() // while they are being made, maybe
	w.pool.mu.Lock()
	left := len(w.pool.boxes) + w.pool.making
	w.pool.mu.Unlock()
	if left != 0 || bare != nil && bare.alive() {
		t.Errorf("%d sandboxes are left", left)
	}
	if err := w.Prepare(t.Context(), peer(1), wat(t, "noop")); !errors.Is(err, ErrClosed) {
		t.Errorf("got %v", err)
	}
}
