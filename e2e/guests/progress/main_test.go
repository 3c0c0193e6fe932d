package main

import (
	"errors"
	"strings"
	"testing"
)

func TestStepsArePrintedAndTold(t *testing.T) {
	var stdout, stderr, progress strings.Builder
	if err := (plan{steps: 2, bytes: 1500, stderr: true}).run(&stdout, &stderr, &progress); err != nil {
		t.Fatal(err)
	}
	if got, want := progress.String(), "0.5 step 1 of 2\n1 step 2 of 2\n"; got != want {
		t.Errorf("progress %q, want %q", got, want)
	}
	if got, want := stderr.String(), "step 1 of 2\nstep 2 of 2\n"; got != want {
		t.Errorf("stderr %q, want %q", got, want)
	}
	if got, want := stdout.Len(), 2*(len("step 1 of 2\n")+1500)+17; got != want {
		t.Errorf("%d bytes of stdout, want %d", got, want)
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errFull }

var errFull = errors.New("no space left")

func TestAFullDiskEndsIt(t *testing.T) {
	var rest strings.Builder
	if err := (plan{steps: 2}).run(full{}, &rest, &rest); !errors.Is(err, errFull) {
		t.Errorf("got %v, want %v", err, errFull)
	}
}
