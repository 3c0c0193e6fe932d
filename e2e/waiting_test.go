package e2e

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/mustermesh/muster/node/api"
)

// explained gives what `muster job explain` knows; nil where this muster cannot
// explain, which is said loudly.
func (d *daemon) explained(job string) *api.ExplainJobResponse {
	d.t.Helper()
	resp, err := d.api().ExplainJob(context.Background(), connect.NewRequest(&api.ExplainJobRequest{Job: job}))
	if connect.CodeOf(err) == connect.CodeUnimplemented {
		d.t.Log("NOT CHECKED: the explanation of a job, for this muster gives none")
		return nil
	}
	if err != nil {
		d.t.Fatal(err)
	}
	return resp.Msg
}

// A job that nobody can run waits, says for what, and begins when somebody comes.
func TestAJobWaitsForAProvider(t *testing.T) {
	m := newMesh(t)
	me := m.requester("me")
	job := me.submit("--confidence", "0", guest(t, "environ"))
	w := me.watch(job)
	d := w.until("it says what it waits for", func(d *api.DescribeJobResponse) bool { return d.Job.Waiting != "" })
	if !strings.Contains(d.Job.Waiting, "provider") {
		t.Errorf("it waits for %q, want a word about providers", d.Job.Waiting)
	}
	if x := me.explained(job); x != nil && (!strings.Contains(x.Why, "provider") || len(x.Change) == 0) {
		t.Errorf("explained as %q, with the changes %q; want a word about providers, and what to change", x.Why, x.Change)
	}
	p := m.provider("p1")
	d = w.completed()
	took := time.UnixMilli(d.Tasks[0].Executions[0].StartedMs).Sub(p.ready)
	t.Logf("the first execution began %s after the provider was ready", took)
	if took > 3*time.Second {
		t.Errorf("the first execution began %s after the provider was ready, want 3s at most", took)
	}
}

// A job that asks for more than any node has waits, and says what the nearest
// node lacks.
func TestAJobThatNobodyCanRunNamesTheNearest(t *testing.T) {
	m := newMesh(t)
	small := m.daemon("small", "--role", "provider", "--memory", "512MiB")
	near := m.daemon("near", "--role", "provider", "--memory", "1GiB")
	me := m.requester("me")
	me.knows(small, near)
	job := me.submit("--memory", "2GiB", guest(t, "environ"))
	me.watch(job).until("it says what it waits for", func(d *api.DescribeJobResponse) bool { return d.Job.Waiting != "" })
	x := me.explained(job)
	if x == nil {
		t.Skip("NOT CHECKED: what the explanation says of a requirement that nobody meets")
	}
	all := strings.Join(append(slices.Clone(x.Change), x.Why), "\n")
	if !strings.Contains(all, "memory") || !strings.Contains(x.Needs, "2") {
		t.Errorf("explained as\n%s\n(needs %q), want a word about memory", all, x.Needs)
	}
	i := slices.IndexFunc(x.Peers, func(p *api.PeerDecision) bool { return p.Peer == near.id })
	if i < 0 || x.Peers[i].Class != "requirement" || !strings.Contains(x.Peers[i].Detail, "memory") {
		t.Errorf("of the nearest node %s it says %v, want a requirement about memory", near.id, x.Peers)
	}
	if tail := near.id[len(near.id)-6:]; !strings.Contains(all, tail) {
		t.Errorf("explained as\n%s\nwant the nearest node, …%s, named", all, tail)
	}
	if out := me.muster("job", "cancel", job); out.code != 0 {
		t.Errorf("job cancel ends with %d: %s", out.code, out.stderr)
	}
}

// A misspelt argument is the program's own failure: it is told once, with what
// the program said, tried no more than it takes to check it, and costs no peer
// anything.
func TestAMisspeltArgumentIsToldOnce(t *testing.T) {
	m := newMesh(t)
	me := m.requester("me")
	me.knows(m.provider("p1"), m.provider("p2"), m.provider("p3"), m.provider("p4"))
	text, err := filepath.Abs(filepath.Join("..", "examples", "wordcount", "text"))
	if err != nil {
		t.Fatal(err)
	}
	count := []string{"run", "-o", "json", "--confidence", "0.7", "-i", text + ":/in", "-O", "/out", "-d", filepath.Join(m.dir, "right"), guest(t, "wordcount")}
	if out := me.muster(count...); out.code != 0 {
		t.Fatalf("the right argument ends with %d:\n%s", out.code, out.stderr)
	}
	before := me.standings()

	count[len(count)-2] = filepath.Join(m.dir, "wrong")
	out := me.muster(append(append([]string{"run"}, count[3:]...), "--", "-in", "/inn")...)
	if out.code != 5 {
		t.Errorf("exit code %d, want 5", out.code)
	}
	if n := strings.Count(out.stderr, "wordcount: "); n != 1 {
		t.Errorf("what the program said is told %d times, want once:\n%s", n, out.stderr)
	}
	var jobs []summary
	me.json(&jobs, "job", "list")
	d := me.described(jobs[0].ID)
	if d.Job.State != "failed" || d.Job.ExitCode != 1 {
		t.Errorf("the job is %s with exit code %d, want failed with 1", d.Job.State, d.Job.ExitCode)
	}
	if n := len(d.Tasks[0].Executions); n != 2 {
		t.Errorf("%d executions, want one and its one check", n)
	}
	if _, err := os.Stat(filepath.Join(m.dir, "wrong", "out")); err == nil {
		t.Error("a failed job left outputs")
	}
	after := map[string]standing{}
	for _, s := range me.standings() {
		after[s.Peer] = s
	}
	for _, s := range before {
		if now := after[s.Peer]; now.Lies != 0 || now.State != s.State || now.Availability < s.Availability-0.01 { // it fades with time
			t.Errorf("it cost a peer something: %+v before, %+v now", s, now)
		}
	}
}
