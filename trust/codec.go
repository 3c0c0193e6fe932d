package trust

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"
	"unicode/utf8"

	"github.com/mustermesh/muster/proto"
)

var (
	// ErrNewer is wrapped by the error about a record that a newer muster wrote.
	ErrNewer = errors.New("a newer muster wrote this record; install it again")
	// ErrDamaged is wrapped by the error about a record that makes no sense.
	ErrDamaged = errors.New("damaged record")
)

// Keys: a prefix and the 32 bytes of a peer; evidence and proofs add the
// execution and the kind. docs/trust.md §6.
const (
	prefixStanding = "t/s/" // one a peer
	prefixEvidence = "t/e/" // pruned
	prefixProof    = "t/p/" // proven lies, kept for ever
)

func peerKey(prefix string, peer proto.PeerID) []byte {
	return append([]byte(prefix), peer[:]...)
}

func parsePeerKey(prefix string, key []byte) (proto.PeerID, error) {
	peer, err := proto.PeerIDFromBytes(key[min(len(prefix), len(key)):])
	if err != nil || len(key) != len(prefix)+len(peer) {
		return proto.PeerID{}, fmt.Errorf("%w: key %.80q", ErrDamaged, key)
	}
	return peer, nil
}

// evidenceKey names a piece of evidence by execution and kind, so that it can be
// recorded once only; where no execution began, by its time.
func evidenceKey(prefix string, e Evidence) []byte {
	id := e.Execution
	if id == (proto.ExecutionID{}) {
		be.PutUint64(id[8:], uint64(e.Time.UnixMicro()))
	}
	return append(append(peerKey(prefix, e.Peer), id[:]...), byte(e.Kind))
}

// recordVersion is the first byte of every record.
const recordVersion = 1

// A reader takes a record apart; after the first fault it gives zeros.
type reader struct {
	rest []byte
	err  error
}

func newReader(b []byte) *reader {
	r := &reader{rest: b}
	if version := r.byte(); r.err == nil && version != recordVersion {
		r.fail("version %d", version)
		if version > recordVersion {
			r.err = fmt.Errorf("%w (version %d; this muster reads %d)", ErrNewer, version, recordVersion)
		}
	}
	return r
}

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: %s", ErrDamaged, fmt.Sprintf(format, args...))
	}
}

// take gives the next n bytes: n zeros after a fault, so n must be small or
// checked.
func (r *reader) take(n int) []byte {
	if r.err == nil && len(r.rest) < n {
		r.fail("%d bytes are missing", n-len(r.rest))
	}
	if r.err != nil {
		return make([]byte, n)
	}
	b := r.rest[:n:n]
	r.rest = r.rest[n:]
	return b
}

func (r *reader) byte() byte     { return r.take(1)[0] }
func (r *reader) uint32() uint32 { return be.Uint32(r.take(4)) }
func (r *reader) uint64() uint64 { return be.Uint64(r.take(8)) }
func (r *reader) count() int     { return r.upTo(math.MaxInt32) }

func (r *reader) upTo(most int) int {
	n := r.uint32()
	if r.err == nil && uint64(n) > uint64(most) {
		r.fail("%d, and at most %d makes sense", n, most)
	}
	return int(min(uint64(n), uint64(most)))
}

// time reads microseconds since 1970, as appendTime writes them.
func (r *reader) time() time.Time {
	n := int64(r.uint64())
	if n == noTime {
		return time.Time{}
	}
	t := fromMicros(n)
	if t.IsZero() {
		r.fail("the time %d", n)
	}
	return t
}

// sum reads a number that is finite and not negative.
func (r *reader) sum() float64 {
	f := math.Float64frombits(r.uint64())
	if !(f >= 0) || math.IsInf(f, 0) || math.Signbit(f) {
		r.fail("the number %v", f)
		return 0
	}
	return f
}

// blob reads a length and so many bytes.
func (r *reader) blob(most int) []byte {
	n := r.upTo(most)
	if r.err != nil {
		return nil
	}
	return r.take(n)
}

func (r *reader) cid() proto.CID {
	b := r.blob(64)
	if len(b) == 0 {
		return proto.CID{}
	}
	c, err := proto.CIDFromBytes(b)
	if err != nil {
		r.fail("%v", err)
	}
	return c
}

// end says what was wrong; bytes left over are.
func (r *reader) end() error {
	if len(r.rest) > 0 {
		r.fail("%d bytes too many", len(r.rest))
	}
	return r.err
}

// noTime stands for the zero time.
const noTime = math.MinInt64

func appendTime(b []byte, t time.Time) []byte {
	if t.IsZero() {
		return be.AppendUint64(b, 1<<63) // noTime
	}
	return be.AppendUint64(b, uint64(t.UnixMicro()))
}

// Numbers are big-endian.
var be = binary.BigEndian

func encodeEntry(e entry) []byte {
	b := appendTime([]byte{recordVersion}, e.at)
	for _, f := range []float64{e.n, e.up, e.down} {
		b = be.AppendUint64(b, math.Float64bits(f))
	}
	b = appendTime(be.AppendUint32(b, uint32(e.lies)), e.lastLie)
	b = appendTime(be.AppendUint32(b, uint32(e.debt)), e.debtSince)
	b = appendTime(be.AppendUint32(b, uint32(e.kept)), e.oldest)
	for _, n := range e.counts[1:] {
		b = be.AppendUint64(b, n)
	}
	return b
}

func decodeEntry(b []byte) (e entry, err error) {
	r := newReader(b)
	e.at = r.time()
	e.n, e.up, e.down = r.sum(), r.sum(), r.sum()
	e.lies, e.lastLie = r.count(), r.time()
	e.debt, e.debtSince = r.upTo(CheckDebt), r.time()
	e.kept, e.oldest = r.count(), r.time()
	for k := range e.counts[1:] {
		e.counts[k+1] = r.uint64()
	}
	if r.err == nil && (e.lies > 0) == e.lastLie.IsZero() {
		r.fail("%d lies, the last at %s", e.lies, e.lastLie)
	}
	if err := r.end(); err != nil {
		return entry{}, err
	}
	return e, nil
}

func encodeEvidence(e Evidence) []byte {
	b := append([]byte{recordVersion, byte(e.Kind)}, e.Execution[:]...)
	b = appendTime(b, e.Time)
	b = append(b, e.Job[:]...)
	b = be.AppendUint32(b, uint32(e.Task))
	b = append(b, e.Digest[:]...)
	b = be.AppendUint64(b, math.Float64bits(e.Weight))
	for _, blob := range [][]byte{cidBytes(e.Output), cidBytes(e.Right), []byte(e.Detail), e.Answer} {
		b = append(be.AppendUint32(b, uint32(len(blob))), blob...)
	}
	return b
}

func cidBytes(c proto.CID) []byte {
	if c.IsZero() {
		return nil
	}
	return c.Bytes()
}

func decodeEvidence(peer proto.PeerID, b []byte) (Evidence, error) {
	r := newReader(b)
	e := Evidence{Peer: peer, Kind: Kind(r.byte()), Execution: proto.ExecutionID(r.take(16)), Time: r.time()}
	e.Job, e.Task = proto.JobID(r.take(32)), r.upTo(proto.MaxTasks-1)
	e.Digest, e.Weight = proto.Digest(r.take(32)), r.sum()
	e.Output, e.Right = r.cid(), r.cid()
	e.Detail = string(r.blob(MaxDetail))
	if answer := r.blob(MaxProof); len(answer) > 0 {
		e.Answer = answer
	}
	switch {
	case e.Kind == 0 || int(e.Kind) >= kinds:
		r.fail("kind %d", e.Kind)
	case e.Weight < MinWeight || e.Weight > MaxWeight:
		r.fail("weight %v", e.Weight)
	case e.Time.IsZero():
		r.fail("no time")
	case !utf8.ValidString(e.Detail):
		r.fail("detail %q", e.Detail)
	}
	if err := r.end(); err != nil {
		return Evidence{}, err
	}
	return e, nil
}
