package e2e

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mustermesh/muster/node/api"
)

// A home that knows nothing but a bootstrap node, and has no daemon, finds the
// providers by what they can, and has work done by them.
func TestAStrangerFindsProvidersThroughTheBootstrapNode(t *testing.T) {
	m := newMesh(t)
	p1, p2 := m.provider("p1"), m.provider("p2")
	me := m.home("me")

	var peers []struct {
		ID     string `json:"id"`
		Advert struct {
			Executor string `json:"executor"`
		} `json:"advert"`
	}
	me.json(&peers, "peer", "list", "--can", "executor == wasm, memory >= 1GiB")
	var found []string
	for _, p := range peers {
		found = append(found, p.ID)
		if p.Advert.Executor != "wasm" {
			t.Errorf("%s advertises executor %q, want wasm", p.ID, p.Advert.Executor)
		}
	}
	slices.Sort(found)
	if want := ids(p1, p2); !slices.Equal(found, want) {
		t.Fatalf("peer list --can found %q, want %q", found, want)
	}
	me.json(&peers, "peer", "list", "--can", "memory >= 1TiB")
	if len(peers) != 0 {
		t.Errorf("%d peers have a TiB of memory, want none", len(peers))
	}

	d := me.run("-n", "3", "--confidence", "0.7", guest(t, "environ"))
	if d.Job.State != "completed" || d.Job.Verified != 3 {
		t.Errorf("the job is %s with %d verified tasks, want completed with 3", d.Job.State, d.Job.Verified)
	}
	for _, p := range []*daemon{p1, p2} {
		if len(d.by(p.id)) == 0 {
			t.Errorf("%s had no execution, and every task wants both", p.name)
		}
	}
	if out := me.muster("run", "--confidence", "0.7", guest(t, "environ")); out.stdout != "MUSTER_TASK_COUNT=1\x00MUSTER_TASK_INDEX=0\x00" {
		t.Errorf("run printed %q; stderr:\n%s", out.stdout, out.stderr)
	}
}

// A job that nobody can run waits, says why, and starts as soon as a provider
// comes.
func TestAProviderThatComesLaterGetsTheWaitingJob(t *testing.T) {
	m := newMesh(t)
	me := m.requester("me")
	w := me.watch(me.submit(guest(t, "environ")))
	w.until("pending, with a reason", func(d *api.DescribeJobResponse) bool {
		return d.Job.State == "pending" && strings.Contains(d.Job.Waiting, "no provider is known")
	})

	late := m.provider("late")
	d := w.until("an execution by the late provider", func(d *api.DescribeJobResponse) bool {
		return len(executions(d, "running", late.id))+len(executions(d, "answered", late.id)) > 0
	})
	es := append(executions(d, "running", late.id), executions(d, "answered", late.id)...)
	took := time.UnixMilli(es[0].StartedMs).Sub(late.ready)
	if took > 3*time.Second {
		t.Errorf("the late provider began %s after it was ready, want at most 3s", took)
	}
	t.Logf("the late provider began %s after it was ready", took)
	w.completed()
}

// Commands started at once in a home without a daemon share one node: the first
// becomes it, the others attach to it.
func TestTenRunsAtOnceShareOneNode(t *testing.T) {
	m := newMesh(t)
	m.provider("p1")
	m.provider("p2")
	me := m.home("me")
	type outcome struct {
		said
		err error
	}
	const runs = 10
	program := guest(t, "environ")
	outcomes := make(chan outcome, runs)
	for range runs {
		go func() {
			out, err := me.try(nil, "run", program)
			outcomes <- outcome{out, err}
		}()
	}
	for range runs {
		if o := <-outcomes; o.err != nil || o.code != 0 {
			t.Errorf("exit code %d, %v; stderr:\n%s", o.code, o.err, o.stderr)
		}
	}
	var jobs []summary
	me.json(&jobs, "job", "list")
	if len(jobs) != runs {
		t.Fatalf("%d jobs in the home, want %d", len(jobs), runs)
	}
	overlap := false
	for _, a := range jobs {
		if a.State != "completed" {
			t.Errorf("job %s is %s (%s), want completed", a.ID, a.State, a.Reason)
		}
		for _, b := range jobs {
			overlap = overlap || a.ID != b.ID && a.SubmittedMs < b.EndedMs && b.SubmittedMs < a.EndedMs
		}
	}
	if !overlap {
		t.Error("no two jobs overlap: nothing shows that one process served another's command")
	}
	if files, _ := os.ReadDir(me.dir); slices.ContainsFunc(files, func(f os.DirEntry) bool { return f.Type()&os.ModeSocket != 0 }) {
		t.Error("a socket is left in the home, and no node runs")
	}
}

// Two providers are too few for 0.999; what is missing the requester runs itself,
// and the output says so.
func TestTheRequesterStandsInForMissingCheckers(t *testing.T) {
	m := newMesh(t)
	m.provider("p1")
	m.provider("p2")
	me := m.home("me")
	out := me.muster("run", "--confidence", "0.999", guest(t, "environ"))
	const how = "1 independent checker and the requester's own run agreed"
	if out.code != 0 || !strings.Contains(out.stderr, "1 of 1 task verified: "+how+"; confidence 1 reached (0.999 wanted)") {
		t.Errorf("exit code %d, stderr:\n%s", out.code, out.stderr)
	}
	var jobs []summary
	me.json(&jobs, "job", "list")
	if got := me.described(jobs[0].ID).Tasks[0].How; got != how {
		t.Errorf("the task was verified by %q, want %q", got, how)
	}
}

// Losing the bootstrap node stops nothing: running jobs go on, new ones start,
// and a node that comes back finds its peers.
func TestTheMeshOutlivesItsBootstrapNode(t *testing.T) {
	m := newMesh(t)
	m.provider("p1")
	m.provider("p2")
	slow := m.node("slow", gated)
	me := m.requester("me")
	w := me.watch(me.submit("-n", "6", guest(t, "environ")))
	w.until("running at the slow provider", func(d *api.DescribeJobResponse) bool {
		return len(executions(d, "running", slow.id)) > 0
	})
	m.boot.kill()
	slow.release()
	w.completed()
	me.watch(me.submit("--name", "new", guest(t, "environ"))).completed()

	me.stop(os.Interrupt)
	me = me.home.start("--role", "requester")
	me.watch(me.submit("--name", "later", guest(t, "environ"))).completed()
}
