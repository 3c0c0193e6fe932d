package main

import "math"

// A surface says what a thing looks like.
type surface struct {
	colour vec
	shine  float64 // part of the light that is mirrored when looking straight at it, 0 to 1
	glass  bool    // lets light through and bends it; colour is then a tint
}

type sphere struct {
	centre vec
	radius float64
	square float64 // of the radius
	surface
}

// A scene is some spheres on an endless chequered floor at height 0, in the
// light of a round sun that is large enough for soft shadows.
type scene struct {
	spheres []sphere
	sun     vec     // direction towards its middle
	sunSize float64 // radius as seen from distance 1
	sunSide vec     // from its middle to its rim, to one side
	sunUp   vec     // from its middle to its rim, upwards
	sunlit  vec     // colour of its light
}

// newScene builds the one scene there is.
func newScene() *scene {
	s := &scene{
		sun:     vec{-0.55, 0.62, -0.45}.unit(),
		sunSize: 0.09,
		sunlit:  vec{1.0, 0.90, 0.74}.scale(1.9),
	}
	s.sunSide = s.sun.cross(vec{0, 1, 0}).unit().scale(s.sunSize)
	s.sunUp = s.sunSide.cross(s.sun)
	s.put(vec{0, 1.25, 0.6}, 1.25, surface{colour: vec{0.96, 0.96, 0.98}, shine: 0.86})
	s.put(vec{-2.35, 0.85, 0.1}, 0.85, surface{colour: vec{0.82, 0.10, 0.09}, shine: 0.06})
	s.put(vec{2.3, 0.9, 0.25}, 0.9, surface{colour: vec{0.98, 0.60, 0.13}, shine: 0.62})
	s.put(vec{0.72, 0.55, -1.55}, 0.55, surface{colour: vec{0.96, 1.0, 0.98}, shine: 0.04, glass: true})
	s.put(vec{-1.0, 0.42, -1.4}, 0.42, surface{colour: vec{0.05, 0.42, 0.62}, shine: 0.08})
	s.putPearls(30)
	return s
}

func (s *scene) put(centre vec, radius float64, look surface) {
	s.spheres = append(s.spheres, sphere{centre, radius, radius * radius, look})
}

// putPearls lays n small spheres on a spiral around the big ones. The golden
// angle between one and the next keeps them apart.
func (s *scene) putPearls(n int) {
	golden := math.Pi * (3 - math.Sqrt(5))
	for i := range n {
		angle := float64(i) * golden
		away := 2.5 + 0.11*float64(i)
		radius := 0.16 + 0.05*float64(i%4)
		at := vec{away * math.Cos(angle), radius, -0.2 + 0.85*away*math.Sin(angle)}
		if s.touches(at, radius) || at.z < -3.2 {
			continue
		}
		s.put(at, radius, surface{colour: rainbow(float64(i) / float64(n)), shine: 0.1})
	}
}

func (s *scene) touches(centre vec, radius float64) bool {
	for i := range s.spheres {
		d, reach := s.spheres[i].centre.sub(centre), s.spheres[i].radius+radius
		if d.dot(d) < reach*reach {
			return true
		}
	}
	return false
}

// rainbow returns a colour for each f from 0 to 1.
func rainbow(f float64) vec {
	part := func(shift float64) float64 {
		c := math.Cos(2 * math.Pi * (f + shift))
		return 0.40 + 0.36*c
	}
	return vec{part(0), part(-1.0 / 3), part(-2.0 / 3)}
}

// sky returns the colour of the sky in the direction dir.
func (s *scene) sky(dir vec) vec {
	horizon, zenith := vec{0.90, 0.80, 0.72}, vec{0.08, 0.27, 0.70}
	up := max(dir.y, 0)
	colour := horizon.mix(zenith, 1-power(1-up, 3))
	towards := max(dir.dot(s.sun), 0)
	glow := power(towards, 3)
	colour = colour.add(s.sunlit.scale(0.22 * glow))
	if off := 1 - towards; off < s.sunSize*s.sunSize/2 {
		colour = colour.add(s.sunlit.scale(3.5))
	}
	return colour
}

// floorAt returns the look of the floor at p: chequered, and fading to one
// grey far away, where the squares are smaller than a pixel.
func floorAt(p vec) surface {
	dark, light := vec{0.16, 0.17, 0.20}, vec{0.74, 0.71, 0.66}
	square := dark
	if (int(math.Floor(p.x))+int(math.Floor(p.z)))&1 == 0 {
		square = light
	}
	far := min(p.dot(p)/2500, 1)
	return surface{colour: square.mix(dark.mix(light, 0.5), far), shine: 0.05}
}

// power squares f the given number of times. Unlike math.Pow it is built from
// multiplications alone and so is the same on every machine.
func power(f float64, squarings int) float64 {
	for range squarings {
		f *= f
	}
	return f
}
