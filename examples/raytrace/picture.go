package main

import (
	"fmt"
	"image"
	"image/color"
	"math"
)

// A picture says how large the whole picture is and how well it is sampled.
type picture struct {
	width, height int // pixels
	samples       int // rays per pixel and direction: 3 means 3 x 3
}

// check refuses sizes that make no picture or that need unreasonable memory.
func (p picture) check() error {
	if p.width < 1 || p.height < 1 || p.width > 16384 || p.height > 16384 {
		return fmt.Errorf("a picture of %d x %d: both must be from 1 to 16384", p.width, p.height)
	}
	if p.samples < 1 || p.samples > 64 {
		return fmt.Errorf("%d samples: must be from 1 to 64", p.samples)
	}
	return nil
}

// strip returns the rows of the given task, from first up to but not
// including end. The strips of tasks 0 to tasks-1 follow each other without a
// gap and differ by one row at most.
func (p picture) strip(task, tasks int) (first, end int, err error) {
	if tasks < 1 || tasks > p.height {
		return 0, 0, fmt.Errorf("%d tasks for %d rows: must be from 1 to the number of rows", tasks, p.height)
	}
	if task < 0 || task >= tasks {
		return 0, 0, fmt.Errorf("task %d of %d: must be from 0 to %d", task, tasks, tasks-1)
	}
	return task * p.height / tasks, (task + 1) * p.height / tasks, nil
}

// render draws the rows from first up to end.
func (p picture) render(s *scene, first, end int) *image.RGBA {
	strip := image.NewRGBA(image.Rect(0, 0, p.width, end-first))
	eye := newCamera(p)
	for y := first; y < end; y++ {
		for x := range p.width {
			strip.SetRGBA(x, y-first, p.pixel(s, eye, x, y))
		}
	}
	return strip
}

// pixel averages samples x samples rays, each in its own cell of the pixel.
func (p picture) pixel(s *scene, eye camera, x, y int) color.RGBA {
	d := newDice(x, y)
	var sum vec
	for i := range p.samples * p.samples {
		across := (float64(i%p.samples) + d.roll()) / float64(p.samples)
		down := (float64(i/p.samples) + d.roll()) / float64(p.samples)
		seen := s.colour(eye.ray(float64(x)+across, float64(y)+down), 0, d)
		sum = sum.add(vec{film(seen.x), film(seen.y), film(seen.z)})
	}
	mean := sum.scale(255 / float64(p.samples*p.samples))
	return color.RGBA{uint8(mean.x + 0.5), uint8(mean.y + 0.5), uint8(mean.z + 0.5), 255}
}

// film turns an amount of light into a brightness from 0 to 1: Narkowicz's
// fit of the ACES film curve, 2015, with a gamma of 2 after it.
func film(light float64) float64 {
	light *= 0.56
	out := light * (2.51*light + 0.03) / (light*(2.43*light+0.59) + 0.14)
	return math.Sqrt(min(max(out, 0), 1))
}

// A camera turns places on the picture into rays.
type camera struct {
	eye, corner, right, down vec
}

func newCamera(p picture) camera {
	eye, target := vec{-1.0, 2.75, -8.2}, vec{0.05, 0.80, 0}
	forward := target.sub(eye).unit()
	right := vec{0, 1, 0}.cross(forward).unit()
	up := forward.cross(right)
	pixel := 0.98 / float64(p.width) // the picture is 0.98 wide at distance 1
	right, down := right.scale(pixel), up.scale(-pixel)
	corner := forward.sub(right.scale(float64(p.width) / 2)).sub(down.scale(float64(p.height) / 2))
	return camera{eye, corner, right, down}
}

// ray returns the ray through the place x, y of the picture, in pixels from
// its upper left corner.
func (c camera) ray(x, y float64) ray {
	return ray{c.eye, c.corner.add(c.right.scale(x)).add(c.down.scale(y)).unit()}
}
