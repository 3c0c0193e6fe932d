package main

import (
	"strings"
	"testing"
	"time"
)

func TestAFigureSaysWhetherItReachedItsGoal(t *testing.T) {
	for _, c := range []struct {
		name string
		f    figure
		want string
	}{
		{"no goal", figure{Value: 3}, ""},
		{"below a bound", figure{Value: 3, Goal: 4, AtMost: true}, "reached (0.75×)"},
		{"over a bound", figure{Value: 6, Goal: 4, AtMost: true}, "MISSED (1.50×)"},
		{"above a floor", figure{Value: 6, Goal: 4}, "reached (1.50×)"},
		{"under a floor", figure{Value: 3, Goal: 4}, "MISSED (0.75×)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := c.f.verdict(); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestPercentile(t *testing.T) {
	var ts []timing
	for i := range 100 {
		ts = append(ts, timing{settled: time.Duration(100-i) * time.Millisecond})
	}
	for p, want := range map[int]float64{0: 1, 50: 51, 99: 100, 100: 100} {
		if got := percentile(ts, settled, p); got != want {
			t.Errorf("percentile %d: got %v, want %v", p, got, want)
		}
	}
}

func TestSinceAddsUpWhatMatches(t *testing.T) {
	before := snapshot{names: []string{"provider-1", "requester"}, counters: []map[string]uint64{{"store.syncs": 1}, {"store.syncs": 5, "proto.bid.streams_out": 1}}}
	after := snapshot{names: before.names, counters: []map[string]uint64{{"store.syncs": 4, "proto.lease.streams_out": 7}, {"store.syncs": 6, "proto.bid.streams_out": 3}}}
	for what, c := range map[string]struct {
		match func(node, counter string) bool
		want  float64
	}{
		"a counter of all nodes":    {named("store.syncs"), 4},
		"of one node":               {at("requester", "store.syncs"), 1},
		"new counters begin at 0":   {ending(".streams_out"), 9},
		"a name that nobody counts": {named("nothing"), 0},
	} {
		if got := after.since(before, c.match); got != c.want {
			t.Errorf("%s: got %v, want %v", what, got, c.want)
		}
	}
}

func TestTheTableHasARowForEachFigure(t *testing.T) {
	var b strings.Builder
	figures{{What: "one", Value: 1234.5, Unit: "ms"}, {What: "two", Value: 0.1234, Unit: "s", Goal: 1, AtMost: true}}.write(&b)
	for _, want := range []string{"one   1234", "two   0.123", "≤ 1", "reached (0.12×)"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is not in the table:\n%s", want, b.String())
		}
	}
}
