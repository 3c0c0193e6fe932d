package node

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/mustermesh/muster/internal/content"
	"github.com/mustermesh/muster/internal/store"
	"github.com/mustermesh/muster/node/api"
	"github.com/mustermesh/muster/node/requester"
	"github.com/mustermesh/muster/node/sandbox"
	"github.com/mustermesh/muster/proto"
)

func TestTwoNodesNeverShareAHome(t *testing.T) {
	cfg := testConfig(t, randomNetwork())
	startNode(t, cfg)
	err := Run(testContext(t), cfg, testLog(t), Parts{})
	var locked *store.LockedError
	if !errors.As(err, &locked) || locked.PID != os.Getpid() || !strings.Contains(err.Error(), fmt.Sprintf("pid %d", os.Getpid())) {
		t.Errorf("second node: %v, want refused, naming pid %d", err, os.Getpid())
	}
}

func TestADatabaseThatCannotBeReadIsRefusedInClearWords(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(home string) error
		want  error
	}{
		{"a newer one", func(h string) error { return os.WriteFile(h+"/db/FORMAT", []byte("muster-store 99\n"), 0o600) }, store.ErrNewer},
		{"newer content", func(h string) error { return os.WriteFile(h+"/content/FORMAT", []byte("muster-content 99\n"), 0o600) }, content.ErrNewer},
		{"garbage", func(h string) error {
			return os.WriteFile(h+"/db/MANIFEST", []byte(strings.Repeat("garbage", 99)), 0o600)
		}, store.ErrDamaged},
	} {
		cfg := testConfig(t, randomNetwork())
		startNode(t, cfg).stop()
		if err := c.spoil(cfg.Home); err != nil {
			t.Fatal(err)
		}
		_, _, err := open(t.Context(), cfg, testLog(t), Parts{}, true)
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}

func put(t testing.TB, db *store.DB, key []byte, v any) {
	t.Helper()
	j, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var b store.Batch
	b.Put(key, j)
	if err := db.Commit(t.Context(), &b, store.Durable); err != nil {
		t.Fatal(err)
	}
}

// keyOfJob is a key of a job's records. docs/storage.md.
func keyOfJob(id proto.JobID, rest string) []byte {
	return append(append([]byte("j/"), id[:]...), rest...)
}

// specRoot gives the content id under which a job's signed specification lies.
func specRoot(t testing.TB, n *running, j *requester.Job) proto.CID {
	t.Helper()
	b, err := n.db.Get(keyOfJob(j.ID(), "/job"))
	if err != nil {
		t.Fatal(err)
	}
	var r struct {
		Spec proto.CID `json:"spec"`
	}
	if err := json.Unmarshal(b, &r); err != nil || r.Spec.IsZero() {
		t.Fatalf("record %s: %v", b, err)
	}
	return r.Spec
}

func TestAJobRecordOfANewerVersionIsRefused(t *testing.T) {
	cfg := testConfig(t, randomNetwork())
	n := startNode(t, cfg)
	put(t, n.db, keyOfJob(proto.JobID{1}, "/job"), map[string]any{"version": 2})
	n.stop()
	if _, _, err := open(t.Context(), cfg, testLog(t), Parts{}, true); !errors.Is(err, requester.ErrNewer) {
		t.Errorf("%v, want %v", err, requester.ErrNewer)
	}
}

func TestAProgressRecordOfANewerVersionIsRefused(t *testing.T) {
	cfg := testConfig(t, randomNetwork())
	n := startNode(t, cfg)
	j := submit(t, n.node, &api.SubmitJobRequest{Job: small(t, "noop"), Local: true})
	ends(t, j)
	put(t, n.db, keyOfJob(j.ID(), "/progress"), map[string]any{"version": 2})
	n.stop()
	if _, _, err := open(t.Context(), cfg, testLog(t), Parts{}, true); !errors.Is(err, requester.ErrNewer) {
		t.Errorf("%v, want %v", err, requester.ErrNewer)
	}
}

// TestAJobOfAnotherVersionsRulesIsLeftOut: it does not keep a node from starting,
// nor the other jobs from going on.
func TestAJobOfAnotherVersionsRulesIsLeftOut(t *testing.T) {
	cfg := testConfig(t, randomNetwork())
	n := startNode(t, cfg)
	j := submit(t, n.node, &api.SubmitJobRequest{Job: small(t, "noop"), Local: true})
	ends(t, j)
	old := j.Specification()
	old.Program.Fuel, old.Program.Profile = 0, "wasip1/0"
	envelope, id := n.SignSpecification(old)
	kept, err := n.content.AddReader(t.Context(), bytes.NewReader(envelope))
	if err != nil {
		t.Fatal(err)
	}
	if err := n.content.Pin(t.Context(), kept.CID, "test"); err != nil {
		t.Fatal(err)
	}
	if err := n.content.FlushFiles(t.Context()); err != nil {
		t.Fatal(err)
	}
	put(t, n.db, keyOfJob(id, "/job"), map[string]any{"version": 1, "spec": kept.CID, "local": true})
	put(t, n.db, keyOfJob(id, "/progress"), map[string]any{"version": 1})
	n.stop()
	again := startNode(t, cfg)
	if jobs := again.requester.List(); len(jobs) != 1 || jobs[0].ID() != j.ID() {
		t.Errorf("%d jobs, want the one that this version reads", len(jobs))
	}
}

// TestAJobIsOnDiskBeforeItsIdIsGiven: what was submitted survives a node that
// never ran again.
func TestAJobIsOnDiskBeforeItsIdIsGiven(t *testing.T) {
	cfg := testConfig(t, randomNetwork())
	n, closeNode, err := open(t.Context(), cfg, testLog(t), Parts{}, true) // never served
	if err != nil {
		t.Fatal(err)
	}
	j := submit(t, n, &api.SubmitJobRequest{Job: small(t, "noop"), Local: true})
	for _, rest := range []string{"/job", "/progress"} {
		if _, err := n.db.Get(keyOfJob(j.ID(), rest)); err != nil {
			t.Fatalf("record %s: %v", rest, err)
		}
	}
	closeNode()
	again := startNode(t, cfg)
	resumed, err := again.requester.Find(j.ID().String())
	if err != nil {
		t.Fatal(err)
	}
	if s := ends(t, resumed); s.State != "completed" || s.Verified != 1 {
		t.Errorf("resumed: %s (%s), %d verified; want completed, 1", s.State, s.Reason, s.Verified)
	}
}

func TestARestartResumesAJobAndKeepsItsSettledTasks(t *testing.T) {
	network := randomNetwork()
	cfg := testConfig(t, network)
	cfg.Roles = []string{RoleRequester}
	n := startNode(t, cfg)
	l := newLender(t, n)
	req := unchecked(t)
	req.Job.Count = 2
	j := submit(t, n.node, req)
	l.bids(t, n, j)
	o := l.next(t).accepts(t)
	a, blocks := l.answer(t, n, o)
	o.says(t, l.sealed(n, a, blocks...))
	eventually(t, "one task is settled", func() bool { return j.Summary().Accepted == 1 })
	eventually(t, "and written", func() bool {
		_, err := n.db.Get(keyOfJob(j.ID(), fmt.Sprintf("/t/0/%08d", o.tasks[0].Task.Index)))
		return err == nil
	})
	n.stop()

	n = startNode(t, cfg)
	again, err := n.requester.Find(j.ID().String())
	if err != nil || again.Ended() {
		t.Fatalf("after the restart: %v, ended %v", err, err == nil && again.Ended())
	}
	eventually(t, "the settled task counts", func() bool { return again.Summary().Accepted == 1 })
	l = newLender(t, n)
	l.bids(t, n, again)
	o = l.next(t).accepts(t)
	if len(o.tasks) != 1 {
		t.Errorf("%d tasks are given out again, want the one that is open", len(o.tasks))
	}
	a, blocks = l.answer(t, n, o)
	o.says(t, l.sealed(n, a, blocks...))
	if s := ends(t, again); s.State != "completed" || s.Accepted != 2 {
		t.Errorf("%s: %d accepted; want completed, 2", s.State, s.Accepted)
	}
}

// TestPinsOfARunThatIsGoneAreLetGo: those that nobody would ever unpin. Outputs
// that are kept for others have a record of the lease that they are of, see
// TestAResultOutlivesTheRunThatMadeIt.
func TestPinsOfARunThatIsGoneAreLetGo(t *testing.T) {
	cfg := testConfig(t, randomNetwork())
	n := startNode(t, cfg)
	for _, tag := range []string{"import:1", sandbox.ResultTag(n.Self, proto.ExecutionID{1}), sandbox.ResultTag(proto.PeerID{1}, proto.ExecutionID{2}), sandbox.JobTag(n.Self, proto.JobID{1})} {
		if err := n.content.Pin(t.Context(), proto.RawCID([]byte(tag)), tag); err != nil {
			t.Fatal(err)
		}
	}
	n.stop()
	n = startNode(t, cfg)
	if got := n.pins(t, "import:"); len(got) != 0 {
		t.Errorf("pins of an import that never ended: %v", got)
	}
	if got := n.pins(t, "result:"+n.Self.String()); len(got) != 0 {
		t.Errorf("pins of own runs that ended: %v", got)
	}
	if got := n.pins(t, "job:"); len(got) != 1 {
		t.Errorf("pins of jobs: %v, want the one", got)
	}
	if got := n.pins(t, "result:"); len(got) != 0 {
		t.Errorf("outputs that no record says are kept: %v", got)
	}
}

// TestAResultOutlivesTheRunThatMadeIt: until its requester's grace is over.
func TestAResultOutlivesTheRunThatMadeIt(t *testing.T) {
	cfg := testConfig(t, randomNetwork())
	n := startNode(t, cfg)
	e := newStranger(t, n.Network, nil).meets(t, n)
	s := e.leases(t, n, e.award(t, "noop"), assignment(1))
	frameOf(t, s, isAnswer)
	n.stop()
	n = startNode(t, cfg)
	n.provider.Sweep(t.Context())
	if got := n.pins(t, "result:"); len(got) != 1 || n.provider.Stats().Kept != 1 {
		t.Errorf("pinned %v, %d results kept; want the one", got, n.provider.Stats().Kept)
	}
	n.skew.Store(int64(2 * time.Minute))
	eventually(t, "the result is forgotten", func() bool {
		n.provider.Sweep(t.Context())
		return len(n.pins(t, "result:")) == 0 && n.provider.Stats().Kept == 0
	})
}

func TestANodeThatIsToldToEndWhileItBeginsIsNoFailure(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Run(ctx, testConfig(t, randomNetwork()), testLog(t), Parts{}); err != nil {
		t.Errorf("got %v, want nothing: it was asked to", err)
	}
}
