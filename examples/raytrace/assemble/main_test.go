package main

import (
	"bytes"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// strip returns an even strip of the given size.
func strip(width, height int, grey uint8) *image.RGBA {
	img := image.NewRGBA(image.Rect(0, 0, width, height))
	for i := range img.Pix {
		img.Pix[i] = grey
		if i%4 == 3 {
			img.Pix[i] = 255
		}
	}
	return img
}

// write leaves img where a task's output is mounted.
func write(t *testing.T, in string, task int, img image.Image) {
	t.Helper()
	dir := filepath.Join(in, strconv.Itoa(task), "out")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "tile.png"), b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestRunStacksInTheOrderOfTheTasks(t *testing.T) {
	in, out := t.TempDir(), t.TempDir()
	for task := range 12 { // 10 comes before 2 in a directory
		write(t, in, task, strip(4, 1+task%2, uint8(task)))
	}
	var stdout bytes.Buffer
	if err := run(&stdout, in, out); err != nil {
		t.Fatal(err)
	}
	if got, want := stdout.String(), "12 strips, 4 x 18 pixels\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	f, err := os.Open(filepath.Join(out, "picture.png"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	got, err := png.Decode(f)
	if err != nil {
		t.Fatal(err)
	}
	for y := range 18 {
		grey := uint8(y/3*2 + (y%3+1)/2)
		if got, want := color.RGBAModel.Convert(got.At(3, y)), (color.RGBA{grey, grey, grey, 255}); got != want {
			t.Errorf("row %d: got %v, want %v", y, got, want)
		}
	}
}

func TestRunNamesTheTaskThatIsMissing(t *testing.T) {
	in := t.TempDir()
	write(t, in, 0, strip(2, 2, 0))
	write(t, in, 2, strip(2, 2, 0))
	err := run(&bytes.Buffer{}, in, t.TempDir())
	if err == nil || !strings.HasPrefix(err.Error(), "task 1 of 2") {
		t.Errorf("got %v, want an error about task 1", err)
	}
}

func TestRunRefusesABrokenTile(t *testing.T) {
	in := t.TempDir()
	write(t, in, 0, strip(2, 2, 0))
	if err := os.Truncate(filepath.Join(in, "0", "out", "tile.png"), 20); err != nil {
		t.Fatal(err)
	}
	if err := run(&bytes.Buffer{}, in, t.TempDir()); err == nil {
		t.Error("got no error")
	}
}

func TestStackRefuses(t *testing.T) {
	tests := []struct {
		name   string
		strips []image.Image
		want   string
	}{
		{"no strips", nil, "no strips"},
		{"strips of two widths", []image.Image{strip(2, 1, 0), strip(3, 1, 0)}, "strip 1 is 3 pixels wide"},
		{"more pixels than it may hold", []image.Image{image.NewUniform(color.Black)}, "too many"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := stack(tt.strips); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want an error with %q", err, tt.want)
			}
		})
	}
}
