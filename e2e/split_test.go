package e2e

import (
	"crypto/rand"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/mustermesh/muster/node/api"
)

// The network is split in the middle of a job, with providers on both sides, for
// longer than either end of a lease waits for the other. What is finished on the
// far side meanwhile counts when the sides meet again.
func TestASplitNetworkHeals(t *testing.T) {
	t.Parallel()
	apart := length(t, "MUSTER_E2E_SPLIT", 20*time.Second, time.Minute)
	m := emptyMesh(t)
	n := newNetwork(t)
	m.boot = n.launch(m, "boot", n.left, "--role", "bootstrap")
	near := n.launch(m, "near", n.left, "--role", "provider")
	far := []*daemon{n.gated(m, "far1", n.right), n.gated(m, "far2", n.right)}
	me := n.launch(m, "me", n.left, "--role", "requester")
	me.knows(near, far[0], far[1])

	w := me.watch(me.submit("-n", "8", m.notHere(guest(t, "environ"))))
	before := w.until("running on the far side", func(d *api.DescribeJobResponse) bool {
		return len(executions(d, "running", far[0].id)) > 0 && len(executions(d, "running", far[1].id)) > 0
	})
	n.split()
	for _, p := range far {
		p.release()
	}
	for _, p := range far {
		if !poll(eventLimit, func() bool { l := lent(p); return l.SlotsBusy == 0 && l.TasksDone > 0 }) {
			t.Fatalf("%s does not go on during the split: %+v", p.name, lent(p))
		}
	}
	pass(apart)
	n.heal()
	healed := time.Now()
	d := w.completed()
	t.Logf("completed %s after the network healed", time.Since(healed).Round(10*time.Millisecond))
	isRight(t, me, d)
	used, all := 0, 0
	for _, p := range far {
		for _, e := range executions(before, "running", p.id) {
			all++
			if x := find(d, e.Id); x != nil && x.State == "answered" {
				used++
			}
		}
	}
	t.Logf("of %d executions that were under way on the far side, %d count", all, used)
	if used == 0 {
		t.Errorf("nothing that was done on the far side counts:\n%v", d.Tasks)
	}
}

// A network is two sides, each a network namespace, and the bridge between them.
type network struct {
	t           *testing.T
	left, right side
	hub         string
}

type side struct{ ns, addr string }

// newNetwork makes namespaces of this test's own, and removes them at its end.
func newNetwork(t *testing.T) *network {
	t.Helper()
	tag := "muster-" + strings.ToLower(rand.Text()[:6])
	n := &network{t: t, hub: tag + "-hub", left: side{tag + "-l", "10.177.0.1"}, right: side{tag + "-r", "10.177.0.2"}}
	t.Cleanup(func() {
		for _, ns := range []string{n.left.ns, n.right.ns, n.hub} {
			_ = exec.Command("ip", "netns", "del", ns).Run() // where it was made
		}
	})
	lines := []string{"netns add " + n.hub, "-n " + n.hub + " link add bridge type bridge", "-n " + n.hub + " link set bridge up"}
	for i, s := range []side{n.left, n.right} {
		port := fmt.Sprintf("port%d", i)
		lines = append(lines,
			"netns add "+s.ns,
			"link add out netns "+s.ns+" type veth peer name "+port+" netns "+n.hub,
			"-n "+n.hub+" link set "+port+" master bridge up",
			"-n "+s.ns+" addr add "+s.addr+"/24 dev out",
			"-n "+s.ns+" link set out up",
			"-n "+s.ns+" link set lo up")
	}
	for _, line := range lines {
		if out, err := exec.Command("ip", strings.Fields(line)...).CombinedOutput(); err != nil {
			t.Skipf("NOT CHECKED: a split network; that takes Linux, iproute2 and the right to make network namespaces (ip %s: %v: %s)", line, err, out)
		}
	}
	return n
}

func (n *network) ip(line string) {
	n.t.Helper()
	if out, err := exec.Command("ip", strings.Fields(line)...).CombinedOutput(); err != nil {
		n.t.Fatalf("ip %s: %v\n%s", line, err, out)
	}
}

// split drops all that goes between the sides: nobody is told.
func (n *network) split() { n.ip("-n " + n.hub + " link set port1 nomaster") }

func (n *network) heal() { n.ip("-n " + n.hub + " link set port1 master bridge") }

// launch starts a daemon on one side.
func (n *network) launch(m *mesh, name string, s side, args ...string) *daemon {
	n.t.Helper()
	all := append([]string{built.muster, "daemon", "-o", "json", "--cpu", "2", "--slots", "2", "--memory", "4GiB", "--accept-weak-isolation", "--until-eof"}, args...)
	return n.home(m, name, s).launch(n.command(s, all...))
}

// gated starts a gated node on one side.
func (n *network) gated(m *mesh, name string, s side) *daemon {
	n.t.Helper()
	h := n.home(m, name, s)
	h.env = append(h.env, kindVar+"="+gated)
	return h.launch(n.command(s, selfPath(n.t)))
}

func (n *network) home(m *mesh, name string, s side) *home {
	h := m.home(name)
	h.env = []string{"MUSTER_LISTEN=/ip4/" + s.addr + "/tcp/0"}
	return h
}

// command prepares a program on one side; ip becomes that program.
func (n *network) command(s side, args ...string) *exec.Cmd {
	return exec.Command("ip", append([]string{"netns", "exec", s.ns}, args...)...)
}
