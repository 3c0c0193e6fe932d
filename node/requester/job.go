package requester

import (
	"context"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mustermesh/muster/proto"
	"github.com/mustermesh/muster/scheduler"
	"github.com/mustermesh/muster/trust"
)

// Phases of a job.
const (
	phaseTasks  = 0
	phaseReduce = 1
)

// A Job is one job of this node, safe for concurrent use. Its loop owns the scheduler's state machine;
// others see copies.
type Job struct {
	r      *Requester
	id     proto.JobID
	spec   proto.Specification
	record jobRecord
	events chan func(*scheduler.Job) // a burst of answers; senders wait when it is full
	over   chan struct{}             // closed when the loop has ended

	// Owned by the loop; who is started by the loop takes copies along.
	core       *scheduler.Job
	phase      int
	tasks      []proto.Task
	prog       proto.Program
	inputBytes int64 // of the largest task
	leases     map[proto.LeaseID]*taken
	local      map[proto.ExecutionID]context.CancelFunc
	later      []func(*scheduler.Job) // events of the loop's own making
	sequence   uint64                 // of the latest announcement
	trash      [][]byte               // keys of records that the next write removes
	ctx        context.Context        // of the loop
	trail      trail
	taken      time.Time        // when this run of the node took up the phase
	earlier    scheduler.Counts // of executions, by earlier runs and orders to try again
	told       told
	puts       []record // that the next write brings along

	latest atomic.Uint64 // number of the latest event

	words words

	mu       sync.Mutex // guards all below
	progress progress
	waiting  string
	watchers map[chan update]struct{}
	ears     map[*ear]struct{}
	running  bool   // the loop takes events, or will
	fresh    bool   // submitted in this run of the node
	begun    bool   // its loop was started
	finished bool   // the job never changes again
	canceled string // why, before the loop took it
}

// An update is what a watcher hears.
type update struct {
	tasks []scheduler.TaskView
	phase int
}

func (r *Requester) newJob(id proto.JobID, spec proto.Specification, rec jobRecord) *Job {
	j := &Job{
		r: r, id: id, spec: spec, record: rec, progress: rec.progress,
		events: make(chan func(*scheduler.Job), min(16+4*len(spec.Tasks), 1024)), over: make(chan struct{}),
		watchers: make(map[chan update]struct{}), ears: make(map[*ear]struct{}), leases: make(map[proto.LeaseID]*taken),
		local: make(map[proto.ExecutionID]context.CancelFunc), trail: r.newTrail(spec.Trace), told: newTold(),
	}
	if n := len(j.progress.History); n > 0 && j.progress.History[n-1].State.Ended() {
		j.finished = true
		close(j.over)
	}
	j.running = !j.finished
	return j
}

// ID gives the job's id.
func (j *Job) ID() proto.JobID { return j.id }

// Specification gives the job as it was signed; it is not to be changed.
func (j *Job) Specification() proto.Specification { return j.spec }

// Done is closed when this run has no more to do for the job: when the job has
// ended, or the node ends.
func (j *Job) Done() <-chan struct{} { return j.over }

// Output gives the root of what a completed job left; zero: there is none.
func (j *Job) Output() proto.CID { return j.snapshot().Output }

// Ended tells whether the job never changes again.
func (j *Job) Ended() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.finished
}

// begin tells whether the loop is still to be started: a job that is submitted
// while the requester begins is met twice.
func (j *Job) begin() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	begun := j.begun
	j.begun = true
	return !begun
}

// post hands an event to the loop; it is dropped once the loop has ended.
func (j *Job) post(event func(*scheduler.Job)) {
	select {
	case j.events <- event:
	case <-j.over:
	}
}

// soon hands in an event from inside the loop.
func (j *Job) soon(event func(*scheduler.Job)) { j.later = append(j.later, event) }

// ask runs f in the loop and waits for it; false: the loop has ended.
func (j *Job) ask(ctx context.Context, f func(*scheduler.Job)) bool {
	done := make(chan struct{})
	j.mu.Lock()
	running := j.running
	j.mu.Unlock()
	if !running {
		return false
	}
	j.post(func(core *scheduler.Job) { f(core); close(done) })
	select {
	case <-done:
		return true
	case <-j.over:
		return false
	case <-ctx.Done():
		return false
	}
}

// refresh brings the working set up to date.
func (j *Job) refresh() {
	j.post(func(core *scheduler.Job) {
		core.Peers(j.r.Directory.Candidates(j.r.announcement(j, j.prog, max(len(j.tasks), 1), 1), j.r.complete))
	})
}

func (j *Job) wantsCancel() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.canceled
}

func (j *Job) isWaiting() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.waiting != ""
}

// Cancel ends the job on its requester's word, why; [Job.Done] tells when.
func (j *Job) Cancel(why string) {
	j.mu.Lock()
	j.canceled = why
	j.mu.Unlock()
	j.post(func(*scheduler.Job) {})
}

func (j *Job) snapshot() progress {
	j.mu.Lock()
	defer j.mu.Unlock()
	p := j.progress
	p.Version = recordVersion
	return p
}

// reached says how sure the job is of its results so far, and how. Call it with
// the lock.
func (j *Job) reached() (uint32, string) {
	checkers, own := j.core.Confidence()
	reached := trust.Reached(checkers)
	if own {
		reached = trust.Certain
	}
	how := howText(j.core.Hows())
	if !own && checkers > 0 && !j.core.Diverse() {
		how += "; all peers on private or loopback addresses, so nothing shows that they are independent"
	}
	return reached, how
}

// howText puts into words how tasks were settled, and how many of them so.
func howText(hows []scheduler.How) string {
	if len(hows) == 1 {
		return hows[0].Text
	}
	parts := make([]string, len(hows))
	for i, h := range hows {
		tasks := " tasks: "
		if h.Tasks == 1 {
			tasks = " task: "
		}
		parts[i] = strconv.Itoa(h.Tasks) + tasks + h.Text
	}
	return strings.Join(parts, "; ")
}

func (j *Job) tell(u update) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for ch := range j.watchers {
		select {
		case ch <- u:
		default: // a slow watcher asks again
		}
	}
	for e := range j.ears {
		for _, t := range u.tasks {
			e.change(u.phase, t.Index)
		}
	}
}

// watch gives a channel of updates; call stop to end it.
func (j *Job) watch() (ch chan update, stop func()) {
	ch = make(chan update, 256) // more than one step brings before a watcher reads
	j.mu.Lock()
	defer j.mu.Unlock()
	j.watchers[ch] = struct{}{}
	return ch, func() {
		j.mu.Lock()
		defer j.mu.Unlock()
		delete(j.watchers, ch)
	}
}
