package p2p

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mustermesh/muster/proto"
)

// patience is how long a test waits for what must happen; it is no measure of
// how fast it should.
const patience = 60 * time.Second

func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

func randomNetwork() string {
	var b [6]byte
	rand.Read(b[:])
	return "test-" + hex.EncodeToString(b[:])
}

func testConfig(t testing.TB, network string) Config {
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	return Config{
		Network: network, Key: key, Agent: "muster/test", ConnLow: 64, ConnHigh: 128,
		Listen: []string{"/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"},
	}
}

// testPace is normalPace with waits that no test should sit through.
func testPace() pace {
	p := normalPace
	p.dialFirst, p.announce0 = 50*time.Millisecond, 20*time.Millisecond
	return p
}

// node is a Host under test and the comings and goings that it told of.
type node struct {
	*Host
	came, went chan proto.PeerID
	stop       func()
}

// openNode opens a host that is not running yet.
func openNode(t testing.TB, cfg Config, change ...func(*pace)) *node {
	t.Helper()
	p := testPace()
	for _, f := range change {
		f(&p)
	}
	h, err := open(cfg, testLog(t), replaced{pace: &p})
	if err != nil {
		t.Fatal(err)
	}
	n := &node{Host: h, came: make(chan proto.PeerID, 256), went: make(chan proto.PeerID, 256)}
	h.OnConnect(func(_ context.Context, p proto.PeerID) { n.came <- p })
	h.OnDisconnect(func(p proto.PeerID) { n.went <- p })
	t.Cleanup(func() { h.Close() })
	return n
}

// run runs the host until the test ends or n.stop is called.
func (n *node) run(t testing.TB) *node {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	n.stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("Run: %v", err)
			}
		case <-time.After(patience):
			t.Error("Run does not return")
		}
	})
	t.Cleanup(n.stop)
	select {
	case <-n.started:
	case err := <-done:
		t.Fatalf("Run: %v", err)
	}
	return n
}

func startNode(t testing.TB, cfg Config) *node {
	t.Helper()
	return openNode(t, cfg).run(t)
}

func testLog(t testing.TB) *slog.Logger {
	if testing.Verbose() {
		return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	return slog.New(slog.NewTextHandler(io.Discard, nil))
}

// join connects a to b and waits until both programs know.
func join(t testing.TB, a, b *node) {
	t.Helper()
	ctx := testContext(t)
	id, err := a.Connect(ctx, b.Addrs()[0])
	if err != nil {
		t.Fatal(err)
	}
	if id != b.ID() {
		t.Fatalf("connected to %s, want %s", id, b.ID())
	}
	await(t, a.came, b.ID())
	await(t, b.came, a.ID())
}

// await waits until want comes on c.
func await[T comparable](t testing.TB, c <-chan T, want T) {
	t.Helper()
	timeout := time.After(patience)
	for {
		select {
		case got := <-c:
			if got == want {
				return
			}
		case <-timeout:
			t.Fatalf("%v did not come within %s", want, patience)
		}
	}
}

// eventually asks until the answer is yes, each time after the network moved on.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for tick := time.NewTicker(10 * time.Millisecond); !ok(); {
		<-tick.C
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", patience, what)
		}
	}
}

func pair(t testing.TB) (a, b *node) {
	network := randomNetwork()
	a, b = startNode(t, testConfig(t, network)), startNode(t, testConfig(t, network))
	join(t, a, b)
	return a, b
}

func TestPeersKnowEachOtherOnceConnected(t *testing.T) {
	a, b := pair(t)
	peers := a.Peers()
	if len(peers) != 1 {
		t.Fatalf("got %d peers, want 1", len(peers))
	}
	p := peers[0]
	if p.ID != b.ID() || p.Agent != "muster/test" || p.Inbound || p.Relayed || p.Since.IsZero() {
		t.Errorf("got %+v, want the peer that was dialled", p)
	}
	if !a.Connected(b.ID()) || a.Connected(a.ID()) {
		t.Errorf("connected with the other: %v, with itself: %v", a.Connected(b.ID()), a.Connected(a.ID()))
	}
	if p.Transport != "tcp" {
		t.Errorf("transport on loopback is %q, want tcp", p.Transport)
	}
	if back := b.Peers(); len(back) != 1 || !back[0].Inbound || back[0].ID != a.ID() {
		t.Errorf("the other side sees %+v, want one inbound peer", back)
	}
	if g := a.Group(b.ID()); g != "" {
		t.Errorf("group of a loopback peer is %q, want none", g)
	}
	if known := a.Known(); len(known) == 0 || !strings.HasSuffix(known[0], "/p2p/"+b.ID().String()) {
		t.Errorf("known addresses %v, want those of %s", known, b.ID())
	}
}

func TestDisconnectIsToldOnce(t *testing.T) {
	a, b := pair(t)
	b.stop()
	b.Close()
	await(t, a.went, b.ID())
	if len(a.came)+len(a.went) != 0 {
		t.Errorf("%d more comings and %d more goings were told", len(a.came), len(a.went))
	}
	if len(a.Known()) == 0 {
		t.Error("the addresses of a peer that left are forgotten")
	}
}

func TestNobodyIsLetInBeforeTheServicesAnswer(t *testing.T) {
	network := randomNetwork()
	a, b := openNode(t, testConfig(t, network)), openNode(t, testConfig(t, network))
	b.Serve(echo)
	short, cancel := context.WithTimeout(testContext(t), 10*time.Millisecond)
	defer cancel()
	if _, err := a.Connect(short, b.Addrs()[0]); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("who does not serve yet dialled: %v", err)
	}
	a.run(t)
	if _, err := a.Connect(testContext(t), b.Addrs()[0]); !errors.Is(err, ErrUnreachable) {
		t.Errorf("one that does not serve yet let a peer in: %v", err)
	}
	b.run(t)
	a.clearBackoff(b.net.ID())
	join(t, a, b)
	if got, err := a.Call(testContext(t), b.ID(), echo.Name, []byte("hi"), 100); err != nil || string(got) != "hi" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestNetworksDoNotMix(t *testing.T) {
	a, b := startNode(t, testConfig(t, randomNetwork())), startNode(t, testConfig(t, randomNetwork()))
	_, err := a.Connect(testContext(t), b.Addrs()[0])
	if !errors.Is(err, ErrOtherNetwork) && !errors.Is(err, ErrUnreachable) {
		t.Errorf("got %v, want ErrOtherNetwork", err)
	}
	eventually(t, "the foreign connection is closed", func() bool {
		return len(a.net.Network().Conns()) == 0 && len(b.net.Network().Conns()) == 0
	})
	if len(a.came)+len(b.came)+len(a.Peers())+len(b.Peers()) != 0 {
		t.Error("a peer of another network counts as one")
	}
}

func TestPortTakenIsRefusedAndNamed(t *testing.T) {
	network := randomNetwork()
	first := startNode(t, testConfig(t, network))
	for _, addr := range first.net.Network().ListenAddresses() {
		cfg := testConfig(t, network)
		cfg.Listen = []string{addr.String()}
		h, err := Open(cfg, testLog(t))
		if err == nil {
			h.Close()
			t.Fatalf("%s was opened twice", addr)
		}
		var taken *PortTakenError
		if !errors.As(err, &taken) || taken.Addr != addr.String() || !strings.Contains(err.Error(), "--listen") {
			t.Errorf("got %v, want a PortTakenError that names %s and says what to do", err, addr)
		}
	}
}

func TestConfigRefusals(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"no network":               func(c *Config) { c.Network = "" },
		"slash in the network":     func(c *Config) { c.Network = "a/b" },
		"no key":                   func(c *Config) { c.Key = nil },
		"no room for connections":  func(c *Config) { c.ConnHigh = c.ConnLow },
		"listen on a name":         func(c *Config) { c.Listen = []string{"localhost:4170"} },
		"listen on websocket":      func(c *Config) { c.Listen = []string{"/ip4/127.0.0.1/tcp/0/ws"} },
		"bootstrap without a peer": func(c *Config) { c.Bootstrap = []string{"/ip4/127.0.0.1/tcp/1"} },
		"bootstrap without place":  func(c *Config) { c.Bootstrap = []string{"/p2p/" + proto.PeerID{1}.String()} },
	} {
		cfg := testConfig(t, "x")
		change(&cfg)
		if err := cfg.Validate(); !errors.Is(err, ErrConfig) {
			t.Errorf("%s: got %v, want ErrConfig", name, err)
		}
	}
	cfg := testConfig(t, "x")
	cfg.Saved = []string{"rubbish"}
	if err := cfg.Validate(); err != nil {
		t.Errorf("an unreadable saved address stops the node: %v", err)
	}
}

func TestBlockedPeerIsGoneAndStaysOut(t *testing.T) {
	a, b := pair(t)
	if err := a.Block(b.ID()); err != nil {
		t.Fatal(err)
	}
	await(t, a.went, b.ID())
	if got := a.Blocked(); !slices.Equal(got, []proto.PeerID{b.ID()}) {
		t.Errorf("blocked %v, want %v", got, b.ID())
	}
	await(t, b.went, a.ID())
	if err := b.ConnectPeer(testContext(t), a.ID(), a.Addrs()); err == nil {
		eventually(t, "the blocked peer's connection ends", func() bool { return !b.connected(toPeer(a.ID())) })
	}
	if len(a.Peers()) != 0 {
		t.Error("a blocked peer is connected")
	}
	a.Unblock(b.ID())
	a.clearBackoff(toPeer(b.ID()))
	if err := a.ConnectPeer(testContext(t), b.ID(), b.Addrs()); err != nil {
		t.Errorf("after Unblock: %v", err)
	}
}

func TestAllowOnlyShutsOutOthers(t *testing.T) {
	a, b := pair(t)
	c := startNode(t, testConfig(t, a.cfg.Network))
	join(t, a, c)
	a.AllowOnly([]proto.PeerID{c.ID()})
	await(t, a.went, b.ID())
	if peers := a.Peers(); len(peers) != 1 || peers[0].ID != c.ID() {
		t.Errorf("got %+v, want only the allowed peer", peers)
	}
	if err := a.ConnectPeer(testContext(t), b.ID(), b.Addrs()); !errors.Is(err, ErrUnreachable) {
		t.Errorf("dialling a peer that is not allowed: got %v, want ErrUnreachable", err)
	}
}

func TestMisbehaviourShutsOutInTheEnd(t *testing.T) {
	a, b := pair(t)
	for range strikesOut - 1 {
		a.Misbehaved(b.ID(), "test")
	}
	if len(a.Peers()) != 1 {
		t.Fatal("shut out too early")
	}
	if got := a.gossipScore(toPeer(b.ID())); got != (strikesOut-1)*strikeScore {
		t.Errorf("gossip score %v, want %v", got, (strikesOut-1)*strikeScore)
	}
	a.Misbehaved(b.ID(), "test")
	await(t, a.went, b.ID())
	if err := a.ConnectPeer(testContext(t), b.ID(), b.Addrs()); !errors.Is(err, ErrUnreachable) {
		t.Errorf("got %v, want ErrUnreachable", err)
	}
	if got := a.Stats().Misbehaved; got != strikesOut {
		t.Errorf("counted %d, want %d", got, strikesOut)
	}
}

func TestStrikesFade(t *testing.T) {
	s, now := newStrikes(), time.Unix(1000, 0)
	for range 20 {
		if s.add(proto.PeerID{1}, now) {
			t.Fatal("one strike in a while is too many")
		}
		now = now.Add(strikeLife/(strikesOut-1) + time.Second)
	}
	for i := range 2 * maxStruck {
		s.add(proto.PeerID{2, byte(i), byte(i >> 8)}, now)
	}
	if len(s.of) > maxStruck {
		t.Errorf("%d peers remembered, want at most %d", len(s.of), maxStruck)
	}
}

func TestRunTwiceIsRefused(t *testing.T) {
	n := startNode(t, testConfig(t, randomNetwork()))
	if err := n.Run(context.Background()); err == nil {
		t.Error("ran twice")
	}
	n.stop()
	if err := n.Publish(testContext(t), "x", nil); !errors.Is(err, ErrStopped) {
		t.Errorf("publish after the end: got %v, want ErrStopped", err)
	}
}
