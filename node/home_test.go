package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/mustermesh/muster/internal/content"
	"github.com/mustermesh/muster/internal/store"
	"github.com/mustermesh/muster/node/api"
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

func TestAJobRecordOfANewerVersionIsRefused(t *testing.T) {
	cfg := testConfig(t, randomNetwork())
	n := startNode(t, cfg)
	put(t, n.db, jobKey(proto.JobID{1}, "/job"), jobRecord{Version: recordVersion + 1})
	n.stop()
	if _, _, err := open(t.Context(), cfg, testLog(t), Parts{}, true); !errors.Is(err, errNewerRecord) {
		t.Errorf("%v, want %v", err, errNewerRecord)
	}
}

func TestAProgressRecordOfANewerVersionIsRefused(t *testing.T) {
	cfg := testConfig(t, randomNetwork())
	n := startNode(t, cfg)
	j := submit(t, n.node, &api.SubmitJobRequest{Job: small(t, "noop"), Local: true})
	ends(t, j)
	p := j.snapshot()
	p.Version = recordVersion + 1
	put(t, n.db, jobKey(j.id, "/progress"), p)
	n.stop()
	if _, _, err := open(t.Context(), cfg, testLog(t), Parts{}, true); !errors.Is(err, errNewerRecord) {
		t.Errorf("%v, want %v", err, errNewerRecord)
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
	records, err := loadJobs(n.db)
	if err != nil || len(records) != 1 || len(records[0].progress.History) != 1 {
		t.Fatalf("%d records (%v), want one with its history", len(records), err)
	}
	closeNode()
	again := startNode(t, cfg)
	resumed, err := again.requester.find(j.id.String())
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
	eventually(t, "one task is settled", func() bool { return j.summary().Accepted == 1 })
	eventually(t, "and written", func() bool {
		v, ok, err := loadTask(n.db, j.id, phaseTasks, o.tasks[0].Task.Index)
		return err == nil && ok && v.Settlement != nil
	})
	n.stop()

	n = startNode(t, cfg)
	again, err := n.requester.find(j.id.String())
	if err != nil || again.ended() {
		t.Fatalf("after the restart: %v, ended %v", err, err == nil && again.ended())
	}
	eventually(t, "the settled task counts", func() bool { return again.summary().Accepted == 1 })
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

// TestPinsOfARunThatIsGoneAreLetGo: those that nobody would ever unpin.
func TestPinsOfARunThatIsGoneAreLetGo(t *testing.T) {
	cfg := testConfig(t, randomNetwork())
	n := startNode(t, cfg)
	for _, tag := range []string{"import:1", resultTag(n.self, proto.ExecutionID{1}), resultTag(proto.PeerID{1}, proto.ExecutionID{2}), jobTag(n.self, proto.JobID{1})} {
		if err := n.content.Pin(t.Context(), proto.RawCID([]byte(tag)), tag); err != nil {
			t.Fatal(err)
		}
	}
	n.stop()
	n = startNode(t, cfg)
	if got := n.pins(t, "import:"); len(got) != 0 {
		t.Errorf("pins of an import that never ended: %v", got)
	}
	if got := n.pins(t, "result:"+n.self.String()); len(got) != 0 {
		t.Errorf("pins of own runs that ended: %v", got)
	}
	if got := n.pins(t, "job:"); len(got) != 1 {
		t.Errorf("pins of jobs: %v, want the one", got)
	}
	if len(n.provider.expired) != 1 {
		t.Errorf("%d outputs of others wait for the end of their grace, want 1", len(n.provider.expired))
	}
}

func TestANodeThatIsToldToEndWhileItBeginsIsNoFailure(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Run(ctx, testConfig(t, randomNetwork()), testLog(t), Parts{}); err != nil {
		t.Errorf("got %v, want nothing: it was asked to", err)
	}
}
