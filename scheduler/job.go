package scheduler

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/mustermesh/muster/proto"
)

// A State is where a job stands.
type State string

// States of a job. docs/architecture.md has the picture.
const (
	Pending   State = "pending" // nobody who could run it is known
	Bidding   State = "bidding"
	Running   State = "running"
	Completed State = "completed"
	Failed    State = "failed"
	Disputed  State = "disputed"
	Cancelled State = "cancelled"
	Expired   State = "expired"
)

// Ended tells whether a job in this state never changes again.
func (s State) Ended() bool {
	switch s {
	case Completed, Failed, Disputed, Cancelled, Expired:
		return true
	}
	return false
}

// A JobConfig is what a job's state machine must know at the start.
type JobConfig struct {
	Self         proto.PeerID
	Announcement proto.Announcement // what a task needs, and the price limit
	Tasks        int
	Checkers     int                  // wanted for each task
	LocalSlots   int                  // tasks that the requester's sandbox can run at once; 0: it cannot
	OwnRun       bool                 // more is wanted than checkers can give: the requester runs every task, too
	LocalOnly    bool                 // nobody else is asked
	Conflicts    []proto.PeerID       // that jobs of this program told of lately
	Odd          map[proto.PeerID]int // in how many other programs peers were told of lately
	Timeout      time.Duration        // of one execution; one that is silent for much longer is lost. 0: none is
	Startup      time.Duration        // for program and input to reach a provider, before an execution can start; 0: two minutes
	QueueTimeout time.Duration        // without progress; 0: for ever
	Deadline     time.Time            // of the whole job; zero: none
	Retries      int                  // of one task that peers failed; 0: 24
	Grace        time.Duration        // how long a lease that broke is asked after; 0: a minute
	Hedge        HedgePolicy          // when a slow execution gets a backup; zero: never
	Speeds       *Speeds              // what is known of how long executions take; nil: no hedging
	Budget       *Budget              // of backups, for all jobs together; must be set where Speeds is
	Kind         proto.CID            // executions of which kind the speeds are of: of like program, arguments and size of input
	StandIn      time.Time            // not before this does an own run replace peers not met yet
	Epoch        uint64               // of the first lease, less one; at least as high as any used before
	Rand         *rand.Rand
}

// Timing of bidding and of trying again.
const (
	bidWindow       = 50 * time.Millisecond // when peers are unknown
	announceEvery   = time.Second           // while tasks wait for somebody
	announceSlowest = 10 * time.Second
	declineBackoff  = 100 * time.Millisecond
	failureBackoff  = 200 * time.Millisecond
	slowestBackoff  = 10 * time.Second
	peerTries       = 3                // of one task on one peer, before a pause of slowestBackoff
	taskTries       = 24               // of one task, unless told otherwise
	timeoutTries    = 2                // distinct nodes on which a task may time out
	overdueSlack    = 15 * time.Second // for an answer to come
	defaultStartup  = 2 * time.Minute
	pipelineTarget  = 25 * time.Millisecond
	pipelineMost    = 256                    // tasks ahead on one lease, and tasks that ride with an award
	slotsMost       = 1024                   // of one lease
	attachGap       = 100 * time.Millisecond // doubles up to slowestBackoff
	doubtBroken     = 500 * time.Millisecond // a lease that broke counts for so long without its stream …
	doubtRestored   = 3 * time.Second        // … and so long after a restart, when peers are yet to be found
	defaultGrace    = time.Minute
	maxPeers        = 4096 // that a job remembers
)

// A Job is the requester's state machine of one job (or of its reduction).
// Events change it, [Job.Step] answers what to do now. Its owner serialises the
// calls.
type Job struct {
	cfg    JobConfig
	now    time.Time // of the event or step under way
	state  State
	reason string
	since  time.Time // of the last progress

	conflicts []proto.PeerID // that differed in this program
	wordless  bool           // the interpreter takes too long for it

	stepped  time.Time     // the last step
	underWay bool          // executions or fetches were, after that step
	worked   time.Duration // since the last progress, with something under way

	tasks    []*task
	settled  int
	totals   totals
	hedge    *hedger // nil: no hedging
	fetching int     // outputs on their way
	execs    map[proto.ExecutionID]*exec
	peers    []*peer // in order of appearance
	byID     map[proto.PeerID]*peer
	epoch    uint64

	announced   time.Time
	announceGap time.Duration
	bidUntil    time.Time
	sequence    uint64
	bidDone     bool

	fresh   queue // never given to anybody
	begun   queue // need more executions by peers, and had some
	delayed queue // failed, wait for their notBefore; in its order
	own     queue // need the requester's own run
	free    []*peer
	fit     []*peer

	live       int // executions under way, on peers and here
	doubted    int // of them, on leases that are out of touch for too long
	localBusy  int
	localAfter time.Time // the requester's sandbox was busy: not again before
	overdueAt  time.Time // when to look for overdue executions

	out     Actions
	wake    time.Time // when time alone changes something
	recheck time.Time // when to look at the tasks that the last step did not reach
	unseen  int       // tasks of begun that were not looked at since something changed
	event   bool      // something happened since the last step
}

// NewJob makes a job that was submitted at now.
func NewJob(now time.Time, cfg JobConfig) *Job {
	j := &Job{
		cfg: cfg, now: now, state: Pending, since: now, epoch: cfg.Epoch,
		execs: make(map[proto.ExecutionID]*exec), byID: make(map[proto.PeerID]*peer),
		tasks: make([]*task, cfg.Tasks), announceGap: announceEvery,
	}
	if cfg.Startup == 0 {
		j.cfg.Startup = defaultStartup
	}
	j.conflicts = append(j.conflicts, cfg.Conflicts[:min(len(cfg.Conflicts), MaxConflicts)]...)
	if cfg.Retries == 0 {
		j.cfg.Retries = taskTries
	}
	if cfg.Grace == 0 {
		j.cfg.Grace = defaultGrace
	}
	if cfg.Speeds != nil && cfg.Hedge.Most > 0 {
		j.hedge = newHedger(cfg.Hedge, cfg.Speeds, cfg.Budget, cfg.Kind)
		j.hedge.startup = j.cfg.Startup
	}
	block := make([]task, cfg.Tasks)
	for i := range j.tasks {
		t := &block[i]
		*t = task{index: i, state: TaskWaiting, want: cfg.Checkers}
		j.tasks[i] = t
		if cfg.LocalOnly {
			j.wantOwn(t)
		} else {
			t.queued = true
			j.fresh.push(t)
		}
	}
	return j
}

// State gives the job's state and the reason for it.
func (j *Job) State() (State, string) { return j.state, j.reason }

// at notes that an event happened at now.
func (j *Job) at(now time.Time) { j.now, j.event = now, true }

func (j *Job) progress() { j.since, j.worked = j.now, 0 }

// Cancel ends the job on its requester's word.
func (j *Job) Cancel(now time.Time, reason string) {
	j.at(now)
	if !j.state.Ended() {
		j.end(Cancelled, reason)
	}
}

func (j *Job) changed(t *task) {
	if !t.dirty {
		t.dirty = true
		j.out.Changed = append(j.out.Changed, t.index)
	}
}

func (j *Job) evidence(e *exec, kind EvidenceKind, right proto.CID) {
	j.out.Evidence = append(j.out.Evidence, Evidence{
		Peer: e.peer, Kind: kind, Task: e.task.index, Execution: e.id,
		Output: e.outcome.Output, Right: right, Detail: e.detail,
	})
}

func (j *Job) setState(s State, reason string) {
	if j.state == s && j.reason == reason {
		return
	}
	if j.state != s {
		j.out.States = append(j.out.States, Transition{s, reason})
	}
	j.state, j.reason = s, reason
}

func (j *Job) end(s State, reason string) {
	for _, t := range j.tasks {
		if t.settled == nil {
			j.cancelLive(t)
			j.overAnswered(t)
		}
	}
	for _, p := range j.peers {
		if p.lease != nil {
			j.closeLease(p)
		}
	}
	j.setState(s, reason)
}

// overAnswered notes that the answers to t are on record for nothing any more.
func (j *Job) overAnswered(t *task) {
	for _, e := range t.execs {
		if e.state == ExecAnswered && !e.local {
			j.out.Over = append(j.out.Over, e.id)
		}
	}
}

func (j *Job) cancelLive(t *task) {
	for _, e := range t.execs {
		switch {
		case e.live() && e.doubtful():
			j.finish(e, ExecLost, proto.ReasonOther, "its provider was still out of touch when the task was settled")
		case e.live():
			j.cancel(e)
			j.finish(e, ExecCancelled, proto.ReasonCancelled, "")
		}
	}
}

func (j *Job) cancel(e *exec) {
	j.out.Cancel = append(j.out.Cancel, Cancel{Lease: e.leaseID(), Execution: e.id, Local: e.local, Worth: j.worth(e)})
}

// worth is what of an execution that is cancelled now its provider is paid for:
// the time since it said that it began, but not more than what nine in ten take
// on any peer, so that it does not pay to be slow.
func (j *Job) worth(e *exec) time.Duration {
	if e.local || e.started.IsZero() || e.from.shunned() {
		return 0
	}
	ran := j.now.Sub(e.started)
	if j.hedge == nil {
		return ran
	}
	if most, known := j.hedge.predict.Predict(j.now, proto.PeerID{}, j.hedge.program, .9); known {
		ran = min(ran, most)
	}
	return ran
}

func (j *Job) wakeAt(t time.Time) { j.wake = sooner(j.wake, t) }

// sooner gives the earlier time; zero is never.
func sooner(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

func (j *Job) newExec(t *task, e *exec) *exec {
	e.id, e.task, e.state, e.created = proto.ExecutionID(j.randomID()), t, ExecAssigned, j.now
	t.execs = append(t.execs, e)
	j.track(e)
	return e
}

// track counts an execution that is under way.
func (j *Job) track(e *exec) {
	j.execs[e.id] = e
	j.live++
	j.totals.counts.Executions++
	if e.from != nil {
		e.from.given++
	}
	if e.task.state == TaskWaiting {
		j.setTask(e.task, TaskRunning)
	}
	j.changed(e.task)
}

func (j *Job) randomID() (id [16]byte) {
	for i := 0; i < len(id); i += 8 {
		n := j.cfg.Rand.Uint64()
		for k := range 8 {
			id[i+k] = byte(n >> (8 * k))
		}
	}
	return id
}

// String names the job's progress, for a log.
func (j *Job) String() string {
	return fmt.Sprintf("%s, %d of %d tasks settled", j.state, j.settled, len(j.tasks))
}
