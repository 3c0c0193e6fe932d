// Command progress is a guest that says how far it is. It works in steps, each
// of as many million rounds as it is told; after each it prints a line, and as
// many bytes besides as it is told, and writes its progress to descriptor 1000
// (docs/sandbox.md §4). Its last line is the result of the work, which is the
// same everywhere.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
)

// A plan is what the guest is to do.
type plan struct {
	steps, work, bytes int
	stderr             bool
	code               int
}

func main() {
	var p plan
	flag.IntVar(&p.steps, "steps", 10, "how many steps to take")
	flag.IntVar(&p.work, "work", 1, "how many million rounds of work a step is; a thousand take about two seconds")
	flag.IntVar(&p.bytes, "bytes", 0, "how many bytes to print in each step, besides its line")
	flag.BoolVar(&p.stderr, "stderr", false, "print the lines to standard error, too")
	flag.IntVar(&p.code, "exit", 0, "the exit code")
	flag.Parse()
	progress := os.NewFile(1000, "progress")
	if err := p.run(os.Stdout, os.Stderr, progress); err != nil {
		fmt.Fprintln(os.Stderr, "progress:", err)
		os.Exit(1)
	}
	os.Exit(p.code)
}

func (p plan) run(stdout, stderr, progress io.Writer) error {
	x := uint64(88172645463325252)
	filler := strings.Repeat(".", 1023) + "\n"
	for i := range p.steps {
		x = spin(x, p.work*1_000_000)
		line := fmt.Sprintf("step %d of %d\n", i+1, p.steps)
		if p.stderr {
			io.WriteString(stderr, line)
		}
		if _, err := io.WriteString(stdout, line); err != nil {
			return err
		}
		for left := p.bytes; left > 0; left -= len(filler) {
			if _, err := io.WriteString(stdout, filler[:min(left, len(filler))]); err != nil {
				return err
			}
		}
		if _, err := fmt.Fprintf(progress, "%g step %d of %d\n", float64(i+1)/float64(p.steps), i+1, p.steps); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(stdout, "%016x\n", x)
	return err
}

// spin takes x through the given number of xorshift steps.
func spin(x uint64, steps int) uint64 {
	for range steps {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
	}
	return x
}
