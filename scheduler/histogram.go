package scheduler

import (
	"math"
	"slices"
	"time"
)

// Shape of a histogram of times: bars in equal steps of the logarithm.
const (
	barRatio   = 1.125
	barsMost   = 64
	lastBar    = 255                // 1.125^256 µs is 143 days
	leastBar   = 1. / 512           // a bar that weighs less is dropped
	halfLife   = 3 * 24 * time.Hour // until an observation counts half
	halfLifeN  = 200                // observations, until one counts half
	barsBeyond = 3                  // where a time beyond all known ones is put: about 1.4 times
)

// A bar is how much of the past took between 1.125^index µs and 1.125 times that.
type bar struct {
	index  uint8
	weight float32 // observations, faded
}

// A histogram is how long something took lately. It never has more than
// [barsMost] bars: the two shortest are made one, since what matters is how long
// things can take.
type histogram struct {
	at   time.Time // up to which the weights are faded
	bars []bar     // ascending; empty before the first observation alone
}

// barOf gives the bar of a time; what is too short or too long for any falls in
// the first or last.
func barOf(d time.Duration) uint8 {
	i := math.Log(float64(d)/float64(time.Microsecond)) / math.Log(barRatio)
	return uint8(max(0, min(i, lastBar))) // NaN is not possible: d < 0 does not get here, and log 0 is -Inf
}

// barStart gives the time at which a bar begins; at 3.5, the middle of bar 3.
func barStart(index float64) time.Duration {
	return time.Duration(math.Pow(barRatio, index) * float64(time.Microsecond))
}

// observe fades what is known by one observation and the time passed, and adds
// bars that weigh 1 together.
func (h *histogram) observe(now time.Time, seen ...bar) {
	keep := float32(math.Exp2(-1./halfLifeN) * fading(h.at, now))
	h.bars = slices.DeleteFunc(h.bars, func(b bar) bool { return b.weight*keep < leastBar })
	for i := range h.bars {
		h.bars[i].weight *= keep
	}
	h.at = later(h.at, now)
	for _, b := range seen {
		h.add(b)
	}
}

// fading is what time leaves of a weight.
func fading(from, to time.Time) float64 {
	if from.IsZero() || !to.After(from) {
		return 1
	}
	return math.Exp2(-float64(to.Sub(from)) / float64(halfLife))
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

func (h *histogram) add(b bar) {
	i, found := slices.BinarySearchFunc(h.bars, b.index, func(b bar, index uint8) int { return int(b.index) - int(index) })
	if found {
		h.bars[i].weight += b.weight
		return
	}
	h.bars = slices.Insert(h.bars, i, b)
	if len(h.bars) > barsMost {
		h.bars[1].weight += h.bars[0].weight
		h.bars = slices.Delete(h.bars, 0, 1)
	}
}

// weight is how many observations the histogram is worth at now.
func (h *histogram) weight(now time.Time) float64 {
	return total(h.bars) * fading(h.at, now)
}

func total(bars []bar) (sum float64) {
	for _, b := range bars {
		sum += float64(b.weight)
	}
	return sum
}

// quantile gives the place on the scale of bars below which the part q of the
// weight lies; within a bar it is taken to lie evenly.
func quantile(bars []bar, q float64) float64 {
	left := q * total(bars)
	for _, b := range bars {
		if w := float64(b.weight); left <= w {
			return float64(b.index) + left/w
		}
		left -= float64(b.weight)
	}
	return float64(bars[len(bars)-1].index) + 1
}

// meanTime is the mean of the times.
func meanTime(bars []bar) time.Duration {
	sum := 0.0
	for _, b := range bars {
		sum += float64(b.weight) * float64(barStart(float64(b.index)+.5))
	}
	return time.Duration(sum / total(bars))
}

// outlasting says where a time of which only a least is known may lie: as the
// expected ones do that are longer. (Efron, The two sample problem with censored
// data, 1967: redistribution to the right.) The bars weigh 1 together.
func outlasting(expected []bar, least uint8) []bar {
	beyond := expected
	for len(beyond) > 0 && beyond[0].index <= least {
		beyond = beyond[1:]
	}
	sum := float32(total(beyond))
	if sum < leastBar {
		return []bar{{index: uint8(min(int(least)+barsBeyond, lastBar)), weight: 1}}
	}
	spread := slices.Clone(beyond)
	for i := range spread {
		spread[i].weight /= sum
	}
	return spread
}

// mix adds two histograms' bars into buf, each scaled, the second one shifted.
func mix(buf []bar, a []bar, scaleA float64, b shifted) []bar {
	for len(a) > 0 || len(b.bars) > 0 {
		switch {
		case len(b.bars) == 0 || len(a) > 0 && a[0].index <= b.index():
			buf = pile(buf, bar{a[0].index, a[0].weight * float32(scaleA)})
			a = a[1:]
		default:
			buf = pile(buf, bar{b.index(), b.bars[0].weight * float32(b.scale)})
			b.bars = b.bars[1:]
		}
	}
	return buf
}

func pile(bars []bar, b bar) []bar {
	if n := len(bars); n > 0 && bars[n-1].index == b.index {
		bars[n-1].weight += b.weight
		return bars
	}
	return append(bars, b)
}

// A shifted histogram is one as it were on a peer that takes longer by so many
// bars.
type shifted struct {
	bars  []bar
	by    int
	scale float64
}

func (s shifted) index() uint8 { return uint8(max(0, min(int(s.bars[0].index)+s.by, lastBar))) }
