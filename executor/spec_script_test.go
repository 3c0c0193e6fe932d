package executor

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/tetratelabs/wazero/api"
)

// specRoot is where the core specification's test suite lies, as wast2json made it
// of the standard's own scripts: in the module archive of wazero.
var specRoot = sync.OnceValues(func() (string, error) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/tetratelabs/wazero").CombinedOutput()
	return filepath.Join(strings.TrimSpace(string(out)), "internal", "integration_test", "spectest"), err
})

// A specScript is one file of the suite.
type specScript struct {
	name     string
	dir      string
	Commands []specCommand `json:"commands"`
}

// A specCommand is one line of a script.
type specCommand struct {
	Type       string      `json:"type"`
	Line       int         `json:"line"`
	Name       string      `json:"name"`
	As         string      `json:"as"`
	Filename   string      `json:"filename"`
	ModuleType string      `json:"module_type"`
	Text       string      `json:"text"`
	Action     specAction  `json:"action"`
	Expected   []specValue `json:"expected"`
}

type specAction struct {
	Type   string      `json:"type"`
	Module string      `json:"module"`
	Field  string      `json:"field"`
	Args   []specValue `json:"args"`
}

// A specValue is an argument or what is expected: in decimals a number's bits,
// or "nan:canonical", "nan:arithmetic", "null". Of a vector it has one for each lane.
type specValue struct {
	Type     string `json:"type"`
	LaneType string `json:"lane_type"`
	Value    any    `json:"value"`
}

// specScripts reads all scripts of "v1" or "v2".
func specScripts(t testing.TB, version string) []*specScript {
	t.Helper()
	root, err := specRoot()
	if err != nil {
		t.Fatalf("find wazero's module: %v: %s", err, root)
	}
	paths, err := filepath.Glob(filepath.Join(root, version, "testdata", "*.json"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no scripts of %s: %v", version, err)
	}
	var list []*specScript
	for _, p := range paths {
		b, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		s := &specScript{name: strings.TrimSuffix(filepath.Base(p), ".json"), dir: filepath.Dir(p)}
		if err := json.Unmarshal(b, s); err != nil {
			t.Fatalf("%s: %v", p, err)
		}
		list = append(list, s)
	}
	return list
}

// registered gives the name under which the module of command i is imported.
func (s *specScript) registered(i int) string {
	name, latest := s.Commands[i].Name, true
	for _, c := range s.Commands[i+1:] {
		switch {
		case c.Type == "register" && (c.Name == "" && latest || c.Name != "" && c.Name == name):
			return c.As
		case c.Type == "module":
			latest = false
		}
	}
	return ""
}

func (v specValue) kind() string {
	if v.Type == "v128" {
		return v.LaneType
	}
	return v.Type
}

// width is how many bits v, or a lane of it, has.
func (v specValue) width() int {
	if n, err := strconv.Atoi(v.kind()[1:]); err == nil {
		return n
	}
	return 64 // references
}

// parts gives the value, or those of the lanes.
func (v specValue) parts() []string {
	lanes, _ := v.Value.([]any)
	if v.Type != "v128" {
		lanes = []any{v.Value}
	}
	var list []string
	for _, l := range lanes {
		s, _ := l.(string)
		list = append(list, s)
	}
	return list
}

// words gives v as wazero takes arguments.
func (v specValue) words() []uint64 {
	words := make([]uint64, 1, 2)
	if v.Type == "v128" {
		words = words[:2]
	}
	for i, s := range v.parts() {
		at := i * v.width()
		words[at/64] |= v.number(s) << (at % 64)
	}
	return words
}

// number reads one part of v; a reference is one more than its number, as zero
// is null.
func (v specValue) number(s string) uint64 {
	if s == "null" {
		return 0
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		signed, _ := strconv.ParseInt(s, 10, 64)
		n = uint64(signed) & (1<<v.width() - 1)
	}
	if strings.HasSuffix(v.Type, "ref") {
		n++
	}
	return n
}

// v128 is the type that package api has no name for.
const v128 = api.ValueType(0x7b)

// A nanCount counts results that the suite leaves open, and those of them that
// had the one pattern of this machine.
type nanCount struct{ open, canonical int }

// matches tells whether words are what v stands for.
func (v specValue) matches(words []uint64, nans *nanCount) bool {
	if v.Value == nil { // any reference
		return true
	}
	for i, want := range v.parts() {
		at := i * v.width()
		got := words[at/64] >> (at % 64)
		if v.width() < 64 {
			got &= 1<<v.width() - 1
		}
		if !v.partMatches(want, got, nans) {
			return false
		}
	}
	return true
}

func (v specValue) partMatches(want string, got uint64, nans *nanCount) bool {
	canonical, sign := uint64(0x7fc00000), uint64(1)<<31
	if v.width() == 64 {
		canonical, sign = 0x7ff8000000000000, 1<<63
	}
	switch want {
	case "nan:canonical", "nan:arithmetic":
		nans.open++
		if got == canonical {
			nans.canonical++
		}
		if want == "nan:canonical" {
			return got&^sign == canonical
		}
		return got&canonical == canonical
	}
	return got == v.number(want)
}

// split cuts the words of a result into one piece for each of its values.
func split(words []uint64, types []api.ValueType) [][]uint64 {
	var list [][]uint64
	for _, t := range types {
		n := 1
		if t == v128 {
			n = 2
		}
		n = min(n, len(words))
		list, words = append(list, slices.Clone(words[:n])), words[n:]
	}
	return list
}
