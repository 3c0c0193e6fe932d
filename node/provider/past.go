package provider

import (
	"slices"
	"sync"
	"time"

	"github.com/mustermesh/muster/node/overlay"
	"github.com/mustermesh/muster/proto"
	"github.com/mustermesh/muster/scheduler"
)

// maxPast is how many announcements are remembered, and lostAfter for how long a
// bid may be taken up before it counts as lost.
const (
	maxPast   = 2048
	lostAfter = 10 * time.Second
)

// A Considered is what this node did with the announcements of one job.
type Considered struct {
	Time      time.Time // of the first that it heard
	Job       proto.JobID
	Requester proto.PeerID
	Tasks     int
	MaxPrice  proto.Credits
	No        *scheduler.No       // the latest refusal; nil: it bid, or did not get to it
	Bid       *proto.Bid          // the latest; nil: none
	Unreached string              // why the latest answer did not arrive; "" if it did
	Won       bool                // a lease was taken
	Ran       int                 // executions that gave an answer
	Changes   []scheduler.Setting // of this node, that together would have let it bid; none are known where it is empty

	bid time.Time // of the latest
}

// An Outcome is what became of an announcement.
type Outcome string

// Outcomes of an announcement.
const (
	OutcomeRefused   Outcome = "refused"
	OutcomeUnreached Outcome = "unreached" // it got no answer
	OutcomeLost      Outcome = "lost"      // a bid came to nothing
	OutcomeOpen      Outcome = "open"      // a bid may still be taken up
	OutcomeWon       Outcome = "won"       // a lease was taken
)

// Outcome tells what became of it until now.
func (c Considered) Outcome(now time.Time) Outcome {
	switch {
	case c.Won:
		return OutcomeWon
	case c.No != nil:
		return OutcomeRefused
	case c.Unreached != "":
		return OutcomeUnreached
	case now.Sub(c.bid) > lostAfter:
		return OutcomeLost
	}
	return OutcomeOpen
}

// past is what a provider did with the announcements that it heard, the oldest
// forgotten first.
type past struct {
	mu    sync.Mutex // guards all below
	by    map[overlay.HeardKey]*Considered
	order []overlay.HeardKey
}

// note changes what is remembered of a job.
func (q *past) note(now time.Time, key overlay.HeardKey, f func(*Considered)) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.by == nil {
		q.by = make(map[overlay.HeardKey]*Considered)
	}
	c := q.by[key]
	if c == nil {
		if len(q.order) >= maxPast {
			delete(q.by, q.order[0])
			q.order = slices.Delete(q.order, 0, 1)
		}
		c = &Considered{Time: now, Job: key.Job, Requester: key.From}
		q.by[key] = c
		q.order = append(q.order, key)
	}
	f(c)
}

// A verdict is how an announcement was answered.
type verdict struct {
	lent scheduler.Lending // when it was
	bid  proto.Bid
	no   *scheduler.No
	err  error // of delivering it
}

// considered notes how an announcement was answered.
func (p *Provider) considered(h overlay.Heard, v verdict) {
	a, now := h.Announcement, p.Now()
	var changes []scheduler.Setting
	if v.no != nil {
		changes = v.no.Changes(v.lent, a)
	}
	p.past.note(now, overlay.HeardKey{From: h.From, Job: a.Job}, func(c *Considered) {
		c.Tasks, c.MaxPrice, c.No, c.Changes, c.Unreached = a.Tasks, a.MaxPrice, v.no, changes, ""
		if v.no == nil {
			c.Bid, c.bid = &v.bid, now
		}
		if v.err != nil {
			c.Unreached = v.err.Error()
		}
	})
}

// saysCrowded is why an announcement was not even looked at.
const saysCrowded = "too many announcements came at once; this one was not looked at"

// dropped notes that an announcement was not looked at.
func (p *Provider) dropped(h overlay.Heard) {
	a := h.Announcement
	p.past.note(p.Now(), overlay.HeardKey{From: h.From, Job: a.Job}, func(c *Considered) {
		c.Tasks, c.MaxPrice = a.Tasks, a.MaxPrice
		if c.No == nil && c.Bid == nil {
			c.Unreached = saysCrowded
		}
	})
}

// won notes that a lease was taken.
func (p *Provider) won(from proto.PeerID, a proto.Award) {
	p.counts.won.Add(1)
	p.past.note(p.Now(), overlay.HeardKey{From: from, Job: a.Job}, func(c *Considered) {
		c.Won, c.No, c.Changes, c.Unreached = true, nil, nil, ""
	})
}

// ran notes that an execution gave an answer.
func (p *Provider) ran(from proto.PeerID, job proto.JobID) {
	p.past.mu.Lock()
	defer p.past.mu.Unlock()
	if c := p.past.by[overlay.HeardKey{From: from, Job: job}]; c != nil {
		c.Ran++
	}
}

// Past gives what this node did with the announcements of jobs that it first
// heard of since then, the newest first; at most some 2000 are remembered.
func (p *Provider) Past(since time.Time) (cs []Considered) {
	p.past.mu.Lock()
	defer p.past.mu.Unlock()
	for _, key := range slices.Backward(p.past.order) {
		if c := p.past.by[key]; !c.Time.Before(since) {
			cs = append(cs, *c)
		}
	}
	return cs
}
