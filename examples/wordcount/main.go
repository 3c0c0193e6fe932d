// Command wordcount counts the words of every file below a directory and
// leaves the tally in counts.tsv. As a task of a job it sees its share of the
// files; the merge command beside it adds the tallies up.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/mustermesh/muster/examples/wordcount/counts"
)

func main() {
	in := flag.String("in", "/in", "directory to read")
	out := flag.String("out", "/out", "directory to write "+counts.FileName+" to")
	top := flag.Int("top", 0, "how many of the most frequent words to print")
	flag.Parse()
	if err := run(os.Stdout, *in, *out, *top); err != nil {
		fmt.Fprintln(os.Stderr, "wordcount:", err)
		os.Exit(1)
	}
}

func run(stdout io.Writer, in, out string, top int) error {
	var tally counts.Tally
	files, err := tally.ScanAll(os.DirFS(in))
	if err != nil {
		return err
	}
	if err := tally.Save(out); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "%d files, %d words\n", files, tally.Total())
	for _, e := range tally.Top(top) {
		fmt.Fprintf(stdout, "%9d  %s\n", e.Count, e.Word)
	}
	return nil
}
