package proto

import (
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/mustermesh/muster/proto/wire"
)

// An Outcome says how a guest ended. All of them are results of the program:
// every honest node agrees on them. The numbers are part of the wire format.
type Outcome uint32

// Outcomes.
const (
	OutcomeExited    Outcome = iota + 1 // with an exit code
	OutcomeTrapped                      // unreachable, out of bounds, stack overflow, …
	OutcomeOutOfFuel                    // its limit of fuel was too low
	OutcomeInvalid                      // the code is no program of this profile
)

// String gives the outcome's word.
func (o Outcome) String() string {
	switch o {
	case OutcomeExited:
		return "exited"
	case OutcomeTrapped:
		return "trapped"
	case OutcomeOutOfFuel:
		return "out of fuel"
	case OutcomeInvalid:
		return "invalid program"
	}
	return "unknown"
}

// LeaseID names a lease; the requester draws it at random.
type LeaseID [16]byte

// String gives 32 hexadecimal digits.
func (l LeaseID) String() string { return ExecutionID(l).String() }

// MarshalText gives the text form.
func (l LeaseID) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// UnmarshalText reads the text form.
func (l *LeaseID) UnmarshalText(b []byte) error { return (*ExecutionID)(l).UnmarshalText(b) }

// An Answer is a provider's signed result of one execution.
type Answer struct {
	Execution  ExecutionID
	Lease      LeaseID
	Epoch      uint64
	Digest     Digest
	Output     CID // directory: status, stdout, stderr, out/. docs/wire.md §5
	OutputSize uint64
	Outcome    Outcome
	ExitCode   uint32 // when exited; else 0
	Trap       string // word from the profile's list, when trapped or invalid; else empty
	Fuel       uint64 // used: equal on all machines; the program's limit if it ran out
	StateRoots []Hash // of the guest's machine along the way, equal on all machines; may be empty
	Engine     Engine
	CPU, Wall  time.Duration // to the microsecond
	PeakMemory uint64        // bytes
}

// MaxStateRoots is how many state roots an answer has at most.
const MaxStateRoots = 4096

// Ok tells whether the program itself succeeded.
func (a Answer) Ok() bool { return a.Outcome == OutcomeExited && a.ExitCode == 0 }

// Marshal gives the body of a statement of [PurposeAnswer].
func (a Answer) Marshal() []byte {
	w := &wire.Answer{
		Execution: a.Execution[:], Lease: a.Lease[:], Epoch: a.Epoch, Digest: a.Digest[:],
		Output: a.Output.Bytes(), OutputSize: a.OutputSize, Outcome: uint32(a.Outcome), ExitCode: a.ExitCode,
		Trap: a.Trap, Fuel: a.Fuel, Engine: a.Engine.wire(),
		Cpu: a.CPU.Microseconds(), Wall: a.Wall.Microseconds(), PeakMemory: a.PeakMemory,
	}
	for _, r := range a.StateRoots {
		w.StateRoots = append(w.StateRoots, r[:])
	}
	return marshal(w)
}

// ParseAnswer checks the body of a stranger's answer.
func ParseAnswer(b []byte) (a Answer, err error) {
	var w wire.Answer
	if err := unmarshal(b, &w, "answer"); err != nil {
		return a, err
	}
	if len(w.Lease) != len(a.Lease) || len(w.Digest) != len(a.Digest) {
		return a, fmt.Errorf("%w: answer without lease or digest", ErrMalformed)
	}
	a = Answer{
		Lease: LeaseID(w.Lease), Epoch: w.Epoch, Digest: Digest(w.Digest), OutputSize: w.OutputSize,
		Outcome: Outcome(w.Outcome), ExitCode: w.ExitCode, Trap: w.Trap, Fuel: w.Fuel,
		CPU: micros(w.Cpu), Wall: micros(w.Wall), PeakMemory: w.PeakMemory,
	}
	if err := a.validate(); err != nil {
		return Answer{}, err
	}
	if a.StateRoots, err = parseHashes(w.StateRoots); err != nil {
		return Answer{}, err
	}
	if a.Execution, err = parseExecutionID(w.Execution); err != nil {
		return Answer{}, err
	}
	if a.Output, err = CIDFromBytes(w.Output); err != nil {
		return Answer{}, fmt.Errorf("%w: output: %v", ErrMalformed, err)
	}
	a.Engine, err = parseEngine(w.Engine)
	return a, err
}

func (a Answer) validate() error {
	if a.OutputSize > maxBytes || a.PeakMemory > maxBytes {
		return fmt.Errorf("%w: answer of %d bytes with %d in memory", ErrMalformed, a.OutputSize, a.PeakMemory)
	}
	switch {
	case a.Outcome < OutcomeExited || a.Outcome > OutcomeInvalid:
		return fmt.Errorf("%w: outcome %d", ErrMalformed, uint32(a.Outcome))
	case a.ExitCode != 0 && a.Outcome != OutcomeExited:
		return fmt.Errorf("%w: an exit code of a program that did not exit", ErrMalformed)
	case a.Trap != "" && a.Outcome != OutcomeTrapped && a.Outcome != OutcomeInvalid:
		return fmt.Errorf("%w: a trap of a program that did not trap", ErrMalformed)
	}
	if a.Fuel > MaxFuel {
		return fmt.Errorf("%w: an answer of %d units of fuel", ErrMalformed, a.Fuel)
	}
	return checkName("trap", a.Trap, maxDetail)
}

// Roots names the list of state roots: the SHA-256 of all of them in order; zero
// where there are none. Two answers have equal lists if it is equal.
func (a Answer) Roots() (h Hash) {
	if len(a.StateRoots) == 0 {
		return h
	}
	sum := sha256.New()
	for _, r := range a.StateRoots {
		sum.Write(r[:])
	}
	return Hash(sum.Sum(nil))
}

func parseHashes(bs [][]byte) (hs []Hash, err error) {
	if len(bs) > MaxStateRoots {
		return nil, fmt.Errorf("%w: %d state roots", ErrMalformed, len(bs))
	}
	for _, b := range bs {
		if len(b) != sha256.Size {
			return nil, fmt.Errorf("%w: state root of %d bytes", ErrMalformed, len(b))
		}
		hs = append(hs, Hash(b))
	}
	return hs, nil
}

// micros reads a duration, clipped to between zero and [MaxTimeout]: what a
// stranger says that it spent is a claim, and no reason to refuse its answer.
func micros(n int64) time.Duration {
	return time.Duration(max(0, min(n, MaxTimeout.Microseconds()))) * time.Microsecond
}

// A Receipt is the requester's signed word that it holds an answer, and what
// the work is worth to it. One for an execution that was cancelled before it
// answered is partial: it has no answer, output, fuel or engine.
type Receipt struct {
	Answer    Hash // of the answer's envelope; zero: partial
	Job       JobID
	Execution ExecutionID
	Digest    Digest
	Output    CID
	Amount    Credits
	CPU       time.Duration
	Fuel      uint64
	Engine    Engine
}

// Partial tells whether the execution was cancelled before it answered.
func (r Receipt) Partial() bool { return r.Answer == Hash{} }

// Marshal gives the body of a statement of [PurposeReceipt].
func (r Receipt) Marshal() []byte {
	return marshal(&wire.Receipt{
		Answer: r.Answer[:], Job: r.Job[:], Execution: r.Execution[:], Digest: r.Digest[:],
		Output: optionalCID(r.Output), Amount: uint64(r.Amount), Cpu: r.CPU.Microseconds(),
		Fuel: r.Fuel, Engine: optionalEngine(r.Engine),
	})
}

// ParseReceipt checks the body of a stranger's receipt.
func ParseReceipt(b []byte) (r Receipt, err error) {
	var w wire.Receipt
	if err := unmarshal(b, &w, "receipt"); err != nil {
		return r, err
	}
	if len(w.Answer) != len(r.Answer) || len(w.Digest) != len(r.Digest) || w.Amount > maxCredits || w.Fuel > MaxFuel {
		return r, fmt.Errorf("%w: receipt out of range", ErrMalformed)
	}
	r = Receipt{Answer: Hash(w.Answer), Digest: Digest(w.Digest), Amount: Credits(w.Amount), CPU: micros(w.Cpu), Fuel: w.Fuel}
	if r.Job, err = parseJobID(w.Job); err != nil {
		return Receipt{}, err
	}
	if r.Execution, err = parseExecutionID(w.Execution); err != nil {
		return Receipt{}, err
	}
	if r.Partial() {
		if len(w.Output) > 0 || w.Fuel != 0 || w.Engine != nil {
			return Receipt{}, fmt.Errorf("%w: output, fuel or engine without an answer", ErrMalformed)
		}
		return r, nil
	}
	if r.Engine, err = parseEngine(w.Engine); err != nil {
		return Receipt{}, err
	}
	if r.Output, err = CIDFromBytes(w.Output); err != nil {
		return Receipt{}, fmt.Errorf("%w: output: %v", ErrMalformed, err)
	}
	return r, nil
}

// A Grant lets its addressee fetch one root of one job from any holder.
type Grant struct {
	Job  JobID
	Root CID
}

// Marshal gives the body of a statement of [PurposeGrant].
func (g Grant) Marshal() []byte {
	return marshal(&wire.Grant{Job: g.Job[:], Root: g.Root.Bytes()})
}

// ParseGrant checks the body of a stranger's grant.
func ParseGrant(b []byte) (g Grant, err error) {
	var w wire.Grant
	if err := unmarshal(b, &w, "grant"); err != nil {
		return g, err
	}
	if g.Job, err = parseJobID(w.Job); err != nil {
		return Grant{}, err
	}
	if g.Root, err = CIDFromBytes(w.Root); err != nil {
		return Grant{}, fmt.Errorf("%w: root: %v", ErrMalformed, err)
	}
	return g, nil
}
