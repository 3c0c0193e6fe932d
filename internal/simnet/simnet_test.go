package simnet

import (
	"flag"
	"fmt"
	"testing"
	"time"
)

var (
	oneSeed = flag.Int64("seed", -1, "run this seed alone")
	seeds   = flag.Int("seeds", 1000, "how many seeds")
)

func complain(t *testing.T, cfg Config, r Report) {
	t.Helper()
	t.Fatalf("%s\n\n%s\n\nafter %d events, the last of them:\n%s\nagain: go test ./internal/simnet -run '^%s$' -seed %d",
		r.Fault, cfg, r.Events, r.Trace, t.Name(), cfg.Seed)
}

func TestSeeds(t *testing.T) {
	first, last := uint64(0), uint64(*seeds)
	if *oneSeed >= 0 {
		first, last = uint64(*oneSeed), uint64(*oneSeed)+1
	}
	var took time.Duration
	events, seen := 0, make(map[string]int)
	for seed := first; seed < last; seed++ {
		cfg := Random(seed)
		r := Run(cfg)
		if r.Fault != "" {
			complain(t, cfg, r)
		}
		took, events = took+r.Took, events+r.Events
		for what, n := range r.Seen {
			seen[what] += n
		}
	}
	t.Logf("%d meshes, %d events, %s of virtual time until their jobs ended; %v", last-first, events, took.Round(time.Second), seen)
	if last-first < 100 {
		return
	}
	for _, what := range []string{
		"attach taken", "attach refused", "award refused: no lease", "award refused: busy", "guest stopped", "power lost", "lease restored",
		"write to a full disk", "result forgotten", "hedged", "backup restored", "evidence: checked", "evidence: unchecked", "evidence: wrong", "evidence: lost", "evidence: failed",
	} {
		if seen[what] == 0 {
			t.Errorf("%s: never seen; the mix does not try that", what)
		}
	}
}

func TestACalmMesh(t *testing.T) {
	for _, checkers := range []int{0, 1, 3} {
		t.Run(fmt.Sprint(checkers, " checkers"), func(t *testing.T) {
			r := Run(Small(8, checkers, 5))
			if r.Fault != "" {
				t.Fatalf("%s\n%s", r.Fault, r.Trace)
			}
			t.Logf("took %s, %d events, writes %v", r.Took, r.Events, r.Writes)
		})
	}
}
