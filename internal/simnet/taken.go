package simnet

import (
	"github.com/mustermesh/muster/proto"
	"github.com/mustermesh/muster/scheduler"
)

// act carries out what a step wants.
func (q *requester) act(a scheduler.Actions) {
	w := q.w()
	for _, id := range a.Gone {
		w.keeper.gone(id)
	}
	if a.Announce != 0 {
		q.n.log("announces, %d", a.Announce)
		for _, p := range w.nodes[1:] {
			q.n.post(p, announceMsg{signed{q.n.now()}, w.announcement()})
		}
	}
	for _, o := range a.Open {
		q.open(o)
	}
	for _, s := range a.Assign {
		l := q.leases[s.Lease]
		w.keeper.assigned(s.Lease, s.Execution)
		q.n.log("assigns %s, task %d, to %s", short(s.Execution), s.Task, l.peer.name)
		l.end.send(taskMsg{q.assignment(s)})
	}
	for _, at := range a.Attach {
		q.attach(at)
	}
	for _, r := range a.Local {
		q.runLocal(r)
	}
	for _, f := range a.Fetch {
		q.fetch(f)
	}
	for _, c := range a.Cancel {
		q.cancel(c)
	}
}

func (q *requester) assignment(a scheduler.Assign) proto.Assignment {
	return proto.Assignment{Execution: a.Execution, Task: proto.Task{Index: a.Task, Count: q.w().cfg.Tasks}}
}

// open awards a lease.
func (q *requester) open(o scheduler.OpenLease) {
	w := q.w()
	l := &taken{id: o.Lease, peer: w.byID(o.Peer), epoch: o.Epoch}
	w.keeper.opened(o)
	q.n.log("awards %s, epoch %x, to %s, %d tasks", short(o.Lease), o.Epoch, l.peer.name, len(o.Tasks))
	msg := awardMsg{signed: signed{q.n.now()}, award: proto.Award{
		Job: w.announcement().Job, Lease: o.Lease, Epoch: o.Epoch, Slots: o.Slots, Price: o.Price,
		Silence: w.cfg.Silence, Grace: w.cfg.Grace, Program: w.program(),
	}}
	for _, s := range o.Tasks {
		w.keeper.assigned(o.Lease, s.Execution)
		msg.tasks = append(msg.tasks, q.assignment(s))
	}
	q.leases[o.Lease] = l
	q.dial(l, msg)
}

// attach takes a lease up again.
func (q *requester) attach(a scheduler.Attach) {
	l := q.leases[a.Lease]
	q.n.log("attaches %s at %s, %d executions", short(a.Lease), l.peer.name, len(a.Executions))
	q.w().keeper.attached(a)
	l.end.reset()
	l.accepted, l.attach = false, true
	q.dial(l, attachMsg{proto.Attach{Lease: a.Lease, Epoch: a.Epoch, Executions: a.Executions}})
}

// dial opens a stream for a lease, and tells the job what comes of it.
func (q *requester) dial(l *taken, first any) {
	e := q.n.dial(l.peer, first)
	l.end = e
	e.recv = func(msg any) error { return q.receive(l, e, msg) }
	e.broke = func(why string) error {
		q.n.log("the stream of %s at %s: %s", short(l.id), l.peer.name, why)
		if q.over {
			return nil
		}
		if l.attach && !l.accepted {
			q.job.AttachFailed(q.n.now(), l.peer.id, l.id, why)
		} else {
			q.job.LeaseBroken(q.n.now(), l.peer.id, l.id, why)
		}
		return q.step()
	}
}

// receive takes a message of a provider.
func (q *requester) receive(l *taken, e *end, msg any) error {
	if q.over {
		return nil
	}
	now, id := q.n.now(), l.peer.id
	switch m := msg.(type) {
	case replyMsg:
		q.reply(l, e, m)
	case startMsg:
		q.job.Started(now, m.id)
	case failMsg:
		q.n.log("hears %s failed %s: %s", l.peer.name, short(m.id), m.reason)
		q.job.ExecutionFailed(now, m.id, m.reason, "")
	case answerMsg:
		q.answer(l, e, m)
	case releaseMsg:
		e.close()
		q.job.LeaseLost(now, id, l.id, "let go")
	}
	return q.step()
}

func (q *requester) reply(l *taken, e *end, m replyMsg) {
	now, id := q.n.now(), l.peer.id
	l.accepted = m.no == nil
	switch {
	case l.attach && m.no == nil:
		q.job.LeaseAttached(now, id, l.id)
	case m.no == nil:
		q.job.LeaseAccepted(id, l.id)
	case l.attach:
		e.close()
		q.job.LeaseLost(now, id, l.id, m.no.Detail)
	default:
		e.close()
		q.n.log("is declined by %s: %s %s", l.peer.name, m.no.Reason, m.no.Detail)
		q.job.LeaseDeclined(now, id, l.id, *m.no)
	}
}

// answer takes an answer under the lease and epoch of its stream, once.
func (q *requester) answer(l *taken, e *end, m answerMsg) {
	now := q.n.now()
	if !m.fresh(now, answerLife) {
		e.reset()
		q.job.LeaseLost(now, l.peer.id, l.id, "an answer from another time")
		return
	}
	if m.lease != l.id || m.epoch != l.epoch {
		return
	}
	e.send(ackMsg{id: m.id})
	if q.held[m.id] != nil {
		return
	}
	wanted := q.job.Answered(now, m.id, m.o)
	q.n.log("has an answer of %s to %s, task %d, wanted: %t", l.peer.name, short(m.id), q.tasks[m.id], wanted)
	if !wanted {
		return
	}
	q.w().keeper.accepted(l, m)
	q.held[m.id] = l
	if q.w().chance(.5) { // a small output rides with the answer
		q.job.Held(now, q.tasks[m.id], m.o.Output)
	}
}

func (q *requester) fetch(f scheduler.Fetch) {
	q.n.call(q.w().byID(f.Peer), fetchMsg{f.Output}, func(r any) error {
		if q.over {
			return nil
		}
		if ok, _ := r.(bool); ok {
			q.job.Held(q.n.now(), f.Task, f.Output)
		} else {
			q.n.log("cannot fetch task %d of %s", f.Task, q.w().byID(f.Peer).name)
			q.w().keeper.unfetched(f, r)
			q.job.FetchFailed(q.n.now(), f.Execution, "not had")
		}
		return q.step()
	})
}

func (q *requester) cancel(c scheduler.Cancel) {
	if c.Local {
		delete(q.local, c.Execution)
		return
	}
	if l := q.leases[c.Lease]; l != nil {
		l.end.send(cancelMsg{c.Execution})
	}
}

func (q *requester) runLocal(r scheduler.RunLocal) {
	q.local[r.Execution] = true
	w := q.w()
	q.n.after(w.between(w.cfg.Wall[0], w.cfg.Wall[1]), func() error {
		if !q.local[r.Execution] || q.over {
			return nil
		}
		delete(q.local, r.Execution)
		q.job.Answered(q.n.now(), r.Execution, w.right(r.Task))
		return q.step()
	})
}
