package main

import (
	"math"
	"testing"
)

func TestMeet(t *testing.T) {
	ball := sphere{centre: vec{0, 0, 5}, radius: 1, square: 1}
	ahead := vec{0, 0, 1}
	tests := []struct {
		name string
		from vec
		want float64 // 0 for not at all
	}{
		{"from outside, the near side", vec{0, 0, 0}, 4},
		{"from inside, the far side", vec{0, 0, 5}, 1},
		{"from its own near side, the far side", vec{0, 0, 4}, 2},
		{"from its own far side, not at all", vec{0, 0, 6}, 0},
		{"from beyond it, not at all", vec{0, 0, 9}, 0},
		{"from beside it, not at all", vec{1.5, 0, 0}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := scene{spheres: []sphere{ball}}
			h, ok := s.nearest(ray{tt.from.add(vec{0, 1e-9, 0}), ahead})
			if ok != (tt.want > 0) || ok && math.Abs(h.at.z-tt.from.z-tt.want) > 1e-6 {
				t.Errorf("got %v, %v; want a distance of %v", h.at, ok, tt.want)
			}
		})
	}
}

func TestReflectKeepsTheAngle(t *testing.T) {
	got, want := vec{3, -4, 5}.reflect(vec{0, 1, 0}), vec{3, 4, 5}
	if got != want {
		t.Errorf("got %v, want %v", got, want)
	}
}

// TestDice compares with the first value of splitmix64 for the seed 0, as
// Vigna's reference program prints it.
func TestDice(t *testing.T) {
	d := dice{}
	if got, want := d.roll(), float64(uint64(0xe220a8397b1dcdaf)>>11)/(1<<53); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
	if *newDice(1, 2) == *newDice(2, 1) {
		t.Error("two pixels have the same dice")
	}
}
