// Command check counts words the simplest way there is, on one machine and
// sharing no code with the example, and prints what merge prints. It is there
// to compare with.
package main

import (
	"cmp"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

func main() {
	in := flag.String("in", ".", "directory to read")
	top := flag.Int("top", 10, "how many of the most frequent words to print")
	flag.Parse()
	seen, total, err := count(*in)
	if err != nil {
		fmt.Fprintln(os.Stderr, "check:", err)
		os.Exit(1)
	}
	words := slices.SortedFunc(maps.Keys(seen), func(a, b string) int {
		return cmp.Or(cmp.Compare(seen[b], seen[a]), cmp.Compare(a, b))
	})
	fmt.Printf("%d words, %d different\n", total, len(words))
	for _, word := range words[:min(max(*top, 0), len(words))] {
		fmt.Printf("%9d  %s\n", seen[word], word)
	}
}

// count reads every regular file below dir whole and splits it into words.
func count(dir string) (seen map[string]int, total int, err error) {
	seen = make(map[string]int)
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, word := range strings.FieldsFunc(string(text), separates) {
			seen[strings.ToLower(word)]++
			total++
		}
		return nil
	})
	return seen, total, err
}

func separates(r rune) bool {
	return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_", r)
}
