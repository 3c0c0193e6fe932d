package telemetry

import (
	"fmt"
	"math"
	"slices"
	"sync"
)

// Counts are the observations of a histogram by size.
type Counts struct {
	Bounds []float64 // upper ends of the buckets, inclusive, rising, finite; at most 64
	Counts []uint64  // of observations in each bucket, and one more for those above all bounds
	Count  uint64    // of all observations
	Sum    float64   // of all observations
}

const maxBounds = 64

func (c Counts) validate() error {
	if len(c.Bounds) == 0 && len(c.Counts) == 0 && c.Count == 0 {
		return nil
	}
	if len(c.Bounds) > maxBounds || len(c.Counts) != len(c.Bounds)+1 {
		return fmt.Errorf("%d bounds and %d counts", len(c.Bounds), len(c.Counts))
	}
	for i, bound := range c.Bounds {
		if math.IsNaN(bound) || math.IsInf(bound, 0) || i > 0 && bound <= c.Bounds[i-1] {
			return fmt.Errorf("bound %d does not rise", i)
		}
	}
	sum := uint64(0)
	for _, n := range c.Counts {
		sum += n
	}
	if sum != c.Count {
		return fmt.Errorf("%d observations in the buckets, %d told", sum, c.Count)
	}
	return nil
}

// cumulative gives, by upper end, how many observations are not above it.
func (c Counts) cumulative() map[float64]uint64 {
	out, sum := make(map[float64]uint64, len(c.Bounds)), uint64(0)
	for i, bound := range c.Bounds {
		sum += c.Counts[i]
		out[bound] = sum
	}
	return out
}

// A Meter counts observations for a histogram. Its methods are safe for
// concurrent use; make one with [NewMeter].
type Meter struct {
	mu     sync.Mutex // guards counts
	counts Counts
}

// NewMeter makes a meter with these upper ends of buckets, which are sorted; of
// equal ones, and beyond 64, the rest is left out.
func NewMeter(bounds ...float64) *Meter {
	bounds = slices.DeleteFunc(slices.Clone(bounds), func(b float64) bool { return math.IsNaN(b) || math.IsInf(b, 0) })
	slices.Sort(bounds)
	bounds = slices.Compact(bounds)
	bounds = bounds[:min(len(bounds), maxBounds)]
	return &Meter{counts: Counts{Bounds: bounds, Counts: make([]uint64, len(bounds)+1)}}
}

// Observe counts v. What is no number, or infinite, is not counted.
func (m *Meter) Observe(v float64) {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	at, _ := slices.BinarySearch(m.counts.Bounds, v)
	m.counts.Counts[at]++
	m.counts.Count++
	m.counts.Sum += v
}

// Counts gives a copy of what was counted so far.
func (m *Meter) Counts() Counts {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := m.counts
	out.Counts = slices.Clone(out.Counts)
	return out
}
