package simnet

import (
	"strings"
	"testing"
)

// A harness that never fails proves nothing: each planted bug must be found, and
// named.
func TestPlantedBugsAreFound(t *testing.T) {
	for name, c := range map[string]struct {
		bug  Bug
		want []string // one of these
	}{
		"a requester that counts epochs from the start again":     {ReusesEpochs, []string{"is awarded to"}},
		"a provider that answers before that is on disk":          {AnswersFirst, []string{"does not have it on disk"}},
		"a requester that writes down what it gave away too late": {RecordsLate, []string{"not on record"}},
		"a requester that tells before it writes":                 {TellsFirst, []string{"it is not on disk"}},
		"a requester that does not sync what is settled":          {SettlesLazily, []string{"it is not on disk"}},
		"a requester that does not sync the number of its run":    {CountsRunsLazily, []string{"is awarded to"}},
		"a provider that forgets its leases":                      {ForgetsLeases, []string{"still has", "is blamed", "does not have it on disk"}},
		"a provider that leaks slots":                             {LeaksSlots, []string{"still has"}},
		"a requester that settles again":                          {RepeatsSettlement, []string{"a second time", "twice"}},
	} {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(300) {
				cfg := Random(seed)
				cfg.Bug = c.bug
				r := Run(cfg)
				if r.Fault == "" {
					continue
				}
				for _, want := range c.want {
					if strings.Contains(r.Fault, want) {
						t.Logf("found by seed %d: %s", seed, r.Fault)
						return
					}
				}
				t.Fatalf("seed %d says %q, want one of %q", seed, r.Fault, c.want)
			}
			t.Fatal("300 seeds did not find it")
		})
	}
}

// Every one of them is found by walking through the crash points of one small
// world, too, where one crash can show it.
func TestCrashPointsFindPlantedBugs(t *testing.T) {
	for name, bug := range map[string]Bug{
		"epochs anew": ReusesEpochs, "answers first": AnswersFirst, "told first": TellsFirst,
		"settled lazily": SettlesLazily, "settles again": RepeatsSettlement, "records late": RecordsLate,
	} {
		t.Run(name, func(t *testing.T) {
			cfg := Small(4, 1, 3)
			cfg.WorstPower = true
			writes := baseline(t, cfg)
			cfg.Bug = bug
			for node := range writes {
				for n := 1; n <= writes[node]; n++ {
					for _, side := range sides {
						cfg.Crashes = []Crash{{Node: node, Write: n, When: side}}
						if r := Run(cfg); r.Fault != "" {
							t.Logf("found by a crash %s: %s", cfg.Crashes, r.Fault)
							return
						}
					}
				}
			}
			t.Error("no crash point found it")
		})
	}
}
