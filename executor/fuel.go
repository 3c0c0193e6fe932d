package executor

import "errors"

// What the host's functions cost in fuel, besides what they do for the guest by
// the byte. They are part of the machine (docs/machine.md).
const (
	fuelCall      = 500 // of every call
	fuelShift     = 4   // one more for each 16 bytes of the guest's memory that a call reads or writes
	fuelEntry     = 50  // of each entry of a list: of a directory, of strings, buffers or subscriptions
	fuelComponent = 50  // of each name in a path
	fuelCutShift  = 12  // one for each 4 KiB that a file has when it is cut
)

// The traps that the machine finds out by itself.
const (
	trapStack  = "stack overflow"
	trapMemory = "memory limit below the program's minimum"
)

// errFuel ends a guest in the middle of a call of the host.
var errFuel = errors.New("out of fuel")

// A counter is a number that guest and host both change.
type counter interface {
	Get() uint64
	Set(v uint64)
}

// A cell is a counter of the host alone.
type cell uint64

func (c *cell) Get() uint64  { return uint64(*c) }
func (c *cell) Set(v uint64) { *c = cell(v) }

// A meter counts the fuel of one guest. What the guest computes is taken by the
// guest's own code; it is below zero once there is none left.
type meter struct {
	limit uint64
	left  counter
}

// newMeter fills c up.
func newMeter(c counter, limit uint64) meter {
	if limit == 0 {
		limit = MaxFuel
	}
	c.Set(limit)
	return meter{limit, c}
}

func (m meter) empty() bool { return int64(m.left.Get()) < 0 }

// used is at most the limit.
func (m meter) used() uint64 {
	if m.empty() {
		return m.limit
	}
	return m.limit - m.left.Get()
}

// spend takes n units, and ends the guest if there are not as many.
func (m meter) spend(n uint64) {
	left := int64(m.left.Get())
	if left < 0 || n > uint64(left) {
		m.left.Set(^uint64(0))
		panic(errFuel)
	}
	m.left.Set(uint64(left) - n)
}
