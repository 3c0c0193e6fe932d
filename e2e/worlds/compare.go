package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
)

// A result is all of a reading that must be the same everywhere.
type result struct {
	Outcome               string
	Code                  uint32
	Trap                  string
	Fuel, Peak            uint64
	Full                  bool
	Stdout, Stderr, Files string
}

func (x reading) result() result {
	return result{x.Outcome, x.Code, x.Trap, x.Fuel, x.Peak, x.Full, x.Stdout, x.Stderr, x.Files}
}

func (r result) String() string {
	end := fmt.Sprintf("%s %d", r.Outcome, r.Code)
	if r.Trap != "" {
		end = "trap " + r.Trap
	}
	return fmt.Sprintf("%s, fuel %d, memory %d, disk full %t, stdout %s, stderr %s, files %s", end, r.Fuel, r.Peak, r.Full, r.Stdout, r.Stderr, r.Files)
}

// A place is where something was run: a world, an engine, a processor.
type place struct{ world, engine, arch string }

func (p place) String() string { return p.world + ", " + p.engine + ", " + p.arch }

// A finding is a result of a pair, and where it was seen first.
type finding struct {
	result result
	first  place
	times  int
}

// A ledger compares all readings.
type ledger struct {
	findings map[string][]finding      // by pair; one if all are equal
	runs     map[string]map[string]int // by pair and engine
	failures []string                  // what gave no result
}

func newLedger() *ledger {
	return &ledger{findings: map[string][]finding{}, runs: map[string]map[string]int{}}
}

// enter adds a reading, and tells whether it is like those before it.
func (l *ledger) enter(at place, x reading) bool {
	if x.Err != "" {
		l.failures = append(l.failures, fmt.Sprintf("%s in %s: %s", x.Pair, at, x.Err))
		return false
	}
	if l.runs[x.Pair] == nil {
		l.runs[x.Pair] = map[string]int{}
	}
	l.runs[x.Pair][at.engine]++
	all := l.findings[x.Pair]
	if i := slices.IndexFunc(all, func(f finding) bool { return f.result == x.result() }); i >= 0 {
		all[i].times++
		return len(all) == 1
	}
	l.findings[x.Pair] = append(all, finding{x.result(), at, 1})
	return len(all) == 0
}

// fuel gives what a pair uses; 0 if it was not run.
func (l *ledger) fuel(pair string) uint64 {
	if all := l.findings[pair]; len(all) > 0 {
		return all[0].result.Fuel
	}
	return 0
}

// different lists the pairs that have more than one result, sorted.
func (l *ledger) different() (names []string) {
	for name, all := range l.findings {
		if len(all) > 1 {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// A row is a line of the table.
type row struct {
	program
	pairs, differ         int
	compiled, interpreted int
	fuel                  uint64
}

func (l *ledger) rows(pairs []pair) []row {
	var rows []row
	for _, p := range programs {
		r := row{program: p}
		for _, x := range pairs {
			if x.program != p.name || len(l.findings[x.name]) == 0 {
				continue
			}
			r.pairs++
			r.compiled += l.runs[x.name][engine(false)]
			r.interpreted += l.runs[x.name][engine(true)]
			r.fuel += l.fuel(x.name)
			if len(l.findings[x.name]) > 1 {
				r.differ++
			}
		}
		if r.pairs > 0 {
			rows = append(rows, r)
		}
	}
	slices.SortStableFunc(rows, func(a, b row) int { return cmp.Compare(a.language, b.language) })
	return rows
}

// report prints the table, and all that differs.
func (l *ledger) report(w io.Writer, pairs []pair) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "program\tlanguage\tpairs\tcompiled\tinterpreted\tfuel\tequal\t")
	sum := row{program: program{name: "all"}}
	for _, r := range l.rows(pairs) {
		fmt.Fprintln(t, r)
		sum.pairs, sum.differ, sum.fuel = sum.pairs+r.pairs, sum.differ+r.differ, sum.fuel+r.fuel
		sum.compiled, sum.interpreted = sum.compiled+r.compiled, sum.interpreted+r.interpreted
	}
	fmt.Fprintln(t, sum)
	t.Flush()
	for _, name := range l.different() {
		fmt.Fprintf(w, "DIFFERENT: %s\n", name)
		for _, f := range l.findings[name] {
			fmt.Fprintf(w, "  %d times, first in %s: %s\n", f.times, f.first, f.result)
		}
	}
	for i, f := range l.failures {
		if i == 20 {
			fmt.Fprintf(w, "FAILED: and %d more\n", len(l.failures)-i)
			break
		}
		fmt.Fprintf(w, "FAILED: %s\n", f)
	}
}

func (r row) String() string {
	equal := "all"
	if r.differ > 0 {
		equal = fmt.Sprintf("NOT %d", r.differ)
	}
	return strings.Join([]string{r.name, r.language, fmt.Sprint(r.pairs), fmt.Sprint(r.compiled), fmt.Sprint(r.interpreted), fmt.Sprint(r.fuel), equal, ""}, "\t")
}
