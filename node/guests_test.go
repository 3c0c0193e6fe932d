package node

import (
	"testing"

	"connectrpc.com/connect"

	"github.com/mustermesh/muster/node/api"
)

// runTwice runs a guest here and on a provider, and gives both tasks.
func runTwice(t *testing.T, job *api.Job) (local, remote *api.Task, state string) {
	t.Helper()
	network := randomNetwork()
	provider, second := startNode(t, testConfig(t, network)), startNode(t, testConfig(t, network))
	cfg := testConfig(t, network)
	cfg.Roles, cfg.Bootstrap = []string{RoleRequester}, []string{provider.info.Addrs[0], second.info.Addrs[0]}
	n := startNode(t, cfg)
	own := submit(t, n.node, &api.SubmitJobRequest{Job: job, Local: true})
	other := submit(t, n.node, &api.SubmitJobRequest{Job: job})
	a, b := ends(t, own), ends(t, other)
	if a.State != b.State {
		t.Errorf("locally %s (%s), on a provider %s (%s); want the same", a.State, a.Reason, b.State, b.Reason)
	}
	eventually(t, "the provider's slots are free", func() bool { return provider.busy()+second.busy() == 0 })
	if st := n.ledger.Standing(n.Now(), provider.Self); st.Lies != 0 {
		t.Errorf("the provider is blamed for %d lies", st.Lies)
	}
	stillServes(t, provider)
	return settledTask(t, own, 0), settledTask(t, other, 0), b.State
}

// TestGuestsThatGoWrongAreBoundedAndLeaveTheNodeWell: the same result here and
// on a provider, and the node goes on.
func TestGuestsThatGoWrongAreBoundedAndLeaveTheNodeWell(t *testing.T) {
	for _, c := range []struct {
		name, guest string
		args        []string
		outcome     string
		code        uint32
		trap        string
	}{
		{"allocates without end", "grow", nil, "exited", 256, ""}, // 16 MiB of pages
		{"prints without end", "flood", nil, "exited", 51, ""},    // no space, at the quota
		{"writes without end", "fill", nil, "exited", 51, ""},
		{"recurses without end", "trap", make([]string, 7), "trapped", 0, "stack overflow"},
		{"traps", "trap", nil, "trapped", 0, "unreachable"},
		{"wants more memory than it gets", "wide", nil, "exited", 0, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			job := small(t, c.guest)
			job.Program.Args, job.Outputs = c.args, []string{"/out"}
			local, remote, _ := runTwice(t, job)
			for where, task := range map[string]*api.Task{"locally": local, "on a provider": remote} {
				if task.Outcome != c.outcome || task.ExitCode != c.code || task.Trap != c.trap {
					t.Errorf("%s: %s %d %q, want %s %d %q", where, task.Outcome, task.ExitCode, task.Trap, c.outcome, c.code, c.trap)
				}
			}
			if local.Output != remote.Output {
				t.Errorf("two outputs: %s and %s", local.Output, remote.Output)
			}
		})
	}
}

func TestAGuestThatLoopsForEverTimesOut(t *testing.T) {
	job := small(t, "spin")
	job.TimeoutMs = 300
	local, remote, state := runTwice(t, job)
	if state != "failed" || local.State != "failed" || remote.State != "failed" {
		t.Errorf("job %s, tasks %s and %s; want all failed", state, local.State, remote.State)
	}
}

// TestALocalRunNeedsNoNetwork: a node that was opened for reading can do it.
func TestALocalRunNeedsNoNetwork(t *testing.T) {
	c, err := dial(t, testConfig(t, randomNetwork()), ReadOnly)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	stream, err := c.API.SubmitJob(testContext(t), connect.NewRequest(&api.SubmitJobRequest{Job: small(t, "noop"), Local: true}))
	if err != nil {
		t.Fatal(err)
	}
	id := ""
	for stream.Receive() {
		id = stream.Msg().Job
	}
	if stream.Err() != nil {
		t.Fatal(stream.Err())
	}
	watch, err := c.API.WatchJob(testContext(t), connect.NewRequest(&api.WatchJobRequest{Job: id}))
	if err != nil {
		t.Fatal(err)
	}
	state := ""
	for watch.Receive() {
		state = watch.Msg().Job.State
	}
	if watch.Err() != nil || state != "completed" {
		t.Errorf("state %s (%v), want completed", state, watch.Err())
	}
}
