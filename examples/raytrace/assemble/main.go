// Command assemble puts the strips that the tasks of a ray tracing left below
// a directory together, top to bottom in the order of the tasks, and writes
// picture.png.
package main

import (
	"errors"
	"flag"
	"fmt"
	"image"
	"image/draw"
	"image/png"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
)

// maxPixels bounds the picture, and each strip before it is decoded.
const maxPixels = 1 << 26

func main() {
	in := flag.String("in", "/in", "directory with the tasks' outputs")
	out := flag.String("out", "/out", "directory to write picture.png to")
	flag.Parse()
	if err := run(os.Stdout, *in, *out); err != nil {
		fmt.Fprintln(os.Stderr, "assemble:", err)
		os.Exit(1)
	}
}

func run(stdout io.Writer, in, out string) error {
	strips, err := readStrips(os.DirFS(in))
	if err != nil {
		return err
	}
	whole, err := stack(strips)
	if err != nil {
		return err
	}
	if err := save(whole, out); err != nil {
		return err
	}
	size := whole.Bounds().Size()
	fmt.Fprintf(stdout, "%d strips, %d x %d pixels\n", len(strips), size.X, size.Y)
	return nil
}

// readStrips reads <task index>/.../tile.png for task 0, 1, and so on.
func readStrips(tree fs.FS) ([]image.Image, error) {
	tasks, err := fs.ReadDir(tree, ".")
	if err != nil {
		return nil, err
	}
	var strips []image.Image
	for i := range tasks {
		name, err := findTile(tree, strconv.Itoa(i))
		if err != nil {
			return nil, fmt.Errorf("task %d of %d: %w", i, len(tasks), err)
		}
		strip, err := readPNG(tree, name)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		strips = append(strips, strip)
	}
	return strips, nil
}

// findTile returns the first file below dir that is called tile.png.
func findTile(tree fs.FS, dir string) (found string, err error) {
	err = fs.WalkDir(tree, dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || path.Base(name) != "tile.png" || !d.Type().IsRegular() {
			return err
		}
		found = name
		return fs.SkipAll
	})
	if err == nil && found == "" {
		err = errors.New("no tile.png")
	}
	return found, err
}

func readPNG(tree fs.FS, name string) (image.Image, error) {
	f, err := tree.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close() // opened for reading: nothing to lose
	size, err := png.DecodeConfig(f)
	if err != nil {
		return nil, err
	}
	if size.Width > maxPixels/size.Height {
		return nil, fmt.Errorf("%d x %d pixels are too many", size.Width, size.Height)
	}
	again, err := tree.Open(name)
	if err != nil {
		return nil, err
	}
	defer again.Close()
	return png.Decode(again)
}

// stack draws the strips below each other. They must be of one width.
func stack(strips []image.Image) (*image.RGBA, error) {
	if len(strips) == 0 {
		return nil, errors.New("no strips")
	}
	width, height := strips[0].Bounds().Dx(), 0
	for i, strip := range strips {
		if got := strip.Bounds().Dx(); got != width {
			return nil, fmt.Errorf("strip %d is %d pixels wide, strip 0 is %d", i, got, width)
		}
		height += strip.Bounds().Dy()
	}
	if height > maxPixels/width {
		return nil, fmt.Errorf("%d x %d pixels are too many", width, height)
	}
	whole := image.NewRGBA(image.Rect(0, 0, width, height))
	y := 0
	for _, strip := range strips {
		at := image.Rect(0, y, width, y+strip.Bounds().Dy())
		draw.Draw(whole, at, strip, strip.Bounds().Min, draw.Src)
		y = at.Max.Y
	}
	return whole, nil
}

func save(whole image.Image, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	f, err := os.Create(filepath.Join(dir, "picture.png"))
	if err != nil {
		return err
	}
	if err := png.Encode(f, whole); err != nil {
		_ = f.Close() // the first error is the one to report
		return err
	}
	return f.Close()
}
