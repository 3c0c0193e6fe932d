package main

import (
	"cmp"
	"slices"

	"github.com/mustermesh/muster/node/api"
)

// What a chart keeps: it is drawn for hours, of jobs with thousands of tasks.
const (
	maxLanes     = 256
	maxLaneSpans = 128  // the latest of each lane
	maxWaiting   = 1024 // executions that are assigned and have not begun
)

// A chart is what a Gantt chart is drawn from: the executions of a job, in lanes,
// of which each is one slot of one provider. It keeps no more than it could draw.
type chart struct {
	spans   map[string]*span // by id of the execution
	lanes   []*lane          // in the order in which they were first used
	first   map[uint32]*span // the first live executor of a task
	waiting int              // spans that are in no lane yet
	begin   int64            // Unix milliseconds
	horizon int64            // of what is not kept any more, the latest end
	unkept  int              // executions that are not kept any more, or never were
}

// A lane is one slot of a provider: its executions one after the other.
type lane struct {
	who   string // ending of the provider's id
	slot  int    // from 1
	spans []*span
}

// A span is one execution.
type span struct {
	id, who, state string
	task           uint32
	kind           kind
	away           bool
	created, ended int64 // Unix milliseconds; 0: not yet
	started        int64
	progress       *api.Progress
	lane           *lane
}

// A kind is what an execution is for.
type kind uint8

const (
	primary kind = iota
	checker
	own   // the requester's own run
	hedge // a second executor, because the first was slow
)

func (k kind) String() string { return [...]string{"executor", "checker", "own run", "hedge"}[k] }

func newChart() *chart {
	return &chart{spans: map[string]*span{}, first: map[uint32]*span{}}
}

// take adds what changed about tasks.
func (c *chart) take(tasks []*api.Task) {
	type event struct {
		task *api.Task
		x    *api.Execution
	}
	var all []event
	for _, t := range tasks {
		for _, x := range t.Executions {
			all = append(all, event{t, x})
		}
	}
	slices.SortStableFunc(all, func(a, b event) int { return cmp.Compare(begun(a.x), begun(b.x)) })
	for _, e := range all {
		c.update(e.task, e.x)
	}
}

func begun(x *api.Execution) int64 {
	if x.StartedMs > 0 {
		return x.StartedMs
	}
	return x.CreatedMs
}

// over tells whether nothing more happens to an execution in this state.
func over(state string) bool { return state != "assigned" && state != "running" }

func (c *chart) update(t *api.Task, x *api.Execution) {
	s := c.spans[x.Id]
	if s == nil {
		if s = c.add(t, x); s == nil {
			return
		}
	}
	wasWaiting := s.lane == nil
	s.state, s.away, s.progress = x.State, x.Away, x.Progress
	s.created, s.started = cmp.Or(x.CreatedMs, x.StartedMs), x.StartedMs
	if s.state == "running" && s.started == 0 {
		s.started = s.created
	}
	if over(s.state) {
		s.ended = cmp.Or(x.EndedMs, s.ended, s.started, s.created)
		s.progress = nil
		if c.first[s.task] == s {
			delete(c.first, s.task)
		}
	}
	if at := s.from(); at > 0 && (c.begin == 0 || at < c.begin) {
		c.begin = at
	}
	if wasWaiting && s.state != "assigned" {
		c.waiting--
		c.place(s)
	}
}

// add begins a span, unless there is no room for it.
func (c *chart) add(t *api.Task, x *api.Execution) *span {
	switch {
	case over(x.State) && x.EndedMs > 0 && x.EndedMs <= c.horizon:
		return nil // it was kept once
	case x.State == "assigned" && c.waiting >= maxWaiting:
		return nil // it comes again when it begins
	}
	s := &span{id: x.Id, task: t.Index, who: ending(x.Peer)}
	switch x.Role {
	case "checker":
		s.kind = checker
	case "referee", "stand-in", "local":
		s.kind, s.who = own, "here"
	case "hedge":
		s.kind = hedge
	default:
		if c.isHedge(t, x) {
			s.kind = hedge
		} else if !over(x.State) && c.first[t.Index] == nil {
			c.first[t.Index] = s
		}
	}
	c.spans[s.id] = s
	c.waiting++
	return s
}

// isHedge tells whether x was begun while another executor of its task, that was
// in touch, had not ended.
func (c *chart) isHedge(t *api.Task, x *api.Execution) bool {
	if f := c.first[t.Index]; f != nil && f.id != x.Id && !f.away && f.created <= x.CreatedMs {
		return true
	}
	return slices.ContainsFunc(t.Executions, func(y *api.Execution) bool {
		return y.Role == x.Role && y.Id != x.Id && !y.Away && y.CreatedMs < x.CreatedMs && (y.EndedMs == 0 || y.EndedMs > x.CreatedMs)
	})
}

func (s *span) from() int64 { return cmp.Or(s.started, s.created) }

func (s *span) live() bool { return s.ended == 0 }

// to gives when the span ends, or now.
func (s *span) to(now int64) int64 {
	if s.live() {
		return max(now, s.from())
	}
	return s.ended
}

// place puts a span into the first lane of its provider that is free by then.
func (c *chart) place(s *span) {
	slot := 1
	for _, l := range c.lanes {
		if l.who != s.who {
			continue
		}
		if last := l.last(); last == nil || (!last.live() && last.ended <= s.from()) {
			c.enter(l, s)
			return
		}
		slot++
	}
	if len(c.lanes) == maxLanes {
		delete(c.spans, s.id)
		if c.first[s.task] == s {
			delete(c.first, s.task)
		}
		c.unkept++
		return
	}
	l := &lane{who: s.who, slot: slot}
	c.lanes = append(c.lanes, l)
	c.enter(l, s)
}

func (c *chart) enter(l *lane, s *span) {
	s.lane = l
	if len(l.spans) == maxLaneSpans {
		gone := l.spans[0]
		l.spans = append(l.spans[:0], l.spans[1:]...)
		delete(c.spans, gone.id)
		c.horizon = max(c.horizon, gone.ended)
		c.unkept++
	}
	l.spans = append(l.spans, s)
}

func (l *lane) last() *span {
	if len(l.spans) == 0 {
		return nil
	}
	return l.spans[len(l.spans)-1]
}

// running gives the executions that run now, those that tell how far they are
// first, the furthest at the top.
func (c *chart) running() []*span {
	var out []*span
	for _, l := range c.lanes {
		if s := l.last(); s != nil && s.live() {
			out = append(out, s)
		}
	}
	slices.SortStableFunc(out, func(a, b *span) int {
		return cmp.Or(cmp.Compare(b.fraction(), a.fraction()), cmp.Compare(a.task, b.task))
	})
	return out
}

// fraction is how far the guest says it is, below 0 if it does not.
func (s *span) fraction() float64 {
	if s.progress == nil || !(s.progress.Fraction >= 0) {
		return -1
	}
	return min(s.progress.Fraction, 1)
}
