package jobfile

import (
	"strings"
	"testing"

	"github.com/mustermesh/muster/node/api"
	"github.com/mustermesh/muster/proto"
)

func TestParseFuel(t *testing.T) {
	for in, want := range map[string]uint64{
		"0": 0, "1": 1, "2000000": 2e6, "500M": 500e6, "1k": 1000, "1.5G": 1500e6, "1.50 G": 1500e6, "0.001k": 1, "1000000T": 1e18,
		"1152921504606846976": proto.MaxFuel, "1.000": 1, "007": 7, "1.123456789012T": 1123456789012,
	} {
		if got, err := ParseFuel(in); err != nil || got != want {
			t.Errorf("%q: got %d, %v; want %d", in, got, err, want)
		}
	}
	for in, want := range map[string]string{
		"": "not a whole number", "k": "not a whole number", "much": "not a whole number", "-1": "not a whole number", "1.5": "not a whole number",
		"1.": "not a whole number", ".5G": "not a whole number", "1.0005k": "not a whole number", "1e9": "not a whole number", "1,5G": "not a whole number",
		"1Gi": "not a whole number", "1K": "not a whole number", "1kk": "not a whole number", "0x10": "not a whole number", "1.2.3G": "not a whole number",
		"1152921504606846977": "more than 1152921504606846976", "1152922T": "more than", "99999999999999999999T": "more than",
		strings.Repeat("0", 41): "not a whole number",
	} {
		if got, err := ParseFuel(in); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %d, %v; want %q", in, got, err, want)
		}
	}
}

func TestFormatFuelIsReadBack(t *testing.T) {
	for n, want := range map[uint64]string{
		0: "0", 1: "1", 999: "999", 1000: "1k", 1500: "1500", 1_500_000: "1500k", 1e9: "1G", 12e12: "12T", 1e18: "1000000T", proto.MaxFuel: "1152921504606846976",
	} {
		got := FormatFuel(n)
		if back, err := ParseFuel(got); got != want || err != nil || back != n {
			t.Errorf("%d: got %q, want %q, which becomes %d, %v", n, got, want, back, err)
		}
	}
}

func TestCheckBoundsFuel(t *testing.T) {
	j := &api.Job{Program: &api.Program{Wasm: "/p.wasm"}, Fuel: proto.MaxFuel}
	if err := Check(j); err != nil {
		t.Error(err)
	}
	j.Fuel++
	want := "`limits.fuel`: 1152921504606846977 units; at most 1152921504606846976"
	if err := Check(j); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func FuzzParseFuel(f *testing.F) {
	for _, s := range []string{"0", "1.5G", "1152921504606846976", "1.0005k", "1e9", "99999999999999999999T"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := ParseFuel(s)
		if err != nil {
			return
		}
		if back, err := ParseFuel(FormatFuel(n)); n > proto.MaxFuel || err != nil || back != n {
			t.Errorf("%q is %d, which is written %s and becomes %d, %v", s, n, FormatFuel(n), back, err)
		}
	})
}
