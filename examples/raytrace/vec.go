package main

import "math"

// A vec is a point, a direction or a colour.
type vec struct{ x, y, z float64 }

func (a vec) add(b vec) vec            { return vec{a.x + b.x, a.y + b.y, a.z + b.z} }
func (a vec) sub(b vec) vec            { return vec{a.x - b.x, a.y - b.y, a.z - b.z} }
func (a vec) mul(b vec) vec            { return vec{a.x * b.x, a.y * b.y, a.z * b.z} }
func (a vec) scale(f float64) vec      { return vec{a.x * f, a.y * f, a.z * f} }
func (a vec) dot(b vec) float64        { return a.x*b.x + a.y*b.y + a.z*b.z }
func (a vec) mix(b vec, f float64) vec { return a.scale(1 - f).add(b.scale(f)) }
func (a vec) unit() vec                { return a.scale(1 / math.Sqrt(a.dot(a))) }

func (a vec) cross(b vec) vec {
	return vec{a.y*b.z - a.z*b.y, a.z*b.x - a.x*b.z, a.x*b.y - a.y*b.x}
}

// reflect mirrors the direction a on a surface with the normal n.
func (a vec) reflect(n vec) vec { return a.sub(n.scale(2 * a.dot(n))) }

// A ray starts at from and runs along the unit vector dir.
type ray struct{ from, dir vec }

func (r ray) at(t float64) vec { return r.from.add(r.dir.scale(t)) }

// A dice is a small generator of random numbers (splitmix64). Each pixel has
// its own, seeded with its place, so that it looks the same whichever task
// renders it.
type dice struct {
	state uint64
	a, b  float64 // the last point of scatter
}

func newDice(x, y int) *dice {
	d := &dice{state: uint64(y)<<32 | uint64(x)}
	d.a, d.b = d.roll(), d.roll()
	return d
}

// roll returns a number of at least 0 and below 1.
func (d *dice) roll() float64 {
	d.state += 0x9e3779b97f4a7c15
	z := d.state
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return float64((z^z>>31)>>11) / (1 << 53)
}

// scatter returns a point of the unit square. The points of one dice lie
// further apart than random ones would (Roberts, "The Unreasonable
// Effectiveness of Quasirandom Sequences", 2018), which makes less grain.
func (d *dice) scatter() (a, b float64) {
	d.a += 0.7548776662466927
	d.b += 0.5698402909980532
	d.a, d.b = d.a-math.Floor(d.a), d.b-math.Floor(d.b)
	return d.a, d.b
}
