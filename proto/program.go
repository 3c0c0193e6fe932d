package proto

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/mustermesh/muster/proto/wire"
)

// Limits of a program and its task. docs/wire.md §3.
const (
	MaxArgs     = 4096    // arguments, and variables
	MaxArgBytes = 1 << 20 // bytes of all arguments and variables together
	MaxOutputs  = 64      // collected paths
	MaxPath     = 4096    // bytes of a guest path
	MaxTasks    = 100_000 // of one job
	MaxTimeout  = 30 * 24 * time.Hour
)

// ExecutorWASM and ProfileWASM name the executor and the machine profile that
// every node has. docs/machine.md says what the profile fixes.
const (
	ExecutorWASM = "wasm"
	ProfileWASM  = "wasip1/1"
)

// MaxFuel is the most fuel that a program may be given: what a processor of today
// burns in years. It leaves room to count on in 63 bits.
const MaxFuel = 1 << 60

// A Program is what all tasks of a job share: code, what it is given, and the
// limits that it runs within.
type Program struct {
	Executor  string
	Profile   string
	Code      CID
	CodeSize  uint64   // bytes
	Args      []string // without the program's own name
	Env       []string // KEY=VALUE, sorted by KEY, keys unique; see [Env]
	Outputs   []string // absolute guest paths to collect, sorted
	Resources Resources
	Fuel      uint64        // units that one execution may use, 1 to [MaxFuel]; the profile says what a unit is
	Timeout   time.Duration // of one execution, to the millisecond
	Private   bool          // code is of class job, not public
}

func (p Program) wire() *wire.Program {
	return &wire.Program{
		Executor: p.Executor, Profile: p.Profile, Code: p.Code.Bytes(), CodeSize: p.CodeSize,
		Args: p.Args, Env: p.Env, Outputs: p.Outputs, Resources: p.Resources.wire(),
		Fuel: p.Fuel, Timeout: p.Timeout.Milliseconds(), Private: p.Private,
	}
}

func parseProgram(w *wire.Program) (p Program, err error) {
	p = Program{
		Executor: w.GetExecutor(), Profile: w.GetProfile(), CodeSize: w.GetCodeSize(),
		Args: w.GetArgs(), Env: w.GetEnv(), Outputs: w.GetOutputs(),
		Fuel: w.GetFuel(), Private: w.GetPrivate(),
	}
	if p.Code, err = CIDFromBytes(w.GetCode()); err != nil {
		return Program{}, fmt.Errorf("%w: program code: %v", ErrMalformed, err)
	}
	if p.Resources, err = parseResources(w.GetResources()); err != nil {
		return Program{}, err
	}
	if p.Timeout, err = parseDuration(w.GetTimeout()); err != nil {
		return Program{}, err
	}
	return p, p.Validate()
}

// Validate says what is wrong with a program, ours or a stranger's.
func (p Program) Validate() error {
	if p.Code.IsZero() {
		return fmt.Errorf("%w: a program without code", ErrMalformed)
	}
	if p.CodeSize > maxBytes {
		return fmt.Errorf("%w: a program of %d bytes", ErrMalformed, p.CodeSize)
	}
	if p.Executor == "" || p.Profile == "" {
		return fmt.Errorf("%w: a program without executor or profile", ErrMalformed)
	}
	if err := checkName("executor", p.Executor, maxWord); err != nil {
		return err
	}
	if err := checkName("profile", p.Profile, maxWord); err != nil {
		return err
	}
	if p.Timeout < time.Millisecond || p.Timeout > MaxTimeout {
		return fmt.Errorf("%w: timeout %s; it must be at least 1ms and at most %s", ErrMalformed, p.Timeout, MaxTimeout)
	}
	if p.Fuel < 1 || p.Fuel > MaxFuel {
		return fmt.Errorf("%w: %d units of fuel; it must be at least 1 and at most %d", ErrMalformed, p.Fuel, uint64(MaxFuel))
	}
	if err := p.Resources.validate(); err != nil {
		return err
	}
	if err := checkArgs(p.Args, p.Env); err != nil {
		return err
	}
	return checkOutputs(p.Outputs)
}

func checkArgs(args, env []string) error {
	if len(args) > MaxArgs || len(env) > MaxArgs {
		return fmt.Errorf("%w: %d arguments and %d variables; at most %d of each", ErrMalformed, len(args), len(env), MaxArgs)
	}
	total := 0
	for _, s := range slices.Concat(args, env) {
		if total += len(s); strings.IndexByte(s, 0) >= 0 || !utf8.ValidString(s) {
			return fmt.Errorf("%w: argument or variable %.40q holds a zero byte or is not UTF-8", ErrMalformed, s)
		}
	}
	if total > MaxArgBytes {
		return fmt.Errorf("%w: arguments and variables of %d bytes; at most %d", ErrMalformed, total, MaxArgBytes)
	}
	return checkEnv(env)
}

// Env gives variables as a [Program] has them. The order is that of the keys
// alone: A comes before A1, though "A=" sorts after "A1=".
func Env(vars map[string]string) []string {
	env := make([]string, 0, len(vars))
	for _, key := range slices.Sorted(maps.Keys(vars)) {
		env = append(env, key+"="+vars[key])
	}
	return env
}

func checkEnv(env []string) error {
	last := ""
	for i, s := range env {
		key, _, ok := strings.Cut(s, "=")
		if !ok || key == "" {
			return fmt.Errorf("%w: variable %.80q is not KEY=VALUE", ErrMalformed, s)
		}
		if strings.HasPrefix(key, "MUSTER_") {
			return fmt.Errorf("%w: variable %.80q: names that begin with MUSTER_ are the machine's own", ErrMalformed, key)
		}
		if i > 0 && key <= last {
			return fmt.Errorf("%w: variables are not sorted and unique at %.80q", ErrMalformed, key)
		}
		last = key
	}
	return nil
}

func checkOutputs(outputs []string) error {
	if len(outputs) > MaxOutputs {
		return fmt.Errorf("%w: %d output paths; at most %d", ErrMalformed, len(outputs), MaxOutputs)
	}
	for i, p := range outputs {
		if err := CheckGuestPath(p); err != nil {
			return err
		}
		if i > 0 && p <= outputs[i-1] {
			return fmt.Errorf("%w: output %q is listed twice or out of order", ErrMalformed, p)
		}
		if slices.ContainsFunc(outputs[:i], func(dir string) bool { return strings.HasPrefix(p, dir+"/") }) {
			return fmt.Errorf("%w: output %q lies in another", ErrMalformed, p)
		}
	}
	return nil
}

// CheckGuestPath takes an absolute, clean path below the guest's root: no "..",
// no empty element, no zero byte, at most [MaxPath] bytes and 255 an element.
func CheckGuestPath(p string) error {
	switch {
	case len(p) > MaxPath:
		return fmt.Errorf("%w: guest path of %d bytes; at most %d", ErrMalformed, len(p), MaxPath)
	case !strings.HasPrefix(p, "/") || path.Clean(p) != p || p == "/":
		return fmt.Errorf("%w: guest path %.200q must be absolute and clean, like /out", ErrMalformed, p)
	}
	for element := range strings.SplitSeq(p[1:], "/") {
		if len(element) > 255 {
			return fmt.Errorf("%w: guest path element of %d bytes; at most 255", ErrMalformed, len(element))
		}
	}
	return checkName("guest path", p, MaxPath)
}

// A Task is a program on one piece of input.
type Task struct {
	Index, Count int
	Stdin        CID    // zero: empty
	Input        CID    // tree mounted at the guest's root; zero: empty
	Seed         []byte // given by the requester, up to 64 bytes; usually none
}

// MaxSeed is the longest seed, in bytes.
const MaxSeed = 64

// A Digest names everything that the guest of one task can observe. Equal
// digests give equal bytes.
type Digest [sha256.Size]byte

// String gives 64 hexadecimal digits.
func (d Digest) String() string { return JobID(d).String() }

// MarshalText gives the text form.
func (d Digest) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads the text form.
func (d *Digest) UnmarshalText(b []byte) error { return (*JobID)(d).UnmarshalText(b) }

// TaskDigest computes the digest of one task: the SHA-256 of a fixed-order
// encoding with lengths, no maps and no floats. docs/wire.md §4.
func TaskDigest(p Program, t Task) Digest { return sha256.Sum256(taskEncoding(p, t)) }

func taskEncoding(p Program, t Task) []byte {
	b := []byte("muster-task-v1\x00")
	b = appendBytes(b, []byte(p.Profile))
	b = appendCID(b, p.Code)
	b = appendStrings(b, p.Args)
	b = appendStrings(b, p.Env)
	b = appendStrings(b, p.Outputs)
	b = appendCID(b, t.Stdin)
	b = appendCID(b, t.Input)
	for _, n := range []uint64{p.Resources.Memory, p.Resources.Disk, p.Fuel, uint64(t.Index), uint64(t.Count)} {
		b = binary.BigEndian.AppendUint64(b, n)
	}
	return appendBytes(b, t.Seed)
}

func appendBytes(b, s []byte) []byte {
	return append(binary.BigEndian.AppendUint64(b, uint64(len(s))), s...)
}

func appendStrings(b []byte, ss []string) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(len(ss)))
	for _, s := range ss {
		b = appendBytes(b, []byte(s))
	}
	return b
}

func appendCID(b []byte, c CID) []byte {
	if c.IsZero() {
		return appendBytes(b, nil)
	}
	return appendBytes(b, c.Bytes())
}

func (t Task) wire(e ExecutionID) *wire.Task {
	return &wire.Task{
		Execution: e[:], Index: uint32(t.Index), Count: uint32(t.Count),
		Stdin: optionalCID(t.Stdin), Input: optionalCID(t.Input), Seed: t.Seed,
	}
}

func parseTask(w *wire.Task) (e ExecutionID, t Task, err error) {
	if e, err = parseExecutionID(w.GetExecution()); err != nil {
		return e, t, err
	}
	if w.Count < 1 || w.Count > MaxTasks || w.Index >= w.Count {
		return e, t, fmt.Errorf("%w: task %d of %d", ErrMalformed, w.Index, w.Count)
	}
	t = Task{Index: int(w.Index), Count: int(w.Count), Seed: w.Seed}
	if len(t.Seed) > MaxSeed {
		return e, t, fmt.Errorf("%w: seed of %d bytes", ErrMalformed, len(t.Seed))
	}
	if t.Stdin, err = parseOptionalCID(w.Stdin); err != nil {
		return e, t, err
	}
	t.Input, err = parseOptionalCID(w.Input)
	return e, t, err
}

func parseExecutionID(b []byte) (e ExecutionID, err error) {
	if len(b) != len(e) {
		return e, fmt.Errorf("%w: execution id of %d bytes", ErrMalformed, len(b))
	}
	return ExecutionID(b), nil
}

func optionalCID(c CID) []byte {
	if c.IsZero() {
		return nil
	}
	return c.Bytes()
}

func parseOptionalCID(b []byte) (CID, error) {
	if len(b) == 0 {
		return CID{}, nil
	}
	c, err := CIDFromBytes(b)
	if err != nil {
		return CID{}, fmt.Errorf("%w: %v", ErrMalformed, err)
	}
	return c, nil
}

func parseDuration(ms int64) (time.Duration, error) {
	if ms < 0 || ms > MaxTimeout.Milliseconds() {
		return 0, fmt.Errorf("%w: duration of %d ms", ErrMalformed, ms)
	}
	return time.Duration(ms) * time.Millisecond, nil
}

// maxTime is the last moment of the year 9999, in milliseconds: what comes
// later has no common text form.
const maxTime = 253402300799999

func parseTime(ms int64) (time.Time, error) {
	if ms < 0 || ms > maxTime {
		return time.Time{}, fmt.Errorf("%w: time %d ms", ErrMalformed, ms)
	}
	return time.UnixMilli(ms), nil
}

func parseJobID(b []byte) (JobID, error) {
	if len(b) != sha256.Size {
		return JobID{}, fmt.Errorf("%w: job id of %d bytes", ErrMalformed, len(b))
	}
	return JobID(b), nil
}
