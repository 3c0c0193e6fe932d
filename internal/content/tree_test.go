package content

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/mustermesh/muster/proto"
)

func TestATreeIsListedInOrder(t *testing.T) {
	s := openStore(t)
	root := s.build(t, map[string]string{"b": "bb", "a/z": "zzz", "a-b": "-", "a/b/c": "", "é": "e", "a0": "0"})
	tree := s.tree(t, root.CID)
	want := []string{"a/", "a-b", "a/b/", "a/b/c", "a/z", "a0", "b", "é"}
	slices.SortFunc(want, func(a, b string) int { return strings.Compare(strings.TrimSuffix(a, "/"), strings.TrimSuffix(b, "/")) })
	if got := paths(tree.Entries()); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if tree.Size() != 8 || root.Size != 8 {
		t.Errorf("sizes: tree %d, node %d; want 8", tree.Size(), root.Size)
	}
	if got := text(t, tree, "a/z"); got != "zzz" {
		t.Errorf("a/z: got %q", got)
	}
	for _, p := range []string{"a", "nothing", "", "a/z/"} {
		if _, err := tree.ReadAt(t.Context(), p, make([]byte, 1), 0); !errors.Is(err, ErrNotFound) {
			t.Errorf("read %q: got %v, want ErrNotFound", p, err)
		}
	}
}

func TestASingleFileIsATree(t *testing.T) {
	s := openStore(t)
	for _, size := range []int{0, 5, 3 << 20} {
		n := s.addBytes(t, random(size))
		tree := s.tree(t, n.CID)
		if e := tree.Entries(); len(e) != 1 || e[0] != (Entry{Path: "", Size: int64(size), CID: n.CID}) {
			t.Errorf("%d bytes: got %+v", size, e)
		}
		if got := text(t, tree, ""); got != string(random(size)) {
			t.Errorf("%d bytes: the text differs", size)
		}
	}
}

func TestBuildTreeRefuses(t *testing.T) {
	s := openStore(t)
	n := s.add(t, "x")
	cases := []struct {
		name  string
		paths []string
		want  error
	}{
		{"absolute", []string{"/a"}, ErrPath},
		{"up", []string{"../a"}, ErrPath},
		{"up in the middle", []string{"a/../../b"}, ErrPath},
		{"up that stays inside", []string{"a/../b"}, ErrPath},
		{"no name among others", []string{"", "a"}, ErrPath},
		{"the root itself", []string{".", "a"}, ErrPath},
		{"a zero byte", []string{"a\x00b"}, ErrPath},
		{"not UTF-8", []string{"\xff"}, ErrPath},
		{"a long name", []string{strings.Repeat("x", maxName+1)}, ErrPath},
		{"a long path", []string{strings.Repeat("x/", maxPath)}, ErrPath},
		{"too deep", []string{strings.Repeat("x/", maxLevel) + "y"}, ErrPath},
		{"twice", []string{"a", "./a"}, ErrPath},
		{"below a file", []string{"a", "a/b"}, ErrPath},
		{"above a file", []string{"a/b", "a"}, ErrPath},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var parts []Part
			for _, p := range c.paths {
				parts = append(parts, Part{p, n})
			}
			if _, err := s.BuildTree(t.Context(), parts); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
	small := DefaultConfig()
	small.MaxEntries = 3
	few, err := Open(t.TempDir(), s.kv, small)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := few.BuildTree(t.Context(), []Part{{"a/b", n}, {"a/c", n}, {"d", n}}); !errors.Is(err, ErrTooMany) {
		t.Errorf("four entries: got %v, want ErrTooMany", err)
	}
	missing := Node{CID: proto.CID{}}
	missing.CID, err = proto.ParseCID("bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.BuildTree(t.Context(), []Part{{"a", missing}}); !errors.Is(err, ErrNotFound) {
		t.Errorf("a node whose size nobody knows: got %v, want ErrNotFound", err)
	}
}

func TestBuildTreeComposes(t *testing.T) {
	s := openStore(t)
	in := s.build(t, map[string]string{"x": "1", "y/z": "22"})
	out, err := s.BuildTree(t.Context(), []Part{{"./1/in//deep/", in}, {"0", Node{CID: in.CID}}})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"0/", "0/x", "0/y/", "0/y/z", "1/", "1/in/", "1/in/deep/", "1/in/deep/x", "1/in/deep/y/", "1/in/deep/y/z"}
	if got := paths(s.tree(t, out.CID).Entries()); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if sub, err := s.Sub(t.Context(), out.CID, "1/in/deep/"); err != nil || sub != in {
		t.Errorf("Sub: got %+v, %v; want %+v", sub, err, in)
	}
	if sub, err := s.Sub(t.Context(), out.CID, "0/y/z"); err != nil || sub != s.add(t, "22") {
		t.Errorf("Sub of a file: got %+v, %v", sub, err)
	}
	if _, err := s.Sub(t.Context(), out.CID, "0/nothing"); !errors.Is(err, ErrNotFound) {
		t.Errorf("got %v, want ErrNotFound", err)
	}
	if _, err := s.Sub(t.Context(), out.CID, "../etc"); !errors.Is(err, ErrPath) {
		t.Errorf("got %v, want ErrPath", err)
	}
	if alone, err := s.BuildTree(t.Context(), []Part{{"", in}}); err != nil || alone != in {
		t.Errorf("a sole part: got %+v, %v", alone, err)
	}
}

func TestALargeDirectoryIsSharded(t *testing.T) {
	s := openStore(t)
	var parts []Part
	var want []string
	for i := range 12_000 {
		name := fmt.Sprintf("%05d", i)
		parts = append(parts, Part{name, s.add(t, fmt.Sprint(i%7))})
		want = append(want, name)
	}
	n, err := s.BuildTree(t.Context(), parts)
	if err != nil {
		t.Fatal(err)
	}
	tree := s.tree(t, n.CID)
	if got := paths(tree.Entries()); !slices.Equal(got, want) {
		t.Errorf("%d entries, want %d in order", len(got), len(want))
	}
	if got := text(t, tree, "11999"); got != fmt.Sprint(11999%7) {
		t.Errorf("got %q", got)
	}
	if got, err := s.Lookup(t.Context(), n.CID); err != nil || got != n {
		t.Errorf("Lookup: got %+v, %v; want %+v", got, err, n)
	}
}

func TestExport(t *testing.T) {
	s := openStore(t)
	root := s.build(t, map[string]string{"a": "new", "d/b": string(random(2 << 20))})
	out := filepath.Join(t.TempDir(), "x", "out")
	if err := s.Export(t.Context(), root.CID, out, ExportOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := s.Export(t.Context(), root.CID, out, ExportOptions{}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("over existing files: got %v, want fs.ErrExist", err)
	}
	check(t, out+"/a", "new")
	check(t, out+"/d/b", string(random(2<<20)))
	if info, err := os.Stat(out + "/a"); err != nil || info.Mode().Perm()&0o133 != 0 {
		t.Errorf("mode %v, %v; want no more than 0644", info.Mode(), err)
	}
	single := filepath.Join(t.TempDir(), "f")
	if err := s.Export(t.Context(), s.add(t, "one").CID, single, ExportOptions{}); err != nil {
		t.Fatal(err)
	}
	check(t, single, "one")
}

func check(t *testing.T, path, want string) {
	t.Helper()
	if got, err := os.ReadFile(path); err != nil || string(got) != want {
		t.Errorf("%s: %d bytes, %v; want %d", path, len(got), err, len(want))
	}
}

func TestExportNeverLeavesItsDirectory(t *testing.T) {
	s := openStore(t)
	root := s.build(t, map[string]string{"a": "evil", "d/b": "evil"})
	for _, force := range []bool{false, true} {
		base := t.TempDir()
		victim := filepath.Join(base, "victim")
		os.Mkdir(victim, 0o700)
		os.WriteFile(victim+"/a", []byte("mine"), 0o600)
		out := filepath.Join(base, "out")
		os.Mkdir(out, 0o700)
		symlink(t, victim, out+"/d")
		symlink(t, victim+"/a", out+"/a")
		err := s.Export(t.Context(), root.CID, out, ExportOptions{Force: force})
		if !errors.Is(err, fs.ErrExist) { // d is a link, even if a may be replaced
			t.Errorf("force %v: got %v, want fs.ErrExist", force, err)
		}
		check(t, victim+"/a", "mine")
		if _, err := os.Stat(victim + "/b"); err == nil {
			t.Error("a file was written through a link")
		}
	}
	out := t.TempDir()
	os.WriteFile(out+"/a", []byte("old"), 0o600)
	if err := s.Export(t.Context(), root.CID, out, ExportOptions{Force: true}); err != nil {
		t.Error(err)
	}
	check(t, out+"/a", "evil")
	os.Remove(out + "/a")
	os.Mkdir(out+"/a", 0o700)
	if err := s.Export(t.Context(), root.CID, out, ExportOptions{Force: true}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("over a directory: got %v, want fs.ErrExist", err)
	}
}
