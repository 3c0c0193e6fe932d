package scheduler

import (
	"slices"
	"time"

	"github.com/mustermesh/muster/proto"
)

// A TaskView is what can be told of a task.
type TaskView struct {
	Index      int
	State      TaskState
	Settlement *Settlement // nil: not settled
	Executions []ExecView
}

// An ExecView is what can be told of an execution.
type ExecView struct {
	ID      proto.ExecutionID
	Peer    proto.PeerID
	Role    Role
	State   ExecState
	Reason  string
	Outcome Outcome
	Created time.Time
	Started time.Time
	Ended   time.Time
}

// Task tells how a task stands.
func (j *Job) Task(index int) TaskView {
	t := j.tasks[index]
	v := TaskView{Index: index, State: t.state, Settlement: t.settled}
	for _, e := range t.execs {
		x := ExecView{ID: e.id, Peer: e.peer, Role: e.role, State: e.state, Outcome: e.outcome, Created: e.created, Started: e.started, Ended: e.ended}
		if e.state != ExecAnswered && e.state != ExecAssigned && e.state != ExecRunning {
			x.Reason = e.detail
			if x.Reason == "" && e.reason != proto.ReasonOther {
				x.Reason = e.reason.String()
			}
		}
		v.Executions = append(v.Executions, x)
	}
	return v
}

// Counts are how many tasks stand where.
type Counts struct {
	Tasks, Accepted, Verified, Disputed, Failed, Running int
}

// Count tells how many tasks stand where. A task whose program failed counts as
// failed and as verified or accepted: both are true of it.
func (j *Job) Count() (c Counts) {
	c.Tasks = len(j.tasks)
	for _, t := range j.tasks {
		switch t.state {
		case TaskAccepted:
			c.Accepted++
		case TaskVerified:
			c.Verified++
		case TaskDisputed:
			c.Disputed++
		case TaskRunning, TaskChecking:
			c.Running++
		}
		if s := t.settled; s != nil && s.State != TaskDisputed && !s.Ok() {
			c.Failed++
		}
	}
	return c
}

// Confidence is the least that any settled task has reached, as the number of
// agreeing checkers; own tells that every one of them rests on the requester's
// own run.
func (j *Job) Confidence() (checkers int, own bool) {
	checkers, own = -1, true
	for _, t := range j.tasks {
		if t.settled == nil || t.settled.Own {
			continue
		}
		own = false
		if checkers < 0 || t.settled.Checkers < checkers {
			checkers = t.settled.Checkers
		}
	}
	return max(checkers, 0), own && j.settled > 0
}

// A How says in words how so many tasks were settled.
type How struct {
	Text  string
	Tasks int
}

// maxHows is how many different ways [Job.Hows] tells apart.
const maxHows = 4

// Hows tells how the settled tasks were settled, the most frequent way first;
// beyond a few ways, the rest as one.
func (j *Job) Hows() (hows []How) {
	at := make(map[string]int)
	for _, t := range j.tasks {
		if t.settled == nil {
			continue
		}
		i, ok := at[t.settled.How]
		if !ok {
			i = len(hows)
			at[t.settled.How] = i
			hows = append(hows, How{Text: t.settled.How})
		}
		hows[i].Tasks++
	}
	slices.SortStableFunc(hows, func(a, b How) int { return b.Tasks - a.Tasks })
	if len(hows) > maxHows {
		rest := How{Text: "settled in other ways; see: muster job describe"}
		for _, h := range hows[maxHows:] {
			rest.Tasks += h.Tasks
		}
		hows = append(hows[:maxHows], rest)
	}
	return hows
}

// Bids gives every peer that answered the announcement, in order of appearance.
func (j *Job) Bids() (bids []BidView) {
	for _, p := range j.peers {
		if p.bid != nil || p.refusal != nil {
			b := BidView{Peer: p.ID, Refusal: p.refusal}
			if p.bid != nil {
				b.Price, b.Slots = p.bid.Price, p.bid.Slots
			}
			bids = append(bids, b)
		}
	}
	return bids
}

// A BidView is one provider's answer to the announcement.
type BidView struct {
	Peer    proto.PeerID
	Refusal *No // nil: a bid
	Price   proto.Credits
	Slots   int
}

// Diverse tells whether any two peers of the working set form different public
// address groups; on one machine or one LAN none do.
func (j *Job) Diverse() bool {
	groups := make(map[string]bool)
	for _, p := range j.peers {
		if p.Group != "" {
			groups[p.Group] = true
		}
	}
	return len(groups) > 1
}
