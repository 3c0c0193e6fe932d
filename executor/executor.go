package executor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/mustermesh/muster/proto"
)

// Errors that a caller may ask about with errors.Is. None of them says
// anything about the guest: what a guest does wrong is in the Result.
var (
	ErrNoChildHook = errors.New("the program does not call executor.ChildMain first thing in main: call it, or set Config.ChildPath")
	ErrRefused     = errors.New("cannot run here")
	ErrBusy        = errors.New("no free sandbox")
	ErrTimeout     = errors.New("time limit reached")
	ErrKilled      = errors.New("sandbox died")
	ErrStopped     = errors.New("execution stopped")
	ErrClosed      = errors.New("executor closed")
	ErrTask        = errors.New("malformed task")
	ErrHost        = errors.New("host could not serve the execution")
)

// A ProgramError says why a program can never run here: it is the program's
// failure, the same on every node with this executor.
type ProgramError struct{ Reason string }

// Error gives the reason, which ends with what to do about it.
func (e *ProgramError) Error() string { return "program refused: " + e.Reason }

// An Executor runs programs. All methods may be called concurrently.
type Executor interface {
	// Fingerprint says what this executor is and what it enforces on this host.
	// The first call may take as long as starting a sandbox.
	Fingerprint(ctx context.Context) (Fingerprint, error)
	// Check tells whether such a task could run here at all, now or later; the
	// error wraps ErrRefused and says what is too much.
	Check(r Requirement) error
	// Prepare makes a warm sandbox for owner and program, in which the program is
	// validated and compiled. A program that cannot run gives a *ProgramError.
	Prepare(ctx context.Context, owner proto.PeerID, program Program) error
	// Start begins an execution. It waits for a free sandbox until ctx ends, and
	// then gives an error wrapping ErrBusy. The execution outlives ctx: it ends by
	// itself, at its time limit, or by Stop.
	Start(ctx context.Context, t Task) (Execution, error)
	// Release ends every sandbox of owner and program, running ones included;
	// their Wait gives ErrStopped.
	Release(owner proto.PeerID, program proto.CID)
}

// An Execution is one run of a task. All methods may be called concurrently.
type Execution interface {
	// Wait blocks until the execution is over and everything has gone to the
	// Sink, or until ctx ends, which leaves the execution running. Its errors wrap
	// ErrTimeout, ErrKilled, ErrStopped, ErrHost or ctx's.
	Wait(ctx context.Context) (Result, error)
	// Stop kills the execution and returns once it is dead. It may be called
	// again, and after the end.
	Stop()
}

// A Tailer is an Execution whose output can be read while it runs, as WASM's
// can. Its method may be called concurrently, and after the end.
type Tailer interface {
	// Tail gives what the guest wrote to stdout and stderr, in the order in which
	// it was written, from byte from of that log on: 0 at first, then the next of
	// the call before. It blocks until there is something; at the end it gives
	// io.EOF. The pieces of one call have at most 256 KiB together, and belong to
	// the caller.
	//
	// Only the last MaxLog bytes are kept, and of a guest that goes to and fro
	// between its streams only the last MaxRuns runs: a Piece whose Offset is
	// beyond the end of the one before it in its stream tells how much is gone in
	// between, and the Result how much each stream had.
	Tail(ctx context.Context, from int64) (pieces []Piece, next int64, err error)
}

// A Piece is a part of what a guest wrote to one of its streams.
type Piece struct {
	Stderr bool
	Offset uint64 // in that stream, bytes
	Data   []byte // 1 to proto.MaxLogChunk bytes
}

// What is kept of an execution's output for Tail.
const (
	MaxLog  = 1 << 20 // bytes of both streams together
	MaxRuns = 16384   // pieces, each of one stream
)

// A Progresser is an Execution whose guest can say how far it is, as WASM's can.
// Its method may be called concurrently, and after the end.
type Progresser interface {
	// Progress gives the guest's latest word, once there is one with a number
	// above after: 0 at first, then the Number of the call before. It blocks until
	// then; at the end it gives the last one, and then io.EOF. Words are passed on
	// at most 20 times a second: those in between are never seen.
	Progress(ctx context.Context, after uint64) (Progress, error)
}

// A Progress is a guest's own word on how far it is. Nobody verified it.
type Progress struct {
	Number   uint64  // counts up from 1; may skip
	Fraction float64 // 0 to 1, to the millionth; below 0: unknown
	Text     string  // one line, at most proto.MaxProgress bytes; may be empty
}

// A Fingerprint describes an executor on this host.
type Fingerprint struct {
	Name    string // "wasm"
	Profile string // the machine that guests see: "wasip1/1"
	Engine  string // "wazero"
	Version string // of the engine: "1.12.0"
	Arch    string // as in GOARCH
	Level   Level  // how well guests are shut in
	Layers  []Layer
	// MaxMemory and MaxDisk are the most that a task may ask for, in bytes.
	MaxMemory, MaxDisk uint64
}

// A Level sums up how well guests are shut in; a higher one is better.
type Level int

// The levels. At LevelLandlock a guest that broke out of its machine would have
// no access to files and TCP, no privileges and no way to get any; at
// LevelNamespaces no privileges either, a network, a process table and a file
// tree of its own, all empty, and, on amd64 and arm64, only the system calls that
// computing needs.
const (
	LevelNone Level = iota
	LevelLandlock
	LevelNamespaces
)

// String gives the name in lower case.
func (l Level) String() string {
	switch l {
	case LevelNone:
		return "none"
	case LevelLandlock:
		return "landlock"
	case LevelNamespaces:
		return "namespaces"
	}
	return fmt.Sprintf("level %d", int(l))
}

// MarshalText gives the name.
func (l Level) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// A Layer is one of the walls around a guest.
type Layer struct {
	Name   string
	On     bool
	Detail string // why it is off, or what it covers; for people
}

// A Requirement is what a task needs of an executor.
type Requirement struct {
	Profile      string
	Memory, Disk uint64 // bytes
	Module       int64  // size of the program in bytes; 0 if not known
}

// A Program is a WebAssembly core module. Open gives its bytes, which the
// executor does not change; it is called only when a sandbox has to be started.
type Program struct {
	CID  proto.CID
	Open func(ctx context.Context) ([]byte, error)
}

// A Task is everything that one execution depends on. Equal tasks give equal
// bytes: nothing but the program, Args, Env, Stdin, Input, Outputs, Seed and
// Limits (Timeout aside) can be seen by the guest.
type Task struct {
	Owner   proto.PeerID
	Program Program
	Args    []string // without argv[0], which is always "program"
	Env     []string // K=V, in the order in which the guest is to see them
	Stdin   Source   // nil is empty
	Input   Tree     // mounted at "/", copy-on-write; nil is empty
	// Outputs are clean absolute paths, none inside another, none "/". Each
	// exists as an empty directory before the start, unless the input has something
	// there; what stands there at the end, a directory or a file, is the output.
	Outputs []string
	Seed    [32]byte // of random_get, and of nothing else
	Limits  Limits
	Sink    Sink // nil throws everything away
	// Interpret runs the program on the engine's interpreter, many times slower,
	// in the place of its compiler. It changes no byte of the result, unless one of
	// the two has a bug; the Result's Engine says which of them ran.
	Interpret bool
}

// Limits bound one execution.
type Limits struct {
	Memory  uint64        // bytes of linear memory; rounded down to 64 KiB pages
	Disk    uint64        // bytes of files written, stdout and stderr together
	Timeout time.Duration // wall clock; must be positive
	Fuel    uint64        // units that the guest may use (docs/machine.md), 1 to MaxFuel; 0 is MaxFuel
}

// MaxFuel is the most fuel that a task may get: years of computing.
const MaxFuel = proto.MaxFuel

// A Source is bytes of known size that can be read again: *bytes.Reader and
// *io.SectionReader are such.
type Source interface {
	io.ReaderAt
	Size() int64
}

// A Tree is a finite tree of files that does not change while an execution
// runs. Methods are called from one goroutine.
type Tree interface {
	// Entries lists the tree; the directories above an entry may be left out.
	Entries(ctx context.Context) ([]Entry, error)
	// ReadAt fills p from the file at path, which is one of Entries. The range is
	// always inside the file: less than len(p) is an error.
	ReadAt(ctx context.Context, path string, p []byte, off int64) (int, error)
}

// An Entry is a file or directory of a Tree.
type Entry struct {
	Path string // "in/a/b": relative, clean, UTF-8, at most MaxPath bytes
	Size int64  // bytes; 0 for a directory
	Dir  bool
}

// Limits on trees, names and what else a guest can make grow.
const (
	MaxEntries = 200_000 // entries of an input tree
	MaxPath    = 4096    // bytes in a path
	MaxName    = 255     // bytes in one component of a path
	maxNodes   = 100_000 // files and directories that a guest may add
	maxFDs     = 1024    // open at a time, preopened ones included
)

// A Sink takes what a guest produced. It is called from one goroutine. Stdout
// and Stderr are called while the guest runs, in the order in which it wrote,
// the rest after its end: Dir and File for each output, depth first, siblings
// sorted bytewise, paths relative ("out/x"). How stdout is cut into calls may
// differ between runs. An error ends the execution with ErrHost.
type Sink interface {
	Stdout(p []byte) error
	Stderr(p []byte) error
	Dir(path string) error
	// File must not keep r, which gives exactly size bytes.
	File(path string, size int64, r io.Reader) error
}

// An Outcome is how a guest ended.
type Outcome int

// The outcomes. A guest that returns from _start exited with code 0.
const (
	Exited Outcome = iota
	Trapped
	OutOfFuel
)

// String gives the name in lower case.
func (o Outcome) String() string {
	switch o {
	case Exited:
		return "exited"
	case Trapped:
		return "trapped"
	case OutOfFuel:
		return "out of fuel"
	}
	return fmt.Sprintf("outcome %d", int(o))
}

// A Result is what a guest did. Outcome, ExitCode, Trap, PeakMemory,
// StdoutBytes, StderrBytes, DiskFull and Fuel are equal for equal tasks.
type Result struct {
	Outcome     Outcome
	ExitCode    uint32
	Trap        string // one of the Traps, if Outcome is Trapped
	Fuel        uint64 // used, in units of Limits.Fuel; all of that if the guest ran out of it
	Engine      string // that ran it, in the form of Fingerprint.Engine; "": the Fingerprint's
	CPU, Wall   time.Duration
	PeakMemory  uint64 // bytes of linear memory at the end
	StdoutBytes uint64
	StderrBytes uint64
	// DiskFull tells that a write to a file, stdout or stderr found no room
	// within Limits.Disk. The guest was told, but may not have looked.
	DiskFull bool
}
