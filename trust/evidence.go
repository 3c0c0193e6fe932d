package trust

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/mustermesh/muster/proto"
)

// ErrEvidence is wrapped by the error about evidence that cannot be recorded. It
// is a fault of the caller, never of a peer.
var ErrEvidence = errors.New("malformed evidence")

// A Kind says what was seen. The numbers are part of the format on disk.
type Kind uint8

// Kinds, and what they cost or earn. docs/trust.md §4.
const (
	OKChecked   Kind = iota + 1 // answered, and an independent execution said the same: earns standing and availability
	OKUnchecked                 // answered, accepted without a check: earns availability
	WrongProven                 // answered otherwise than the requester's own re-execution on the same engine: standing starts over
	Failed                      // the provider failed (killed, disk full, deadline), no answer: costs availability, and makes a debt
	Lost                        // the network failed, no answer: the same
	Late                        // answered too late to be of use: costs half as much availability, no debt
	Refused                     // said no before it began: nothing
	Canceled                    // the requester took it back: nothing
	TimedOut                    // the program ran out of its own time: nothing
	Disputed                    // answered, in a conflict that nobody settled: nothing
)

const kinds = int(Disputed) + 1

var kindNames = [kinds]string{"unknown", "ok_checked", "ok_unchecked", "wrong_proven", "failed", "lost", "late",
	"refused", "canceled", "timed_out", "disputed"}

// String gives the kind's word, in lower case with underscores.
func (k Kind) String() string {
	if int(k) >= kinds {
		k = 0
	}
	return kindNames[k]
}

// MarshalText gives the kind's word.
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// Limits of one piece of evidence.
const (
	MaxDetail = 256       // bytes; what is longer is cut
	MaxProof  = 256 << 10 // bytes of Answer; what is longer is not kept, and Detail says so
	MinWeight = float64(1) / 10
	MaxWeight = float64(10)
)

// Evidence is one thing that this node saw a peer do.
type Evidence struct {
	Peer      proto.PeerID
	Kind      Kind
	Time      time.Time // to the microsecond; zero, or after now: now
	Job       proto.JobID
	Task      int
	Digest    proto.Digest
	Execution proto.ExecutionID // zero only where none began: the same kind of the same execution is recorded once
	Output    proto.CID         // what it answered; may be zero
	Right     proto.CID         // what the requester's own execution gave; for WrongProven
	Answer    []byte            // the peer's signed answer, a whole envelope: kept for WrongProven, else dropped
	Weight    float64           // of OKChecked: the size of the work, clipped to [MinWeight, MaxWeight]; zero: 1
	Detail    string            // for people
}

// cleaned gives e as it is recorded at now, or says what is wrong with it.
func (e Evidence) cleaned(now time.Time) (Evidence, error) {
	if err := e.check(); err != nil {
		return Evidence{}, fmt.Errorf("%w: %s: %w", ErrEvidence, e.Kind, err)
	}
	if now.IsZero() {
		return Evidence{}, fmt.Errorf("%w: recorded at no time", ErrEvidence)
	}
	if e.Time.IsZero() || e.Time.After(now) {
		e.Time = now
	}
	e.Time = fromMicros(e.Time.UnixMicro())
	if e.Weight == 0 {
		e.Weight = 1
	}
	e.Weight = max(MinWeight, min(e.Weight, MaxWeight))
	if e.Kind != WrongProven {
		e.Answer = nil
	}
	if len(e.Answer) > MaxProof {
		e.Detail = fmt.Sprintf("answer of %d bytes not kept; %s", len(e.Answer), e.Detail)
		e.Answer = nil
	}
	e.Detail = cut(e.Detail)
	return e, nil
}

func (e Evidence) check() error {
	switch {
	case e.Kind == 0 || int(e.Kind) >= kinds:
		return fmt.Errorf("kind %d", e.Kind)
	case e.Peer.IsZero():
		return errors.New("it names no peer")
	case e.Task < 0 || e.Task >= proto.MaxTasks:
		return fmt.Errorf("task %d", e.Task)
	case math.IsNaN(e.Weight) || math.IsInf(e.Weight, 0) || e.Weight < 0:
		return fmt.Errorf("weight %v", e.Weight)
	case e.Kind != Refused && e.Kind != Canceled && e.Execution == proto.ExecutionID{}:
		return errors.New("it names no execution")
	case e.Kind == WrongProven && (len(e.Answer) == 0 || e.Output.IsZero() || e.Right.IsZero()):
		return errors.New("no standing is lost without the answer, what it says and what is right")
	}
	return nil
}

// cut makes a text fit, be it a stranger's.
func cut(s string) string {
	return strings.ToValidUTF8(s[:min(len(s), MaxDetail)], "")
}

// fromMicros gives a time in UTC without a monotonic part, so that what was read
// back equals what was written.
func fromMicros(n int64) time.Time { return time.UnixMicro(n).UTC() }
