package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/mustermesh/muster/node"
	"github.com/mustermesh/muster/node/api"
)

func TestPlainKeepsNamesOrderAndNumbers(t *testing.T) {
	got, err := json.Marshal(plain(&api.AddBlobResponse{Cid: "c", Size: 1<<63 + 1}))
	if want := `{"cid":"c","size":9223372036854775809,"files_read":0,"bytes_read":0}`; err != nil || string(got) != want {
		t.Errorf("got %s, %v, want %s", got, err, want)
	}
	job := &api.Job{Program: &api.Program{Env: map[string]string{"b": "2", "a": "1"}, StdinData: []byte{1}}, Outputs: []string{"/out"}}
	got, err = json.Marshal(plain(job))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"env":{"a":"1","b":"2"}`, `"stdin_data":"AQ=="`, `"inputs":[]`, `"outputs":["/out"]`, `"reduce":null`, `"has_confidence":false`} {
		if !bytes.Contains(got, []byte(want)) {
			t.Errorf("got %s, want %s in it", got, want)
		}
	}
}

func TestCleanTakesTheTeethOutOfAStrangersWords(t *testing.T) {
	for in, want := range map[string]string{
		"a\x1b[2Jb":   "a?[2Jb",
		"a\nb\tc":     "a b c",
		"a\u202eb":    "a?b",
		"a\u009b31mb": "a?31mb",
		"a\xffb":      "a?b",
		"größer":      "größer",
	} {
		if got := clean(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

func TestFuelText(t *testing.T) {
	for n, want := range map[uint64]string{
		0: "0", 999: "999", 1000: "1 k", 1499: "1.5 k", 1_234_567: "1.2 M", 999_949: "999.9 k", 999_960: "1 M", 1_200_000_000: "1.2 G",
		15e11: "1.5 T", 1 << 60: "1152.9 P", 1<<64 - 1: "18446.7 P",
	} {
		if got := fuelText(n); got != want {
			t.Errorf("%d units are %q, want %q", n, got, want)
		}
	}
}

func TestExitCodes(t *testing.T) {
	of := func(c connect.Code) error { return fmt.Errorf("ask: %w", connect.NewError(c, errors.New("why"))) }
	for _, c := range []struct {
		err  error
		want int
	}{
		{nil, 0},
		{errors.New("x"), 1},
		{of(connect.CodeInvalidArgument), 1},
		{of(connect.CodeFailedPrecondition), 1},
		{usagef("x"), 2},
		{of(connect.CodeNotFound), 3},
		{of(connect.CodeUnavailable), 4},
		{fmt.Errorf("%w: locked", node.ErrUnreachable), 4},
		{fmt.Errorf("dial: %w", context.DeadlineExceeded), 124},
		{of(connect.CodeDeadlineExceeded), 124},
		{jobError(&api.JobSummary{State: "completed"}), 0},
		{jobError(&api.JobSummary{State: "failed"}), 5},
		{jobError(&api.JobSummary{State: "disputed"}), 6},
		{jobError(&api.JobSummary{State: "expired"}), 124},
		{jobError(&api.JobSummary{State: "cancelled"}), 1},
		{errors.Join(jobError(&api.JobSummary{State: "failed"}), of(connect.CodeNotFound)), 5},
	} {
		if got := exitCode(c.err); got != c.want {
			t.Errorf("%v: got %d, want %d", c.err, got, c.want)
		}
	}
	if got, want := message(of(connect.CodeNotFound)), "ask: why"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestAge(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0s", 1540 * time.Millisecond: "1.5s", 90 * time.Second: "1m30s", 2 * time.Minute: "2m00s",
		90 * time.Minute: "1h30m", 30 * time.Hour: "30h00m", 72 * time.Hour: "3d",
	} {
		if got := age(d); got != want {
			t.Errorf("%v: got %q, want %q", d, got, want)
		}
	}
}
