package telemetry

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// ErrTraceparent is wrapped by every error about a malformed traceparent.
var ErrTraceparent = errors.New("malformed traceparent")

// A Traceparent names a span to continue from, as W3C Trace Context writes it
// (https://www.w3.org/TR/trace-context/#traceparent-header).
type Traceparent struct {
	Trace   [16]byte // not zero
	Span    [8]byte  // not zero
	Sampled bool     // whether the span is recorded where it runs
}

// traceparentSize is how many bytes version 00 has.
const traceparentSize = len("00-0123456789abcdef0123456789abcdef-0123456789abcdef-01")

// ParseTraceparent reads version 00 and nothing else: 55 bytes, lower case, ids
// that are not zero, and no flags but sampled (1) and random (2).
func ParseTraceparent(s string) (t Traceparent, err error) {
	if len(s) != traceparentSize || s[:3] != "00-" || s[35] != '-' || s[52] != '-' {
		return Traceparent{}, fmt.Errorf("%w: not of the form 00-TRACE-SPAN-FLAGS", ErrTraceparent)
	}
	if strings.ContainsFunc(s, func(r rune) bool { return r >= 'A' && r <= 'F' }) {
		return Traceparent{}, fmt.Errorf("%w: upper case", ErrTraceparent)
	}
	var flags [1]byte
	for _, part := range []struct {
		to   []byte
		from string
	}{{t.Trace[:], s[3:35]}, {t.Span[:], s[36:52]}, {flags[:], s[53:]}} {
		if _, err := hex.Decode(part.to, []byte(part.from)); err != nil {
			return Traceparent{}, fmt.Errorf("%w: not hexadecimal", ErrTraceparent)
		}
	}
	if t.Trace == [16]byte{} || t.Span == [8]byte{} || flags[0] > 3 {
		return Traceparent{}, fmt.Errorf("%w: an id of zeros, or unknown flags", ErrTraceparent)
	}
	t.Sampled = flags[0]&1 != 0
	return t, nil
}

// String gives version 00, with the flag sampled at most.
func (t Traceparent) String() string {
	b := make([]byte, 0, traceparentSize)
	b = append(b, "00-"...)
	b = hex.AppendEncode(b, t.Trace[:])
	b = append(b, '-')
	b = hex.AppendEncode(b, t.Span[:])
	if t.Sampled {
		return string(append(b, "-01"...))
	}
	return string(append(b, "-00"...))
}
