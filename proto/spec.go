package proto

import (
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/mustermesh/muster/proto/wire"
)

// MaxSpecification is the longest envelope of a specification, in bytes: room
// for [MaxTasks] tasks with an input tree and a standard input each. It rests
// with its requester and never travels whole, so it may be longer than what does.
const MaxSpecification = 16 << 20

// ConfidenceUnit is what confidence is counted in: parts per million.
const ConfidenceUnit = 1_000_000

// ComparatorExact compares output roots byte for byte; the only one so far.
const ComparatorExact = "exact"

// MaxRetries is how often a job can have one task tried again, at most.
const MaxRetries = 1000

// A TaskInput is what one task of a specification is given.
type TaskInput struct {
	Input CID // tree mounted at the guest's root; zero: empty
	Stdin CID // zero: empty
}

// A Specification is a job as its requester signs it: everything that the job
// id stands for. Inputs are resolved to content ids and split into tasks.
type Specification struct {
	Name          string
	Program       Program
	Tasks         []TaskInput
	Seed          []byte // up to [MaxSeed] bytes
	Confidence    uint32 // parts per million, 0 to below 1,000,000
	Comparator    string
	RefereeBudget time.Duration // of the requester's own re-executions, per task; to the millisecond
	MaxPrice      Credits       // of a core-hour
	Constraints   []string
	Labels        Labels
	QueueTimeout  time.Duration // how long the job may wait without progress; to the millisecond
	TotalTimeout  time.Duration // how long the whole job may take; 0: any time; to the millisecond, and at least one
	Retries       int           // of one task that peers failed; 0: the requester's default; at most [MaxRetries]
	Trace         string        // W3C traceparent, or empty
	Reduce        *Program      // gets all tasks' outputs under /in/<index>
	Nonce         [16]byte
	Submitted     time.Time // to the millisecond
}

// Validate says what is wrong with a specification.
func (s Specification) Validate() error {
	if err := checkName("job name", s.Name, 2*maxWord); err != nil {
		return err
	}
	if err := s.Program.Validate(); err != nil {
		return err
	}
	switch {
	case len(s.Tasks) < 1 || len(s.Tasks) > MaxTasks:
		return fmt.Errorf("%w: %d tasks; a job has 1 to %d", ErrMalformed, len(s.Tasks), MaxTasks)
	case s.Confidence >= ConfidenceUnit:
		return fmt.Errorf("%w: confidence must be at least 0 and below 1", ErrMalformed)
	case len(s.Seed) > MaxSeed:
		return fmt.Errorf("%w: seed of %d bytes; at most %d", ErrMalformed, len(s.Seed), MaxSeed)
	case s.Comparator != ComparatorExact:
		return fmt.Errorf("%w: comparator %.80q; this version has %q only", ErrMalformed, s.Comparator, ComparatorExact)
	case s.MaxPrice > maxCredits:
		return fmt.Errorf("%w: price out of range", ErrMalformed)
	case s.RefereeBudget < 0 || s.RefereeBudget > MaxTimeout || s.QueueTimeout < 0 || s.QueueTimeout > MaxTimeout:
		return fmt.Errorf("%w: referee budget %s, queue timeout %s; each is at most %s", ErrMalformed, s.RefereeBudget, s.QueueTimeout, MaxTimeout)
	case s.TotalTimeout < 0 || s.TotalTimeout > MaxTimeout || s.TotalTimeout > 0 && s.TotalTimeout < time.Millisecond:
		return fmt.Errorf("%w: total timeout %s; it is from 1ms to %s, or 0 for none", ErrMalformed, s.TotalTimeout, MaxTimeout)
	case s.Retries < 0 || s.Retries > MaxRetries:
		return fmt.Errorf("%w: %d retries; at most %d", ErrMalformed, s.Retries, MaxRetries)
	case s.Submitted.UnixMilli() < 0 || s.Submitted.UnixMilli() > maxTime:
		return fmt.Errorf("%w: submitted at %s", ErrMalformed, s.Submitted)
	}
	if err := s.Labels.Validate(); err != nil {
		return err
	}
	if err := checkName("trace", s.Trace, maxTrace); err != nil {
		return err
	}
	if s.Reduce != nil {
		if err := s.Reduce.Validate(); err != nil {
			return fmt.Errorf("reduce: %w", err)
		}
	}
	return CheckConstraints(s.Constraints)
}

// Task gives the i-th task.
func (s Specification) Task(i int) Task {
	return Task{Index: i, Count: len(s.Tasks), Stdin: s.Tasks[i].Stdin, Input: s.Tasks[i].Input, Seed: s.Seed}
}

// Marshal gives the body of a statement of [PurposeSpecification].
func (s Specification) Marshal() []byte {
	w := &wire.Specification{
		Name: s.Name, Program: s.Program.wire(), Seed: s.Seed, Confidence: s.Confidence, Comparator: s.Comparator,
		RefereeBudget: s.RefereeBudget.Milliseconds(), MaxPrice: uint64(s.MaxPrice), Constraints: s.Constraints,
		Labels: s.Labels.wire(), QueueTimeout: s.QueueTimeout.Milliseconds(), Nonce: s.Nonce[:], Submitted: s.Submitted.UnixMilli(),
		TotalTimeout: s.TotalTimeout.Milliseconds(), Retries: uint32(s.Retries), Trace: s.Trace,
	}
	for _, t := range s.Tasks {
		w.Tasks = append(w.Tasks, &wire.TaskInput{Input: optionalCID(t.Input), Stdin: optionalCID(t.Stdin)})
	}
	if s.Reduce != nil {
		w.Reduce = s.Reduce.wire()
	}
	return marshal(w)
}

// ParseSpecification checks the body of a specification.
func ParseSpecification(b []byte) (s Specification, err error) {
	var w wire.Specification
	if err := unmarshalUpTo(maxSpecFields, b, &w, "specification"); err != nil {
		return s, err
	}
	if len(w.Nonce) != len(s.Nonce) || len(w.Tasks) > MaxTasks {
		return s, fmt.Errorf("%w: specification out of range", ErrMalformed)
	}
	s = Specification{
		Name: w.Name, Seed: w.Seed, Confidence: w.Confidence, Comparator: w.Comparator,
		MaxPrice: Credits(w.MaxPrice), Constraints: w.Constraints,
		Nonce: [16]byte(w.Nonce), Submitted: time.UnixMilli(w.Submitted),
		Retries: int(min(w.Retries, MaxRetries+1)), Trace: w.Trace,
	}
	if s.TotalTimeout, err = parseDuration(w.TotalTimeout); err != nil {
		return Specification{}, err
	}
	if s.Program, err = parseProgram(w.Program); err != nil {
		return Specification{}, err
	}
	if w.Reduce != nil {
		p, err := parseProgram(w.Reduce)
		if err != nil {
			return Specification{}, fmt.Errorf("reduce: %w", err)
		}
		s.Reduce = &p
	}
	if s.Labels, err = parseLabels(w.Labels); err != nil {
		return Specification{}, err
	}
	if s.RefereeBudget, err = parseDuration(w.RefereeBudget); err != nil {
		return Specification{}, err
	}
	if s.QueueTimeout, err = parseDuration(w.QueueTimeout); err != nil {
		return Specification{}, err
	}
	if s.Tasks, err = parseTaskInputs(w.Tasks); err != nil {
		return Specification{}, err
	}
	return s, s.Validate()
}

func parseTaskInputs(ws []*wire.TaskInput) ([]TaskInput, error) {
	ts := make([]TaskInput, len(ws))
	for i, w := range ws {
		var err error
		if ts[i].Input, err = parseOptionalCID(w.GetInput()); err != nil {
			return nil, err
		}
		if ts[i].Stdin, err = parseOptionalCID(w.GetStdin()); err != nil {
			return nil, err
		}
	}
	return ts, nil
}

// SignSpecification seals a specification and computes its job id: the SHA-256
// of the exact bytes signed. It rests with the requester, so it never expires.
func SignSpecification(key ed25519.PrivateKey, network string, s Specification) ([]byte, JobID) {
	st := Statement{Network: network, Purpose: PurposeSpecification, Issued: s.Submitted, Expires: s.Submitted.Add(MaxLifetime), Body: s.Marshal()}
	return Seal(key, st), JobID(sha256.Sum256(st.marshal()))
}

// OpenSpecification reads a specification back from its envelope. Its times are
// not checked: a job may rest for as long as its requester likes.
func OpenSpecification(b []byte, network string) (Specification, Envelope, JobID, error) {
	env, payload, err := openEnvelope(b, MaxSpecification, Expect{Network: network, Purpose: PurposeSpecification})
	if err != nil {
		return Specification{}, Envelope{}, JobID{}, err
	}
	s, err := ParseSpecification(env.Body)
	if err != nil {
		return Specification{}, Envelope{}, JobID{}, err
	}
	return s, env, JobID(sha256.Sum256(payload)), nil
}
