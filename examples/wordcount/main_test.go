package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

func TestRun(t *testing.T) {
	in, out := t.TempDir(), filepath.Join(t.TempDir(), "new", "out")
	if err := os.WriteFile(filepath.Join(in, "a.txt"), []byte("to be or not to be"), 0o600); err != nil {
		t.Fatal(err)
	}
	var stdout bytes.Buffer
	if err := run(&stdout, in, out, 1); err != nil {
		t.Fatal(err)
	}
	if got, want := stdout.String(), "1 files, 6 words\n        2  be\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	got, err := os.ReadFile(filepath.Join(out, "counts.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	if want := "be\t2\nnot\t1\nor\t1\nto\t2\n"; string(got) != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestRunWithoutInputFails(t *testing.T) {
	if err := run(&bytes.Buffer{}, filepath.Join(t.TempDir(), "missing"), t.TempDir(), 0); err == nil {
		t.Error("got no error for a directory that is not there")
	}
}
