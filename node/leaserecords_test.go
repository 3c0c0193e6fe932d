package node

import (
	"errors"
	"io"
	"testing"

	"github.com/mustermesh/muster/internal/store"
	"github.com/mustermesh/muster/node/overlay"
	"github.com/mustermesh/muster/proto"
)

// lent counts the records of leases that this node lent, and of their executions.
func (n *running) lent(t testing.TB) (count int) {
	t.Helper()
	if err := n.db.Scan([]byte("e/"), func(_, _ []byte) error { count++; return nil }); err != nil {
		t.Fatal(err)
	}
	return count
}

// A requester that takes its lease up again and no longer wants what waits, then
// lets it go: nothing is left on record.
func TestALeaseThatIsOverLeavesNoRecord(t *testing.T) {
	n := startNode(t, testConfig(t, randomNetwork()))
	e := newStranger(t, n.Network, nil).meets(t, n)
	a := e.award(t, "spin")
	s := e.leases(t, n, a, assignment(1), assignment(2), assignment(3))
	frameOf(t, s, isStarted)
	frameOf(t, s, isStarted)
	if got := n.lent(t); got != 4 {
		t.Errorf("%d records, want the lease and its three executions", got)
	}
	again := e.opens(t, n, proto.Frame{Attach: &proto.Attach{Lease: a.Lease, Epoch: a.Epoch}}.Marshal())
	if f, err := overlay.RecvFrame(again); err != nil || f.Reply == nil || !f.Reply.Accepted {
		t.Fatalf("reply: %+v, err %v, want accepted", f.Reply, err)
	}
	if err := again.Send(proto.Frame{Release: true}.Marshal()); err != nil {
		t.Fatal(err)
	}
	for err := error(nil); err == nil; { // what was on its way may come before
		if _, err = overlay.RecvFrame(again); err != nil && !errors.Is(err, io.EOF) {
			t.Errorf("the stream of the lease ends with %v", err)
		}
	}
	if got := n.lent(t); got != 0 { // the end of the stream says so
		t.Errorf("%d records are left, want none", got)
	}
}

// A crash may come between the removal of a lease's record and those of its
// executions: the next run removes them.
func TestRecordsWithoutTheirLeaseAreRemoved(t *testing.T) {
	cfg := testConfig(t, randomNetwork())
	n := startNode(t, cfg)
	key := append([]byte("e/"), make([]byte, len(proto.PeerID{})+len(proto.LeaseID{})+len(proto.ExecutionID{}))...)
	var b store.Batch
	b.Put(key, []byte{1, 0, 0})
	if err := n.db.Commit(t.Context(), &b, store.Durable); err != nil {
		t.Fatal(err)
	}
	n.stop()
	n = startNode(t, cfg)
	n.provider.Sweep(t.Context())
	if got := n.lent(t); got != 0 {
		t.Errorf("%d records are left, want none", got)
	}
}
