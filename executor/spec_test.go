package executor

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/mustermesh/muster/executor/rewrite"
	"github.com/tetratelabs/wazero/api"
)

// TestSpecification runs the core specification's own test suite through the
// machine: each module is rewritten first, and what is asserted of the original
// must hold of what came out. Both engines must also agree in all that is not
// asserted: fuel, stack, memory and globals.
func TestSpecification(t *testing.T) {
	for version, floor := range map[string]tally{
		"v1": {scripts: 73, modules: 780, passed: 18_032, nans: nanCount{open: 1894}},
		"v2": {scripts: 148, modules: 1598, passed: 51_285, nans: nanCount{open: 6634}, negated: 1},
	} {
		t.Run(version, func(t *testing.T) {
			compiled, interpreted := tally{loose: version == "v1"}, tally{loose: version == "v1"}
			for _, s := range specScripts(t, version) {
				w := newWorld(t, compiledWay)
				results, modules := w.play(t, s)
				compiled.judgeAll(t, version, s, results)
				if !testing.Short() {
					v := newWorld(t, interpretedWay)
					others, alike := v.play(t, s)
					interpreted.judgeAll(t, version, s, others)
					compareScript(t, s, results, others)
					compareModules(t, s, modules, alike)
					v.rt.Close(v.ctx)
				}
				w.rt.Close(w.ctx)
			}
			compiled.check(t, "compiler", floor)
			if testing.Short() {
				t.Log("NOT CHECKED with the interpreter: -short")
				return
			}
			interpreted.check(t, "interpreter", floor)
		})
	}
}

func compareScript(t *testing.T, s *specScript, results, others []result) {
	t.Helper()
	for i, c := range s.Commands {
		if how := results[i].differ(others[i]); how != "" {
			t.Errorf("%s.wast:%d: %s: compiler and interpreter differ: %s", s.name, c.Line, c.Type, how)
		}
	}
}

func compareModules(t *testing.T, s *specScript, a, b []api.Module) {
	t.Helper()
	if len(a) != len(b) {
		t.Errorf("%s.wast: %d and %d modules in the end", s.name, len(a), len(b))
		return
	}
	for i := range a {
		if how := differentState(a[i], b[i]); how != "" {
			t.Errorf("%s.wast: module %d in the end: compiler and interpreter differ: %s", s.name, i, how)
		}
	}
}

func (n *tally) judgeAll(t *testing.T, version string, s *specScript, results []result) {
	t.Helper()
	n.scripts++
	for i, c := range s.Commands {
		n.judge(t, version, s, c, results[i])
	}
}

// check wants that not less was checked than ever.
func (n *tally) check(t *testing.T, engine string, floor tally) {
	t.Helper()
	t.Logf("%s: %s", engine, n)
	if n.scripts < floor.scripts || n.modules < floor.modules || n.passed < floor.passed || n.nans.open < floor.nans.open {
		t.Errorf("%s: less was checked than before: want at least %+v", engine, floor)
	}
	if n.nans.canonical != n.nans.open-floor.negated {
		t.Errorf("%s: %d of %d open NaN results have the machine's pattern; want all but %d, of f64x2.neg", engine, n.nans.canonical, n.nans.open, floor.negated)
	}
}

// A tally counts what was asserted.
type tally struct {
	loose                         bool // about which fault of a module comes first
	scripts, modules, run, passed int
	nans                          nanCount
	negated                       int // of those, results whose sign is changed after
	excluded                      map[string]int
}

func (n *tally) String() string {
	s := fmt.Sprintf("%d scripts, %d modules, %d assertions run, %d passed; %d NaN results left open by the standard, %d of them the machine's pattern",
		n.scripts, n.modules, n.run, n.passed, n.nans.open, n.nans.canonical)
	for _, why := range slices.Sorted(maps.Keys(n.excluded)) {
		s += fmt.Sprintf("\n%d excluded: %s", n.excluded[why], why)
	}
	return s
}

// judge says whether r is what c asserts.
func (n *tally) judge(t *testing.T, version string, s *specScript, c specCommand, r result) {
	if why := excluded(version, s, c, r); why != "" {
		if n.excluded == nil {
			n.excluded = map[string]int{}
		}
		n.excluded[why]++
		return
	}
	switch c.Type {
	case "register":
		return
	case "module":
		n.modules++
	default:
		n.run++
	}
	if wrong := n.wrong(c, r); wrong != "" {
		t.Errorf("%s.wast:%d: %s %s%s: %s", s.name, c.Line, c.Type, c.Filename, c.Action.Field, wrong)
	} else if c.Type != "module" {
		n.passed++
	}
}

// excluded gives a reason why c is not judged, or "".
func excluded(version string, s *specScript, c specCommand, r result) string {
	switch {
	case strings.HasPrefix(c.Type, "assert_") && c.ModuleType == "text":
		return "of the text format, which the machine does not read"
	case version == "v1" && (c.Type == "assert_invalid" || c.Type == "assert_malformed") && !refused(r.err),
		version == "v1" && c.Type == "assert_unlinkable" && r.err == nil:
		return "version 1 forbids it, version 2 does not"
	}
	return otherwise[fmt.Sprintf("%s/%s.wast:%d", version, s.name, c.Line)]
}

const (
	keeps = "version 2 keeps what was written before a segment did not fit"
	// The engine passes over such segments.
	foreign = "segments that do not fit an imported table, which no program of this machine has"
	unknown = "an unknown instruction in an initializer is invalid to us, and malformed to the suite"
	longer  = "an opcode is longer than it needs to be, and the engine reads such as others"
	count   = "the module lacks a data count section, which is found first"
)

// otherwise names single commands that are not judged, and why.
var otherwise = map[string]string{
	"v1/linking.wast:236": keeps, "v1/linking.wast:248": keeps, "v1/linking.wast:342": keeps, "v1/linking.wast:354": keeps,
	"v2/elem.wast:281": foreign, "v2/elem.wast:298": foreign, "v2/elem.wast:315": foreign, "v2/elem.wast:332": foreign, "v2/linking.wast:244": foreign, "v2/linking.wast:267": foreign,
	"v2/binary.wast:537":        unknown,
	"v2/binary-leb128.wast:969": longer,
	"v2/memory_init.wast:190":   count, "v2/memory_init.wast:227": count,
}

// wrong says what is wrong with r, or nothing.
func (n *tally) wrong(c specCommand, r result) string {
	if r.absent {
		return "no such module or export"
	}
	switch c.Type {
	case "module":
		if r.err != nil {
			return r.err.Error()
		}
	case "assert_invalid":
		return n.wantError(r, rewrite.ErrInvalid)
	case "assert_malformed":
		return n.wantError(r, rewrite.ErrMalformed)
	case "assert_unlinkable", "assert_uninstantiable":
		if r.err == nil || refused(r.err) && !errors.Is(r.err, rewrite.ErrUnsupported) { // segments that never fit
			return fmt.Sprintf("got error %v, want that it cannot be instantiated: %s", r.err, c.Text)
		}
	case "assert_trap":
		if !slices.Contains(trapNames[c.Text], r.trap) {
			return fmt.Sprintf("got trap %q, want %q", r.trap, c.Text)
		}
	case "assert_exhaustion":
		if r.trap != "stack overflow" || r.stack >= 0 {
			return fmt.Sprintf("got trap %q with %d stack left, want stack overflow by our count", r.trap, r.stack)
		}
	case "assert_return", "action":
		return n.wrongValues(c, r)
	default:
		return "unknown command"
	}
	return ""
}

func refused(err error) bool {
	return errors.Is(err, rewrite.ErrInvalid) || errors.Is(err, rewrite.ErrMalformed) || errors.Is(err, rewrite.ErrUnsupported)
}

// wantError wants that the module was refused, and of version 2 for this reason:
// what is the first fault of a module has changed.
func (n *tally) wantError(r result, want error) string {
	if !errors.Is(r.err, want) && !(n.loose && refused(r.err)) {
		return fmt.Sprintf("got error %v, want %q", r.err, want)
	}
	return ""
}

func (n *tally) wrongValues(c specCommand, r result) string {
	if r.trap != "" {
		return "trap " + r.trap
	}
	if r.stack != specStack {
		return fmt.Sprintf("%d stack left after the call, want %d", r.stack, specStack)
	}
	if c.Type == "action" {
		return ""
	}
	got := split(r.words, r.types)
	if len(got) != len(c.Expected) {
		return fmt.Sprintf("got %d results, want %d", len(got), len(c.Expected))
	}
	for i, want := range c.Expected {

		if !want.matches(got[i], &n.nans) {
			return fmt.Sprintf("result %d: got %#x, want %v", i, got[i], want)
		}
	}
	return ""
}

// trapNames gives the engine's names for what the suite calls a trap.
var trapNames = map[string][]string{
	"out of bounds memory access":   {"out of bounds memory access"},
	"out of bounds table access":    {"invalid table access"},
	"undefined element":             {"invalid table access"},
	"undefined":                     {"invalid table access"},
	"uninitialized":                 {"invalid table access"},
	"uninitialized element":         {"invalid table access"},
	"uninitialized element 2":       {"invalid table access"},
	"uninitialized element 7":       {"invalid table access"},
	"indirect call":                 {"indirect call type mismatch"},
	"indirect call type mismatch":   {"indirect call type mismatch"},
	"integer overflow":              {"integer overflow"},
	"integer divide by zero":        {"integer divide by zero"},
	"invalid conversion to integer": {"invalid conversion to integer"},
	"unreachable":                   {"unreachable"},
}
