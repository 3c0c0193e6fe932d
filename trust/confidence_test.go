package trust

import (
	"math"
	"testing"
)

func TestCheckers(t *testing.T) {
	for _, c := range []struct {
		name       string
		confidence uint32
		want       int
	}{
		{"no confidence takes no checker", 0, 0},
		{"any confidence at all takes one", 1, 1},
		{"three in four takes exactly one", 750_000, 1},
		{"a little more than three in four takes two", 750_001, 2},
		{"nine in ten takes two", 900_000, 2},
		{"15 in 16 takes exactly two", 937_500, 2},
		{"one more than that takes three", 937_501, 3},
		{"99 in 100 takes four", 990_000, 4},
		{"999 in 1000 takes five", 999_000, 5},
		{"more than five checkers can give takes five", 999_999, 5},
		{"certainty takes five, and a re-execution", Certain, 5},
		{"beyond certainty is certainty", math.MaxUint32, 5},
	} {
		if got := Checkers(c.confidence); got != c.want {
			t.Errorf("%s: Checkers(%d) = %d, want %d", c.name, c.confidence, got, c.want)
		}
	}
}

func TestReached(t *testing.T) {
	for _, c := range []struct {
		name     string
		checkers int
		want     uint32
	}{
		{"nobody checked", 0, 0},
		{"a negative number is none", -1, 0},
		{"one", 1, 750_000},
		{"two", 2, 937_500},
		{"three", 3, 984_375},
		{"four, rounded down from 996093.75", 4, 996_093},
		{"five, rounded down from 999023.4", 5, 999_023},
		{"any number is less than certain", 1 << 30, Certain - 1},
	} {
		if got := Reached(c.checkers); got != c.want {
			t.Errorf("%s: Reached(%d) = %d, want %d", c.name, c.checkers, got, c.want)
		}
	}
}

// The number of checkers is always enough, and never one too many.
func TestCheckersReachTheConfidenceAndNoMore(t *testing.T) {
	for confidence := range Reached(MaxCheckers) + 1 {
		m := Checkers(confidence)
		if got := Reached(m); got < confidence {
			t.Fatalf("Reached(Checkers(%d)) = %d, too little", confidence, got)
		}
		if m > 0 && Reached(m-1) >= confidence {
			t.Fatalf("Checkers(%d) = %d, and %d would do", confidence, m, m-1)
		}
	}
}

// A liar escapes m checkers, each of whom sides with it with probability 1/4,
// with probability 1/4^m.
func TestReachedIsTheChanceThatSomeCheckerIsHonest(t *testing.T) {
	for m := range MaxCheckers + 1 {
		want := 1 - math.Pow(1.0/Collusion, float64(m))
		if got := float64(Reached(m)) / float64(Certain); got > want || want-got >= 1e-6 {
			t.Errorf("Reached(%d) is %.7f, want %.7f rounded down", m, got, want)
		}
	}
}
