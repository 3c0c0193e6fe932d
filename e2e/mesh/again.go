package mesh

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
)

// Kill ends a daemon as a crash does, and returns when its process is gone. Its
// home stays until Close.
func (n *Node) Kill() {
	_ = n.cmd.Process.Kill() // it may have ended by itself
	n.stdin.Close()
	<-n.done
}

// Up tells whether the daemon's process is there.
func (n *Node) Up() bool {
	select {
	case <-n.done:
		return false
	default:
		return true
	}
}

// Again starts a daemon that ended once more, in its home, at the addresses that
// it had, and gives it as it is now; old is of no use any more.
func (m *Mesh) Again(ctx context.Context, old *Node) (*Node, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, startTimeout, fmt.Errorf("not ready within %s", startTimeout))
	defer cancel()
	n := &Node{Name: old.Name, Home: old.Home, done: make(chan struct{})}
	args := slices.Clone(old.cmd.Args[1:])
	args[slices.Index(args, "--listen")+1] = strings.Join(old.listens(), ",")
	n.cmd = exec.Command(m.Binary, args...)
	n.cmd.Env = Environ()
	if err := n.start(ctx); err != nil {
		return nil, fmt.Errorf("node %s, again: %w%s", n.Name, err, n.LastWords())
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.nodes[slices.Index(m.nodes, old)] = n
	return n, nil
}

// listens gives the addresses without the peer.
func (n *Node) listens() (addrs []string) {
	for _, a := range n.Addrs {
		addr, _, _ := strings.Cut(a, "/p2p/")
		addrs = append(addrs, addr)
	}
	return addrs
}

// LastWords gives the end of the daemon's log, with an introduction; "" where
// there is none.
func (n *Node) LastWords() string { return n.lastWords() }

// Log reads all that the daemon logged, in this and earlier runs.
func (n *Node) Log() ([]byte, error) { return os.ReadFile(n.log()) }
