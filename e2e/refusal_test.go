package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"connectrpc.com/connect"

	"github.com/mustermesh/muster/node/api"
)

// A second daemon on one home is refused, and names the first.
func TestTwoDaemonsNeverShareAHome(t *testing.T) {
	m := emptyMesh(t)
	first := m.provider("one")
	out := first.muster("daemon")
	if out.code != 1 || !strings.Contains(out.stderr, fmt.Sprint(first.cmd.Process.Pid)) {
		t.Errorf("exit code %d, want 1; stderr, which should name process %d:\n%s", out.code, first.cmd.Process.Pid, out.stderr)
	}
	if out := first.muster("node", "status"); out.code != 0 {
		t.Errorf("the first daemon does not answer any more: code %d\n%s", out.code, out.stderr)
	}
}

// A port that another process has is named.
func TestATakenPortIsNamed(t *testing.T) {
	m := emptyMesh(t)
	first := m.provider("one")
	taken, _, _ := strings.Cut(first.addrs[0], "/p2p/")
	out := m.home("two").muster("daemon", "--listen", taken)
	if out.code != 1 || !strings.Contains(out.stderr, taken) {
		t.Errorf("exit code %d, want 1; stderr, which should name %s:\n%s", out.code, taken, out.stderr)
	}
}

// Nobody answers at the bootstrap address: the node serves all the same, and
// says so.
func TestANodeStartsWithoutItsBootstrapNode(t *testing.T) {
	m := newMesh(t)
	m.boot.kill()
	p := m.provider("p")
	var status struct {
		Warnings  []string `json:"warnings"`
		Bootstrap []struct {
			Connected bool   `json:"connected"`
			Error     string `json:"error"`
		} `json:"bootstrap"`
	}
	p.json(&status, "node", "status")
	if len(status.Warnings) == 0 || !strings.Contains(status.Warnings[0], "no bootstrap peer answers") {
		t.Errorf("warnings %q, want one about the bootstrap peer", status.Warnings)
	}
	if len(status.Bootstrap) == 0 || status.Bootstrap[0].Connected {
		t.Errorf("bootstrap peers %v, want one that is not connected", status.Bootstrap)
	}
	if out := p.muster("run", "--local", guest(t, "environ")); out.code != 0 {
		t.Errorf("a local run ends with %d; stderr:\n%s", out.code, out.stderr)
	}
}

// Answers differ, and the requester may not run the program itself: the job is
// disputed, everything is kept, nobody is blamed.
func TestWhatCannotBeSettledIsDisputed(t *testing.T) {
	m := newMesh(t)
	honest, liar := m.provider("honest"), m.node("liar", constant)
	me := m.home("me")
	var d document
	out := me.muster("run", "-o", "json", m.notHere(guest(t, "environ")))
	me.decode(out, 6, &d)
	if d.Job.State != "disputed" {
		t.Errorf("the job is %s, want disputed", d.Job.State)
	}
	if !strings.Contains(out.stderr, "is disputed") {
		t.Errorf("stderr does not say so:\n%s", out.stderr)
	}
	answers := map[string]string{}
	for _, e := range me.described(d.Job.ID).Tasks[0].Executions {
		answers[e.Peer] = e.State
	}
	if answers[honest.id] != "answered" || answers[liar.id] != "answered" {
		t.Errorf("the executions are %v, want an answer of each", answers)
	}
	for _, s := range me.standings() {
		if s.Lies != 0 || s.State == "distrusted" {
			t.Errorf("%s is blamed: %+v", s.Peer, s)
		}
	}
}

// notHere gives the specification of a job that its requester must not run
// itself: one run may take longer than its referee's budget.
func (m *mesh) notHere(program string) string {
	m.t.Helper()
	spec := filepath.Join(m.dir, "job.yaml")
	text := fmt.Sprintf("program: {wasm: %q}\nlimits: {timeout: 10m}\nverify: {confidence: 0.7, referee_budget: 1s}\n", program)
	if err := os.WriteFile(spec, []byte(text), 0o600); err != nil {
		m.t.Fatal(err)
	}
	return spec
}

// described gives a job as `muster job describe` does.
func (h *home) described(job string) (d document) {
	h.t.Helper()
	h.json(&d, "job", "describe", job)
	return d
}

// A guest that never ends is the program's failure: it is tried on two nodes,
// and costs nobody anything.
func TestAProgramThatNeverEndsTimesOut(t *testing.T) {
	m := newMesh(t)
	for _, name := range []string{"p1", "p2", "p3"} {
		m.provider(name)
	}
	me := m.home("me")
	var d document
	out := me.muster("run", "-o", "json", "--timeout", "2s", guest(t, "forever"))
	me.decode(out, 124, &d)
	if d.Job.State != "failed" || !strings.Contains(d.Job.Reason, "timed out") {
		t.Errorf("the job is %s (%s), want failed, timed out", d.Job.State, d.Job.Reason)
	}
	peers := map[string]bool{}
	for _, e := range d.Tasks[0].Executions {
		if e.State == "failed" {
			peers[e.Peer] = true
		}
	}
	if len(peers) < 2 {
		t.Errorf("it timed out on %d nodes, want 2", len(peers))
	}
	for _, s := range me.standings() {
		if s.Lies != 0 || s.State == "distrusted" || s.Executions != 0 {
			t.Errorf("it counts against a provider: %+v", s)
		}
	}
}

// A program that fails has given a result: the checks agree on it, and nobody
// tries again.
func TestAProgramThatFailsIsNotTriedAgain(t *testing.T) {
	m := newMesh(t)
	for _, name := range []string{"p1", "p2", "p3"} {
		m.provider(name)
	}
	me := m.home("me")
	for _, c := range []struct {
		program, outcome, says, stdout string
		exit                           int
	}{
		{"fail", "exited", "the program ended with code 3", "partial\n", 3},
		{"trap", "trapped", "the program trapped: unreachable", "", 0},
	} {
		var d struct {
			document
			Tasks []struct {
				task
				Outcome string `json:"outcome"`
			} `json:"tasks"`
		}
		out := me.muster("run", "-o", "json", "--confidence", "0.7", guest(t, c.program))
		me.decode(out, 5, &d)
		if d.Job.ExitCode != c.exit || d.Job.State != "failed" || d.Tasks[0].Outcome != c.outcome {
			t.Errorf("%s: job %+v, outcome %q; want failed with code %d, %q", c.program, d.Job, d.Tasks[0].Outcome, c.exit, c.outcome)
		}
		if !strings.Contains(out.stderr, c.says) {
			t.Errorf("%s: stderr does not say %q:\n%s", c.program, c.says, out.stderr)
		}
		if d.Stdout == nil || *d.Stdout != c.stdout {
			t.Errorf("%s: stdout is %v, want %q", c.program, d.Stdout, c.stdout)
		}
		if n := len(d.Tasks[0].Executions); n != 2 {
			t.Errorf("%s: %d executions, want one and its one check", c.program, n)
		}
	}
}

// An interrupted run without a daemon cancels its job and frees the providers,
// and the home knows of it afterwards.
func TestAnInterruptCancelsTheJobAndFreesTheProviders(t *testing.T) {
	m := newMesh(t)
	slow := m.node("slow", gated)
	me := m.home("me")
	cmd := exec.Command(built.muster, "run", guest(t, "environ"))
	cmd.Env, cmd.Dir = me.environ(), m.dir
	var stderr strings.Builder
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer timeoutKill(cmd)()
	var job string
	if !poll(startLimit, func() bool {
		resp, err := me.api().ListJobs(t.Context(), connect.NewRequest(&api.ListJobsRequest{}))
		if err == nil && len(resp.Msg.Jobs) == 1 {
			job = resp.Msg.Jobs[0].Id
		}
		return job != ""
	}) {
		t.Fatal("the run has no job")
	}
	me.watch(job).until("running at the provider", func(d *api.DescribeJobResponse) bool {
		return len(executions(d, "running", slow.id)) > 0
	})
	if busy := lent(slow); busy.SlotsBusy == 0 {
		t.Fatal("the provider is not busy")
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 1 || !strings.Contains(stderr.String(), "was cancelled") {
		t.Errorf("exit code %d, want 1; stderr, which should say that the job was cancelled:\n%s", code, stderr.String())
	}
	if !poll(stopLimit, func() bool { busy := lent(slow); return busy.SlotsBusy == 0 && busy.Leases == 0 && busy.Queued == 0 }) {
		t.Errorf("the provider is still taken: %+v", lent(slow))
	}
	var jobs []summary
	me.json(&jobs, "job", "list")
	if len(jobs) != 1 || jobs[0].State != "cancelled" {
		t.Errorf("the home has the jobs %+v, want one, cancelled", jobs)
	}
}

// lending is what `muster provider status -o json` says.
type lending struct {
	SlotsBusy int `json:"slots_busy"`
	Leases    int `json:"leases"`
	Queued    int `json:"queued"`
	TasksDone int `json:"tasks_done"`
}

func lent(d *daemon) (l lending) {
	d.t.Helper()
	d.json(&l, "provider", "status")
	return l
}

// What is printed with -o json is one document, for every command that reads.
func TestEveryDocumentParses(t *testing.T) {
	m := newMesh(t)
	m.provider("p1")
	me := m.requester("me")
	me.watch(me.submit("--confidence", "0", guest(t, "environ"))).completed()
	for _, args := range [][]string{
		{"node", "status"}, {"peer", "list"}, {"peer", "id"}, {"provider", "status"}, {"trust", "list"}, {"job", "list"}, {"version"},
	} {
		out := me.muster(append(args, "-o", "json")...)
		if out.code != 0 || !json.Valid([]byte(out.stdout)) || out.stderr != "" {
			t.Errorf("%q: code %d, stderr %q, stdout\n%s", args, out.code, out.stderr, out.stdout)
		}
	}
}
