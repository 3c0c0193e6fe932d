package e2e

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"syscall"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/mustermesh/muster/node/api"
)

// One provider of five stops in mid-job, and says nothing of it: the job does not
// wait for it, and what that costs is bounded.
func TestAJobDoesNotWaitForAStraggler(t *testing.T) {
	const tasks = 40
	m := newMesh(t)
	var providers []*daemon
	for i := range 5 {
		providers = append(providers, m.provider(fmt.Sprintf("p%d", i+1)))
	}
	me := m.requester("me")
	me.knows(providers...)
	args := []string{"-n", fmt.Sprint(tasks), "--confidence", "0", guest(t, "busy")}
	calm := me.watch(me.submit(args...)).completed()

	w := me.watch(me.submit(args...))
	victim := providers[2]
	before := w.until("a quarter done, and running at the victim", func(d *api.DescribeJobResponse) bool {
		return d.Job.Accepted+d.Job.Verified > tasks/4 && len(executions(d, "running", victim.id)) > 0
	})
	if err := victim.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = victim.cmd.Process.Signal(syscall.SIGCONT) }) // else it could not end
	d := w.completed()
	if err := victim.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	took, usual := lasted(d), lasted(calm)
	t.Logf("%d tasks took %s, and %s with a provider stopped after %d; p99 of a task %s and %s; %d hedges",
		tasks, usual, took, before.Job.Accepted+before.Job.Verified, p99(calm), p99(d), d.Job.Hedges)
	if limit := 3*usual + 8*time.Second; took > limit {
		t.Errorf("with a straggler the job took %s, without %s; want %s at most", took, usual, limit)
	}
	total, stuck, unbegun := 0, 0, 0
	for _, task := range d.Tasks {
		total += len(task.Executions)
		for _, e := range task.Executions {
			if e.Peer == victim.id && e.State != "answered" {
				stuck++
				if e.StartedMs == 0 {
					unbegun++
				}
			}
		}
	}
	t.Logf("%d executions stayed at the stopped provider, %d of which it had not begun", stuck, unbegun)
	if most := total*12/100 + 8; int(d.Job.Hedges) > most {
		t.Errorf("%d hedges of %d executions, want %d at most", d.Job.Hedges, total, most)
	}
	if len(executions(d, "running", "")) > 0 {
		t.Errorf("the job is over, and executions are running:\n%v", executions(d, "running", ""))
	}
}

func lasted(d *api.DescribeJobResponse) time.Duration {
	return time.Duration(d.Job.EndedMs-d.Job.SubmittedMs) * time.Millisecond
}

// p99 gives the time within which 99 of 100 tasks were done, from the first
// execution's beginning to the last's end.
func p99(d *api.DescribeJobResponse) time.Duration {
	var all []time.Duration
	for _, t := range d.Tasks {
		var first, last int64
		for _, e := range t.Executions {
			if began := cmp.Or(e.CreatedMs, e.StartedMs); began > 0 && (first == 0 || began < first) {
				first = began
			}
			last = max(last, e.EndedMs)
		}
		all = append(all, time.Duration(last-first)*time.Millisecond)
	}
	slices.Sort(all)
	return all[len(all)*99/100]
}

// A cancelled job stops at once wherever it runs or waits, guests that never end
// included.
func TestCancellingFreesTheProvidersAtOnce(t *testing.T) {
	m := newMesh(t)
	p := m.provider("p1")
	var jobs []string
	all := []*daemon{m.requester("me"), m.requester("you")}
	for i, r := range all { // the second's tasks wait for the first's slots
		r.knows(p)
		jobs = append(jobs, r.submit("-n", "4", "--confidence", "0", "--timeout", "10m", guest(t, "forever")))
		if !poll(eventLimit, func() bool { l := lent(p); return l.SlotsBusy == 2 && (i == 0 || l.Queued > 0) }) {
			t.Fatalf("the provider is not busy with tasks waiting: %+v", lent(p))
		}
	}
	slices.Reverse(all)
	slices.Reverse(jobs) // those that wait first, so that none begins
	began := time.Now()
	for i, r := range all {
		if _, err := r.api().CancelJob(context.Background(), connect.NewRequest(&api.CancelJobRequest{Job: jobs[i]})); err != nil {
			t.Fatal(err)
		}
	}
	client := p.api()
	var last *api.ProviderStatusResponse
	free := poll(stopLimit, func() bool {
		resp, err := client.ProviderStatus(context.Background(), connect.NewRequest(&api.ProviderStatusRequest{}))
		if err != nil {
			t.Fatal(err)
		}
		last = resp.Msg
		return last.SlotsBusy == 0 && last.Queued == 0
	})
	took := time.Since(began)
	t.Logf("two jobs were cancelled and their provider free after %s", took.Round(time.Millisecond))
	if !free || took > time.Second {
		t.Errorf("after %s the provider has %d busy slots and %d tasks that wait, want none within a second", took, last.SlotsBusy, last.Queued)
	}
	for i, r := range all {
		if d := r.described(jobs[i]); d.Job.State != "cancelled" {
			t.Errorf("the job is %s, want cancelled", d.Job.State)
		}
	}
	if !poll(stopLimit, func() bool { return lent(p).Leases == 0 }) {
		t.Errorf("the provider still has %d leases", lent(p).Leases)
	}
}
