package e2e

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/mustermesh/muster/node/api"
)

// length gives how long something is to last: briefly, or as an environment
// variable says; the long variant is said loudly not to have run.
func length(t *testing.T, variable string, brief, long time.Duration) time.Duration {
	t.Helper()
	v := os.Getenv(variable)
	if v == "" {
		t.Logf("NOT CHECKED: %s instead of %s alone; %s=%s would", brief, long, variable, long)
		return brief
	}
	d, err := time.ParseDuration(v)
	if err != nil {
		t.Fatalf("%s: %v", variable, err)
	}
	return d
}

// pass lets time pass during which nothing can happen: its passing is what is
// tested.
func pass(d time.Duration) { <-time.After(d) }

// A requester is gone for longer than either end of a lease waits for the other.
// What its providers finished meanwhile is what the job is made of.
func TestExecutionsGoOnWithoutTheirRequester(t *testing.T) {
	t.Parallel()
	const tasks = 6
	away := length(t, "MUSTER_E2E_AWAY", 20*time.Second, 2*time.Minute)
	m := newMesh(t)
	var providers []*daemon
	for _, name := range []string{"p1", "p2", "p3"} {
		providers = append(providers, m.node(name, gated))
	}
	me := m.requester("me")
	me.knows(providers...)
	w := me.watch(me.submit("-n", fmt.Sprint(tasks), "--confidence", "0.7", guest(t, "environ")))
	before := w.until("running everywhere", func(d *api.DescribeJobResponse) bool {
		return len(executions(d, "running", "")) == 6 // two slots each
	})
	me.kill()
	for _, p := range providers {
		p.release()
	}
	for _, p := range providers {
		if !poll(eventLimit, func() bool { l := lent(p); return l.SlotsBusy == 0 && l.Queued == 0 && l.TasksDone >= 2 }) {
			t.Fatalf("%s does not go on without its requester: %+v", p.name, lent(p))
		}
	}
	pass(away)
	me = me.home.start("--role", "requester")
	w.h = me.home
	d := w.completed()
	t.Logf("completed %s after the requester was back", time.Since(me.ready).Round(10*time.Millisecond))
	isRight(t, me, d)
	isKept(t, before, d)
	done, answered := 0, 0
	for _, p := range providers {
		done += lent(p).TasksDone
	}
	for _, task := range d.Tasks {
		answered += len(task.Executions)
	}
	if done != answered || answered > 2*tasks+1 {
		t.Errorf("providers finished %d executions, and the job has %d; want the same, and %d of %d tasks", done, answered, 2*tasks, tasks)
	}
}

// isKept: what ran at the time before has given its answer now.
func isKept(t *testing.T, before, now *api.DescribeJobResponse) {
	t.Helper()
	for _, e := range executions(before, "running", "") {
		if x := find(now, e.Id); x == nil || x.State != "answered" {
			t.Errorf("execution %s ran when the requester was lost, and is %v now, want it answered", e.Id, x)
		}
	}
}

// A provider crashes in mid-task and is back at once: it does again what it had
// begun, or says that it is lost, and the job ends well.
func TestAProviderIsKilledAndBackAtOnce(t *testing.T) {
	m := newMesh(t)
	m.provider("p1")
	victim := m.node("victim", gated)
	me := m.requester("me")
	me.knows(victim)
	w := me.watch(me.submit("-n", "4", "--confidence", "0.7", guest(t, "environ")))
	before := w.until("running at the victim", func(d *api.DescribeJobResponse) bool {
		return len(executions(d, "running", victim.id)) > 0
	})
	victim.kill()
	victim = victim.again()
	victim.release()
	d := w.completed()
	t.Logf("completed %s after the provider was back", time.Since(victim.ready).Round(10*time.Millisecond))
	isRight(t, me, d)
	isToldOf(t, before, d, victim)
}

// isToldOf: of what ran at a node that crashed, each execution was done again or
// is lost, with a reason.
func isToldOf(t *testing.T, before, now *api.DescribeJobResponse, victim *daemon) {
	t.Helper()
	states := map[string]int{}
	for _, e := range executions(before, "running", victim.id) {
		x := find(now, e.Id)
		switch {
		case x == nil:
			t.Errorf("execution %s, which ran at the victim, is not known any more", e.Id)
			continue
		case x.State == "answered", x.State == "cancelled":
		case (x.State == "lost" || x.State == "failed") && x.Reason != "":
		default:
			t.Errorf("execution %s, which ran at the victim, is %s (%q)", e.Id, x.State, x.Reason)
		}
		states[strings.TrimSpace(x.State+" "+x.Reason)]++
	}
	t.Logf("of what ran at the victim when it crashed: %v", states)
}

// Requester and provider crash together in the middle of a job.
func TestBothEndsOfALeaseAreKilled(t *testing.T) {
	m := newMesh(t)
	m.provider("p1")
	victim := m.node("victim", gated)
	me := m.requester("me")
	me.knows(victim)
	w := me.watch(me.submit("-n", "6", "--confidence", "0.7", guest(t, "environ")))
	before := w.until("running at the victim", func(d *api.DescribeJobResponse) bool {
		return len(executions(d, "running", victim.id)) > 0
	})
	if err := victim.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	me.kill()
	<-victim.done
	me = me.home.start("--role", "requester")
	victim = victim.again()
	victim.release()
	w.h = me.home
	d := w.completed()
	t.Logf("completed %s after both were back", time.Since(victim.ready).Round(10*time.Millisecond))
	isRight(t, me, d)
	isToldOf(t, before, d, victim)
}
