package main

import (
	"bytes"
	"image/color"
	"os"
	"path/filepath"
	"testing"
)

func TestStrip(t *testing.T) {
	tests := []struct {
		name                string
		height, task, tasks int
		first, end          int
	}{
		{"one task gets every row", 400, 0, 1, 0, 400},
		{"rows that divide evenly", 400, 3, 16, 75, 100},
		{"the first of uneven strips", 10, 0, 4, 0, 2},
		{"the second of uneven strips", 10, 1, 4, 2, 5},
		{"the last strip ends with the picture", 10, 3, 4, 7, 10},
		{"as many tasks as rows", 5, 4, 5, 4, 5},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			first, end, err := picture{height: tt.height}.strip(tt.task, tt.tasks)
			if err != nil || first != tt.first || end != tt.end {
				t.Errorf("got %d to %d, error %v; want %d to %d", first, end, err, tt.first, tt.end)
			}
		})
	}
}

func TestStripsCoverThePictureOnce(t *testing.T) {
	for height := 1; height <= 40; height++ {
		for tasks := 1; tasks <= height; tasks++ {
			next := 0
			for task := range tasks {
				first, end, err := picture{height: height}.strip(task, tasks)
				if err != nil || first != next || end-first < height/tasks || end-first > height/tasks+1 {
					t.Fatalf("task %d of %d, %d rows: got %d to %d, error %v; want it to begin at %d",
						task, tasks, height, first, end, err, next)
				}
				next = end
			}
			if next != height {
				t.Fatalf("%d tasks cover %d of %d rows", tasks, next, height)
			}
		}
	}
}

func TestStripRefuses(t *testing.T) {
	for name, args := range map[string][2]int{
		"no tasks at all":          {0, 0},
		"a task below the first":   {-1, 4},
		"a task beyond the last":   {4, 4},
		"more tasks than rows":     {0, 11},
		"a negative count of them": {0, -1},
	} {
		if first, end, err := (picture{height: 10}).strip(args[0], args[1]); err == nil {
			t.Errorf("%s: got %d to %d, want an error", name, first, end)
		}
	}
}

func TestCheck(t *testing.T) {
	if err := (picture{640, 400, 3}).check(); err != nil {
		t.Errorf("got %v for a good picture", err)
	}
	for _, p := range []picture{{0, 400, 3}, {640, -1, 3}, {640, 400, 0}, {1 << 30, 400, 3}, {640, 1 << 30, 3}, {640, 400, 65}} {
		if p.check() == nil {
			t.Errorf("got no error for %+v", p)
		}
	}
}

// TestStripsAreTheWholePicture renders a small picture at once and in strips.
func TestStripsAreTheWholePicture(t *testing.T) {
	p := picture{width: 48, height: 30, samples: 2}
	want := p.render(newScene(), 0, p.height).Pix
	var got []byte
	for task := range 7 {
		first, end, err := p.strip(task, 7)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, p.render(newScene(), first, end).Pix...)
	}
	if !bytes.Equal(got, want) {
		t.Error("the strips differ from the whole picture")
	}
}

// TestPictureShowsTheScene looks at places whose colour the scene fixes.
func TestPictureShowsTheScene(t *testing.T) {
	p := picture{width: 64, height: 40, samples: 2}
	img := p.render(newScene(), 0, p.height)
	at := func(x, y int) color.RGBA { return img.RGBAAt(x, y) }
	if c := at(10, 20); c.R < 100 || c.G > c.R/2 || c.B > c.R/2 {
		t.Errorf("the red sphere: got %v", c)
	}
	if c := at(48, 17); c.R < 100 || c.R < c.B+40 {
		t.Errorf("the golden sphere: got %v", c)
	}
	if c := at(31, 10); c.B < c.R+20 {
		t.Errorf("the sky in the mirror: got %v", c)
	}
}

func TestSunThrough(t *testing.T) {
	s := &scene{sun: vec{0, 1, 0}}
	s.put(vec{0, 2, 0}, 1, surface{})
	s.put(vec{5, 2, 0}, 1, surface{glass: true})
	up := vec{0, 1, 0}
	for from, want := range map[vec]float64{
		{0, 0, 0}: 0,    // below the solid sphere
		{5, 0, 0}: 0.75, // below the glass one
		{2, 0, 0}: 1,    // between them
		{0, 4, 0}: 1,    // above the solid one
	} {
		if got := s.sunThrough(ray{from, up}); got != want {
			t.Errorf("from %v: got %v, want %v", from, got, want)
		}
	}
}

func TestRunRendersTheStripItIsAsked(t *testing.T) {
	t.Setenv("MUSTER_TASK_INDEX", "1")
	t.Setenv("MUSTER_TASK_COUNT", "2")
	out := filepath.Join(t.TempDir(), "out")
	var stdout bytes.Buffer
	if err := run(&stdout, picture{8, 6, 1}, out); err != nil {
		t.Fatal(err)
	}
	if got, want := stdout.String(), "rows 3 to 5 of 6\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if _, err := os.Stat(filepath.Join(out, "tile.png")); err != nil {
		t.Error(err)
	}
	t.Setenv("MUSTER_TASK_COUNT", "two")
	if err := run(&stdout, picture{8, 6, 1}, out); err == nil {
		t.Error("got no error for a task count that is not a number")
	}
}
