// Command cat is a guest that copies all it is given to where results are
// collected: its standard input to its standard output, and the files below
// the first directory (default /in) to the second (default /out).
package main

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

func main() {
	in, out := "/in", "/out"
	if len(os.Args) == 3 {
		in, out = os.Args[1], os.Args[2]
	}
	if err := run(in, out); err != nil {
		fmt.Fprintln(os.Stderr, "cat:", err)
		os.Exit(1)
	}
}

func run(in, out string) error {
	if _, err := io.Copy(os.Stdout, os.Stdin); err != nil {
		return err
	}
	if _, err := os.Stat(in); os.IsNotExist(err) {
		return nil // a job without inputs
	}
	return copyTree(in, out)
}

// copyTree makes out hold the directories and regular files of in.
func copyTree(in, out string) error {
	return filepath.WalkDir(in, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(in, path)
		if err != nil {
			return err
		}
		switch to := filepath.Join(out, rel); {
		case d.IsDir():
			return os.MkdirAll(to, 0o755)
		case d.Type().IsRegular():
			return copyFile(path, to)
		}
		return nil
	})
}

func copyFile(from, to string) error {
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer src.Close() // opened for reading: nothing to lose
	dst, err := os.Create(to)
	if err != nil {
		return err
	}
	if _, err := io.Copy(dst, src); err != nil {
		_ = dst.Close() // the first error is the one to report
		return err
	}
	return dst.Close()
}
