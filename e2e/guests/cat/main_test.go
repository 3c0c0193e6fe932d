package main

import (
	"os"
	"path/filepath"
	"testing"
)

func TestCopyTree(t *testing.T) {
	in, out := t.TempDir(), filepath.Join(t.TempDir(), "out")
	if err := os.MkdirAll(filepath.Join(in, "a", "empty"), 0o700); err != nil {
		t.Fatal(err)
	}
	want := string([]byte{0, 1, 255, '\n'})
	if err := os.WriteFile(filepath.Join(in, "a", "b"), []byte(want), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := copyTree(in, out); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(out, "a", "b"))
	if err != nil || string(got) != want {
		t.Errorf("got %q and error %v, want %q", got, err, want)
	}
	if info, err := os.Stat(filepath.Join(out, "a", "empty")); err != nil || !info.IsDir() {
		t.Errorf("the empty directory was not copied: %v", err)
	}
}
