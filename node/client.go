package node

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"connectrpc.com/connect"

	"github.com/mustermesh/muster/internal/store"
	"github.com/mustermesh/muster/node/api"
)

// ErrUnreachable says that a process has the home, but its control socket does
// not answer.
var ErrUnreachable = errors.New("daemon unreachable")

// A Mode says what a command needs of a node.
type Mode int

// Modes of [Dial].
const (
	Attach   Mode = iota // a node in the network: the home's daemon, or one in this process
	ReadOnly             // what is on disk will do
)

// Timing of [Dial].
const (
	dialPatience = 15 * time.Second
	dialRetry    = 25 * time.Millisecond
	dialAnswer   = 5 * time.Second
)

// A Client speaks the control API of one home.
type Client struct {
	API api.MusterClient
	Own bool // the node runs in this process; it ends with Close

	detach func()
}

// Close lets the node go. A node of this process first serves the commands that
// attached to it, and then ends.
func (c *Client) Close() error {
	c.detach()
	return nil
}

// Dial gives a client of the home in cfg: of the node that holds it, or of one
// that it starts in this process (client mode: a requester on a free port; for
// ReadOnly without network). Ten processes that call it at once share one node.
func Dial(ctx context.Context, cfg Config, mode Mode, log *slog.Logger) (*Client, error) {
	return DialWith(ctx, cfg, mode, log, Parts{})
}

// DialWith is Dial for a program with [Parts] of its own.
func DialWith(ctx context.Context, cfg Config, mode Mode, log *slog.Logger, parts Parts) (*Client, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	deadline := time.Now().Add(dialPatience)
	for {
		c, err := attach(ctx, cfg.socketPath())
		if err == nil || errors.Is(err, ErrUnreachable) || ctx.Err() != nil {
			return c, err
		}
		c, err = become(ctx, cfg, mode, log, parts)
		var locked *store.LockedError
		if !errors.As(err, &locked) {
			return c, err
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("%w: %v, and nothing answers on %s", ErrUnreachable, err, cfg.socketPath())
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(dialRetry):
		}
	}
}

// attach joins the node that serves the socket, and keeps it alive.
func attach(ctx context.Context, socket string) (*Client, error) {
	conn, err := net.DialTimeout("unix", socket, dialAnswer)
	if err != nil {
		return nil, err
	}
	conn.Close()
	client := newAPIClient(socket)
	life, cancel := context.WithCancel(context.WithoutCancel(ctx))
	answer := time.AfterFunc(dialAnswer, cancel)
	stream, err := client.Attach(life, connect.NewRequest(&api.AttachRequest{}))
	if err == nil && !stream.Receive() {
		err = errors.Join(stream.Err(), io.ErrUnexpectedEOF)
	}
	if !answer.Stop() && err != nil {
		cancel()
		return nil, fmt.Errorf("%w: %s does not answer; is its process stuck?", ErrUnreachable, socket)
	}
	if err != nil {
		cancel()
		return nil, err
	}
	return &Client{API: client, detach: func() { cancel(); stream.Close() }}, nil
}

// become makes this process the home's node.
func become(ctx context.Context, cfg Config, mode Mode, log *slog.Logger, parts Parts) (*Client, error) {
	socket, online := cfg.socketPath(), mode == Attach
	cfg.Roles, cfg.client = []string{RoleRequester}, true
	cfg.Listen = anyPort
	if !online {
		socket = shortSocket(filepath.Join(cfg.Home, fmt.Sprintf("read-%d.sock", os.Getpid())))
	}
	n, closeNode, err := open(ctx, cfg, log, parts, online)
	if err != nil {
		return nil, err
	}
	life, cancel := context.WithCancel(context.WithoutCancel(ctx))
	over := make(chan error, 1) // the one result of serve
	serving := make(chan struct{})
	go func() {
		err := n.serve(life, socket, func(Info) { close(serving) })
		closeNode()
		over <- err
	}()
	select {
	case err := <-over:
		cancel()
		return nil, err
	case <-serving:
	}
	end := sync.OnceFunc(func() {
		if s := n.server.Load(); s != nil {
			s.attached.drain()
		}
		cancel()
		if err := <-over; err != nil {
			log.Error("node", "err", err)
		}
	})
	return &Client{API: newAPIClient(socket), Own: true, detach: end}, nil
}

func newAPIClient(socket string) api.MusterClient {
	dialer := func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", socket)
	}
	return api.NewMusterClient(&http.Client{Transport: &http.Transport{DialContext: dialer}}, "http://muster")
}

// listenAPI listens on the socket; whatever lies there is of a process that is
// gone, for we hold the home's lock.
func listenAPI(socket string) (net.Listener, error) {
	if err := os.Remove(socket); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	l, err := net.Listen("unix", socket)
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	if err := os.Chmod(socket, 0o600); err != nil {
		l.Close()
		return nil, fmt.Errorf("control socket: %w", err)
	}
	return l, nil
}

// serveAPI answers the control API until ctx ends.
func serveAPI(ctx context.Context, n *node, l net.Listener) error {
	s := &server{n: n}
	n.server.Store(s)
	mux := http.NewServeMux()
	// Nothing is gained by compressing what stays on this machine.
	mux.Handle(api.NewMusterHandler(s, connect.WithCompressMinBytes(math.MaxInt)))
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	stopped := context.AfterFunc(ctx, func() {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		if srv.Shutdown(end) != nil {
			srv.Close()
		}
	})
	defer stopped()
	if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("control API: %w", err)
	}
	return nil
}

// maxSocketPath is what all systems take for the path of a unix socket, bytes.
const maxSocketPath = 100

// shortSocket gives path, or where that is too long for a socket, a short one
// that belongs to it.
func shortSocket(path string) string {
	if len(path) <= maxSocketPath {
		return path
	}
	sum := sha256.Sum256([]byte(path))
	return filepath.Join(os.TempDir(), "muster-"+hex.EncodeToString(sum[:8])+".sock")
}

// attachments counts the commands that a client-mode node serves.
type attachments struct {
	mu     sync.Mutex // guards all below
	count  int
	closed bool
	zero   chan struct{} // closed when closed and the count is 0; nil before drain
}

// enter counts one more, unless the node is leaving.
func (a *attachments) enter() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return false
	}
	a.count++
	return true
}

func (a *attachments) leave() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.count--
	if a.count == 0 && a.zero != nil {
		close(a.zero)
		a.zero = nil
		a.closed = true
	}
}

// drain waits until nobody is attached; from then on nobody gets in.
func (a *attachments) drain() {
	a.mu.Lock()
	if a.count == 0 {
		a.closed = true
		a.mu.Unlock()
		return
	}
	zero := make(chan struct{})
	a.zero = zero
	a.mu.Unlock()
	<-zero
}
