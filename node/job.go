package node

import (
	"context"
	"strconv"
	"strings"
	"sync"

	"github.com/mustermesh/muster/proto"
	"github.com/mustermesh/muster/scheduler"
	"github.com/mustermesh/muster/trust"
)

// Phases of a job.
const (
	phaseTasks  = 0
	phaseReduce = 1
)

// A job is one job of this node. Its loop owns the scheduler's state machine;
// others see copies.
type job struct {
	r      *requester
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
	ctx        context.Context        // of the loop

	mu       sync.Mutex // guards all below
	progress progress
	waiting  string
	watchers map[chan update]struct{}
	running  bool   // the loop takes events
	begun    bool   // its loop was started
	finished bool   // the job never changes again
	canceled string // why, before the loop took it
}

// An update is what a watcher hears.
type update struct {
	tasks []scheduler.TaskView
	phase int
}

func (r *requester) newJob(id proto.JobID, spec proto.Specification, rec jobRecord) *job {
	j := &job{
		r: r, id: id, spec: spec, record: rec, progress: rec.progress,
		events: make(chan func(*scheduler.Job), min(16+4*len(spec.Tasks), 1024)), over: make(chan struct{}),
		watchers: make(map[chan update]struct{}), leases: make(map[proto.LeaseID]*taken),
		local: make(map[proto.ExecutionID]context.CancelFunc),
	}
	if n := len(j.progress.History); n > 0 && j.progress.History[n-1].State.Ended() {
		j.finished = true
		close(j.over)
	}
	return j
}

func (j *job) ended() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.finished
}

// begin tells whether the loop is still to be started: a job that is submitted
// while the requester begins is met twice.
func (j *job) begin() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	begun := j.begun
	j.begun = true
	return !begun
}

// post hands an event to the loop; it is dropped once the loop has ended.
func (j *job) post(event func(*scheduler.Job)) {
	select {
	case j.events <- event:
	case <-j.over:
	}
}

// soon hands in an event from inside the loop.
func (j *job) soon(event func(*scheduler.Job)) { j.later = append(j.later, event) }

// ask runs f in the loop and waits for it; false: the loop has ended.
func (j *job) ask(ctx context.Context, f func(*scheduler.Job)) bool {
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
func (j *job) refresh() {
	j.post(func(core *scheduler.Job) {
		core.Peers(j.r.directory.candidates(j.r.announcement(j, j.prog, max(len(j.tasks), 1), 1), j.r.complete))
	})
}

func (j *job) wantsCancel() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.canceled
}

// cancel ends the job on its requester's word.
func (j *job) cancel(why string) {
	j.mu.Lock()
	j.canceled = why
	j.mu.Unlock()
	j.post(func(*scheduler.Job) {})
}

func (j *job) snapshot() progress {
	j.mu.Lock()
	defer j.mu.Unlock()
	p := j.progress
	p.Version = recordVersion
	return p
}

// reached says how sure the job is of its results so far, and how. Call it with
// the lock.
func (j *job) reached() (uint32, string) {
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

func (j *job) tell(u update) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for ch := range j.watchers {
		select {
		case ch <- u:
		default: // a slow watcher asks again
		}
	}
}

// watch gives a channel of updates; call stop to end it.
func (j *job) watch() (ch chan update, stop func()) {
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
