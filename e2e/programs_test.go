package e2e

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// The words of a real directory tree, counted by a mesh, are those that a plain
// program counts on this machine.
func TestTheMeshCountsWordsAsOneMachineDoes(t *testing.T) {
	tree := filepath.Join(built.goroot, "src", "net")
	want := native(t, nil, nil, filepath.Join(built.bin, "check"), "-in", tree, "-top", "50")
	m := newMesh(t)
	m.provider("p1")
	m.provider("p2")
	out := m.home("me").muster("run", "-i", tree+":/in", "--split", "files:4", "-O", "/out", "-d", "words", "--confidence", "0.7",
		"--reduce", guest(t, "merge"), "--reduce-arg", "-top", "--reduce-arg", "50", guest(t, "wordcount"))
	if out.code != 0 {
		t.Fatalf("exit code %d; stderr:\n%s", out.code, out.stderr)
	}
	if out.stdout != want {
		t.Errorf("the mesh counted\n%s\nand one machine\n%s", out.stdout, want)
	}
}

// native runs a program on this machine, in no sandbox, and gives its standard
// output.
func native(t *testing.T, env []string, stdin []byte, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env, cmd.Stdin = env, bytes.NewReader(stdin)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", name, err, stderr.String())
	}
	return string(out)
}

// foreign builds the programs that were not written for muster; it needs their
// module, which it downloads where it is not here yet.
var foreign = sync.OnceValue(func() error {
	packages := []string{"github.com/benhoyt/goawk", "github.com/itchyny/gojq/cmd/gojq"}
	if err := goBuild("programs", nil, built.bin, packages...); err != nil {
		return err
	}
	return goBuild("programs", forGuests, built.guests, packages...)
})

func needForeign(t *testing.T) {
	t.Helper()
	if err := foreign(); err != nil {
		t.Skipf("NOT CHECKED: programs from elsewhere; they could not be built: %v", err)
	}
}

// report is an awk program that uses all there is: arguments, environment,
// standard input, files, and a file to write.
const report = `
FILENAME == "" || FILENAME == "-" { asked[$1] = 1; next }
FNR == 1 { files++ }
{ lines++; chars += length($0); for (i = 1; i <= NF; i++) if ($i in asked) seen[$i]++ }
/^func / { name = $2; sub(/\(.*/, "", name); if (length(name) > length(longest)) longest = name; print name > out }
END {
	printf "%s counted %d lines, %d characters in %d files; the longest function is %s\n", ENVIRON["WHO"], lines, chars, files, longest
	n = split("if for func return defer", order, " ")
	for (i = 1; i <= n; i++) print order[i], seen[order[i]] + 0
}
`

func TestAwkRunsOnTheMeshAsItDoesHere(t *testing.T) {
	needForeign(t)
	m := newMesh(t)
	m.provider("p1")
	m.provider("p2")
	tree := filepath.Join(built.goroot, "src", "net", "http")
	names := goFiles(t, tree, 1<<20)
	stdin := []byte("if\nfor\nfunc\nreturn\ndefer\n")
	here := filepath.Join(m.dir, "here.txt")
	want := native(t, []string{"WHO=Ada"}, stdin, filepath.Join(built.bin, "goawk"), awkArgs(here, tree, names)...)

	args := append([]string{"run", "-i", tree + ":/src", "-O", "/out", "-d", "awk", "--confidence", "0.7",
		"--env", "WHO=Ada", "--stdin", "-", guest(t, "goawk"), "--"}, awkArgs("/out/names.txt", "/src", names)...)
	out := m.home("me").feed(bytes.NewReader(stdin), args...)
	if out.code != 0 {
		t.Fatalf("exit code %d; stderr:\n%s", out.code, out.stderr)
	}
	if out.stdout != want {
		t.Errorf("on the mesh goawk prints\n%s\nhere\n%s", out.stdout, want)
	}
	sameFile(t, filepath.Join(m.dir, "awk", "out", "names.txt"), here)
}

func awkArgs(out, tree string, names []string) []string {
	args := []string{"-v", "out=" + out, report, "-"}
	for _, name := range names {
		args = append(args, filepath.Join(tree, name))
	}
	return args
}

// goFiles lists Go files of a directory, which must have so many bytes.
func goFiles(t *testing.T, dir string, least int64) (names []string) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	size := int64(0)
	for _, p := range paths {
		info, err := os.Stat(p)
		if err != nil {
			t.Fatal(err)
		}
		size += info.Size()
		names = append(names, filepath.Base(p))
	}
	if size < least {
		t.Fatalf("the input has %d bytes, want at least %d", size, least)
	}
	return names
}

func sameFile(t *testing.T, got, want string) {
	t.Helper()
	g, err := os.ReadFile(got)
	if err != nil {
		t.Fatal(err)
	}
	w, err := os.ReadFile(want)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(g, w) || len(w) == 0 {
		t.Errorf("%s has %d bytes, %s %d, and they differ or are empty", got, len(g), want, len(w))
	}
}

func TestJqRunsOnTheMeshAsItDoesHere(t *testing.T) {
	needForeign(t)
	data, err := exec.Command("go", "list", "-json", "std", "cmd").Output() // a stream of objects
	if err != nil {
		t.Fatal(err)
	}
	if len(data) < 1<<20 {
		t.Fatalf("the input has %d bytes, want at least 1 MiB", len(data))
	}
	const query = `[.[] | select(.Imports != null) | {path: .ImportPath, n: (.Imports | length), who: env.WHO}]
		| sort_by(-.n, .path) | {most: .[:20], total: (map(.n) | add), prefix: $prefix, std: (map(.path | split("/")[0]) | group_by(.) | map({(.[0]): length}) | add)}`
	args := []string{"-s", "--arg", "prefix", "std", query}
	want := native(t, []string{"WHO=Grace"}, data, filepath.Join(built.bin, "gojq"), args...)

	m := newMesh(t)
	m.provider("p1")
	m.provider("p2")
	run := append([]string{"run", "--env", "WHO=Grace", "--stdin", "-", "--confidence", "0.7", guest(t, "gojq"), "--"}, args...)
	out := m.home("me").feed(bytes.NewReader(data), run...)
	if out.code != 0 {
		t.Fatalf("exit code %d; stderr:\n%s", out.code, out.stderr)
	}
	if out.stdout != want || !strings.Contains(want, "Grace") {
		t.Errorf("on the mesh gojq prints\n%s\nhere\n%s", out.stdout, want)
	}
}
