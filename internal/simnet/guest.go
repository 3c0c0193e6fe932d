package simnet

import (
	"fmt"
	"time"

	"github.com/mustermesh/muster/proto"
	"github.com/mustermesh/muster/scheduler"
)

// engine is everybody's.
func engine() proto.Engine { return proto.Engine{Name: "e", Version: "1", Arch: "amd64"} }

// right is what a task gives.
func (w *World) right(task int) scheduler.Outcome {
	return scheduler.Outcome{Output: proto.RawCID(fmt.Appendf(nil, "right %d", task)), Engine: engine(), Result: proto.OutcomeExited, Fuel: 1 << 20, Wall: w.cfg.Wall[0]}
}

// lie is what liars say of a task.
func (w *World) lie(task int) scheduler.Outcome {
	o := w.right(task)
	o.Output = proto.RawCID(fmt.Appendf(nil, "lie %d", task))
	return o
}

func (n *node) lies() bool { return n.index > len(n.w.nodes)-1-n.w.cfg.Liars }

// A guest runs.
type guest struct{ stopped bool }

// startNext starts what the book says may start.
func (p *provider) startNext() {
	for _, q := range p.book.Next() {
		p.start(q)
	}
	p.checkSlots()
}

func (p *provider) checkSlots() {
	total := 0
	for _, l := range p.leases {
		total += len(l.guests)
		if len(l.guests) > l.award.Slots {
			p.w().keeper.fail("%s runs %d on a lease of %d slots", p.n.name, len(l.guests), l.award.Slots)
		}
	}
	if total > p.w().cfg.Slots {
		p.w().keeper.fail("%s runs %d on %d slots", p.n.name, total, p.w().cfg.Slots)
	}
}

func (p *provider) start(q scheduler.Queued) {
	l, id, w := p.leases[q.Lease], q.Assignment.Execution, p.w()
	g := &guest{}
	l.guests[id] = g
	w.keeper.started++
	p.n.log("starts %s, task %d", short(id), q.Assignment.Task.Index)
	l.end.send(startMsg{id})
	p.n.after(p.wall(), func() error {
		if g.stopped {
			return nil
		}
		return p.finish(l, q.Assignment)
	})
}

// wall draws how long an execution takes here; it is done well before it must be.
func (p *provider) wall() time.Duration {
	w := p.w()
	d := w.between(w.cfg.Wall[0], w.cfg.Wall[1])
	if p.n.index <= w.cfg.Crawls {
		d *= 4
	}
	if w.chance(w.cfg.Hangs) {
		d *= 10
	}
	return min(d, w.cfg.Timeout*3/4)
}

// stop ends a guest, with no result.
func (l *lent) stop(p *provider, id proto.ExecutionID) {
	g := l.guests[id]
	if g == nil {
		return
	}
	g.stopped = true
	p.w().keeper.saw("guest stopped")
	p.n.after(p.w().latency(), func() error { // guests take a moment to die
		delete(l.guests, id)
		if p.w().cfg.Bug != LeaksSlots {
			p.book.Done(p.n.now(), l.award.Lease, id, scheduler.Result{})
		}
		l.end.send(failMsg{id, proto.ReasonCancelled})
		p.trash.drop(openKey(scheduler.Ref{Lease: l.award.Lease, Execution: id}))
		p.startNext()
		return nil
	})
}

// finish has a result, writes it down, and answers.
func (p *provider) finish(l *lent, a proto.Assignment) error {
	o := p.w().right(a.Task.Index)
	if p.n.lies() {
		o = p.w().lie(a.Task.Index)
	}
	ref, r := scheduler.Ref{Lease: l.award.Lease, Execution: a.Execution}, resultRecord{a.Execution, o}
	if p.w().cfg.Bug == AnswersFirst {
		p.answer(l, r)
	}
	var b batch
	b.drop(openKey(ref))
	b.put(resultKey(ref), r)
	if err := p.n.disk.commit(b, false); err != nil {
		if p.fatal(err) {
			return err
		}
		delete(l.guests, a.Execution)
		p.book.Done(p.n.now(), l.award.Lease, a.Execution, scheduler.Result{})
		l.end.send(failMsg{a.Execution, proto.ReasonDisk})
		p.startNext()
		return nil
	}
	delete(l.guests, a.Execution)
	p.book.Done(p.n.now(), l.award.Lease, a.Execution, scheduler.Result{Kept: true})
	if p.w().cfg.Bug != AnswersFirst {
		p.answer(l, r)
	}
	p.startNext()
	return p.offerAgain()
}

func (p *provider) answer(l *lent, r resultRecord) {
	p.n.log("answers %s", short(r.id))
	l.end.send(answerMsg{signed{p.n.now()}, l.award.Lease, l.award.Epoch, r.id, r.o, p.w().now})
}
