package e2e

import (
	"context"
	"fmt"
	"os"
	"syscall"
	"testing"

	"connectrpc.com/connect"

	"github.com/mustermesh/muster/node/api"
)

// A provider is killed while it runs tasks: others run them.
func TestAProviderIsKilledWhileRunning(t *testing.T) {
	m := newMesh(t)
	m.provider("p1")
	m.provider("p2")
	victim := m.node("victim", gated) // it never ends what it began
	me := m.requester("me")
	w := me.watch(me.submit("-n", "8", guest(t, "environ")))
	before := w.until("running at the victim", func(d *api.DescribeJobResponse) bool {
		return len(executions(d, "running", victim.id)) > 0
	})
	victim.kill()
	d := w.completed()
	isRight(t, me, d)
	for _, e := range executions(before, "running", victim.id) {
		if now := find(d, e.Id); now == nil || now.State != "lost" {
			t.Errorf("execution %s ran at the victim, and is now %v, want it lost", e.Id, now)
		}
	}
	isAvailableLess(t, me, victim)
}

// A provider takes tasks, stays in touch, and never answers: when their time is
// over others get them.
func TestAProviderThatNeverAnswersBlocksNobody(t *testing.T) {
	m := newMesh(t)
	m.provider("p1")
	m.provider("p2")
	mute := m.node("mute", gated)
	me := m.requester("me")
	w := me.watch(me.submit("-n", "6", "--confidence", "0.7", "--timeout", "1s", guest(t, "environ")))
	w.until("running at the mute one", func(d *api.DescribeJobResponse) bool {
		return len(executions(d, "running", mute.id)) > 0
	})
	d := w.completed()
	isRight(t, me, d)
	// Whoever had its task instead may have been asked before it was given up.
	if len(executions(d, "lost", mute.id))+len(executions(d, "cancelled", mute.id)) == 0 {
		t.Errorf("no execution at the mute provider was lost, or cancelled:\n%v", d.Tasks)
	}
}

func find(d *api.DescribeJobResponse, id string) *api.Execution {
	for _, task := range d.Tasks {
		for _, e := range task.Executions {
			if e.Id == id {
				return e
			}
		}
	}
	return nil
}

// isAvailableLess: who vanished is thought less available, and no liar.
func isAvailableLess(t *testing.T, me, victim *daemon) {
	t.Helper()
	var s, best standing
	for _, x := range me.standings() {
		if x.Peer == victim.id {
			s = x
		} else if x.Availability > best.Availability {
			best = x
		}
	}
	if s.Peer == "" || s.Availability >= best.Availability || s.Lies != 0 {
		t.Errorf("the victim's standing is %+v, that of another %+v; want the victim less available, and no lies", s, best)
	}
}

// A provider is killed when it has answered, and before its task is settled: its
// answer counts, and is checked by others.
func TestAProviderIsKilledAfterItAnswered(t *testing.T) {
	m := newMesh(t)
	victim := m.provider("victim")
	slow := m.node("slow", gated)
	me := m.requester("me")
	me.knows(victim, slow)
	w := me.watch(me.submit("--confidence", "0.7", guest(t, "environ")))
	before := w.until("answered by the victim, and checked by the slow one", func(d *api.DescribeJobResponse) bool {
		return len(executions(d, "answered", victim.id)) > 0 && len(executions(d, "running", slow.id)) > 0 && d.Tasks[0].State == "checking"
	})
	victim.kill()
	slow.release()
	d := w.completed()
	isRight(t, me, d)
	answer := executions(before, "answered", victim.id)[0]
	if e := find(d, answer.Id); e == nil || e.State != "answered" {
		t.Errorf("the victim's execution is %v, want it answered still", e)
	}
	if n := len(d.Tasks[0].Executions); n != 2 {
		t.Errorf("the task had %d executions, want the victim's and its check", n)
	}
}

// A provider is killed while its output is being fetched: another one that gave
// the same answer gives the output too.
func TestAProviderIsKilledWhileUploading(t *testing.T) {
	m := newMesh(t)
	victim := m.provider("victim")
	me := m.requester("me")
	me.knows(victim)
	w := me.watch(me.submit(m.notHere(guest(t, "torrent"))))
	before := w.until("answered by the victim", func(d *api.DescribeJobResponse) bool {
		return len(executions(d, "answered", victim.id)) > 0
	})
	output := executions(before, "answered", victim.id)[0].Output
	if !poll(eventLimit, func() bool { return me.fetched() > 1<<20 }) {
		t.Fatal("nothing is being fetched")
	}
	victim.kill()
	some := me.fetched()
	resp, err := me.api().StatBlob(context.Background(), connect.NewRequest(&api.StatBlobRequest{Cid: output}))
	if err == nil && resp.Msg.Complete {
		t.Fatalf("the output was here already when the kill landed: %d bytes had come", some)
	}
	t.Logf("killed after %d bytes had come", some)
	m.provider("p1")
	m.provider("p2")
	d := w.completed()
	if got := len(me.logs(d.Job.Id, 0)); got != 96<<20 {
		t.Errorf("the task printed %d bytes, want %d", got, 96<<20)
	}
}

// fetched is how many bytes came over this node's network.
func (d *daemon) fetched() uint64 {
	d.t.Helper()
	resp, err := d.api().Status(context.Background(), connect.NewRequest(&api.StatusRequest{}))
	if err != nil {
		d.t.Fatal(err)
	}
	return resp.Msg.Counters["net.bytes_in"]
}

// A requester that stops in the middle of a job, in good order or not, takes it
// up again, and does not run again what was settled.
func TestARequesterTakesItsJobUpAgain(t *testing.T) {
	for _, how := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		t.Run(fmt.Sprint(how), func(t *testing.T) { takesUp(t, how) })
	}
}

func takesUp(t *testing.T, how os.Signal) {
	const tasks = 12
	m := newMesh(t)
	p1, p2 := m.provider("p1"), m.provider("p2")
	slow := m.node("slow", gated)
	me := m.requester("me")
	me.knows(p1, p2, slow)
	w := me.watch(me.submit("-n", fmt.Sprint(tasks), "--confidence", "0.7", guest(t, "environ")))
	before := w.until("half done", func(d *api.DescribeJobResponse) bool {
		return d.Job.Verified > 0 && len(executions(d, "running", slow.id)) > 0
	})
	me.stop(how)
	slow.release()
	done := lent(p1).TasksDone + lent(p2).TasksDone
	me = me.home.start("--role", "requester")
	w.h = me.home
	d := w.completed()
	isRight(t, me, d)
	if d.Job.Verified != tasks {
		t.Errorf("%d of %d tasks verified", d.Job.Verified, tasks)
	}
	for i, was := range before.Tasks {
		if was.State != "verified" {
			continue
		}
		if now := d.Tasks[i]; len(now.Executions) != len(was.Executions) || now.Executions[0].Id != was.Executions[0].Id {
			t.Errorf("task %d was settled before the stop, and ran again:\n%v\n%v", i, was, now)
		}
	}
	ran := lent(p1).TasksDone + lent(p2).TasksDone - done
	if open := tasks - int(before.Job.Verified); ran > 2*open {
		t.Errorf("%d executions after the restart for %d open tasks", ran, open)
	}
}
