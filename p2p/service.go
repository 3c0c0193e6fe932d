package p2p

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/mustermesh/muster/proto"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/protocol"
)

type protocolID = protocol.ID

// A Service answers the streams of one protocol.
type Service struct {
	// Name is the part of the protocol id after the network: "bid/1.0.0".
	Name string
	// MaxMessage is the size of the largest message that is read, in bytes.
	MaxMessage int
	// Deadline is the time for each message, to come or to go; [Stream.SetIdle]
	// changes it for one stream. It also holds for streams that this node opens.
	Deadline time.Duration
	// MaxStreamsPerPeer and MaxStreams bound what is open at a time; a stream too
	// many is reset. MaxStreams 0 means 16 × MaxStreamsPerPeer.
	MaxStreamsPerPeer, MaxStreams int
	// Handle serves one stream. The stream is closed when it returns nil, and
	// reset otherwise; ctx ends with [Host.Run], and the stream is then reset.
	Handle func(ctx context.Context, s *Stream) error
}

// service is a Service and what is open of it.
type service struct {
	Service
	count *counters

	mu   sync.Mutex
	open map[proto.PeerID]int
	sum  int
}

// admit counts a stream of p in, if the limits allow; the caller must leave.
func (s *service) admit(p proto.PeerID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open[p] >= s.MaxStreamsPerPeer || s.sum >= s.MaxStreams {
		return false
	}
	s.open[p]++
	s.sum++
	return true
}

func (s *service) leave(p proto.PeerID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sum--
	if s.open[p]--; s.open[p] == 0 {
		delete(s.open, p)
	}
}

// Serve registers a service; call it before Run. A field that is missing is our
// own mistake and panics.
func (h *Host) Serve(s Service) {
	if s.Name == "" || s.MaxMessage <= 0 || s.Deadline <= 0 || s.MaxStreamsPerPeer <= 0 || s.Handle == nil {
		panic(fmt.Sprintf("p2p: incomplete service %q", s.Name))
	}
	if s.MaxStreams == 0 {
		s.MaxStreams = 16 * s.MaxStreamsPerPeer
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.mustBeEarly("Serve " + s.Name)
	h.services[s.Name] = &service{Service: s, count: h.stats.of(s.Name), open: make(map[proto.PeerID]int)}
}

// startServing answers streams until the function that it gives is called, which
// waits for all handlers.
func (h *Host) startServing(ctx context.Context) (stop func()) {
	var running handlers
	var ids []protocolID
	for _, s := range h.services {
		id := h.protocolID(s.Name)
		ids = append(ids, id)
		h.net.SetStreamHandler(id, func(ns network.Stream) {
			if !running.enter() {
				_ = ns.Reset()
				return
			}
			defer running.leave()
			h.answer(ctx, s, ns)
		})
	}
	return func() {
		for _, id := range ids {
			h.net.RemoveStreamHandler(id)
		}
		running.wait()
	}
}

// handlers counts what the library's goroutines do for us, so that Run can wait
// for them. A WaitGroup alone does not allow Add beside Wait.
type handlers struct {
	mu     sync.Mutex
	closed bool
	wg     sync.WaitGroup
}

func (r *handlers) enter() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.closed {
		r.wg.Add(1)
	}
	return !r.closed
}

func (r *handlers) leave() { r.wg.Done() }

func (r *handlers) wait() {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.wg.Wait()
}

func (h *Host) answer(ctx context.Context, svc *service, ns network.Stream) {
	p, err := fromPeer(ns.Conn().RemotePeer())
	if err != nil || !svc.admit(p) {
		svc.count.rejected.Add(1)
		_ = ns.Reset()
		return
	}
	defer svc.leave(p)
	svc.count.streamsIn.Add(1)
	s := newStream(ns, p, svc.MaxMessage, svc.count)
	s.SetIdle(svc.Deadline)
	stop := context.AfterFunc(ctx, s.Reset)
	defer stop()
	if err := svc.Handle(ctx, s); err != nil {
		s.Reset()
		h.failed(ctx, svc, p, err)
		return
	}
	_ = s.Close() // the peer may have gone; its affair
}

// failed notes a stream that did not end well; the breaches that we can tell
// are misbehaviour.
func (h *Host) failed(ctx context.Context, svc *service, p proto.PeerID, err error) {
	if ctx.Err() != nil {
		return
	}
	svc.count.fail.Add(1)
	h.log.Debug("stream failed", "part", "p2p", "proto", svc.Name, "peer", p, "err", err)
	if errors.Is(err, ErrTooLarge) || errors.Is(err, ErrFrame) || errors.Is(err, proto.ErrMalformed) {
		h.Misbehaved(p, "malformed message")
	}
}

// OpenStream opens a stream to a peer, dialling it if need be, and asks the DHT
// where it is if nobody told. ctx limits the opening alone; the caller ends the
// stream with Close or Reset. max bounds the messages that come back, in bytes.
// Errors wrap [ErrUnreachable], [ErrNotSpoken], [ErrTimeout] or [ErrReset].
func (h *Host) OpenStream(ctx context.Context, to proto.PeerID, name string, max int) (*Stream, error) {
	return h.openStream(network.WithAllowLimitedConn(ctx, name), to, name, max)
}

func (h *Host) openStream(ctx context.Context, to proto.PeerID, name string, max int) (*Stream, error) {
	count := h.stats.of(name)
	p := toPeer(to)
	if err := h.reach(ctx, p); err != nil {
		count.fail.Add(1)
		return nil, err
	}
	ns, err := h.net.NewStream(ctx, p, h.protocolID(name))
	if err != nil {
		count.fail.Add(1)
		return nil, fmt.Errorf("open %s to %s: %w", name, to, streamError(err))
	}
	count.streamsOut.Add(1)
	s := newStream(ns, to, max, count)
	h.mu.Lock()
	svc := h.services[name]
	h.mu.Unlock()
	if svc != nil {
		s.SetIdle(svc.Deadline)
	}
	return s, nil
}

// Call sends one request and reads one answer of at most max bytes, on a stream
// of its own. ctx limits the whole call.
func (h *Host) Call(ctx context.Context, to proto.PeerID, name string, req []byte, max int) ([]byte, error) {
	s, err := h.OpenStream(ctx, to, name, max)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, s.Reset)
	defer stop()
	res, err := s.exchange(req)
	if err != nil {
		s.Reset()
		s.count.fail.Add(1)
		switch {
		case ctx.Err() != nil:
			err = ctx.Err()
		case errors.Is(err, ErrTooLarge) || errors.Is(err, ErrFrame):
			h.Misbehaved(to, "malformed answer")
		}
		return nil, fmt.Errorf("call %s of %s: %w", name, to, err)
	}
	_ = s.Close() // we have what we came for
	return res, nil
}

func (s *Stream) exchange(req []byte) ([]byte, error) {
	if err := s.Send(req); err != nil {
		return nil, err
	}
	if err := s.CloseWrite(); err != nil {
		return nil, err
	}
	res, err := s.Recv()
	if err == io.EOF {
		err = fmt.Errorf("%w: closed without an answer", ErrReset)
	}
	return res, err
}
