package node

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mustermesh/muster/executor"
	"github.com/mustermesh/muster/internal/content"
	"github.com/mustermesh/muster/node/api"
	"github.com/mustermesh/muster/node/overlay"
	"github.com/mustermesh/muster/node/requester"
	"github.com/mustermesh/muster/p2p"
	"github.com/mustermesh/muster/proto"
	"github.com/mustermesh/muster/scheduler"
)

// TestMain lets the test binary be the sandbox's child.
func TestMain(m *testing.M) {
	executor.ChildMain()
	os.Exit(m.Run())
}

// patience is how long a test waits for what must happen; it is no measure of
// how fast it should.
const patience = 30 * time.Second

func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

func testLog(t testing.TB) *slog.Logger {
	if testing.Verbose() {
		return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	return slog.New(slog.DiscardHandler)
}

func randomNetwork() string {
	var b [6]byte
	rand.Read(b[:])
	return "test-" + hex.EncodeToString(b[:])
}

// shortDir makes a folder whose path leaves room for a socket.
func shortDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "mn")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// testConfig is a node on loopback that lends two slots.
func testConfig(t testing.TB, network string) Config {
	cfg := DefaultConfig()
	cfg.Home, cfg.Network, cfg.MDNS = shortDir(t), network, false
	cfg.Listen = []string{"/ip4/127.0.0.1/tcp/0"}
	cfg.AcceptWeakIsolation = true
	cfg.Lend = Lend{CPU: 2, Memory: 512 << 20, Disk: 64 << 20, Slots: 2}
	cfg.ClientWarmUp = time.Hour // no own run stands in for a peer
	cfg.DrainTimeout = 0
	return cfg
}

// running is a node under test that serves.
type running struct {
	*node
	info Info
	stop func()
	skew atomic.Int64                   // nanoseconds by which its clock is ahead
	host atomic.Pointer[scheduler.Host] // what its machine says of itself

	mu     sync.Mutex          // guards leased
	leased map[lessee]struct{} // leases that a test says there are
}

type lessee struct {
	job  string
	peer proto.PeerID
}

// says whether a peer has a lease of a job of the node.
func (r *running) lease(job proto.JobID, peer proto.PeerID, has bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if has {
		r.leased[lessee{job.String(), peer}] = struct{}{}
	} else {
		delete(r.leased, lessee{job.String(), peer})
	}
}

func (r *running) isLeased(job string, peer proto.PeerID) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, said := r.leased[lessee{job, peer}]
	return said || r.requester.Leased(job, peer)
}

// startNode runs a node until the test ends or stop is called.
func startNode(t testing.TB, cfg Config) *running {
	t.Helper()
	return startWith(t, cfg, Parts{})
}

func startWith(t testing.TB, cfg Config, parts Parts) *running {
	t.Helper()
	n, closeNode, err := open(t.Context(), cfg, testLog(t), parts, true)
	if err != nil {
		t.Fatal(err)
	}
	r := &running{node: n, leased: make(map[lessee]struct{})}
	n.Now = func() time.Time { return time.Now().Add(time.Duration(r.skew.Load())) }
	n.access.leased = r.isLeased
	r.host.Store(&scheduler.Host{CPUs: 2})
	n.readHost = func(time.Time) scheduler.Host { return *r.host.Load() }
	ctx, cancel := context.WithCancel(context.Background())
	ready, over := make(chan Info, 1), make(chan error, 1)
	go func() { over <- n.serve(ctx, cfg.socketPath(), func(i Info) { ready <- i }) }()
	r.stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-over:
			if err != nil {
				t.Errorf("node: %v", err)
			}
		case <-time.After(patience):
			t.Error("node does not end")
		}
		closeNode()
	})
	t.Cleanup(r.stop)
	select {
	case r.info = <-ready:
	case err := <-over:
		t.Fatalf("node: %v", err)
	}
	return r
}

// eventually asks again and again until the answer is yes.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	late := time.After(patience)
	for !ok() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("not within %s: %s", patience, what)
		}
	}
}

// stranger is a bare host of the network, which says what a test makes it say.
type stranger struct {
	*p2p.Host
	key     ed25519.PrivateKey
	network string
	blocks  mapBlocks
}

// newStranger runs a host that serves content to everybody, and whatever setup
// adds.
func newStranger(t testing.TB, network string, setup func(*stranger)) *stranger {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	h, err := p2p.Open(p2p.Config{
		Network: network, Key: key, Agent: "stranger", ConnLow: 64, ConnHigh: 128, Listen: []string{"/ip4/127.0.0.1/tcp/0"},
	}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	e := &stranger{Host: h, key: key, network: network, blocks: mapBlocks{m: make(map[proto.CID][]byte)}}
	h.ServeContent(&e.blocks, everybody{})
	h.Join(p2p.Topic{Name: overlay.TopicJobs, MaxMessage: proto.MaxGossip, Validate: acceptAll})
	h.Join(p2p.Topic{Name: overlay.TopicAdverts, MaxMessage: proto.MaxGossip, Validate: acceptAll})
	if setup != nil {
		setup(e)
	}
	ctx, cancel := context.WithCancel(context.Background())
	over := make(chan error, 1)
	go func() { over <- h.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-over; err != nil && !errors.Is(err, context.Canceled) { // it may still be starting
			t.Errorf("stranger: %v", err)
		}
		h.Close()
	})
	if err := h.Ready(testContext(t)); err != nil {
		t.Fatal(err)
	}
	return e
}

func acceptAll(proto.PeerID, []byte) p2p.Verdict { return p2p.Accept }

// meets connects the stranger with a node, and waits until the node knows.
func (e *stranger) meets(t testing.TB, n *running) *stranger {
	t.Helper()
	eventually(t, "a connection that the node knows of", func() bool {
		_, err := e.Connect(testContext(t), n.info.Addrs[0])
		return err == nil && n.Connected(e.ID())
	})
	return e
}

// statement is one that the node takes, for a test to spoil.
func (e *stranger) statement(p proto.Purpose, to proto.PeerID, body []byte) proto.Statement {
	now := time.Now()
	return proto.Statement{Network: e.network, Purpose: p, Issued: now, Expires: now.Add(overlay.AnnounceLifetime), Addressee: to, Body: body}
}

func (e *stranger) seal(p proto.Purpose, to proto.PeerID, body []byte) []byte {
	return proto.Seal(e.key, e.statement(p, to, body))
}

type everybody struct{}

func (everybody) Allow(proto.PeerID, proto.CID, []byte) bool { return true }

// mapBlocks keeps blocks in memory.
type mapBlocks struct {
	mu sync.Mutex
	m  map[proto.CID][]byte
}

func (b *mapBlocks) Get(_ context.Context, id proto.CID) ([]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if d, ok := b.m[id]; ok {
		return d, nil
	}
	return nil, content.ErrNotFound
}

func (b *mapBlocks) Has(_ context.Context, id proto.CID) (bool, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, ok := b.m[id]
	return ok, nil
}

func (b *mapBlocks) Put(_ context.Context, id proto.CID, block []byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.m[id] = append([]byte(nil), block...)
	return nil
}

func (b *mapBlocks) Links(id proto.CID, block []byte) ([]proto.CID, error) {
	return content.Links(id, block)
}

// add makes the stranger serve one raw block.
func (e *stranger) add(data []byte) proto.CID {
	id := proto.RawCID(data)
	e.blocks.Put(context.Background(), id, data)
	return id
}

// gets fetches a root from a node into a memory of its own.
func (e *stranger) gets(t testing.TB, n *running, root proto.CID, grant []byte) error {
	t.Helper()
	return e.Fetch(testContext(t), p2p.FetchRequest{
		Root: root, From: []proto.PeerID{n.Self}, Grant: grant, MaxBytes: 1 << 20,
	}, &mapBlocks{m: make(map[proto.CID][]byte)})
}

// guest gives the path of a committed guest.
func guest(t testing.TB, name string) string {
	t.Helper()
	dir := "../executor/testdata/guests"
	switch name {
	case "noop":
		dir = "../e2e/guests"
	case "fill":
		dir = "testdata"
	}
	p, err := filepath.Abs(filepath.Join(dir, name+".wasm"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(p); err != nil {
		t.Fatal(err)
	}
	return p
}

func guestBytes(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(guest(t, name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// small is a job of one guest that needs little.
func small(t testing.TB, name string) *api.Job {
	return &api.Job{
		Program:   &api.Program{Wasm: guest(t, name)},
		Resources: &api.Resources{Cpu: 1, Memory: 16 << 20, Disk: 4 << 20},
		TimeoutMs: 20_000, HasConfidence: true,
	}
}

func submit(t testing.TB, n *node, req *api.SubmitJobRequest) *requester.Job {
	t.Helper()
	j, err := n.requester.Submit(testContext(t), req, nil)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// ends waits for the end of a job.
func ends(t testing.TB, j *requester.Job) *api.JobSummary {
	t.Helper()
	select {
	case <-j.Done():
	case <-time.After(patience):
		s := j.Summary()
		t.Fatalf("job still %s: %s %s", s.State, s.Reason, s.Waiting)
	}
	return j.Summary()
}

// described gives all that a node tells of a job.
func described(t testing.TB, j *requester.Job) *api.DescribeJobResponse {
	t.Helper()
	d, err := j.Describe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// settledTask gives one task of a job that ended.
func settledTask(t testing.TB, j *requester.Job, index int) *api.Task {
	t.Helper()
	return described(t, j).Tasks[index]
}

func newID() (id [16]byte) {
	rand.Read(id[:])
	return id
}

func peerOf(i int) (p proto.PeerID) {
	p[0], p[1], p[2] = byte(i), byte(i>>8), byte(i>>16)
	return p
}
