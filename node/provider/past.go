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

// A Considered is what this node did with one announcement.
type Considered struct {
	Time      time.Time // of the first that it heard for the job
	Job       proto.JobID
	Requester proto.PeerID
	Tasks     int
	MaxPrice  proto.Credits
	No        *scheduler.No // nil: it bid
	Unreached string        // why the answer did not arrive; "" if it did
	Won       bool          // a lease was taken
	Change    string        // of this node's settings, that would have let it bid; "" where none would

	bid time.Time // the latest
}

// Lost tells whether a bid came to nothing.
func (c Considered) Lost(now time.Time) bool {
	return c.No == nil && c.Unreached == "" && !c.Won && now.Sub(c.bid) > lostAfter
}

// past is what a provider did with the announcements that it heard, the oldest
// forgotten first.
type past struct {
	mu    sync.Mutex // guards all below
	by    map[overlay.HeardKey]*Considered
	order []overlay.HeardKey
}

func (q *past) note(key overlay.HeardKey, f func(*Considered)) {
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
		c = &Considered{Job: key.Job, Requester: key.From}
		q.by[key] = c
		q.order = append(q.order, key)
	}
	f(c)
}

// considered notes how an announcement was answered.
func (p *Provider) considered(h overlay.Heard, no *scheduler.No, err error) {
	a, now := h.Announcement, p.Now()
	change := ""
	if no != nil {
		change = no.Change(p.Lending(), a)
	}
	p.past.note(overlay.HeardKey{From: h.From, Job: a.Job}, func(c *Considered) {
		if c.Time.IsZero() {
			c.Time = now
		}
		c.Tasks, c.MaxPrice, c.No, c.Change, c.Unreached = a.Tasks, a.MaxPrice, no, change, ""
		if no == nil {
			c.bid = now
		}
		if err != nil {
			c.Unreached = err.Error()
		}
	})
}

// won notes that a lease was taken.
func (p *Provider) won(from proto.PeerID, a proto.Award) {
	now := p.Now()
	p.past.note(overlay.HeardKey{From: from, Job: a.Job}, func(c *Considered) {
		if c.Time.IsZero() {
			c.Time = now
		}
		c.Won, c.No, c.Unreached = true, nil, ""
	})
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
