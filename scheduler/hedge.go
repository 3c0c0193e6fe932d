package scheduler

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/mustermesh/muster/proto"
)

// A HedgePolicy says when an execution is so slow that another peer is given the
// same task. The zero policy never hedges.
type HedgePolicy struct {
	Quantile float64       // of the predicted times, over 0 and below 1; 0: their mean over all peers
	Again    float64       // the same for executions of a task that has a backup already; 0: as before
	Factor   float64       // how many times that an execution may take
	Most     int           // overdue executions of one task that have a backup at a time
	Floor    time.Duration // an execution may always take as long
	Ceiling  float64       // times what it may take on any peer: no slow one is given more; 0: no ceiling
}

// Hedging gives an execution as long as nine in ten of those that end take on
// that peer, and its backups a little less. A peer that is
// known to be slow is not hedged for that, up to four times slower than all
// together. (Some never end: it is the 89th of a hundred that began.)
func Hedging() HedgePolicy {
	return HedgePolicy{Quantile: .89, Again: .85, Factor: 1, Most: 3, Floor: 2 * time.Second, Ceiling: 4}
}

// MeanHedging is the classic rule, to compare with: one new worker after 1.5
// times the average execution time, whoever has the task.
func MeanHedging() HedgePolicy { return HedgePolicy{Factor: 1.5, Most: 1} }

// A Predictor says how long a program takes on a peer; the zero peer stands for
// all together. [Speeds] is one.
type Predictor interface {
	Predict(now time.Time, peer proto.PeerID, program proto.CID, quantile float64) (d time.Duration, known bool)
	Mean(now time.Time, program proto.CID) (d time.Duration, known bool)
}

// Patience gives how long an execution of program on peer may take before it is
// overdue; where nothing is known, none is.
func (p HedgePolicy) Patience(now time.Time, s Predictor, peer proto.PeerID, program proto.CID) (time.Duration, bool) {
	if p.Most == 0 {
		return 0, false
	}
	if p.Quantile == 0 {
		d, known := s.Mean(now, program)
		return max(scale(d, p.Factor), p.Floor), known
	}
	d, known := s.Predict(now, peer, program, p.Quantile)
	if p.Ceiling > 0 {
		all, _ := s.Predict(now, proto.PeerID{}, program, p.Quantile)
		d = min(d, scale(all, p.Ceiling))
	}
	return max(scale(d, p.Factor), p.Floor), known
}

func scale(d time.Duration, by float64) time.Duration { return time.Duration(float64(d) * by) }

// hedgeRetry is after how long a task that found the budget empty looks again:
// another job may have filled it.
const hedgeRetry = time.Second

// A hedger watches the executions of one job by peers, and says which tasks are
// to be given to one more. An overdue execution goes on, but no longer counts;
// the first answers that a task needs settle it, whoever gives them. Every call
// costs the same however many executions there are, or nearly so.
// A nil hedger hedges nothing.
type hedger struct {
	policy  HedgePolicy
	speeds  *Speeds
	predict Predictor
	budget  *Budget
	program proto.CID
	startup time.Duration // for an execution to begin, where it has not yet

	alarms  *alarms
	overdue map[*exec]grant // those under way
	backs   map[*exec]*exec // backups under way, and whose
	waiting []*exec         // overdue, for the budget; those first that were so first
}

// A grant is how far the backup of an overdue execution is.
type grant byte

const (
	awaited grant = iota // the budget does not bear it yet
	granted              // nobody has the task yet
	placed
)

func newHedger(p HedgePolicy, s *Speeds, b *Budget, program proto.CID) *hedger {
	return &hedger{
		policy: p, speeds: s, predict: s, budget: b, program: program, startup: defaultStartup,
		alarms: newAlarms(), overdue: make(map[*exec]grant), backs: make(map[*exec]*exec),
	}
}

// given is called when a task was given to one more peer: who is not needed for
// its answers is the backup of somebody. It tells whether that is so.
func (h *hedger) given(now time.Time, e *exec) bool {
	if h == nil {
		return false
	}
	slow := h.whose(e.task)
	if slow == nil {
		h.budget.Count()
	} else {
		h.overdue[slow], h.backs[e] = placed, slow
	}
	h.started(now, e)
	return slow != nil
}

// whose gives whose backup the last execution of t is; nil: t needs it.
func (h *hedger) whose(t *task) *exec {
	if t.live()+t.answered() <= 1+t.want {
		return nil
	}
	for _, e := range t.execs {
		if h.overdue[e] == granted {
			return e
		}
	}
	return nil
}

// started is called when an execution begins at its peer.
func (h *hedger) started(now time.Time, e *exec) {
	if h == nil {
		return
	}
	from := e.started
	if from.IsZero() {
		from = e.created
		if e.lease != nil {
			from = later(from, e.lease.back)
		}
		from = from.Add(h.delay(now, e))
	}
	h.watch(now, e, from)
}

// delay is how long an execution that was given away may take to begin: as long
// as program and input need to get there; where its peer has answered under this
// lease, as long as those before it take.
func (h *hedger) delay(now time.Time, e *exec) time.Duration {
	if e.lease == nil || e.lease.answered == 0 {
		return h.startup
	}
	patience, known := h.policy.Patience(now, h.predict, e.peer, h.program)
	if !known {
		return h.startup
	}
	turns := len(e.lease.live) / max(e.lease.slots, 1)
	return min(time.Duration(turns)*patience, h.startup)
}

// watch sets when e, counted from from, is overdue.
func (h *hedger) watch(now time.Time, e *exec, from time.Time) {
	p := h.policy
	if p.Again > 0 && h.extra(e.task) > 0 {
		p.Quantile = p.Again
	}
	if patience, known := p.Patience(now, h.predict, e.peer, h.program); known {
		h.alarms.set(e, from.Add(patience))
	}
}

// ended is called when an execution is over: what was seen of its speed is
// noted, and a grant that led to no backup given back.
func (h *hedger) ended(now time.Time, e *exec) {
	if h == nil {
		return
	}
	h.forget(e)
	h.unback(e)
	if e.started.IsZero() {
		return
	}
	switch took := now.Sub(e.started); e.state {
	case ExecAnswered:
		h.speeds.Observe(now, e.peer, h.program, took)
	case ExecCancelled:
		h.speeds.ObserveAtLeast(now, e.peer, h.program, took)
	}
}

// forget stops watching an execution: it is over, or its provider is out of
// touch, so that it does not count anyway.
func (h *hedger) forget(e *exec) {
	if h == nil {
		return
	}
	if h.overdue[e] == granted {
		h.budget.Return()
	}
	h.alarms.drop(e)
	delete(h.overdue, e)
}

// unback: a backup that was refused may go to another; one that failed was one
// all the same, and another has to be granted. What is refused was no execution.
func (h *hedger) unback(e *exec) {
	slow, backup := h.backs[e]
	_, wanted := h.overdue[slow]
	delete(h.backs, e)
	switch declined := e.state == ExecDeclined; {
	case declined && !backup:
		h.budget.Uncount()
	case declined && wanted:
		h.overdue[slow] = granted
	case declined:
		h.budget.Return()
	case wanted && (e.state == ExecFailed || e.state == ExecLost):
		h.await(slow)
	}
}

// await queues an overdue execution for a grant.
func (h *hedger) await(e *exec) {
	h.overdue[e] = awaited
	if len(h.waiting) > 2*len(h.overdue)+16 {
		h.waiting = slices.DeleteFunc(h.waiting, func(e *exec) bool {
			g, is := h.overdue[e]
			return !is || g != awaited
		})
	}
	h.waiting = append(h.waiting, e)
}

// extra is how many executions t is to have besides those it needs.
func (h *hedger) extra(t *task) (n int) {
	if h == nil || len(h.overdue) == 0 {
		return 0
	}
	for _, e := range t.execs {
		if h.overdue[e] != awaited {
			n++
		}
	}
	return n
}

// due gives the tasks that are to be given to one more peer now: one of their
// executions became overdue, and the budget bears it.
func (h *hedger) due(now time.Time) (tasks []*task) {
	if h == nil {
		return nil
	}
	for len(h.alarms.due) > 0 && !now.Before(h.alarms.due[0].at) {
		h.await(h.alarms.pop())
	}
	for len(h.waiting) > 0 {
		e := h.waiting[0]
		if g, is := h.overdue[e]; is && g == awaited && h.extra(e.task) < h.policy.Most {
			if !h.budget.Take() {
				break
			}
			h.overdue[e] = granted
			tasks = append(tasks, e.task)
		}
		h.waiting = h.waiting[1:]
	}
	return tasks
}

// wake is when to call due again at the latest; zero: not before an event.
func (h *hedger) wake(now time.Time) (at time.Time) {
	if h == nil {
		return at
	}
	if len(h.waiting) > 0 {
		at = now.Add(hedgeRetry)
	}
	if len(h.alarms.due) > 0 {
		at = sooner(at, h.alarms.due[0].at)
	}
	return at
}

// again gives the executions of t that are overdue the same time once more: it
// has an answer, and what they find will serve to check it.
func (h *hedger) again(now time.Time, t *task) {
	for _, e := range t.execs {
		if g, is := h.overdue[e]; is {
			if g == granted {
				h.budget.Return()
			}
			delete(h.overdue, e)
			h.watch(now, e, now)
		}
	}
}

// draw picks who backs up an executor: of two drawn by weight, the one that is
// expected to be faster. (A checker's backup is drawn as any checker is:
// uniformly, for speed must not attract checks.)
func (h *hedger) draw(now time.Time, fit []*peer, r *rand.Rand) *peer {
	a, b := drawWeighted(fit, r), drawWeighted(fit, r)
	fast, knownA := h.predict.Predict(now, a.ID, h.program, .5)
	if d, known := h.predict.Predict(now, b.ID, h.program, .5); known && knownA && d < fast {
		return b
	}
	return a
}
