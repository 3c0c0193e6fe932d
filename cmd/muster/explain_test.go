package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/mustermesh/muster/node/api"
)

func TestPeersAreGroupedByVerdict(t *testing.T) {
	var peers []*api.PeerDecision
	for i, v := range []string{"odd", "distrusted", "refused", "chosen", "refused", "unreachable"} {
		peers = append(peers, &api.PeerDecision{Peer: fmt.Sprint(i), Verdict: v})
	}
	var got []string
	for _, g := range byVerdict(peers) {
		s := g[0].Verdict
		for _, p := range g {
			s += p.Peer
		}
		got = append(got, s)
	}
	if want := []string{"chosen3", "refused24", "unreachable5", "distrusted1", "odd0"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestPlacesAreSharedInTurn(t *testing.T) {
	for _, c := range []struct {
		sizes []int
		n     int
		want  []int
	}{
		{[]int{1, 30, 10, 1}, 20, []int{1, 9, 9, 1}},
		{[]int{3, 2}, 20, []int{3, 2}},
		{[]int{3, 2}, 1, []int{1, 0}},
		{nil, 20, []int{}},
	} {
		if got := shares(c.sizes, c.n); !slices.Equal(got, c.want) {
			t.Errorf("%v by %d: got %v, want %v", c.sizes, c.n, got, c.want)
		}
	}
}

func TestAGroupTellsItsReasonsTheMostFrequentFirst(t *testing.T) {
	var g []*api.PeerDecision
	for _, class := range []string{"policy", "price", "none", "price", "", "capacity"} {
		g = append(g, &api.PeerDecision{Verdict: "refused", Class: class})
	}
	if got, want := groupText(g), "6 refused (price 2, capacity 1, policy 1)"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := groupText(g[:1]), "1 refused"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// explained runs a command about a job of this name on a terminal of this width.
func explained(t *testing.T, name string, width int, args ...string) string {
	t.Helper()
	s := newStage(t, false, strings.NewReader(""), true)
	s.app.size = func() (int, int) { return width, 24 }
	s.node.job = &api.SubmitJobRequest{Job: &api.Job{Name: name, Count: 4}}
	if got := await(t, s.run(args...), "the end"); got != exitOK {
		t.Fatalf("got exit code %d: %s", got, s.err.String())
	}
	return s.out.String()
}

func TestExplanationsKeepToTheScreen(t *testing.T) {
	t.Setenv("NO_COLOR", "1")
	for _, width := range []int{80, 160} {
		for _, args := range [][]string{
			{"job", "explain", "aa", "--all"}, {"provider", "explain"}, {"provider", "explain", "--since", "5s"},
			{"doctor"}, {"provider", "config"}, {"job", "receipts", "aa"},
		} {
			for _, name := range []string{"stuck", "dead"} {
				for line := range strings.Lines(explained(t, name, width, args...)) {
					if n := columnsOf(strings.TrimSuffix(line, "\n")); n > width {
						t.Errorf("%v on %d columns: a line has %d: %q", args, width, n, line)
					}
				}
			}
		}
	}
}

func TestExplainShowsSomeOfEachVerdictOrAll(t *testing.T) {
	some, all := explained(t, "stuck", 160, "job", "explain", "aa"), explained(t, "stuck", 160, "job", "explain", "aa", "--all")
	for _, c := range []struct {
		text        string
		some, every int
	}{
		{"refused *", 8, 30}, {"unfit  ", 8, 10}, {"4NTTp002  unreachable", 1, 1}, {"4NTTp003  distrusted", 1, 1},
		{"and 24 peers more; --all shows them", 1, 0},
	} {
		if got := strings.Count(some, c.text); got != c.some {
			t.Errorf("%q is shown %d times, want %d", c.text, got, c.some)
		}
		if got := strings.Count(all, c.text); got != c.every {
			t.Errorf("with --all %q is shown %d times, want %d", c.text, got, c.every)
		}
	}
	if strings.Contains(all, "\x1b[31m") {
		t.Error("a peer's words reach the terminal as they came")
	}
}

func TestADeadTaskShowsAllItsAttempts(t *testing.T) {
	got := explained(t, "dead", 160, "job", "explain", "aa")
	dead, slow, _ := strings.Cut(got, "task 2, running: slow")
	if n := strings.Count(dead, "executor failed: attempt"); n != 7 {
		t.Errorf("got %d executions of the dead task, want all 7", n)
	}
	if n := strings.Count(slow, "executor failed: attempt"); n != shownExecutions || !strings.Contains(slow, "2 executions before these") {
		t.Errorf("got %d executions of the other, want the last %d:\n%s", n, shownExecutions, slow)
	}
	if strings.Contains(slow, "attempt 1:") || !strings.Contains(slow, "attempt 6:") {
		t.Errorf("got other executions than the last:\n%s", slow)
	}
}
