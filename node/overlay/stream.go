package overlay

import (
	"context"
	"fmt"
	"time"

	"github.com/mustermesh/muster/p2p"
	"github.com/mustermesh/muster/proto"
)

// Protocols between nodes. docs/wire.md §1.
const (
	ProtoHello = "hello/1.0.0"
	ProtoBid   = "bid/1.0.0"
	ProtoLease = "lease/1.0.0"
)

// Timing of a lease stream.
const (
	LeaseSilence = 15 * time.Second // a side that hears nothing for so long gives up
	PingEvery    = 5 * time.Second
	BidTimeout   = 10 * time.Second
	AnswerLife   = time.Hour // of signed bids, answers, receipts
)

// KeepAlive pings the other end of a lease stream until stop is called, which
// waits for the last ping. Who cannot be pinged for want of room falls silent.
func (l *Local) KeepAlive(ctx context.Context, s *p2p.Stream) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	started := l.Pingers.Try(func(context.Context) {
		defer close(done)
		tick := time.NewTicker(PingEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				if s.Send(proto.Frame{Ping: true}.Marshal()) != nil {
					s.Reset()
					return
				}
			}
		}
	})
	if !started {
		close(done)
	}
	return func() { cancel(); <-done }
}

// Strike counts a breach of the protocol against the other end of a stream, and
// gives the error that says so.
func (l *Local) Strike(s *p2p.Stream, reason string) error {
	l.Net.Misbehaved(s.Peer(), reason)
	return fmt.Errorf("%s: %s", s.Peer(), reason)
}

// RecvFrame reads one frame of a lease stream. An error that is a
// [proto.ErrMalformed] is the peer's fault; any other is the stream's.
func RecvFrame(s *p2p.Stream) (proto.Frame, error) {
	b, err := s.Recv()
	if err != nil {
		return proto.Frame{}, err
	}
	return proto.ParseFrame(b)
}

// LeaseTag names a lease to [p2p.Host.Protect]: it keeps the connection of a lease from being trimmed, whatever becomes of
// others with the same peer.
func LeaseTag(id proto.LeaseID) string { return "lease:" + id.String() }
