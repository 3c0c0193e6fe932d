package simnet

import (
	"github.com/mustermesh/muster/proto"
	"github.com/mustermesh/muster/scheduler"
)

// lent is the provider's end of a lease; it outlives its stream.
type lent struct {
	award  proto.Award
	from   *node
	end    *end // nil: its requester is out of touch
	guests map[proto.ExecutionID]*guest
}

// accept takes the begin of a lease's stream.
func (p *provider) accept(e *end, first any) error {
	if g, twice := first.(again); twice {
		first = g.msg
		p.w().keeper.ghost = true
		defer func() { p.w().keeper.ghost = false }()
	}
	switch m := first.(type) {
	case awardMsg:
		return p.award(e, m)
	case attachMsg:
		return p.attach(e, m.attach)
	}
	return nil
}

func decline(e *end, no *scheduler.No) {
	e.send(replyMsg{no})
	e.close()
}

func (p *provider) award(e *end, m awardMsg) error {
	if !m.fresh(p.n.now(), answerLife) {
		decline(e, &scheduler.No{Reason: proto.ReasonOther, Detail: "clocks differ"})
		return nil
	}
	a := m.award
	if no := p.book.Award(p.n.now(), scheduler.Client{ID: e.peer.node.id}, a); no != nil {
		p.w().keeper.saw("award refused: " + no.Reason.String())
		decline(e, no)
		return nil
	}
	l := &lent{award: a, from: e.peer.node, guests: make(map[proto.ExecutionID]*guest)}
	p.leases[a.Lease] = l
	var b batch
	b.put(lentKey(a.Lease), lentRecord{l.from.id, a})
	for _, t := range m.tasks {
		b.put(openKey(scheduler.Ref{Lease: a.Lease, Execution: t.Execution}), openRecord{a: t})
	}
	if err := p.n.disk.commit(b, false); err != nil {
		if p.fatal(err) {
			return err
		}
		p.end(l)
		decline(e, &scheduler.No{Reason: proto.ReasonDisk})
		return nil
	}
	p.w().keeper.granted(p.n, a.Epoch)
	p.hold(l, e)
	e.send(replyMsg{})
	for _, t := range m.tasks {
		p.enqueue(l, t)
	}
	p.startNext()
	return nil
}

// hold gives a lease its stream.
func (p *provider) hold(l *lent, e *end) {
	l.end = e
	p.w().keeper.touched(p.n, l.award.Lease, true)
	e.recv = func(msg any) error { return p.receive(l, e, msg) }
	e.broke = func(string) error {
		if l.end == e {
			p.n.log("is out of touch with lease %s", short(l.award.Lease))
			l.end = nil
			p.book.Broke(p.n.now(), l.award.Lease)
			p.w().keeper.touched(p.n, l.award.Lease, false)
		}
		return nil
	}
}

// attach gives a requester its lease back, and tells how its executions stand.
func (p *provider) attach(e *end, a proto.Attach) error {
	at, no := p.book.Attach(p.n.now(), e.peer.node.id, a)
	if no != nil {
		p.w().keeper.saw("attach refused")
		decline(e, no)
		return nil
	}
	p.w().keeper.saw("attach taken")
	l := p.leases[a.Lease]
	if old := l.end; old != nil {
		l.end = nil
		old.reset()
	}
	p.hold(l, e)
	for _, id := range at.Stop {
		l.stop(p, id)
	}
	e.send(replyMsg{})
	for _, s := range at.Standings {
		p.tell(l, s)
	}
	p.startNext()
	return nil
}

func (p *provider) tell(l *lent, s scheduler.Standing) {
	switch {
	case !s.Known:
		l.end.send(failMsg{s.Execution, proto.ReasonNoLease})
	case s.State == scheduler.WorkRunning:
		l.end.send(startMsg{s.Execution})
	case s.State == scheduler.WorkKept:
		r, ok := p.n.disk.data[resultKey(scheduler.Ref{Lease: l.award.Lease, Execution: s.Execution})].(resultRecord)
		if !ok {
			p.w().keeper.fail("%s keeps a result of %s that is not on its disk", p.n.name, short(s.Execution))
			return
		}
		p.answer(l, r)
	}
}

// receive takes a message of a requester.
func (p *provider) receive(l *lent, e *end, msg any) error {
	switch m := msg.(type) {
	case taskMsg:
		return p.assign(l, m.a)
	case cancelMsg:
		p.cancel(l, m.id)
	case ackMsg:
		p.receipt(l, m)
	case releaseMsg:
		e.close()
		p.end(l)
		p.startNext()
	}
	return nil
}

func (p *provider) assign(l *lent, a proto.Assignment) error {
	var b batch
	b.put(openKey(scheduler.Ref{Lease: l.award.Lease, Execution: a.Execution}), openRecord{a: a})
	if err := p.n.disk.commit(b, false); err != nil {
		if p.fatal(err) {
			return err
		}
		l.end.send(failMsg{a.Execution, proto.ReasonDisk})
		return nil
	}
	p.enqueue(l, a)
	p.startNext()
	return nil
}

func (p *provider) enqueue(l *lent, a proto.Assignment) {
	if no := p.book.Enqueue(l.award.Lease, a); no != nil {
		p.n.log("refuses %s: %s", short(a.Execution), no.Detail)
		l.end.send(failMsg{a.Execution, no.Reason})
	}
}

func (p *provider) cancel(l *lent, id proto.ExecutionID) {
	r := scheduler.Ref{Lease: l.award.Lease, Execution: id}
	if p.book.Cancel(p.n.now(), r.Lease, id) {
		l.stop(p, id)
		return
	}
	p.trash.drop(openKey(r))
}

func (p *provider) receipt(l *lent, m ackMsg) {
	r := scheduler.Ref{Lease: l.award.Lease, Execution: m.id}
	if m.receipt && p.book.Acknowledged(p.n.now(), r) {
		p.trash.drop(resultKey(r))
	}
}

// end lets a lease go at its requester's word.
func (p *provider) end(l *lent) {
	l.end = nil
	p.w().keeper.released(l.award.Lease)
	for _, id := range p.book.End(l.award.Lease) {
		l.stop(p, id)
	}
}
