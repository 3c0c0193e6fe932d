package scheduler

import (
	"slices"
	"time"

	"github.com/mustermesh/muster/proto"
)

// A TaskState is where a task stands.
type TaskState string

// States of a task. Only verified means that an independent execution, or the
// requester's own, agreed.
const (
	TaskWaiting  TaskState = "waiting"
	TaskRunning  TaskState = "running"
	TaskChecking TaskState = "checking" // an answer is held, checks are under way
	TaskAccepted TaskState = "accepted"
	TaskVerified TaskState = "verified"
	TaskDisputed TaskState = "disputed"
	TaskFailed   TaskState = "failed" // no result: timed out, or could not be run
)

// An ExecState is where an execution stands.
type ExecState string

// States of an execution.
const (
	ExecAssigned  ExecState = "assigned"
	ExecRunning   ExecState = "running"
	ExecAnswered  ExecState = "answered"
	ExecWrong     ExecState = "wrong" // proven so
	ExecFailed    ExecState = "failed"
	ExecLost      ExecState = "lost"
	ExecDeclined  ExecState = "declined"
	ExecCancelled ExecState = "cancelled"
)

// A Role says why an execution was started. Its provider is never told.
type Role string

// Roles of an execution.
const (
	RoleExecutor Role = "executor"
	RoleChecker  Role = "checker"
	RoleHedge    Role = "hedge"    // a second execution, since the first was slow; it may serve as its check
	RoleReferee  Role = "referee"  // the requester's own run, to settle a conflict
	RoleStandIn  Role = "stand-in" // the requester's own run, for missing checkers
	RoleLocal    Role = "local"    // --local
)

type task struct {
	index    int
	state    TaskState
	want     int // checkers
	execs    []*exec
	outputs  []output
	settled  *Settlement
	failures int
	timedOut int
	cut      Cut // of those of earlier runs

	notBefore   time.Time
	localFailed string // why the requester could not run it itself
	dirty       bool
	queued      bool // stands in fresh, begun or delayed
	wantsOwn    bool // stands in own
}

// An output is the output of an answer.
type output struct {
	cid  proto.CID
	held bool  // complete here; else on its way
	from *exec // whose provider was asked
}

func (t *task) output(cid proto.CID) *output {
	for i := range t.outputs {
		if t.outputs[i].cid == cid {
			return &t.outputs[i]
		}
	}
	return nil
}

func (t *task) holds(cid proto.CID) bool {
	o := t.output(cid)
	return o != nil && o.held
}

// forgetDeclined keeps the last refusal of each peer alone: there is no end to
// them.
func (t *task) forgetDeclined(last *exec) {
	t.execs = slices.DeleteFunc(t.execs, func(e *exec) bool {
		return e != last && e.state == ExecDeclined && e.peer == last.peer
	})
}

// live counts the executions that are under way, as far as is known.
func (t *task) live() (n int) {
	for _, e := range t.execs {
		if e.live() && !e.doubtful() {
			n++
		}
	}
	return n
}

// answered counts the answers that count: the requester's own included, those
// of peers that were shunned since left out.
func (t *task) answered() (n int) {
	for _, e := range t.execs {
		if e.state == ExecAnswered && (e.local || !e.from.shunned()) {
			n++
		}
	}
	return n
}

func (t *task) answers() (es []*exec) {
	for _, e := range t.execs {
		if e.state == ExecAnswered {
			es = append(es, e)
		}
	}
	return es
}

// begun tells whether anybody has answered the task or is at it.
func (t *task) begun() bool {
	return slices.ContainsFunc(t.execs, func(e *exec) bool { return e.live() && !e.doubtful() || e.state == ExecAnswered })
}

// own gives the requester's run of the task, under way or done.
func (t *task) own() *exec {
	for _, e := range t.execs {
		if e.local && (e.live() || e.state == ExecAnswered) {
			return e
		}
	}
	return nil
}

// said gives the executions that a signed answer is held of, those too whose
// output could not be fetched afterwards: the answer still speaks against them.
func (t *task) said() (es []*exec) {
	for _, e := range t.execs {
		if e.said() {
			es = append(es, e)
		}
	}
	return es
}

// inConflict tells whether two answers differ.
func (t *task) inConflict() bool {
	var first *exec
	for _, e := range t.execs {
		switch {
		case !e.said():
		case first == nil:
			first = e
		case e.outcome.result() != first.outcome.result():
			return true
		}
	}
	return false
}

// restsUntil tells until when p is not given t again: for a pause after it
// failed it a few times, for ever where t timed out there.
func (t *task) restsUntil(p proto.PeerID) (until time.Time, forever bool) {
	tries := 0
	for _, e := range t.execs {
		if e.peer != p || e.local || e.state != ExecFailed && e.state != ExecLost {
			continue
		}
		if e.state == ExecFailed && e.reason == proto.ReasonTimeout {
			return until, true
		}
		if tries++; tries >= peerTries {
			until = e.ended.Add(slowestBackoff)
		}
	}
	return until, false
}

type exec struct {
	id     proto.ExecutionID
	task   *task
	peer   proto.PeerID
	from   *peer  // nil: the requester
	lease  *lease // nil: the requester
	at     int    // in the lease's list of what is in flight
	group  string
	engine proto.Engine // that the peer offered
	role   Role
	local  bool
	// interpret: it is run by the interpreter, whose word decides where engines differ.
	interpret bool
	state     ExecState
	reason    proto.Reason
	detail    string
	outcome   Outcome
	created   time.Time
	started   time.Time
	ended     time.Time
	blamed    bool // its peer was told off for it

	restored bool // from an earlier run of this node, whose clock may have been another
}

func (e *exec) live() bool { return e.state == ExecAssigned || e.state == ExecRunning }

// doubtful tells whether its provider is out of touch for so long that another
// may have to do the work. It counts again once the provider is back.
func (e *exec) doubtful() bool { return e.lease != nil && e.lease.doubted }

// said tells whether its provider signed an answer.
func (e *exec) said() bool {
	return e.state == ExecAnswered || e.state == ExecLost && !e.outcome.Output.IsZero()
}

func (e *exec) leaseID() (id proto.LeaseID) {
	if e.lease != nil {
		id = e.lease.id
	}
	return id
}

// A Settlement is the one result record of a task.
type Settlement struct {
	State    TaskState
	How      string // in words
	Checkers int    // independent peers that agreed
	Own      bool   // the requester's own run agreed, or decided
	TimedOut bool   // failed, for it reached its time limit
	Dead     bool   // given up after too many failures of peers
	Output   proto.CID
	Outcome  Outcome
	Winner   proto.ExecutionID // whose answer the record rests on
}

// Ok tells whether the task has a result and the program succeeded.
func (s Settlement) Ok() bool {
	return (s.State == TaskAccepted || s.State == TaskVerified) && s.Outcome.Ok()
}

// An EvidenceKind says what an execution showed of its peer.
type EvidenceKind string

// Kinds of evidence. Only wrong costs standing; failed and lost cost
// availability.
const (
	EvidenceChecked   EvidenceKind = "checked"   // right, and checked
	EvidenceUnchecked EvidenceKind = "unchecked" // taken on standing alone
	EvidenceWrong     EvidenceKind = "wrong"     // proven by the requester's own run
	EvidenceFailed    EvidenceKind = "failed"
	EvidenceLost      EvidenceKind = "lost"
)

// Evidence is what one execution showed of its peer.
type Evidence struct {
	Peer      proto.PeerID
	Kind      EvidenceKind
	Task      int
	Execution proto.ExecutionID
	Output    proto.CID // what it answered
	Right     proto.CID // what is right, where it was wrong
	Detail    string
}

// A Transition is a change of a job's state.
type Transition struct {
	State  State
	Reason string
}

// Actions is what [Job.Step] wants done. Records are written first, evidence and
// settled tasks before anybody hears of them.
type Actions struct {
	Evidence []Evidence
	Settled  []int // tasks; see [Job.Task]
	States   []Transition
	Changed  []int  // tasks whose view changed
	Announce uint64 // sequence of an announcement to publish; 0: none
	Open     []OpenLease
	Assign   []Assign
	Local    []RunLocal
	Fetch    []Fetch
	Cancel   []Cancel
	// Conflicts are peers that differed from this node in the program, and the
	// requester itself where its own engine is at fault. Those of a program's jobs are kept for its next; see [JobConfig].
	Conflicts []proto.PeerID
	Close     []proto.LeaseID
	Attach    []Attach
	Wake      time.Time // when to step again at the latest; zero: only after an event

	// What must be on disk before any of the above is carried out.
	Leases     []LeaseRecord     // awarded
	Executions []ExecutionRecord // assigned
	Troubled   []int             // unsettled tasks that failed once more; see [Job.Task]

	// Records that are of no use any more, once the settled tasks are written.
	Over []proto.ExecutionID
	Gone []proto.LeaseID
}

// Attach takes up a lease again: its stream broke, or this node was restarted.
// What comes of it is told to [Job.LeaseAttached], [Job.AttachFailed] or
// [Job.LeaseLost].
type Attach struct {
	Peer       proto.PeerID
	Lease      proto.LeaseID
	Epoch      uint64
	Executions []proto.ExecutionID // still wanted
}

// OpenLease asks for an award with first tasks.
type OpenLease struct {
	Peer  proto.PeerID
	Lease proto.LeaseID
	Epoch uint64
	Slots int
	Price proto.Credits
	Tasks []Assign
}

// Assign sends one more task over an accepted lease.
type Assign struct {
	Lease     proto.LeaseID
	Execution proto.ExecutionID
	Task      int
}

// RunLocal runs a task in the requester's own sandbox.
type RunLocal struct {
	Execution proto.ExecutionID
	Task      int
	Interpret bool // on the interpreter
}

// Fetch brings the output of an answered execution here.
type Fetch struct {
	Execution proto.ExecutionID
	Peer      proto.PeerID
	Task      int
	Output    proto.CID
}

// Cancel stops an execution.
type Cancel struct {
	Lease     proto.LeaseID
	Execution proto.ExecutionID
	Local     bool
	Worth     time.Duration // how long it ran, as far as that is to be paid for; 0: not at all
}
