package e2e

import (
	"fmt"
	"io/fs"
	"math/bits"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/mustermesh/muster/node/api"
)

// faultyMuster builds muster with an engine whose compiler turns the bits of 32-bit
// numbers to the wrong side; its interpreter does not.
func faultyMuster(t *testing.T) string {
	t.Helper()
	to, err := os.MkdirTemp(built.dir, "faulty")
	if err != nil {
		t.Fatal(err)
	}
	list := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", engineModule)
	list.Dir = ".."
	dir, err := list.Output()
	if err != nil {
		t.Fatalf("%s: %v", list, err)
	}
	engine := filepath.Join(to, "engine")
	copySources(t, strings.TrimSpace(string(dir)), engine)
	plant(t, filepath.Join(engine, "internal", "engine", "wazevo", "frontend", "lower.go"),
		"rotl.AsRotl(x, y)", "if rotl.AsRotl(x, y); op == wasm.OpcodeI32Rotl { rotl.AsRotr(x, y) }")
	for _, name := range []string{"go.mod", "go.sum"} {
		b, err := os.ReadFile(filepath.Join("..", name))
		if err != nil {
			t.Fatal(err)
		}
		if name == "go.mod" {
			b = fmt.Appendf(b, "\nreplace %s => %s\n", engineModule, engine)
		}
		if err := os.WriteFile(filepath.Join(to, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := goBuild("..", []string{"GOFLAGS=-modfile=" + filepath.Join(to, "go.mod")}, to, "./cmd/muster"); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(to, "muster")
}

const engineModule = "github.com/tetratelabs/wazero"

// copySources copies a module's folder, but for its tests.
func copySources(t *testing.T, from, to string) {
	t.Helper()
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		switch rel, _ := filepath.Rel(from, path); {
		case err != nil:
			return err
		case d.IsDir() && d.Name() == "testdata":
			return fs.SkipDir
		case d.IsDir():
			return os.Mkdir(filepath.Join(to, rel), 0o755)
		case strings.HasSuffix(rel, "_test.go"):
			return nil
		default:
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			return os.WriteFile(filepath.Join(to, rel), b, 0o600)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
}

// plant replaces the one place in a file that reads so.
func plant(t *testing.T, file, right, wrong string) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Count(string(b), right) != 1 {
		t.Fatalf("%s has no longer one %q: plant another bug", file, right)
	}
	if err := os.WriteFile(file, []byte(strings.Replace(string(b), right, wrong, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
}

// rotated is what the guest rotate prints.
func rotated() string {
	h := uint32(1)
	for i := range uint32(1000) {
		h = bits.RotateLeft32(h*0x9e3779b1+i, int(i%31)+1)
	}
	return fmt.Sprintf("%08x\n", h)
}

func TestABugOfABuildOfTheEngineIsNotBlamed(t *testing.T) {
	faulty := faultyMuster(t)
	t.Run("on peers, where it is the requester's", func(t *testing.T) { atTheRequester(t, faulty) })
	t.Run("on the provider whose it is", func(t *testing.T) { atAProvider(t, faulty) })
}

// A requester whose own engine computes one operator wrongly sees that it is its
// engine, and takes the result of the honest peers that differ from it.
func atTheRequester(t *testing.T, faulty string) {
	m := newMesh(t)
	honest := []*daemon{m.provider("p1"), m.provider("p2")}
	me := m.home("me").startAs(faulty, "--role", "requester")
	me.knows(honest...)
	if out := me.run("--local", guest(t, "rotate")); out.Stdout == nil || *out.Stdout == rotated() {
		t.Fatal("the compiler of the faulty engine is right: nothing is tested")
	}
	if out := me.run("--local", "--engine", "interpreter", guest(t, "rotate")); out.Stdout == nil || *out.Stdout != rotated() {
		t.Fatalf("its interpreter gives %v, want %q", out.Stdout, rotated())
	}

	d := me.watch(me.submit("-n", "2", "--confidence", "0.999", guest(t, "rotate"))).completed()
	for i, task := range d.Tasks {
		if got := me.logs(d.Job.Id, i); got != rotated() {
			t.Errorf("task %d gives %q, want %q", i, got, rotated())
		}
		if !strings.Contains(task.How, "settled on the interpreter") || !strings.Contains(task.How, "computes this program wrongly; nobody is blamed") {
			t.Errorf("task %d is settled so: %s", i, task.How)
		}
	}
	nobodyIsBlamed(t, me, d)
}

// A provider whose build of the engine computes one operator wrongly is no liar:
// its build is not everybody's, and says so.
func atAProvider(t *testing.T, faulty string) {
	m := newMesh(t)
	honest := []*daemon{m.provider("p1"), m.provider("p2")}
	odd := m.home("odd").startAs(faulty, "--role", "provider")
	me := m.requester("me")
	me.knows(append(honest, odd)...)
	untilFaulty(t, odd, "wazero/1.12.0-changed", func() *api.DescribeJobResponse {
		d := me.watch(me.submit("-n", "40", guest(t, "rotate"))).completed()
		for i := range d.Tasks {
			if got := me.logs(d.Job.Id, i); got != rotated() {
				t.Errorf("task %d gives %q, want %q", i, got, rotated())
			}
		}
		nobodyIsBlamed(t, me, d)
		return d
	})
}

// A provider on another engine than all others, which computes wrongly, is no liar:
// the job goes on without it.
func TestABugOfAnotherEngineIsNotBlamedOnItsProvider(t *testing.T) {
	m := newMesh(t)
	honest := []*daemon{m.provider("p1"), m.provider("p2")}
	odd := m.node("odd", stranger)
	me := m.requester("me")
	me.knows(append(honest, odd)...)
	untilFaulty(t, odd, strangeEngine, func() *api.DescribeJobResponse {
		d := me.watch(me.submit("-n", "40", guest(t, "environ"))).completed()
		isRight(t, me, d)
		nobodyIsBlamed(t, me, d)
		return d
	})
}

// untilFaulty runs jobs until an answer of a provider, which has to get a task
// first, differs, with its engine for the reason.
func untilFaulty(t *testing.T, p *daemon, engine string, job func() *api.DescribeJobResponse) {
	t.Helper()
	for range 20 {
		if slices.ContainsFunc(executions(job(), "failed", p.id), func(e *api.Execution) bool {
			return strings.Contains(e.Reason, "nothing is proven (engine "+engine)
		}) {
			return
		}
	}
	t.Error("in 20 jobs no execution says that its engine may be at fault")
}

func nobodyIsBlamed(t *testing.T, me *daemon, d *api.DescribeJobResponse) {
	t.Helper()
	for _, e := range executions(d, "wrong", "") {
		t.Errorf("%s is said to be wrong: %s", e.Peer, e.Reason)
	}
	for _, s := range me.standings() {
		if s.State == "distrusted" || s.Lies > 0 {
			t.Errorf("%s is %s, with %d lies", s.Peer, s.State, s.Lies)
		}
	}
}
