package archtest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
)

func TestTheTreeHasItsShape(t *testing.T) {
	root := filepath.Join("..", "..")
	if _, err := os.Stat(filepath.Join(root, "go.mod")); err != nil {
		t.Fatalf("this is not the root of the module: %v", err)
	}
	findings, notes, err := Check(os.DirFS(root), Muster())
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range findings {
		t.Error(f)
	}
	for _, n := range notes {
		t.Logf("long: %s", n)
	}
}

// Every row of the table that says a package may import another must name one
// that is in the table, and every folder is at most two levels deep.
func TestTheTableAgreesWithItself(t *testing.T) {
	rules := Muster()
	for pkg, allowed := range rules.Packages {
		if depth := strings.Count(strings.TrimSuffix(pkg, "/..."), "/"); depth > 1 {
			t.Errorf("%s lies %d levels deep", pkg, depth+1)
		}
		for _, a := range allowed {
			if _, ok := rules.Packages[a]; !ok && a != anything {
				t.Errorf("%s may import %s, which is not in the table", pkg, a)
			}
		}
	}
	for _, doors := range []map[string][]string{rules.Doors, rules.TestDoors} {
		for lib, who := range doors {
			for _, pkg := range who {
				if _, ok := lookup(rules.Packages, strings.TrimSuffix(pkg, "/...")); !ok && pkg != "internal/..." {
					t.Errorf("%s is the door of %s, and is not in the table", pkg, lib)
				}
			}
		}
	}
}

// The imports of packages make no circle, so the picture can be drawn.
func TestTheTableHasNoCircle(t *testing.T) {
	rules := Muster()
	var walk func(path []string, pkg string)
	walk = func(path []string, pkg string) {
		for _, p := range path {
			if p == pkg {
				t.Fatalf("a circle: %s, %s", strings.Join(path, ", "), pkg)
			}
		}
		for _, next := range rules.Packages[pkg] {
			if next != anything && next != pkg {
				walk(append(path, pkg), next)
			}
		}
	}
	for pkg := range rules.Packages {
		walk(nil, pkg)
	}
}

func tree(files map[string]string) fstest.MapFS {
	out := fstest.MapFS{"go.mod": {Data: []byte("module " + Module)}}
	for name, src := range files {
		out[name] = &fstest.MapFile{Data: []byte(src)}
	}
	return out
}

// Each planted violation must be found, in words that say what to do.
func TestAPlantedViolationIsFound(t *testing.T) {
	for name, c := range map[string]struct{ file, src, want string }{
		"a sibling is imported":                  {"trust/x.go", imports(Module + "/scheduler"), "trust may not import scheduler"},
		"a sibling is imported by a test":        {"trust/x_test.go", imports(Module + "/scheduler"), "trust may not import scheduler"},
		"the core imports the top":               {"proto/x.go", imports(Module + "/node"), "proto may not import node"},
		"the wire has a second reader":           {"p2p/x.go", imports(Module + "/proto/wire"), "p2p may not import proto/wire"},
		"the root is imported":                   {"p2p/x.go", imports(Module), "p2p may not import "},
		"an example imports the core":            {"examples/a/b/x.go", imports(Module + "/proto"), "examples/a/b may not import proto"},
		"libp2p has a second door":               {"node/x.go", imports("github.com/libp2p/go-libp2p/core/peer"), "its door is p2p"},
		"Badger has a second door":               {"scheduler/x.go", imports("github.com/dgraph-io/badger/v4"), "its door is internal/store"},
		"boxo has a second door":                 {"p2p/x.go", imports("github.com/ipfs/boxo/files"), "its door is internal/content"},
		"wazero has a second door":               {"node/x.go", imports("github.com/tetratelabs/wazero/api"), "its door is executor"},
		"YAML has a third door":                  {"node/x.go", imports("github.com/goccy/go-yaml"), "its door is internal/jobfile, cmd/muster"},
		"protobuf in the pure core":              {"scheduler/x.go", imports("google.golang.org/protobuf/proto"), "scheduler may not import"},
		"what only tests may import":             {"cmd/muster/x.go", imports("github.com/rogpeppe/go-internal/testscript"), "no row"},
		"a library nobody talked about":          {"node/x.go", imports("example.org/shiny"), "no row in the table of doors"},
		"a library whose name begins like ours":  {"node/x.go", imports(Module + "x/y"), "no row"},
		"a library whose name begins like one":   {"executor/x.go", imports("github.com/tetratelabs/wazerox"), "no row"},
		"the global logger":                      {"node/x.go", imports("log"), "package log is global"},
		"a dot import":                           {"node/x.go", "package x\nimport . \"example.org/shiny\"\n", "a dot import"},
		"a package outside the table":            {"util/x.go", "package x\n", "util is not in the table"},
		"a package three levels deep":            {"p2p/a/b/x.go", "package x\n", "p2p/a/b is not in the table"},
		"a file for another system":              {"trust/x_windows.go", imports(Module + "/p2p"), "trust may not import p2p"},
		"a file that is not built":               {"trust/x.go", "//go:build ignore\n\n" + imports(Module+"/p2p"), "trust may not import p2p"},
		"an init function":                       {"node/x.go", "package x\nfunc init() {}\n", "x.go:2: func init"},
		"a sleeping test":                        {"node/x_test.go", "package x\nimport \"time\"\nfunc f() { time.Sleep(1) }\n", "x_test.go:3: time.Sleep"},
		"a sleeping test under another name":     {"node/x_test.go", "package x\nimport t \"time\"\nvar f = t.Sleep\n", "x_test.go:3: time.Sleep"},
		"a generated file with a wrong import":   {"node/api/x.pb.go", generated + imports(Module+"/node"), "node/api may not import node"},
		"a note at the root":                     {"NOTES.txt", "", "does not belong at the root"},
		"a folder at the root":                   {"scripts/x.sh", "", "does not belong at the root"},
		"a Go file at the root that is unlisted": {"main.go", "package main\n", "does not belong at the root"},
	} {
		findings, _, err := Check(tree(map[string]string{c.file: c.src}), Muster())
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var all []string
		for _, f := range findings {
			all = append(all, f.String())
		}
		if got := strings.Join(all, "\n"); !strings.Contains(got, c.want) {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}

func imports(path string) string { return "package x\n\nimport _ \"" + path + "\"\n" }

const generated = "// Code generated by protoc-gen-go. DO NOT EDIT.\n\n"

func TestWhatIsAllowedIsNotFound(t *testing.T) {
	findings, notes, err := Check(tree(map[string]string{
		"cmd/muster/a.go":           imports(Module + "/node"),
		"cmd/muster/a_test.go":      imports("github.com/rogpeppe/go-internal/testscript"),
		"node/a.go":                 imports(Module + "/internal/content"),
		"node/a_test.go":            "package node_test\n\nimport _ \"" + Module + "/node\"\n",
		"node/api/a.pb.go":          generated + "package api\nfunc init() {}\n",
		"p2p/a.go":                  imports("github.com/libp2p/go-libp2p-kad-dht"),
		"p2p/b.go":                  "package p2p\nimport \"time\"\nfunc f() { time.Sleep(1) }\n",
		"p2p/c.go":                  "package p2p\ntype t struct{}\nfunc (t) init() {}\n",
		"p2p/c_test.go":             "package p2p\ntype clock struct{}\nfunc (clock) Sleep(int)\nvar time clock\nfunc f() { time.Sleep(1) }\n",
		"p2p/d_test.go":             "package p2p\nimport (\n\"testing/synctest\"\n\"time\"\n)\nvar _ = synctest.Wait\nfunc f() { time.Sleep(1) }\n",
		"p2p/testdata/x/a.go":       imports("example.org/shiny"),
		"internal/simnet/a_test.go": imports(Module + "/scheduler"),
		"e2e/guests/cat/a.go":       "package main\n",
		"e2e/tool/go.mod":           "module tool\n",
		"e2e/tool/a.go":             imports("example.org/shiny"),
		"proto/long.go":             "package proto\n" + strings.Repeat("// a line\n", 500),
		"README.md":                 "", ".gitignore": "", ".ci/a.go": imports("example.org/shiny"),
	}), Muster())
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range findings {
		t.Errorf("found %s", f)
	}
	if len(notes) != 1 || !strings.HasPrefix(notes[0], "proto/long.go has 50") {
		t.Errorf("got notes %q, want one about proto/long.go", notes)
	}
}

func TestAFileThatIsNotGoIsAnError(t *testing.T) {
	if _, _, err := Check(tree(map[string]string{"p2p/x.go": "package"}), Muster()); err == nil {
		t.Error("a file that does not parse passed")
	}
}
