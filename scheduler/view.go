package scheduler

import (
	"time"

	"github.com/mustermesh/muster/proto"
)

// A TaskView is what can be told of a task.
type TaskView struct {
	Index      int
	State      TaskState
	Settlement *Settlement // nil: not settled
	Executions []ExecView
	Cut        Cut // executions that its record had no room for
}

// A Cut counts executions that are not told of one by one.
type Cut struct {
	Failed   int // that peers failed or lost
	TimedOut int // of those, the ones that reached the time limit
	Other    int
}

// Add counts one more.
func (c *Cut) Add(e ExecView) {
	if !e.failed() {
		c.Other++
		return
	}
	c.Failed++
	if e.State == ExecFailed && e.Cause == proto.ReasonTimeout {
		c.TimedOut++
	}
}

// An ExecView is what can be told of an execution.
type ExecView struct {
	ID      proto.ExecutionID
	Peer    proto.PeerID
	Role    Role
	State   ExecState
	Cause   proto.Reason // of one that failed, was declined or lost
	Reason  string
	Away    bool // its provider is out of touch; it may still answer
	Outcome Outcome
	Created time.Time
	Started time.Time
	Ended   time.Time
}

// Task tells how a task stands.
func (j *Job) Task(index int) TaskView {
	t := j.tasks[index]
	v := TaskView{Index: index, State: t.state, Settlement: t.settled, Cut: t.cut}
	for _, e := range t.execs {
		x := ExecView{ID: e.id, Peer: e.peer, Role: e.role, State: e.state, Cause: e.reason, Away: e.live() && e.lease != nil && !e.lease.away.IsZero(), Outcome: e.outcome, Created: e.created, Started: e.started, Ended: e.ended}
		if !e.live() {
			x.Reason = e.detail
			if x.Reason == "" && e.reason != proto.ReasonOther {
				x.Reason = e.reason.String()
			}
		}
		v.Executions = append(v.Executions, x)
	}
	return v
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

// Wrong says in words how the program ended where it did not succeed; "" where it
// did, or gave no result.
func (o Outcome) Wrong() string {
	if o.Result == 0 || o.Ok() {
		return ""
	}
	return o.describe()
}

// Failures counts the executions of a task that peers failed or lost.
func (v TaskView) Failures() (n int) {
	for _, e := range v.Executions {
		if e.failed() {
			n++
		}
	}
	return n + v.Cut.Failed
}

// failed tells whether its peer failed or lost it.
func (e ExecView) failed() bool {
	return (e.State == ExecFailed || e.State == ExecLost) && !e.own()
}

func (e ExecView) own() bool {
	return e.Role == RoleLocal || e.Role == RoleReferee || e.Role == RoleStandIn
}
