package main

import "math"

const (
	maxBounces   = 5    // how often a path is mirrored or bent before it ends
	glassBending = 1.5  // refractive index of glass
	faint        = 0.1  // mirrors that throw back less are not seen in other mirrors
	tooClose     = 1e-6 // hits nearer than this are the surface the ray starts on
)

// A hit is a place on a surface; its normal points out of the thing hit.
type hit struct {
	at, normal vec
	surface
}

// colour follows r and returns the light that comes back along it.
func (s *scene) colour(r ray, bounces int, d *dice) vec {
	h, ok := s.nearest(r)
	if !ok {
		return s.sky(r.dir)
	}
	var got vec
	if h.glass {
		got = s.throughGlass(r, h, bounces, d)
	} else {
		got = s.offSolid(r, h, bounces, d)
	}
	// Air turns what is far away into the colour of the horizon.
	gap := h.at.sub(r.from)
	haze := gap.dot(gap) / (gap.dot(gap) + 1600)
	return got.mix(s.sky(vec{r.dir.x, 0, r.dir.z}.unit()), haze*haze)
}

// offSolid returns the light that a solid surface scatters and mirrors.
func (s *scene) offSolid(r ray, h hit, bounces int, d *dice) vec {
	mirrored := fresnel(h.shine, -r.dir.dot(h.normal))
	got := h.colour.mul(s.light(h, d)).scale(1 - h.shine)
	if bounces == maxBounces || bounces > 0 && mirrored < faint {
		return got
	}
	back := s.colour(ray{h.at, r.dir.reflect(h.normal)}, bounces+1, d)
	tint := vec{1, 1, 1}.mix(h.colour, h.shine) // metals colour what they mirror
	return got.add(back.mul(tint).scale(mirrored))
}

// light returns the light that falls on h: from the sun, as far as nothing is
// in the way, and from the sky, as far as it is open.
func (s *scene) light(h hit, d *dice) vec {
	sky := vec{0.42, 0.52, 0.70}.scale(0.5 + 0.5*h.normal.y)
	bounced := vec{0.26, 0.24, 0.22}.scale(0.5 - 0.5*h.normal.y)
	got := sky.add(bounced).scale(0.62 * s.openness(h))
	facing := h.normal.dot(s.sun)
	if facing <= 0 {
		return got
	}
	through := s.sunThrough(ray{h.at, s.towardsSun(d)})
	return got.add(s.sunlit.scale(facing * through))
}

// towardsSun returns the direction of a random place on the sun.
func (s *scene) towardsSun(d *dice) vec {
	a, b := d.scatter()
	off, angle := math.Sqrt(a), 2*math.Pi*b
	return s.sun.add(s.sunSide.scale(off * math.Cos(angle))).add(s.sunUp.scale(off * math.Sin(angle))).unit()
}

// sunThrough says how much of the sunlight that would come along r gets
// through: none through solid things, most of it through glass.
func (s *scene) sunThrough(r ray) float64 {
	through := 1.0
	for i := range s.spheres {
		ball := &s.spheres[i]
		gap := ball.centre.sub(r.from)
		if ball.missedBy(gap, r.dir) {
			continue
		}
		if _, ok := ball.meet(gap, r.dir); !ok {
			continue
		}
		if !ball.glass {
			return 0
		}
		through = 0.75
	}
	return through
}

// openness says how much of the sky above h no sphere covers. For one sphere
// the covered part is cos(angle to it) times (radius/distance) squared; the
// parts of several are taken as independent.
func (s *scene) openness(h hit) float64 {
	open := 1.0
	for i := range s.spheres {
		ball := &s.spheres[i]
		gap := ball.centre.sub(h.at)
		facing := gap.dot(h.normal)
		square, size := gap.dot(gap), ball.square
		if facing <= 0 || size < square/400 { // behind, or too small to matter
			continue
		}
		covered := facing / math.Sqrt(square) * size / square
		open *= 1 - min(covered, 1)
	}
	return open
}

// throughGlass returns the light that glass mirrors and lets through.
func (s *scene) throughGlass(r ray, h hit, bounces int, d *dice) vec {
	if bounces == maxBounces {
		return vec{}
	}
	normal, ratio := h.normal, 1/glassBending
	cos := -r.dir.dot(normal)
	if cos < 0 { // on the way out
		normal, ratio, cos = normal.scale(-1), glassBending, -cos
	}
	sin2 := ratio * ratio * (1 - cos*cos)
	if sin2 >= 1 {
		return s.colour(ray{h.at, r.dir.reflect(normal)}, bounces+1, d)
	}
	bent := r.dir.scale(ratio).add(normal.scale(ratio*cos - math.Sqrt(1-sin2)))
	got := s.colour(ray{h.at, bent.unit()}, bounces+1, d).mul(h.colour)
	if ratio > 1 {
		return got
	}
	mirrored := fresnel(h.shine, cos)
	back := s.colour(ray{h.at, r.dir.reflect(normal)}, bounces+1, d)
	return got.mix(back, mirrored)
}

// fresnel says how much is mirrored by a surface that mirrors the part shine
// when looked at straight on; cos is the cosine of the angle looked at. The
// formula is Schlick's, "An Inexpensive BRDF Model", 1994.
func fresnel(shine, cos float64) float64 {
	flat := 1 - min(max(cos, 0), 1)
	return shine + (1-shine)*power(flat, 2)*flat
}

// nearest returns the first thing that r meets.
func (s *scene) nearest(r ray) (h hit, ok bool) {
	near := math.Inf(1)
	var first *sphere
	for i := range s.spheres {
		ball := &s.spheres[i]
		gap := ball.centre.sub(r.from)
		if ball.missedBy(gap, r.dir) {
			continue
		}
		if t, ok := ball.meet(gap, r.dir); ok && t < near {
			near, first = t, ball
		}
	}
	if t := -r.from.y / r.dir.y; t > tooClose && t < near {
		at := r.at(t)
		at.y = 0
		return hit{at, vec{0, 1, 0}, floorAt(at)}, true
	}
	if first == nil {
		return hit{}, false
	}
	at := r.at(near)
	return hit{at, at.sub(first.centre).scale(1 / first.radius), first.surface}, true
}

// missedBy says whether a line in the direction dir passes the sphere by; gap
// leads from a place on the line to the sphere's centre. It is apart from meet
// because it is nearly always true, and small enough to be inlined.
func (b *sphere) missedBy(gap, dir vec) bool {
	along := gap.dot(dir)
	return gap.dot(gap)-along*along >= b.square
}

// meet returns how far along a ray in the direction dir that does not miss the
// sphere first meets it, from outside or from inside; gap leads from the
// beginning of the ray to the sphere's centre.
func (b *sphere) meet(gap, dir vec) (t float64, ok bool) {
	along := gap.dot(dir)
	half := math.Sqrt(max(b.square-gap.dot(gap)+along*along, 0))
	if t = along - half; t > tooClose {
		return t, true
	}
	t = along + half
	return t, t > tooClose
}
