package node

import (
	"context"
	"testing"

	"github.com/mustermesh/muster/node/overlay"
	"github.com/mustermesh/muster/proto"
)

// TestAProviderRefusesForTheReasonThatHolds: by lists, price, credit, size,
// executor, and draining.
func TestAProviderRefusesForTheReasonThatHolds(t *testing.T) {
	requester, other := newStranger(t, "x", nil), newStranger(t, "x", nil)
	for _, c := range []struct {
		name   string
		config func(*Config)
		award  func(*proto.Award)
		before func(*running)
		want   proto.Reason
	}{
		{"denied", func(c *Config) { c.Deny = []string{requester.ID().String()} }, nil, nil, proto.ReasonPolicy},
		{"not allowed", func(c *Config) { c.Allow = []string{other.ID().String()} }, nil, nil, proto.ReasonPolicy},
		{"too cheap", func(c *Config) { c.Price = 2 }, func(a *proto.Award) { a.Price = credits(1) }, nil, proto.ReasonPrice},
		{"owes too much", func(c *Config) { c.MaxCredit = 1 }, nil, func(n *running) {
			n.acct.Add(context.Background(), requester.ID(), credits(1), 0)
		}, proto.ReasonCredit},
		{"too much memory", nil, func(a *proto.Award) { a.Program.Resources.Memory = 1 << 40 }, nil, proto.ReasonExecutor},
		{"too much disk", nil, func(a *proto.Award) { a.Program.Resources.Disk = 1 << 45 }, nil, proto.ReasonExecutor},
		{"too many cores", nil, func(a *proto.Award) { a.Program.Resources.CPU = 64_000 }, nil, proto.ReasonCPU},
		{"a GPU", nil, func(a *proto.Award) { a.Program.Resources.GPU = 1 }, nil, proto.ReasonGPU},
		{"another executor", nil, func(a *proto.Award) { a.Program.Executor = "oci" }, nil, proto.ReasonExecutor},
		{"another profile", nil, func(a *proto.Award) { a.Program.Profile = "wasip9/9" }, nil, proto.ReasonExecutor},
		{"draining", nil, nil, func(n *running) {
			n.provider.Drain(true)
		}, proto.ReasonDraining},
	} {
		cfg := testConfig(t, "x")
		if c.config != nil {
			c.config(&cfg)
		}
		n := startNode(t, cfg)
		if c.before != nil {
			c.before(n)
		}
		requester.meets(t, n)
		a := requester.award(t, "noop")
		if c.award != nil {
			c.award(&a)
		}
		s := requester.opens(t, n, proto.Frame{Award: &proto.AwardFrame{Award: requester.seal(proto.PurposeAward, n.Self, a.Marshal())}}.Marshal())
		f, err := overlay.RecvFrame(s)
		if err != nil || f.Reply == nil || f.Reply.Accepted || f.Reply.Reason != c.want || f.Reply.Detail == "" {
			t.Errorf("%s: %+v (%v), want declined: %s, and why", c.name, f.Reply, err, c.want)
		}
		if got := n.provider.Stats().Refusals[c.want]; got != 1 || n.struck() != 0 {
			t.Errorf("%s: %d refusals counted and %d breaches, want 1 and 0", c.name, got, n.struck())
		}
		n.stop()
	}
}
