// Command merge adds up the tallies that the tasks of a word count left below
// a directory, writes the sum to counts.tsv and prints the most frequent words.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/mustermesh/muster/examples/wordcount/counts"
)

func main() {
	in := flag.String("in", "/in", "directory with the tasks' outputs")
	out := flag.String("out", "/out", "directory to write "+counts.FileName+" to")
	top := flag.Int("top", 10, "how many of the most frequent words to print")
	flag.Parse()
	if err := run(os.Stdout, *in, *out, *top); err != nil {
		fmt.Fprintln(os.Stderr, "merge:", err)
		os.Exit(1)
	}
}

func run(stdout io.Writer, in, out string, top int) error {
	var sum counts.Tally
	files, err := sum.ReadAll(os.DirFS(in))
	if err != nil {
		return err
	}
	if files == 0 {
		return errors.New("no " + counts.FileName + " below " + in)
	}
	if err := sum.Save(out); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "%d words, %d different\n", sum.Total(), sum.Distinct())
	for _, e := range sum.Top(top) {
		fmt.Fprintf(stdout, "%9d  %s\n", e.Count, e.Word)
	}
	return nil
}
