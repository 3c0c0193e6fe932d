// Package mesh runs daemons as processes of their own, for programs and tests
// that want to see whole nodes: it starts them, gives their control API, and
// leaves neither a process nor a file behind. They live on the loopback address,
// on free ports, in homes of their own, in a network with a random name. What is
// done with them is the caller's affair.
package mesh

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"connectrpc.com/connect"

	"github.com/mustermesh/muster/node/api"
)

const (
	startTimeout = 60 * time.Second
	stopTimeout  = 15 * time.Second
)

// A Mesh is the daemons of one network. Its methods may be called concurrently.
type Mesh struct {
	Binary  string // the muster that runs
	Network string

	dir string

	mu    sync.Mutex // guards all below
	nodes []*Node
}

// A Node is one daemon.
type Node struct {
	Name  string
	ID    string
	Addrs []string // multiaddrs with /p2p/
	Home  string

	cmd   *exec.Cmd
	stdin io.Closer     // closing it stops the daemon
	done  chan struct{} // closed when the process ended and err is set
	err   error
}

// Open makes a network without nodes; binary is the muster to run. Close it.
func Open(binary string) (*Mesh, error) {
	binary, err := filepath.Abs(binary)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(binary); err != nil {
		return nil, fmt.Errorf("no muster to run (make build makes one): %w", err)
	}
	dir, err := os.MkdirTemp("", "muster-mesh-")
	if err != nil {
		return nil, err
	}
	return &Mesh{Binary: binary, Network: "mesh-" + strings.ToLower(rand.Text()[:10]), dir: dir}, nil
}

// Start starts a daemon with more arguments for `muster daemon`, and returns
// when it can be reached. The first node introduces the others.
func (m *Mesh) Start(ctx context.Context, name string, args ...string) (*Node, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, startTimeout, fmt.Errorf("not ready within %s", startTimeout))
	defer cancel()
	n := &Node{Name: name, Home: filepath.Join(m.dir, name), done: make(chan struct{})}
	if err := os.Mkdir(n.Home, 0o700); err != nil {
		return nil, err
	}
	all := append([]string{"daemon", "-o", "json", "--until-eof", "--listen", "/ip4/127.0.0.1/tcp/0", "--accept-weak-isolation"}, m.flags(n.Home)...)
	n.cmd = exec.Command(m.Binary, append(all, args...)...)
	n.cmd.Env = Environ()
	if err := n.start(ctx); err != nil {
		return nil, fmt.Errorf("node %s: %w%s", name, err, n.lastWords())
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.nodes = append(m.nodes, n)
	return n, nil
}

// flags are what every command of this network needs.
func (m *Mesh) flags(home string) []string {
	flags := []string{"--home", home, "--network", m.Network, "--no-mdns"}
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.nodes) > 0 {
		flags = append(flags, "--bootstrap", strings.Join(m.nodes[0].Addrs, ","))
	}
	return flags
}

// Command prepares a command line of muster in a node's home.
func (m *Mesh) Command(ctx context.Context, n *Node, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, m.Binary, append(m.flags(n.Home), args...)...)
	c.Cancel = func() error { return c.Process.Signal(os.Interrupt) }
	c.WaitDelay = stopTimeout
	c.Env = Environ()
	apart(c)
	return c
}

// Environ is the environment without what is meant for the user's own node.
func Environ() (env []string) {
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "MUSTER_") {
			env = append(env, e)
		}
	}
	return env
}

// Nodes gives the nodes in the order in which they became ready.
func (m *Mesh) Nodes() []*Node {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]*Node(nil), m.nodes...)
}

// Close stops all daemons, by force those that take too long, and removes their
// homes. Its error tells of daemons that did not end well.
func (m *Mesh) Close() error {
	nodes := m.Nodes()
	for _, n := range nodes {
		n.stdin.Close()
	}
	var errs []error
	for _, n := range nodes {
		if err := n.wait(); err != nil {
			errs = append(errs, fmt.Errorf("node %s: %w%s", n.Name, err, n.lastWords()))
		}
	}
	return errors.Join(append(errs, os.RemoveAll(m.dir))...)
}

// Stop ends one daemon in good order and keeps its home until Close.
func (n *Node) Stop() error {
	n.stdin.Close()
	return n.wait()
}

func (n *Node) wait() error {
	select {
	case <-n.done:
		return n.err
	case <-time.After(stopTimeout):
		_ = n.cmd.Process.Kill()
		<-n.done
		return fmt.Errorf("did not stop within %s and was killed", stopTimeout)
	}
}

// Pid is that of the daemon.
func (n *Node) Pid() int { return n.cmd.Process.Pid }

// API gives a client of the node's control API, for so many calls at a time.
func (n *Node) API(callers int) api.MusterClient {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", filepath.Join(n.Home, "muster.sock"))
	}
	t := &http.Transport{DialContext: dial, MaxIdleConnsPerHost: callers}
	return api.NewMusterClient(&http.Client{Transport: t}, "http://muster")
}

// start starts the process and waits until it says that it is ready.
func (n *Node) start(ctx context.Context) error {
	log, err := os.OpenFile(n.log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	n.cmd.Stderr = log
	apart(n.cmd)
	stdin, err := n.cmd.StdinPipe()
	if err != nil {
		return err
	}
	n.stdin = stdin
	stdout, err := n.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := n.cmd.Start(); err != nil {
		return err
	}
	first := make(chan []byte, 1) // so that the reader never waits for us
	go func() {                   // ends with the process, for which wait waits
		defer close(n.done)
		r := bufio.NewReader(stdout)
		line, _ := r.ReadBytes('\n')
		first <- line
		_, _ = io.Copy(io.Discard, r)
		n.err = n.cmd.Wait()
	}()
	select {
	case line := <-first:
		if json.Unmarshal(line, n) == nil {
			return nil
		}
		err = errors.New("it ended before it was ready")
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	n.stdin.Close()
	_ = n.wait() // what went wrong is known already
	return err
}

func (n *Node) log() string { return filepath.Join(n.Home, "daemon.log") }

// lastWords gives the end of the daemon's log.
func (n *Node) lastWords() string {
	b, err := os.ReadFile(n.log())
	if err != nil || len(b) == 0 {
		return ""
	}
	return "; the end of its log:\n" + strings.TrimSpace(string(b[max(0, len(b)-2000):]))
}

// AwaitProviders returns once the node knows the adverts of so many providers.
func (n *Node) AwaitProviders(ctx context.Context, count int) error {
	ctx, cancel := context.WithTimeoutCause(ctx, startTimeout, fmt.Errorf("%s met fewer than %d providers within %s", n.Name, count, startTimeout))
	defer cancel()
	client := n.API(1)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		r, err := client.ListPeers(ctx, connect.NewRequest(&api.ListPeersRequest{}))
		if err != nil {
			return errors.Join(err, context.Cause(ctx))
		}
		known := 0
		for _, p := range r.Msg.Peers {
			if p.Connected && p.Advert != nil {
				known++
			}
		}
		if known >= count {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
}
