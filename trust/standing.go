package trust

import (
	"fmt"
	"math"
	"time"

	"github.com/mustermesh/muster/proto"
)

// How evidence fades, and what an execution without an answer costs.
const (
	StandingHalfLife     = 90 * 24 * time.Hour
	AvailabilityHalfLife = 7 * 24 * time.Hour
	CheckDebt            = 20 // checked tasks
)

// A Standing is what this node thinks of one peer at one moment, from its own
// evidence since the last proven lie. The standing of a peer that nothing is
// known of is that of a newcomer: only its Availability is not zero.
type Standing struct {
	Peer         proto.PeerID
	N            float64   // checked work: weights, halved every StandingHalfLife; never negative
	Lies         int       // proven ever
	LastLie      time.Time // zero when Lies is
	Availability float64   // from 0 to 1: it answers at least this often, with 90 % confidence
	Executions   int       // that it was given and began
	Debt         int       // so many of its next tasks are checked whatever its standing
	LastSeen     time.Time // of the newest evidence; zero for a newcomer
	counts       [kinds]uint64
}

// Count gives how many pieces of evidence of one kind there were since the last
// proven lie.
func (s Standing) Count(k Kind) int {
	if int(k) >= kinds {
		return 0
	}
	return int(s.counts[k])
}

// Distrusted tells whether a lie of the peer was proven. It is then chosen
// neither as executor nor as checker.
func (s Standing) Distrusted() bool { return s.Lies > 0 }

// Why says in one line, for people, what the standing rests on.
func (s Standing) Why() string {
	switch {
	case s.Distrusted():
		return fmt.Sprintf("distrusted: %d proven wrong, the last on %s", s.Lies, s.LastLie.UTC().Format(time.RFC3339))
	case s.LastSeen.IsZero():
		return "newcomer: no evidence"
	case s.Debt > 0:
		return fmt.Sprintf("standing %.1f, availability %.2f; left without an answer, so its next %d tasks are checked", s.N, s.Availability, s.Debt)
	}
	return fmt.Sprintf("standing %.1f, availability %.2f", s.N, s.Availability)
}

// Weight gives how often, relative to others, a peer is drawn: √(1+N), and zero
// for the distrusted. The root lets the known win more often without leaving the
// new out.
func Weight(s Standing) float64 {
	if s.Distrusted() {
		return 0
	}
	return math.Sqrt(1 + s.N)
}

// A belief is the running sum behind a Standing. The zero value is a newcomer's.
type belief struct {
	at        time.Time // of the newest evidence; the sums are as of then
	n         float64
	up, down  float64 // answered, and not
	lies      int
	lastLie   time.Time
	debt      int
	debtSince time.Time
	counts    [kinds]uint64
}

// apply gives b after one more piece of cleaned evidence. For evidence of equal
// time the order has no effect, beyond the rounding of sums.
func (b belief) apply(e Evidence) belief {
	if e.Kind == WrongProven {
		return belief{at: later(b.at, e.Time), lies: b.lies + 1, lastLie: later(b.lastLie, e.Time)}
	}
	if b.lies > 0 && !e.Time.After(b.lastLie) {
		return b // the reset covers it
	}
	b = b.until(e.Time)
	b.counts[e.Kind]++
	up, down := effect(e.Kind)
	b.up += up * fade(b.at.Sub(e.Time), AvailabilityHalfLife)
	b.down += down * fade(b.at.Sub(e.Time), AvailabilityHalfLife)
	switch e.Kind {
	case OKChecked:
		b.n += e.Weight * fade(b.at.Sub(e.Time), StandingHalfLife)
		if b.debt > 0 && e.Time.After(b.debtSince) {
			b.debt--
		}
	case Failed, Lost:
		b.debt, b.debtSince = CheckDebt, later(b.debtSince, e.Time)
	}
	return b
}

// effect gives what a kind adds to the two sides of availability.
func effect(k Kind) (up, down float64) {
	switch k {
	case OKChecked, OKUnchecked:
		return 1, 0
	case Failed, Lost:
		return 0, 1
	case Late:
		return 0, 0.5
	}
	return 0, 0
}

// until brings the sums forward to t; an earlier t changes nothing.
func (b belief) until(t time.Time) belief {
	if !t.After(b.at) {
		return b
	}
	if !b.at.IsZero() {
		age := t.Sub(b.at)
		b.n *= fade(age, StandingHalfLife)
		b.up *= fade(age, AvailabilityHalfLife)
		b.down *= fade(age, AvailabilityHalfLife)
	}
	b.at = t
	return b
}

// standing gives what b means at now. A clock that was set back makes nothing
// grow.
func (b belief) standing(now time.Time, peer proto.PeerID) Standing {
	faded := b.until(now)
	s := Standing{
		Peer: peer, N: faded.n, Lies: b.lies, LastLie: b.lastLie, Debt: b.debt, LastSeen: b.at, counts: b.counts,
		Availability: lowerBeta(1+faded.up, 1+faded.down),
	}
	for k := range b.counts {
		if Kind(k) != Refused {
			s.Executions += int(b.counts[k])
		}
	}
	return s
}

// silent tells whether b has nothing that must outlive so long a silence.
func (b belief) silent(now time.Time, limit time.Duration) bool {
	return b.lies == 0 && now.Sub(b.at) > limit
}

// lowerBeta is the lower 10 % quantile of Beta(a, b), approximated by the normal
// distribution: mean - 1.28 standard deviations, at least 0. A. Jøsang, R.
// Ismail, The Beta Reputation System, 2002.
func lowerBeta(a, b float64) float64 {
	mean := a / (a + b)
	deviation := math.Sqrt(a * b / ((a + b) * (a + b) * (a + b + 1)))
	return max(0, mean-1.28*deviation)
}

// fade gives what is left of 1 after age.
func fade(age, halfLife time.Duration) float64 {
	return math.Exp2(-max(0, age.Hours()) / halfLife.Hours())
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
