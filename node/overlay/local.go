package overlay

import (
	"context"
	"crypto/ed25519"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/mustermesh/muster/p2p"
	"github.com/mustermesh/muster/proto"
)

// A Local is this node in its network: who it is, what it signs with, whom it
// knows, and the workers that all parts share. Its fields are set before the node
// runs and do not change afterwards; its methods are safe for concurrent use.
type Local struct {
	Self      proto.PeerID
	Network   string             // name of the mesh
	Key       ed25519.PrivateKey // of Self
	Net       *p2p.Host          // nil: offline
	Log       *slog.Logger
	Now       func() time.Time
	Directory *Directory
	Tracer    Tracer

	Workers *Workers // short pieces of work
	Pingers *Workers // one or two for each lease stream, for as long as it lasts
	Bidders *Workers // consider announcements; who floods them fills this one alone

	signed, checked atomic.Uint64 // signatures made, and checked
}

// NewLocal gives the node that key stands for, offline and without workers: Net
// is for the caller to set, the workers come with Begin.
func NewLocal(key ed25519.PrivateKey, network string, log *slog.Logger) (*Local, error) {
	self, err := proto.PeerIDFromBytes(key.Public().(ed25519.PublicKey))
	if err != nil {
		return nil, err
	}
	return &Local{Self: self, Network: network, Key: key, Log: log, Now: time.Now, Directory: NewDirectory(time.Now), Tracer: NoTracer{}}, nil
}

// Begin makes the workers of one run, which ends with ctx. Call it before
// anything that uses them runs.
func (l *Local) Begin(ctx context.Context) {
	l.Workers, l.Pingers, l.Bidders = NewWorkers(ctx, 4096), NewWorkers(ctx, 8192), NewWorkers(ctx, 256)
}

// Wait returns when all workers have ended; they take no more work.
func (l *Local) Wait() error {
	return errors.Join(l.Workers.Wait(), l.Pingers.Wait(), l.Bidders.Wait())
}

// Signatures tells how many signatures were made, and how many checked.
func (l *Local) Signatures() (made, checked uint64) { return l.signed.Load(), l.checked.Load() }

// Sign seals one body for one addressee; zero: everybody.
func (l *Local) Sign(p proto.Purpose, to proto.PeerID, life time.Duration, body []byte) []byte {
	now := l.Now()
	l.signed.Add(1)
	return proto.Seal(l.Key, proto.Statement{Network: l.Network, Purpose: p, Issued: now, Expires: now.Add(life), Addressee: to, Body: body})
}

// Open checks an envelope that says it is for us, or for everybody.
func (l *Local) Open(b []byte, p proto.Purpose) (proto.Envelope, error) {
	l.checked.Add(1)
	return proto.OpenEnvelope(b, proto.Expect{Network: l.Network, Purpose: p, Addressee: l.Self, Now: l.Now()})
}

// SealBatch signs many statements with one signature, at most [proto.MaxBatch].
func (l *Local) SealBatch(batch []proto.Statement) [][]byte {
	l.signed.Add(1)
	return proto.SealBatch(l.Key, batch)
}

// SignSpecification signs a job, which gives it its id.
func (l *Local) SignSpecification(spec proto.Specification) (envelope []byte, id proto.JobID) {
	l.signed.Add(1)
	return proto.SignSpecification(l.Key, l.Network, spec)
}

// Connected tells whether there is a connection with a peer.
func (l *Local) Connected(id proto.PeerID) bool { return l.Net.Connected(id) }

// Reach makes sure that there is a connection with a peer, at the addresses that
// it stated or those that the DHT knows.
func (l *Local) Reach(ctx context.Context, id proto.PeerID, addrs []string) error {
	if l.Connected(id) {
		return nil
	}
	return l.Net.ConnectPeer(ctx, id, addrs)
}
