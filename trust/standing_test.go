package trust

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/mustermesh/muster/proto"
)

var start = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

const day = 24 * time.Hour

// serial makes the executions of a test distinct.
var serial uint32

// seen gives evidence of a fresh execution of peer 1.
func seen(k Kind, at time.Time) Evidence {
	serial++
	e := Evidence{Peer: peer(1), Kind: k, Time: at, Weight: 1, Digest: proto.Digest{7}, Job: proto.JobID{8}}
	be.PutUint32(e.Execution[:], serial)
	if k == WrongProven {
		e.Output, e.Right, e.Answer = proto.RawCID([]byte("y")), proto.RawCID([]byte("x")), []byte("signed")
	}
	return e
}

func fold(list ...Evidence) (b belief) {
	for _, e := range list {
		b = b.apply(e)
	}
	return b
}

func near(a, b float64) bool { return math.Abs(a-b) <= 1e-9*(1+math.Abs(a)+math.Abs(b)) }

func TestStandingFadesByHalf(t *testing.T) {
	b := fold(seen(OKChecked, start), seen(OKChecked, start), seen(OKChecked, start.Add(StandingHalfLife)))
	for _, c := range []struct {
		name string
		at   time.Time
		want float64
	}{
		{"two of the past count as one beside the new", start.Add(StandingHalfLife), 2},
		{"half is left a half-life later", start.Add(2 * StandingHalfLife), 1},
		{"an eighth after three", start.Add(4 * StandingHalfLife), 0.25},
		{"almost nothing after years, and never below", start.Add(100 * StandingHalfLife), 0},
		{"a clock that was set back makes nothing grow", start.Add(-1000 * day), 2},
	} {
		if got := b.standing(c.at, peer(1)).N; !near(got, c.want) || got < 0 {
			t.Errorf("%s: N = %v, want %v", c.name, got, c.want)
		}
	}
}

func TestOldEvidenceArrivingLateCountsAsFaded(t *testing.T) {
	early, late := seen(OKChecked, start), seen(OKChecked, start.Add(30*day))
	a, b := fold(early, late), fold(late, early)
	now := start.Add(31 * day)
	got, want := b.standing(now, peer(1)), a.standing(now, peer(1))
	if !near(got.N, want.N) || !near(got.Availability, want.Availability) || got.LastSeen != want.LastSeen {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestWhatEachKindCosts(t *testing.T) {
	newcomer := belief{}.standing(start, peer(1))
	for _, c := range []struct {
		name         string
		kind         Kind
		n            float64
		availability int // sign of the change
		debt         int
		executions   int
	}{
		{"a checked answer earns both", OKChecked, 1, +1, 0, 1},
		{"an unchecked answer earns availability only", OKUnchecked, 0, +1, 0, 1},
		{"a provider's failure costs availability only, and makes a debt", Failed, 0, -1, 20, 1},
		{"the network's failure too", Lost, 0, -1, 20, 1},
		{"being late costs availability only", Late, 0, -1, 0, 1},
		{"a refusal costs nothing", Refused, 0, 0, 0, 0},
		{"what we cancelled costs nothing", Canceled, 0, 0, 0, 1},
		{"a program that runs out of time costs nothing", TimedOut, 0, 0, 0, 1},
		{"a dispute costs nothing", Disputed, 0, 0, 0, 1},
	} {
		s := fold(seen(c.kind, start)).standing(start, peer(1))
		change := 0
		if s.Availability > newcomer.Availability {
			change = 1
		} else if s.Availability < newcomer.Availability {
			change = -1
		}
		if s.N != c.n || change != c.availability || s.Debt != c.debt || s.Executions != c.executions || s.Lies != 0 || s.Distrusted() {
			t.Errorf("%s: got N %v, availability %+d, debt %d, %d executions, %d lies", c.name, s.N, change, s.Debt, s.Executions, s.Lies)
		}
		if s.Count(c.kind) != 1 {
			t.Errorf("%s: counted %d times", c.name, s.Count(c.kind))
		}
	}
}

func TestAvailability(t *testing.T) {
	for _, c := range []struct {
		name     string
		up, down int
		age      time.Duration
		want     float64
	}{
		// mean - 1.28 × deviation of Beta(1+up, 1+down)
		{"a newcomer is hoped to answer now and then", 0, 0, 0, 0.1305},
		{"one that always answered", 98, 0, 0, 0.9773},
		{"one that answers half the time", 49, 49, 0, 0.4363},
		{"one that never answers", 0, 98, 0, 0},
		{"a week halves the evidence", 98, 0, AvailabilityHalfLife, 0.9559},
		{"years make a newcomer", 98, 98, 1000 * day, 0.1305},
	} {
		var b belief
		for range c.up {
			b = b.apply(seen(OKUnchecked, start))
		}
		for range c.down {
			b = b.apply(seen(Lost, start))
		}
		if got := b.standing(start.Add(c.age), peer(1)).Availability; math.Abs(got-c.want) > 5e-4 {
			t.Errorf("%s: %.4f, want %.4f", c.name, got, c.want)
		}
	}
}

func TestDebtIsPaidByCheckedAnswers(t *testing.T) {
	at := func(n int) time.Time { return start.Add(time.Duration(n) * time.Second) }
	b := fold(seen(Lost, at(0)), seen(OKUnchecked, at(1)), seen(Disputed, at(2)))
	if b.debt != CheckDebt {
		t.Fatalf("debt %d after one loss and no check, want %d", b.debt, CheckDebt)
	}
	for i := range CheckDebt - 1 {
		b = b.apply(seen(OKChecked, at(3+i)))
	}
	if b.debt != 1 {
		t.Errorf("debt %d after 19 checked answers, want 1", b.debt)
	}
	if again := b.apply(seen(Failed, at(50))); again.debt != CheckDebt {
		t.Errorf("debt %d after another failure, want %d", again.debt, CheckDebt)
	}
	if b = b.apply(seen(OKChecked, at(51))).apply(seen(OKChecked, at(52))); b.debt != 0 {
		t.Errorf("debt %d after more checked answers than owed, want 0", b.debt)
	}
}

func TestALieStartsOver(t *testing.T) {
	b := fold(seen(OKChecked, start), seen(Failed, start.Add(day)), seen(WrongProven, start.Add(2*day)))
	now := start.Add(3 * day)
	got := b.standing(now, peer(1))
	want := belief{}.standing(now, peer(1)) // a newcomer's, except:
	want.Lies, want.LastLie, want.LastSeen = 1, start.Add(2*day), start.Add(2*day)
	if got != want {
		t.Errorf("after a lie: got %+v, want %+v", got, want)
	}
	if Weight(got) != 0 || !got.Distrusted() || !strings.Contains(got.Why(), "1 proven wrong") {
		t.Errorf("a liar has weight %v, and %q", Weight(got), got.Why())
	}
	b = b.apply(seen(OKChecked, start.Add(day)))
	if s := b.standing(now, peer(1)); s.N != 0 {
		t.Errorf("work from before the lie counts: N = %v", s.N)
	}
	b = b.apply(seen(OKChecked, now))
	if s := b.standing(now, peer(1)); s.N != 1 || Weight(s) != 0 {
		t.Errorf("after later checked work: N = %v and weight %v, want 1 and 0", s.N, Weight(s))
	}
}

func TestWeight(t *testing.T) {
	for _, c := range []struct {
		name string
		s    Standing
		want float64
	}{
		{"a newcomer is drawn", Standing{}, 1},
		{"the known are drawn more often", Standing{N: 3}, 2},
		{"but not in proportion", Standing{N: 99}, 10},
		{"the distrusted are not drawn", Standing{Lies: 1}, 0},
		{"whatever they did since", Standing{Lies: 1, N: 99}, 0},
	} {
		if got := Weight(c.s); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

// history draws evidence of all kinds; lies are rare.
func history(r *rand.Rand, length int, spread time.Duration) (list []Evidence) {
	for range length {
		k := Kind(1 + r.IntN(kinds-1))
		if k == WrongProven && r.IntN(5) > 0 {
			k = OKChecked
		}
		e := seen(k, start.Add(time.Duration(r.Int64N(int64(spread)+1))).Truncate(time.Microsecond))
		e.Weight = MinWeight + r.Float64()*(MaxWeight-MinWeight)
		list = append(list, e)
	}
	return list
}

func TestStandingStaysInRange(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 500 {
		var b belief
		for _, e := range history(r, 1+r.IntN(60), time.Duration(r.Int64N(int64(400*day)))) {
			b = b.apply(e)
			s := b.standing(start.Add(time.Duration(r.Int64N(int64(900*day)))-450*day), peer(1))
			if !(s.N >= 0) || !(s.Availability >= 0 && s.Availability <= 1) || !(Weight(s) >= 0) || s.Debt < 0 || s.Debt > CheckDebt {
				t.Fatalf("after %s: %+v", e.Kind, s)
			}
		}
	}
}

func TestOrderOfEqualTimesHasNoEffect(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 500 {
		list := history(r, 30, 0)
		want := fold(list...).standing(start.Add(day), peer(1))
		r.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
		got := fold(list...).standing(start.Add(day), peer(1))
		if !near(got.N, want.N) || !near(got.Availability, want.Availability) {
			t.Fatalf("got %+v, want %+v", got, want)
		}
		if got.N, got.Availability = want.N, want.Availability; got != want {
			t.Fatalf("got %+v, want %+v", got, want)
		}
	}
}
