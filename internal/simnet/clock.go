package simnet

import (
	"time"

	"github.com/mustermesh/muster/proto"
)

// begin is when virtual time begins: 2030, in Unix seconds.
const begin = 1893456000

// A clock is a node's: off by a while, and running a little fast or slow.
type clock struct {
	off   time.Duration
	drift float64 // seconds per second
}

func (c clock) at(t time.Duration) time.Time {
	return time.Unix(begin, 0).UTC().Add(t + c.off + time.Duration(c.drift*float64(t)))
}

// until gives how long it takes until the clock shows a time.
func (c clock) until(now time.Duration, t time.Time) time.Duration {
	return time.Duration(float64(t.Sub(c.at(now)))/(1+c.drift)) + 1
}

// differs tells whether two clocks are too far apart for what is signed by one to
// count at the other.
func (c clock) differs(from clock) bool { return (c.off - from.off).Abs() > proto.MaxSkew }

// step sets the clock anew, as a machine does that asks the time at its start.
func (c *clock) step(w *World) { c.off = w.between(-w.cfg.Skew, w.cfg.Skew) }
