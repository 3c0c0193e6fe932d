package e2e

import (
	"bytes"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/mustermesh/muster/node/api"
)

// A grown text is being written by a process.
type grown struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

func (g *grown) Write(p []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.b.Write(p)
}

func (g *grown) String() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.b.String()
}

// `muster job logs -f` shows a task's output to its end, each line once, though
// its provider is killed and started again, and then the requester's daemon too.
func TestLogsAreFollowedAcrossRestarts(t *testing.T) {
	m := newMesh(t)
	p := m.provider("p")
	me := m.requester("me")
	me.knows(p)
	const steps = "300"
	job := me.submit("--confidence", "0", "--timeout", "3m", guest(t, "progress"), "--", "-steps="+steps, "-work=25")
	var out, notes grown
	cmd := exec.Command(built.muster, "job", "logs", job, "-f", "--task", "0")
	cmd.Env, cmd.Dir, cmd.Stdout, cmd.Stderr = me.environ(), m.dir, &out, &notes
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	over := make(chan error, 1)
	go func() { over <- cmd.Wait() }() // ends with the command, which the test awaits or kills
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	shows := func(what string, lines int) {
		t.Helper()
		if !poll(eventLimit, func() bool { return strings.Count(out.String(), "\n") >= lines }) {
			t.Fatalf("%s: nothing is shown:\n%s\n%s", what, out.String(), notes.String())
		}
	}
	shows("at first", 1)
	p.stop(syscall.SIGKILL)
	before := strings.Count(out.String(), "\n")
	p.home.start("--role", "provider")
	shows("after the provider's restart", before+1)
	before = strings.Count(out.String(), "\n")
	me.stop(syscall.SIGKILL)
	me = me.home.start("--role", "requester")
	shows("after the requester's restart", before+1)
	w := me.watch(job)
	w.until("completed", func(d *api.DescribeJobResponse) bool { return d.Job.State == "completed" })
	if err := <-over; err != nil {
		t.Fatalf("job logs: %v\n%s", err, notes.String())
	}
	if got, want := out.String(), me.logs(job, 0); got != want || !strings.HasPrefix(want, "step 1 of "+steps+"\n") {
		t.Errorf("what was followed is not the verified output:\n%s\n%s\nwant:\n%s", got, notes.String(), want)
	}
}
