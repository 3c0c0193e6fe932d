package simnet

import (
	"fmt"
	"testing"
	"time"
)

// A scene is a small world in which every write of every node is a place to
// crash at.
type scene struct {
	name string
	cfg  Config
}

func scenes() []scene {
	split := func(c Config) Config {
		c.Splits = []Split{{At: 300 * time.Millisecond, For: 4 * time.Second, From: []int{0}, To: []int{1, 2}}}
		return c
	}
	long := Small(3, 1, 3)
	long.Splits = []Split{{At: 300 * time.Millisecond, For: 40 * time.Second, From: []int{0}, To: []int{1, 2, 3}}}
	slow, late := Small(4, 1, 3), Small(4, 1, 3)
	slow.Down = [2]time.Duration{slow.Silence + 5*time.Second, slow.Silence + 10*time.Second}
	late.Down = [2]time.Duration{late.Grace + 5*time.Second, late.Grace + 10*time.Second}
	hedged := Small(8, 1, 3)
	hedged.Hedge, hedged.Hangs = true, .2
	return []scene{
		{"unchecked", Small(4, 0, 2)},
		{"one checker", Small(5, 1, 3)},
		{"three checkers", Small(4, 3, 5)},
		{"one checker, a split", split(Small(5, 1, 3))},
		{"three checkers, a split", split(Small(4, 3, 5))},
		{"one checker, a split of all that outlasts the silence", long},
		{"nodes are down for longer than the silence", slow},
		{"nodes are down for longer than the grace", late},
		{"slow ones get backups", hedged},
	}
}

var sides = []When{Before, After, Power}

// baseline counts the writes of a scene in which nothing crashes.
func baseline(t *testing.T, cfg Config) []int {
	t.Helper()
	r := Run(cfg)
	if r.Fault != "" {
		t.Fatalf("without a crash: %s\n%s", r.Fault, r.Trace)
	}
	return r.Writes
}

func (s scene) crash(t *testing.T, crashes ...Crash) {
	t.Helper()
	cfg := s.cfg
	cfg.WorstPower, cfg.Crashes = true, crashes
	if r := Run(cfg); r.Fault != "" {
		t.Fatalf("crash %s: %s\n%s\nagain: go test ./internal/simnet -run '^%s$'", crashes, r.Fault, r.Trace, t.Name())
	}
}

func TestEveryCrashPoint(t *testing.T) {
	total := 0
	for _, s := range scenes() {
		t.Run(s.name, func(t *testing.T) {
			points := 0
			if s.cfg.Hedge && Run(s.cfg).Seen["hedged"] == 0 {
				t.Error("nothing gets a backup")
			}
			for node, writes := range baseline(t, s.cfg) {
				for n := 1; n <= writes; n++ {
					for _, side := range sides {
						s.crash(t, Crash{Node: node, Write: n, When: side})
						points++
					}
				}
			}
			t.Logf("%d crash points", points)
			total += points
		})
	}
	t.Logf("%d crash points in all", total)
	if total < 500 {
		t.Errorf("only %d crash points: the scenes write too little", total)
	}
}

// A node that was just restarted crashes again at one of the writes that follow.
func TestEveryCrashPointTwice(t *testing.T) {
	total := 0
	for _, s := range scenes()[:2] {
		for node, writes := range baseline(t, s.cfg) {
			for n := 1; n <= writes; n++ {
				for next := 1; next <= 3; next++ {
					for _, side := range sides {
						s.crash(t, Crash{Node: node, Write: n, When: side}, Crash{Node: node, Write: n + next, When: side})
						total++
					}
				}
			}
		}
	}
	t.Logf("%d pairs of crash points of one node", total)
}

// The requester and a provider crash: at one moment, and each at a write of its
// own.
func TestEveryDoubleCrash(t *testing.T) {
	s := scenes()[0]
	writes := baseline(t, s.cfg)
	moments, pairs := 0, 0
	for provider := 1; provider < len(writes); provider++ {
		for _, side := range sides {
			for n := 1; n <= writes[0]; n++ {
				s.crash(t, Crash{Node: 0, Write: n, When: side, Both: true, With: provider})
				moments++
				for m := 1; m <= writes[provider]; m++ {
					s.crash(t, Crash{Node: 0, Write: n, When: side}, Crash{Node: provider, Write: m, When: side})
					pairs++
				}
			}
			for m := 1; m <= writes[provider]; m++ {
				s.crash(t, Crash{Node: provider, Write: m, When: side, Both: true, With: 0})
				moments++
			}
		}
	}
	t.Logf("%d crashes of two nodes at one moment, %d pairs of crash points", moments, pairs)
}

// String names a crash as a sentence.
func (c Crash) String() string {
	s := fmt.Sprintf("%s write %d of node %d", c.When, c.Write, c.Node)
	if c.Both {
		s += fmt.Sprintf(", and of node %d with it", c.With)
	}
	return s
}
