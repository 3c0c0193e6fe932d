package main

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"

	"github.com/mustermesh/muster/node/api"
)

func TestFlagsOfLimitsAndSplit(t *testing.T) {
	in := func(split string) []*api.Input { return []*api.Input{{Source: fakeCID, Target: "/in", Split: split}} }
	for args, want := range map[string]*api.Job{
		"--total-timeout 12h":         {TotalTimeoutMs: 43_200_000},
		"--retries 7":                 {Retries: 7},
		"--retries 0":                 {},
		"--fuel 1.5G":                 {Fuel: 1_500_000_000},
		"--fuel 0":                    {},
		"-i $ --split bytes:4MiB":     {Inputs: in("bytes:4194304")},
		"-i $ --split bytes:100":      {Inputs: in("bytes:100")},
		"-i $ --split lines:10":       {Inputs: in("lines:10")},
		"-i $ --split files:2 -O /o":  {Inputs: in("files:2"), Outputs: []string{"/o"}},
		"--timeout 1m --retries 1000": {TimeoutMs: 60_000, Retries: 1000},
	} {
		want.Program = &api.Program{Wasm: fakeCID}
		got, err := parseJob(t, t.TempDir(), "", strings.Fields(strings.ReplaceAll(fakeCID+" "+args, "$", fakeCID))...)
		if err != nil || !proto.Equal(got, want) {
			t.Errorf("%s: got\n%s%v; want\n%s", args, prototext.Format(got), err, prototext.Format(want))
		}
	}
}

func TestFlagsOfLimitsAndSplitRefuse(t *testing.T) {
	for args, want := range map[string]string{
		"--total-timeout 5":        `--total-timeout: "5" is not a duration such as 90s, 10m or 1h30m`,
		"--total-timeout 9000h":    "`limits.total_timeout`: must be above zero and at most 720h0m0s",
		"--retries 1001":           "`limits.retries`: 1001 retries of one task; at most 1000",
		"--fuel 1.5":               `--fuel: "1.5" is not a whole number of units of fuel, such as 2000000, 500M or 1.5G`,
		"--fuel 2000000T":          `--fuel: "2000000T" is more than 1152921504606846976 units of fuel`,
		"--engine interpreter":     "--engine is for a run on this machine; add --local",
		"--local --engine abacus":  `--engine "abacus" is neither compiler nor interpreter`,
		"--retries -1":             `invalid argument "-1" for "--retries" flag`,
		"-i $ --split bytes:0":     `--split: "bytes:0" is not files (a task for each file)`,
		"-i $ --split lines:4MiB":  `--split: "lines:4MiB" is not files (a task for each file)`,
		"--split bytes:4MiB":       "--split needs exactly one input, and there are 0",
		"-i $ --split bytes:1 -n3": "`count`: and `inputs[0].split` contradict each other",
	} {
		got, err := parseJob(t, t.TempDir(), "", strings.Fields(strings.ReplaceAll(fakeCID+" "+args, "$", fakeCID))...)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, %v; want %s", args, got, err, want)
		}
	}
}
