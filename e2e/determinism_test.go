package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
)

// One specification gives the same bytes on this machine alone, on a mesh, and
// on a devnet, whatever the program tries to be random.
func TestTheSameJobGivesTheSameBytesEverywhere(t *testing.T) {
	m := newMesh(t)
	for _, name := range []string{"p1", "p2", "p3"} {
		m.provider(name)
	}
	books := filepath.Join(m.dir, "books")
	if err := os.CopyFS(books, os.DirFS(filepath.Join("..", "examples", "wordcount", "text"))); err != nil {
		t.Fatal(err)
	}
	jobs := []struct {
		name string
		args []string
	}{
		{"chaos", []string{"-n", "2", "--confidence", "0.7", "--env", "A=b", guest(t, "chaos"), "--", "one", "two"}},
		{"wordcount", []string{"--confidence", "0.7", "-i", books + ":/in", "--split", "files", "-O", "/out", "--reduce", guest(t, "merge"), guest(t, "wordcount")}},
	}
	for _, job := range jobs {
		t.Run(job.name, func(t *testing.T) {
			here := outcomeOf(t, m.as(t, "here").run(append([]string{"--local", "-d", "out/here-" + job.name}, job.args...)...))
			mesh := outcomeOf(t, m.as(t, "mesh").run(append([]string{"-d", "out/mesh-" + job.name}, job.args...)...))
			if !slices.Equal(here, mesh) {
				t.Errorf("--local gives\n%q\nthe mesh\n%q", here, mesh)
			}
			devnet := outcomeOf(t, onDevnet(t, m, append([]string{"-d", "out/devnet-" + job.name}, job.args...)...))
			if !slices.Equal(here, devnet) {
				t.Errorf("--local gives\n%q\na devnet\n%q", here, devnet)
			}
			again := outcomeOf(t, m.as(t, "mesh").run(append([]string{"-d", "out/again-" + job.name}, job.args...)...))
			if !slices.Equal(mesh, again) {
				t.Errorf("the first time the mesh gives\n%q\nthe second\n%q", mesh, again)
			}
		})
	}
}

// as gives a home of the mesh whose failures are those of t, a subtest.
func (m *mesh) as(t *testing.T, name string) *home {
	h := m.home(name)
	h.t = t
	return h
}

// onDevnet runs a job in a mesh of `muster devnet`.
func onDevnet(t *testing.T, m *mesh, args ...string) (d document) {
	t.Helper()
	h := m.as(t, "devnet")
	h.decode(h.muster(append([]string{"devnet", "-n", "3", "-o", "json", "--", "run"}, args...)...), 0, &d)
	return d
}

// outcomeOf gives everything that a specification determines: the output roots,
// and what was printed. Tasks of one job must differ in what they print.
func outcomeOf(t *testing.T, d document) []string {
	t.Helper()
	all := []string{d.Job.OutputRoot}
	tasks := d.Tasks
	if d.Reduce != nil {
		tasks = append(tasks, *d.Reduce)
	}
	for _, x := range tasks {
		if x.State != "verified" || x.Output == "" {
			t.Errorf("task %d is %s with output %q, want verified with one", x.Index, x.State, x.Output)
		}
		if slices.Contains(all, x.Output) {
			t.Errorf("two tasks have the output %s", x.Output)
		}
		all = append(all, x.Output)
	}
	if d.Stdout == nil || *d.Stdout == "" {
		t.Fatal("the job printed nothing")
	}
	return append(all, *d.Stdout)
}

// A devnet runs until it is interrupted, and leaves no process and no home
// behind; TestMain looks.
func TestADevnetEndsWithItsSignal(t *testing.T) {
	h := emptyMesh(t).home("devnet")
	cmd := exec.Command(built.muster, "devnet", "-n", "2", "-o", "json")
	cmd.Env = h.environ()
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer timeoutKill(cmd)()
	var said struct {
		Nodes []struct {
			ID string `json:"id"`
		} `json:"nodes"`
	}
	if err := json.NewDecoder(stdout).Decode(&said); err != nil || len(said.Nodes) != 2 {
		t.Errorf("the devnet says it has %d nodes, want 2; %v", len(said.Nodes), err)
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Error(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("the devnet ended with %v after an interrupt", err)
	}
}
