package e2e

import (
	"context"
	"fmt"
	"os"
	"testing"

	"connectrpc.com/connect"

	"github.com/mustermesh/muster/node/api"
)

const (
	liesTasks = 150 // of a job
	// One who lies in a tenth of its executions lies in so many, but for one in a
	// hundred thousand tests.
	liesAtMost = 110
)

// Five providers, one of which lies: the job is right all the same, the liar is
// proven wrong with evidence, and is not asked again, not even by a requester
// that was away in between.
func TestLiarsAreFoundOutAndNotAskedAgain(t *testing.T) {
	for _, kind := range []string{constant, tenth, vanisher} {
		t.Run(kind, func(t *testing.T) { findsOut(t, kind) })
	}
}

func findsOut(t *testing.T, kind string) {
	m := newMesh(t)
	honest := []*daemon{m.provider("p1"), m.provider("p2"), m.provider("p3"), m.provider("p4")}
	liar := m.node("liar", kind)
	me := m.requester("me")
	me.knows(append(honest, liar)...)

	var d *api.DescribeJobResponse
	var wrong []*api.Execution
	for jobs, ran := 0, 0; len(wrong) == 0; jobs, ran = jobs+1, ran+len(executions(d, "answered", liar.id)) {
		if ran > liesAtMost || jobs == 20 {
			t.Fatalf("nobody was proven wrong in %d jobs; the liar had %d executions that counted", jobs, ran)
		}
		d = me.watch(me.submit("-n", fmt.Sprint(liesTasks), guest(t, "environ"))).completed()
		if d.Job.Verified != liesTasks {
			t.Errorf("%d of %d tasks verified", d.Job.Verified, liesTasks)
		}
		isRight(t, me, d)
		wrong = executions(d, "wrong", "")
	}
	for _, e := range wrong {
		if e.Peer != liar.id {
			t.Errorf("%s was proven wrong, and is honest", e.Peer)
		}
	}
	isNamed(t, me, liar, d)

	me.stop(os.Interrupt)
	me = me.home.start("--role", "requester")
	if kind == vanisher {
		if !poll(stopLimit, liar.gone) {
			t.Fatal("the vanisher is still there")
		}
		liar = liar.again()
	}
	me.knows(append(honest, liar)...)
	d = me.watch(me.submit("-n", "30", guest(t, "environ"))).completed()
	isRight(t, me, d)
	for _, task := range d.Tasks {
		for _, e := range task.Executions {
			if e.Peer == liar.id {
				t.Fatalf("the liar was given task %d again", task.Index)
			}
		}
	}
	isNamed(t, me, liar, nil)
}

// knows waits until this node has the adverts of all that are named, so that
// any of them may be chosen.
func (d *daemon) knows(all ...*daemon) {
	d.t.Helper()
	client := d.api()
	if !poll(eventLimit, func() bool {
		resp, err := client.ListPeers(context.Background(), connect.NewRequest(&api.ListPeersRequest{Can: "executor == wasm"}))
		if err != nil {
			d.t.Fatal(err)
		}
		return len(resp.Msg.Peers) >= len(all)
	}) {
		d.t.Fatalf("%s does not find all %d providers", d.name, len(all))
	}
}

// isRight compares what every task printed with what the guest prints.
func isRight(t *testing.T, h *daemon, d *api.DescribeJobResponse) {
	t.Helper()
	for i := range d.Tasks {
		out := h.logs(d.Job.Id, i)
		if want := fmt.Sprintf("MUSTER_TASK_COUNT=%d\x00MUSTER_TASK_INDEX=%d\x00", len(d.Tasks), i); out != want {
			t.Errorf("task %d printed %q, want %q", i, out, want)
		}
	}
}

// logs gives what one task printed.
func (h *home) logs(job string, index int) (out string) {
	h.t.Helper()
	stream, err := h.api().JobLogs(context.Background(), connect.NewRequest(&api.JobLogsRequest{Job: job, Task: int64(index)}))
	if err != nil {
		h.t.Fatal(err)
	}
	defer stream.Close()
	for stream.Receive() {
		out += string(stream.Msg().Data)
	}
	if err := stream.Err(); err != nil {
		h.t.Fatal(err)
	}
	return out
}

// isNamed looks for the evidence against a liar, and compares it with the job's
// results, where there is a job.
func isNamed(t *testing.T, me, liar *daemon, d *api.DescribeJobResponse) {
	t.Helper()
	for _, s := range me.standings() {
		if distrusted := s.State == "distrusted"; distrusted != (s.Peer == liar.id) {
			t.Errorf("%s is %s with %d lies; the liar is %s", s.Peer, s.State, s.Lies, liar.id)
		}
	}
	var shown struct {
		Standing standing `json:"standing"`
		Evidence []struct {
			Kind     string `json:"kind"`
			Task     int    `json:"task"`
			Answered string `json:"answered"`
			Right    string `json:"right"`
			Answer   []byte `json:"answer"`
		} `json:"evidence"`
	}
	me.json(&shown, "trust", "show", liar.id)
	proofs := 0
	for _, e := range shown.Evidence {
		if e.Kind != "wrong_proven" {
			continue
		}
		if len(e.Answer) > 0 { // of the first lies alone the signed answer is kept
			proofs++
		}
		if e.Answered == e.Right {
			t.Errorf("evidence says that the wrong answer to task %d was %s, and so is the right one", e.Task, e.Right)
		}
		if d != nil && e.Right != d.Tasks[e.Task].Output {
			t.Errorf("evidence says that %s is right for task %d; the job has %s", e.Right, e.Task, d.Tasks[e.Task].Output)
		}
	}
	if proofs == 0 || shown.Standing.Lies == 0 {
		t.Errorf("trust show has %d signed wrong answers and %d lies of the liar", proofs, shown.Standing.Lies)
	}
}
