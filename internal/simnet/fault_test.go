package simnet

import (
	"testing"
	"time"

	"github.com/mustermesh/muster/proto"
)

func wantSound(t *testing.T, cfg Config) Report {
	t.Helper()
	r := Run(cfg)
	if r.Fault != "" {
		t.Fatalf("%s\n\n%s\n%s", r.Fault, cfg, r.Trace)
	}
	return r
}

func TestOneSeedGivesOneRun(t *testing.T) {
	for seed := range uint64(30) {
		if a, b := Run(Random(seed)), Run(Random(seed)); a.Sum != b.Sum || a.Events != b.Events {
			t.Fatalf("seed %d: two runs differ: %d and %d events", seed, a.Events, b.Events)
		}
	}
}

// A minute without the requester, in the middle of a job: providers go on, and
// what they did meanwhile counts.
func TestASplitOfAMinute(t *testing.T) {
	for name, c := range map[string]struct {
		checkers int
		from, to []int
		oneWay   bool
	}{
		"the requester is alone":                {0, []int{0}, []int{1, 2, 3, 4}, false},
		"the requester is alone, with checkers": {2, []int{0}, []int{1, 2, 3, 4}, false},
		"half the providers are away":           {1, []int{0, 1, 2}, []int{3, 4}, false},
		"the requester hears nobody":            {1, []int{1, 2, 3, 4}, []int{0}, true},
		"nobody hears the requester":            {1, []int{0}, []int{1, 2, 3, 4}, true},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := Small(40, c.checkers, 4)
			cfg.Silence, cfg.Grace = 2*time.Minute, 5*time.Minute
			cfg.Splits = []Split{{At: time.Second, For: time.Minute, From: c.from, To: c.to, OneWay: c.oneWay}}
			r := wantSound(t, cfg)
			want, inFlight := cfg.Tasks*(cfg.Checkers+1), cfg.Providers*cfg.Slots
			if r.Started < want || r.Started > want+inFlight {
				t.Errorf("%d executions were started for %d: at most the %d that were under way may be given to others", r.Started, want, inFlight)
			}
			t.Logf("took %s; %d executions for %d", r.Took, r.Started, want)
		})
	}
}

// The link may be down for longer than an execution may take: what was finished
// meanwhile is not done again once it is back, where nobody else was there to.
func TestWhatWasFinishedInASplitIsTaken(t *testing.T) {
	cfg := Small(6, 0, 1)
	cfg.Slots, cfg.Timeout, cfg.Silence, cfg.Grace = 6, time.Second, 5*time.Minute, 5*time.Minute
	for _, d := range []time.Duration{10 * time.Second, 20 * time.Second, 40 * time.Second, 2 * time.Minute} {
		cfg.Splits = []Split{{At: 200 * time.Millisecond, For: d, From: []int{0}, To: []int{1}}}
		if r := wantSound(t, cfg); r.Started != cfg.Tasks {
			t.Errorf("after a split of %s: %d executions were started for %d tasks", d, r.Started, cfg.Tasks)
		}
	}
}

// A requester that is killed and comes back does nothing twice.
func TestARestartedRequesterRepeatsNothing(t *testing.T) {
	for _, down := range []time.Duration{100 * time.Millisecond, 5 * time.Second, 25 * time.Second, 50 * time.Second} {
		for _, checkers := range []int{0, 2} {
			cfg := Small(10, checkers, 3)
			cfg.Silence, cfg.Grace, cfg.Down = time.Minute, 2*time.Minute, [2]time.Duration{down, down}
			writes := baseline(t, cfg)
			for n := 1; n <= writes[0]; n++ {
				for _, side := range []When{Before, After} {
					cfg.Crashes = []Crash{{Node: 0, Write: n, When: side}}
					r := wantSound(t, cfg)
					if r.Started > cfg.Tasks*(checkers+1) {
						t.Fatalf("down for %s, %s: %d executions for %d tasks with %d checkers", down, cfg.Crashes, r.Started, cfg.Tasks, checkers)
					}
				}
			}
		}
	}
}

func TestClocksThatDiffer(t *testing.T) {
	limit := proto.MaxSkew
	for name, c := range map[string]struct {
		offsets []time.Duration
		drift   float64
		steps   bool
		kills   int
	}{
		"all are right":                           {[]time.Duration{0, 0, 0, 0}, 0, false, 0},
		"the requester is two minutes ahead":      {[]time.Duration{limit, time.Second, time.Second, time.Second}, 0, false, 0},
		"the requester is two minutes behind":     {[]time.Duration{-limit + time.Second, 0, 0, 0}, 0, false, 0},
		"a minute ahead, and a minute behind":     {[]time.Duration{0, time.Minute, -time.Minute, 30 * time.Second}, 0, false, 0},
		"one is off by four minutes; two are not": {[]time.Duration{-limit, limit, 0, 0}, 0, false, 0},
		"one is an hour behind; two are not":      {[]time.Duration{0, -time.Hour - 5*time.Minute, 0, 0}, 0, false, 0},
		"all drift by a thousandth":               {nil, .001, false, 0},
		"clocks are set at every restart":         {nil, .001, true, 6},
	} {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(20) {
				cfg := Small(12, 1, 3)
				cfg.Seed, cfg.Offsets, cfg.Drift, cfg.ClockSteps, cfg.Kills = seed, c.offsets, c.drift, c.steps, c.kills
				if c.offsets == nil {
					cfg.Skew = limit/2 - time.Second
				}
				cfg.Calm = 10 * time.Second
				wantSound(t, cfg)
			}
		})
	}
}

func TestFullDisks(t *testing.T) {
	for _, refuses := range []bool{false, true} {
		for seed := range uint64(40) {
			cfg := Small(20, 1, 4)
			cfg.Seed, cfg.FullDisks, cfg.Calm, cfg.Refuses = seed, 6, 10*time.Second, refuses
			wantSound(t, cfg)
		}
	}
}
