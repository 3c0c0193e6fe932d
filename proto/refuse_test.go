package proto

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/mustermesh/muster/proto/wire"
	"google.golang.org/protobuf/proto"
)

// A mutation of a valid message, named by what is wrong with it then.
type mutations[W any] map[string]func(*W)

// checkRefusals marshals a valid value, applies one mutation at a time to its
// wire form, and asks parse to refuse each, and to take it untouched.
func checkRefusals[W any, PW interface {
	*W
	proto.Message
}, T any](t *testing.T, valid []byte, parse func([]byte) (T, error), ms mutations[W]) {
	t.Helper()
	if _, err := parse(valid); err != nil {
		t.Fatalf("untouched: %v", err)
	}
	for name, mutate := range ms {
		w := new(W)
		if err := proto.Unmarshal(valid, PW(w)); err != nil {
			t.Fatal(err)
		}
		mutate(w)
		if got, err := parse(marshal(PW(w))); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: got %+v, %v; want ErrMalformed", name, got, err)
		}
	}
	for _, junk := range []string{"\x00", "\xff\xff", "\x0a\x7f", "\x0b"} {
		if got, err := parse([]byte(junk)); !errors.Is(err, ErrMalformed) {
			t.Errorf("junk %q: got %+v, %v; want ErrMalformed", junk, got, err)
		}
	}
}

// What no name, detail or address may hold.
var garbled = []string{"\x00", "\n", "\x1b[2J", "\x7f", "\u009b2J", "\u202e", "\u2028", "\ufffd"}

func TestTextThatMisleadsAReaderIsRefused(t *testing.T) {
	for _, s := range garbled {
		r := Refusal{Job: JobID{1}, Detail: "x" + s}
		if _, err := ParseRefusal(r.Marshal()); !errors.Is(err, ErrMalformed) {
			t.Errorf("%q: got %v", s, err)
		}
		r.Detail = ClipDetail(r.Detail)
		if got, err := ParseRefusal(r.Marshal()); err != nil || got != r {
			t.Errorf("%q, clipped: got %+v, %v", s, got, err)
		}
	}
	for _, s := range []string{strings.Repeat("ü", 1000), "bad \xff text", strings.Repeat("中", maxDetail)} {
		if got := ClipDetail(s); checkName("", got, maxDetail) != nil || len(got) < 10 {
			t.Errorf("clipped to %d bytes: %q", len(got), got)
		}
	}
}

func cids[W any](field func(*W) *[]byte) mutations[W] {
	codec := RawCID(nil).Bytes()
	codec[1] = 0x71
	hash := RawCID(nil).Bytes()
	hash[2] = 0x13
	return mutations[W]{
		"a content id of 35 bytes":                  func(w *W) { *field(w) = (*field(w))[:35] },
		"a content id of 37 bytes":                  func(w *W) { *field(w) = append(*field(w), 0) },
		"a content id of a codec that is not ours":  func(w *W) { *field(w) = codec },
		"a content id of a hash that is not SHA256": func(w *W) { *field(w) = hash },
	}
}

func resources[W any](field func(*W) **wire.Resources) mutations[W] {
	return mutations[W]{
		"more than 1048 cores": func(w *W) { *field(w) = &wire.Resources{Cpu: maxCPU + 1} },
		"more than 1 PiB RAM":  func(w *W) { *field(w) = &wire.Resources{Memory: maxBytes + 1} },
		"more than 1 PiB disk": func(w *W) { *field(w) = &wire.Resources{Disk: maxBytes + 1} },
		"more than 1024 GPUs":  func(w *W) { *field(w) = &wire.Resources{Gpu: maxGPU + 1} },
		"as much as ever fits": func(w *W) {
			*field(w) = &wire.Resources{Cpu: 1<<32 - 1, Memory: 1<<64 - 1, Disk: 1<<64 - 1, Gpu: 1<<32 - 1}
		},
		"as much RAM as 2 to 63": func(w *W) { *field(w) = &wire.Resources{Memory: 1 << 63} },
	}
}

func addrs[W any](field func(*W) *[]string) mutations[W] {
	return mutations[W]{
		"nine addresses":                      func(w *W) { *field(w) = make([]string, maxAddrs+1) },
		"an address of 257 bytes":             func(w *W) { *field(w) = []string{strings.Repeat("a", maxAddr+1)} },
		"an address with a control character": func(w *W) { *field(w) = []string{"/ip4/\r"} },
		"addresses of 1537 bytes together":    func(w *W) { *field(w) = fill(7, 219, 4) },
	}
}

// fill gives n strings of size bytes, the last one longer by more.
func fill(n, size, more int) (out []string) {
	for range n - 1 {
		out = append(out, strings.Repeat("a", size))
	}
	return append(out, strings.Repeat("a", size+more))
}

func constraints[W any](field func(*W) *[]string) mutations[W] {
	return mutations[W]{
		"seventeen constraints":                 func(w *W) { *field(w) = make([]string, maxConstraints+1) },
		"a constraint of 257 bytes":             func(w *W) { *field(w) = []string{strings.Repeat("c", maxConstraint+1)} },
		"a constraint with a control character": func(w *W) { *field(w) = []string{"a\tb"} },
		"constraints of 1537 bytes together":    func(w *W) { *field(w) = fill(7, 219, 4) },
	}
}

func labels[W any](field func(*W) *[]*wire.Label) mutations[W] {
	long := strings.Repeat("l", maxWord+1)
	many := make([]*wire.Label, maxLabels+1)
	heavy := make([]*wire.Label, maxLabels)
	for i := range many {
		many[i] = &wire.Label{Key: fmt.Sprint(i)}
	}
	for i := range heavy {
		heavy[i] = &wire.Label{Key: fmt.Sprint(i), Value: strings.Repeat("v", 32)}
	}
	return mutations[W]{
		"33 labels":                   func(w *W) { *field(w) = many },
		"labels of 1078 bytes":        func(w *W) { *field(w) = heavy },
		"a label without a key":       func(w *W) { *field(w) = []*wire.Label{{Value: "v"}} },
		"a label's key of 65 bytes":   func(w *W) { *field(w) = []*wire.Label{{Key: long}} },
		"a label's value of 65 bytes": func(w *W) { *field(w) = []*wire.Label{{Key: "k", Value: long}} },
		"a label's key with a bell":   func(w *W) { *field(w) = []*wire.Label{{Key: "k\a"}} },
		"a label's value with a bell": func(w *W) { *field(w) = []*wire.Label{{Key: "k", Value: "\a"}} },
		"the same label twice":        func(w *W) { *field(w) = []*wire.Label{{Key: "k"}, {Key: "k", Value: "v"}} },
	}
}

func engine[W any](field func(*W) **wire.Engine) mutations[W] {
	long := strings.Repeat("e", maxWord+1)
	return mutations[W]{
		"an engine's name of 65 bytes":       func(w *W) { *field(w) = &wire.Engine{Name: long} },
		"an engine's version of 65 bytes":    func(w *W) { *field(w) = &wire.Engine{Version: long} },
		"an engine's arch of 65 bytes":       func(w *W) { *field(w) = &wire.Engine{Arch: long} },
		"an engine's name with an escape":    func(w *W) { *field(w) = &wire.Engine{Name: "\x1b"} },
		"an engine's version with an escape": func(w *W) { *field(w) = &wire.Engine{Version: "\x1b"} },
	}
}

// fixed is for a field of fixed length.
func fixed[W any](what string, field func(*W) *[]byte) mutations[W] {
	return mutations[W]{
		what + ", absent":           func(w *W) { *field(w) = nil },
		what + ", a byte too long":  func(w *W) { *field(w) = append(*field(w), 0) },
		what + ", a byte too short": func(w *W) { *field(w) = (*field(w))[1:] },
	}
}

// word is for a field of at most 64 bytes.
func word[W any](what string, field func(*W) *string) mutations[W] {
	return mutations[W]{
		what + " of 65 bytes":              func(w *W) { *field(w) = strings.Repeat("w", maxWord+1) },
		what + " with a control character": func(w *W) { *field(w) = "\r" },
	}
}

func merge[W any](all ...mutations[W]) mutations[W] {
	out := mutations[W]{}
	for _, ms := range all {
		for name, m := range ms {
			out[name] = m
		}
	}
	return out
}
