package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

func TestRun(t *testing.T) {
	in, out := t.TempDir(), t.TempDir()
	for task, tally := range map[string]string{"0": "a\t2\nb\t1\n", "10": "b\t4\n"} {
		dir := filepath.Join(in, task, "out")
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "counts.tsv"), []byte(tally), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var stdout bytes.Buffer
	if err := run(&stdout, in, out, 10); err != nil {
		t.Fatal(err)
	}
	if got, want := stdout.String(), "7 words, 2 different\n        5  b\n        2  a\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	got, err := os.ReadFile(filepath.Join(out, "counts.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	if want := "a\t2\nb\t5\n"; string(got) != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestRunWithoutTalliesFails(t *testing.T) {
	if err := run(&bytes.Buffer{}, t.TempDir(), t.TempDir(), 10); err == nil {
		t.Error("got no error for a directory without tallies")
	}
}
