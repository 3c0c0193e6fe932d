package node

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect"

	"github.com/mustermesh/muster/internal/store"
	"github.com/mustermesh/muster/node/api"
)

func dial(t testing.TB, cfg Config, mode Mode) (*Client, error) {
	return Dial(testContext(t), cfg, mode, testLog(t))
}

func status(t testing.TB, c *Client) *api.StatusResponse {
	t.Helper()
	r, err := c.API.Status(testContext(t), connect.NewRequest(&api.StatusRequest{}))
	if err != nil {
		t.Fatal(err)
	}
	return r.Msg
}

func TestTenCommandsAtOnceShareOneNodeAndTheLastToLeaveEndsIt(t *testing.T) {
	cfg := testConfig(t, randomNetwork())
	cfg.Listen = nil
	clients := make([]*Client, 10)
	var wg sync.WaitGroup
	for i := range clients {
		wg.Go(func() {
			c, err := dial(t, cfg, Attach)
			if err != nil {
				t.Error(err)
			}
			clients[i] = c
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	var owner *Client
	for _, c := range clients {
		if c.Own {
			if owner != nil {
				t.Fatal("two nodes in one home")
			}
			owner = c
		}
		if s := status(t, c); s.Offline || s.Network != cfg.Network {
			t.Errorf("offline %v, network %q", s.Offline, s.Network)
		}
	}
	if owner == nil {
		t.Fatal("nobody became the node")
	}
	left := make(chan struct{})
	go func() { owner.Close(); close(left) }()
	for _, c := range clients {
		if c == owner {
			continue
		}
		select {
		case <-left:
			t.Fatal("the node left while commands are attached")
		default:
		}
		status(t, c)
		c.Close()
	}
	select {
	case <-left:
	case <-time.After(patience):
		t.Fatal("the node does not leave")
	}
	next, err := dial(t, cfg, Attach)
	if err != nil || !next.Own {
		t.Fatalf("the next command: %v, want it to become the node", err)
	}
	next.Close()
}

func TestReadingNeedsNoNodeAndUsesOneThatIsThere(t *testing.T) {
	cfg := testConfig(t, randomNetwork())
	alone, err := dial(t, cfg, ReadOnly)
	if err != nil {
		t.Fatal(err)
	}
	if s := status(t, alone); !alone.Own || !s.Offline {
		t.Errorf("own %v, offline %v; want both", alone.Own, s.Offline)
	}
	stream, err := alone.API.SubmitJob(testContext(t), connect.NewRequest(&api.SubmitJobRequest{Job: small(t, "noop")}))
	if err == nil {
		for stream.Receive() {
		}
		err = stream.Err()
	}
	if connect.CodeOf(err) != connect.CodeFailedPrecondition {
		t.Errorf("a job for the mesh: %v, want failed precondition", err)
	}
	alone.Close()

	n := startNode(t, cfg)
	c, err := dial(t, cfg, ReadOnly)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if s := status(t, c); c.Own || s.Offline || s.Id != n.Self.String() {
		t.Errorf("own %v, offline %v, id %s; want the running node's", c.Own, s.Offline, s.Id)
	}
}

// TestReadingAHomeWithAnOpenJobLeavesTheJobAlone: to read is not to run.
func TestReadingAHomeWithAnOpenJobLeavesTheJobAlone(t *testing.T) {
	cfg := testConfig(t, randomNetwork())
	n := startNode(t, cfg)
	var ids []string
	for _, local := range []bool{false, true} {
		job := small(t, "spin")
		job.Constraints = []string{"arch == none"}
		ids = append(ids, submit(t, n.node, &api.SubmitJobRequest{Job: job, Local: local}).ID().String())
	}
	n.stop()
	c, err := dial(t, cfg, ReadOnly)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, id := range ids {
		r, err := c.API.DescribeJob(testContext(t), connect.NewRequest(&api.DescribeJobRequest{Job: id}))
		if err != nil {
			t.Fatal(err)
		}
		if got := r.Msg.Job.State; got == "completed" || got == "failed" {
			t.Errorf("state %s, want open", got)
		}
	}
}

func TestAHomeWhoseProcessDoesNotAnswerIsUnreachable(t *testing.T) {
	cfg := testConfig(t, randomNetwork())
	db, err := store.Open(cfg.Home, testLog(t)) // holds the lock, serves nothing
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	// A socket that takes connections and says nothing: found out by the time for
	// an answer, without waiting for the lock.
	l, err := net.Listen("unix", cfg.socketPath())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err := dial(t, cfg, Attach); !errors.Is(err, ErrUnreachable) {
		t.Errorf("%v, want %v", err, ErrUnreachable)
	}
}

func TestASocketPathThatIsTooLongFallsBackToAShortOne(t *testing.T) {
	cfg := testConfig(t, randomNetwork())
	cfg.Home = filepath.Join(cfg.Home, strings.Repeat("long/", 30))
	if p := cfg.socketPath(); len(p) > maxSocketPath || strings.HasPrefix(p, cfg.Home) {
		t.Errorf("socket %s of %d bytes", p, len(p))
	}
	startNode(t, cfg)
	c, err := dial(t, cfg, Attach)
	if err != nil || c.Own {
		t.Fatalf("%v, want attached", err)
	}
	c.Close()
	if a, b := shortSocket(strings.Repeat("a", 101)), shortSocket(strings.Repeat("b", 101)); a == b {
		t.Errorf("two homes share %s", a)
	}
}

func TestANodeLeavesWhenTheLastCommandHasLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var a attachments
		for range 2 {
			if !a.enter() {
				t.Fatal("not let in")
			}
		}
		drained := make(chan struct{})
		go func() { a.drain(); close(drained) }()
		synctest.Wait()
		if !a.enter() { // a command that comes while others are served is served
			t.Error("not let in while others are served")
		}
		for range 3 {
			select {
			case <-drained:
				t.Fatal("left too early")
			default:
			}
			a.leave()
			synctest.Wait()
		}
		<-drained
		if a.enter() {
			t.Error("let in after the end")
		}
	})
	var none attachments
	none.drain()
	if none.enter() {
		t.Error("let in after an empty node left")
	}
}

func TestANodeThatEndsWhileItStartsEndsWell(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := Run(ctx, testConfig(t, randomNetwork()), testLog(t), Parts{}); err != nil {
		t.Errorf("%v, want nil: it was asked to end", err)
	}
}
