// Command raytrace renders one strip of a picture of some spheres. As task i
// of n it renders the i-th of n strips and leaves it in tile.png; the assemble
// command beside it puts the strips together.
package main

import (
	"flag"
	"fmt"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"strconv"
)

func main() {
	var p picture
	flag.IntVar(&p.width, "width", 640, "width of the whole picture, in pixels")
	flag.IntVar(&p.height, "height", 400, "height of the whole picture, in pixels")
	flag.IntVar(&p.samples, "samples", 3, "rays per pixel, across and down")
	out := flag.String("out", "/out", "directory to write tile.png to")
	flag.Parse()
	if err := run(os.Stdout, p, *out); err != nil {
		fmt.Fprintln(os.Stderr, "raytrace:", err)
		os.Exit(1)
	}
}

func run(stdout io.Writer, p picture, out string) error {
	task, err := number("MUSTER_TASK_INDEX", 0)
	if err != nil {
		return err
	}
	tasks, err := number("MUSTER_TASK_COUNT", 1)
	if err != nil {
		return err
	}
	if err := p.check(); err != nil {
		return err
	}
	first, end, err := p.strip(task, tasks)
	if err != nil {
		return err
	}
	if err := save(p, first, end, out); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "rows %d to %d of %d\n", first, end-1, p.height)
	return nil
}

// save renders the rows from first up to end into tile.png.
func save(p picture, first, end int, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	f, err := os.Create(filepath.Join(dir, "tile.png"))
	if err != nil {
		return err
	}
	if err := png.Encode(f, p.render(newScene(), first, end)); err != nil {
		_ = f.Close() // the first error is the one to report
		return err
	}
	return f.Close()
}

// number reads a number from the environment; unset means fallback.
func number(name string, fallback int) (int, error) {
	text, ok := os.LookupEnv(name)
	if !ok {
		return fallback, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", name, err)
	}
	return n, nil
}
