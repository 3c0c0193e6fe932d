package telemetry

import (
	"errors"
	"strings"
	"testing"
)

const parentText = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

func TestATraceparentIsReadStrictly(t *testing.T) {
	p, err := ParseTraceparent(parentText)
	if err != nil || !p.Sampled || p.Trace[0] != 0x4b || p.Trace[15] != 0x36 || p.Span[1] != 0xf0 || p.String() != parentText {
		t.Errorf("got %v, %v", p, err)
	}
	for flags, want := range map[string]string{"00": "-00", "01": "-01", "02": "-00", "03": "-01"} {
		if p, err := ParseTraceparent(parentText[:53] + flags); err != nil || !strings.HasSuffix(p.String(), want) {
			t.Errorf("flags %s: got %v, %v; want %s", flags, p, err, want)
		}
	}
	for name, bad := range map[string]string{
		"nothing":            "",
		"another version":    "01" + parentText[2:],
		"more of it":         parentText + "-00",
		"upper case":         strings.ToUpper(parentText),
		"no hexadecimal":     strings.Replace(parentText, "4b", "4g", 1),
		"a trace of zeros":   "00-" + strings.Repeat("0", 32) + parentText[35:],
		"a span of zeros":    parentText[:36] + strings.Repeat("0", 16) + "-01",
		"unknown flags":      parentText[:53] + "04",
		"a dash too early":   strings.Replace(parentText, "-00f", "0-0f", 1),
		"a space at the end": parentText[:54] + " ",
		"a plus sign":        parentText[:53] + "+1",
	} {
		if p, err := ParseTraceparent(bad); !errors.Is(err, ErrTraceparent) {
			t.Errorf("%s: got %v, %v", name, p, err)
		}
	}
}

func FuzzParseTraceparent(f *testing.F) {
	f.Add(parentText)
	f.Add("00-" + strings.Repeat("0", 32) + parentText[35:])
	f.Add(strings.Repeat("-", 55))
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParseTraceparent(s)
		if err != nil {
			if p != (Traceparent{}) {
				t.Errorf("%q: %v beside an error", s, p)
			}
			return
		}
		again, err := ParseTraceparent(p.String())
		if err != nil || again != p || p.String()[:53] != s[:53] {
			t.Errorf("%q: written as %q, read as %v, %v", s, p, again, err)
		}
	})
}
