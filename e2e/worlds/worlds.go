package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// A worlds is one run of all.
type worlds struct {
	out     io.Writer
	root    string
	dir     string // all that this run makes
	exe     string
	foreign string
	cheap   uint64
	runs    int
	jobs    int
	show    int
	began   time.Time
	all     []world
	pairs   []pair // those whose programs are there

	mu     sync.Mutex // guards what follows, and out
	ledger *ledger
	walls  map[string]string // by processor, how well guests are shut in
	calls  map[string]int    // runs by processor
}

func (w *worlds) run(ctx context.Context, only, where string) (err error) {
	w.began, w.ledger, w.walls, w.calls = time.Now(), newLedger(), map[string]string{}, map[string]int{}
	if w.runs < 1 || w.jobs < 1 {
		return errors.New("it takes a run and a world at least")
	}
	missing, err := w.choose(only, where)
	if err != nil {
		return err
	}
	if w.exe, err = os.Executable(); err != nil {
		return err
	}
	if w.dir, err = os.MkdirTemp("", "muster-worlds-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(w.dir)) }()
	if err := os.Chmod(w.dir, 0o755); err != nil { // sandboxes of root run as nobody, and may have their binary here
		return err
	}
	w.missing(missing)
	if w.show > 0 {
		return w.showAll(ctx)
	}
	w.say("%d pairs of a program and an input, %d times on each engine, in %d worlds", len(w.pairs), w.runs, len(w.all))
	if err = w.everywhere(ctx); err == nil {
		err = w.abroad(ctx)
	}
	if ctx.Err() != nil {
		return err
	}
	return errors.Join(err, w.verdict(missing)) // whatever went wrong, what was seen is told
}

// choose takes the pairs and worlds that match, and gives the pairs whose program
// is not there, by program.
func (w *worlds) choose(only, where string) (missing map[string]int, err error) {
	match, err := regexp.Compile(only)
	if err != nil {
		return nil, err
	}
	place, err := regexp.Compile(where)
	if err != nil {
		return nil, err
	}
	w.all = slices.DeleteFunc(w.all, func(x world) bool { return !place.MatchString(x.Name) })
	if len(w.all) == 0 {
		return nil, fmt.Errorf("no world is called %q", where)
	}
	if w.root, err = filepath.Abs(w.root); err != nil {
		return nil, err
	}
	there := map[string]bool{}
	for _, p := range programs {
		_, err := os.Stat(filepath.Join(w.root, p.file))
		there[p.name] = err == nil
	}
	missing = map[string]int{}
	for _, p := range allPairs() {
		if match.MatchString(p.name) && there[p.program] {
			w.pairs = append(w.pairs, p)
		} else if match.MatchString(p.name) {
			missing[p.program]++
		}
	}
	if len(w.pairs) == 0 {
		return nil, fmt.Errorf("no program for %q below %s: run make examples programs", only, w.root)
	}
	return missing, nil
}

// missing names what is not run.
func (w *worlds) missing(by map[string]int) {
	for _, p := range programs {
		if n := by[p.name]; n > 0 {
			w.say("NOT RUN: %d pairs of %s, for want of %s: %s", n, p.name, p.file, p.need)
		}
	}
}

// everywhere runs all pairs in all worlds on both engines.
func (w *worlds) everywhere(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(w.jobs)
	for i, x := range w.all {
		runs := share(w.runs, i, len(w.all))
		for _, interpret := range []bool{false, true} {
			if runs > 0 {
				g.Go(func() error {
					return w.visit(ctx, x, order{Interpret: interpret, Runs: runs, Pairs: names(w.pairs)})
				})
			}
		}
	}
	return g.Wait()
}

// share is the part of runs that the i-th of n worlds does; all of them together
// do as many as were asked for.
func share(runs, i, n int) int { return runs*(i+1)/n - runs*i/n }

func names(pairs []pair) (list []string) {
	for _, p := range pairs {
		list = append(list, p.name)
	}
	return list
}

// showAll runs each pair once on each engine, and prints what it does.
func (w *worlds) showAll(ctx context.Context) error {
	for _, interpret := range []bool{false, true} {
		o := order{Interpret: interpret, Runs: 1, Show: w.show, Pairs: names(w.pairs)}
		if err := w.visit(ctx, w.all[0], o); err != nil {
			return err
		}
	}
	return w.verdict(nil)
}

// verdict reports.
func (w *worlds) verdict(missing map[string]int) error {
	w.ledger.report(w.out, w.pairs)
	for _, arch := range slices.Sorted(maps.Keys(w.calls)) {
		fmt.Fprintf(w.out, "%s: %d runs, in sandboxes of %s\n", arch, w.calls[arch], w.walls[arch])
	}
	fmt.Fprintf(w.out, "%s in all\n", time.Since(w.began).Round(time.Second))
	if n, f := len(w.ledger.different()), len(w.ledger.failures); n+f > 0 {
		return fmt.Errorf("%d of %d pairs differ, %d runs failed", n, len(w.pairs), f)
	}
	w.missing(missing)
	return nil
}

// say prints a line with the time since the beginning.
func (w *worlds) say(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	fmt.Fprintf(w.out, "%7s  %s\n", time.Since(w.began).Round(100*time.Millisecond), fmt.Sprintf(format, args...))
}
