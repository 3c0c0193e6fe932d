package executor

import (
	"context"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/mustermesh/muster/executor/rewrite"
	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

// FuzzRewriteCompiles wants that whatever Rewrite gives is a module for the
// engine, and that it takes no module that the engine refuses.
func FuzzRewriteCompiles(f *testing.F) {
	for seed := range uint64(4) {
		m, _ := newGenerator(seed, false).module()
		f.Add(m)
	}
	for _, m := range specModules(f, "v2", "block", "br_table", "call_indirect", "elem", "data", "select", "simd_lane", "table_grow", "memory_init") {
		f.Add(m)
	}
	rt := newWorld(f, interpretedWay).rt
	f.Fuzz(func(t *testing.T, in []byte) {
		if how := accepted(rt, in); how != "" {
			t.Fatal(how)
		}
	})
}

// accepted tells how the engine does not take what Rewrite does. It may take more:
// it has other limits, and checks less.
func accepted(rt wazero.Runtime, in []byte) string {
	out, err := rewrite.Rewrite(in)
	if err != nil { // then the engine never sees it, and it may be too much for it
		return ""
	}
	if err := compiles(rt, withoutCustom(in)); err != nil && !pickier(err) {
		return "Rewrite takes what the engine refuses: " + err.Error()
	}
	if err := compiles(rt, out); err != nil && !pickier(err) {
		return "the engine refuses what Rewrite gave: " + err.Error()
	}
	return ""
}

func compiles(rt wazero.Runtime, module []byte) error {
	code, err := rt.CompileModule(context.Background(), module)
	if err == nil {
		code.Close(context.Background())
	}
	return err
}

// pickier tells whether the engine refuses what the standard allows.
func pickier(err error) bool { return strings.Contains(err.Error(), "has an empty module name") }

// withoutCustom gives a valid module without its custom sections: the engine reads
// those less carefully than we let it, and refuses what the standard allows there.
func withoutCustom(module []byte) []byte {
	out := slices.Clone(module[:8])
	for r := (&moduleReader{b: module[8:]}); len(r.b) > 0 && !r.bad; {
		id, body := r.byte(), r.bytes()
		if id != sectionCustom {
			out = append(binary.AppendUvarint(append(out, id), uint64(len(body))), body...)
		}
	}
	return out
}

// specModules gives modules of the suite's scripts of these names; all without.
func specModules(t testing.TB, version string, names ...string) (list [][]byte) {
	t.Helper()
	for path, m := range specFiles(t) {
		dir, file := filepath.Split(path)
		name, _, _ := strings.Cut(file, ".")
		for _, want := range names {
			if name == want && strings.Contains(dir, version) && len(m) < 2000 {
				list = append(list, m)
			}
		}
	}
	return list
}

// specFiles gives all modules of the suite, those of proposals included.
func specFiles(t testing.TB) map[string][]byte {
	t.Helper()
	root, err := specRoot()
	if err != nil {
		t.Fatalf("find wazero's module: %v: %s", err, root)
	}
	files := map[string][]byte{}
	err = filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".wasm" {
			return err
		}
		files[path], err = os.ReadFile(path)
		return err
	})
	if err != nil || len(files) == 0 {
		t.Fatalf("%d modules: %v", len(files), err)
	}
	return files
}

// TestEngineAgreesOnWhatIsValid asks Rewrite and the engine about every module of
// the suite, good and bad, and of the proposals that the machine does not accept.
func TestEngineAgreesOnWhatIsValid(t *testing.T) {
	rt := wazero.NewRuntimeWithConfig(context.Background(), wazero.NewRuntimeConfigInterpreter().WithCoreFeatures(api.CoreFeaturesV2))
	defer rt.Close(context.Background())
	taken := 0
	files := specFiles(t)
	for path, module := range files {
		if how := accepted(rt, module); how != "" {
			t.Errorf("%s: %s", path[strings.Index(path, "spectest/")+9:], how)
		}
		if _, err := rewrite.Rewrite(module); err == nil {
			taken++
		}
	}
	t.Logf("%d modules, %d of them taken", len(files), taken)
	if len(files) < 6000 || taken < 2000 {
		t.Errorf("%d modules, %d of them taken: less than before", len(files), taken)
	}
}

// TestNoCodeInsideImmediates hides code where an engine that reads an opcode in
// another way than Rewrite does would find it: behind the number 12 (v128.const)
// written in two bytes, of which some engines read one. What is hidden sets the
// fuel.
func TestNoCodeInsideImmediates(t *testing.T) {
	hidden := []byte{0x0b, 0x42, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x3f, 0x24, 0x00, 0x02, 0x40, 0x00}
	code := slices.Concat([]byte{0, 0x02, 0x40, 0x20, 0, 0x0d, 0}, []byte{0xfd, 12}, make([]byte, 16), []byte{0x41, 0, 0xfd, 0x8c, 0}, hidden, []byte{0x1a, 0x1a, 0x1a, 0x0b, 0x0b})
	module := assemble(section{1, 1, []byte{0x60, 1, 0x7f, 0}}, section{3, 1, []byte{0}}, section{7, 1, []byte{1, 'f', 0, 0}},
		section{10, 1, append(binary.AppendUvarint(nil, uint64(len(code))), code...)})
	w := newWorld(t, compiledWay)
	mod, r := w.open("", module)
	if errors.Is(r.err, rewrite.ErrUnsupported) || errors.Is(r.err, rewrite.ErrMalformed) {
		return
	}
	if r.err != nil {
		t.Fatal(r.err)
	}
	if r := w.call(mod, "f", 1); r.fuel < 0 {
		t.Errorf("a guest gave itself %d fuel", -r.fuel)
	}
}
