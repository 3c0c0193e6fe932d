package simnet

import (
	"time"

	"github.com/mustermesh/muster/scheduler"
)

// step asks the job what to do, and does it: what must be known after a crash
// is written first, what is settled is synced before anybody hears of it.
func (q *requester) step() error {
	if q.over {
		return nil
	}
	a := q.job.Step(q.n.now())
	if q.w().cfg.Bug == RecordsLate {
		q.act(a)
	}
	if err := q.record(a); err != nil {
		return err
	}
	if q.w().cfg.Bug != RecordsLate {
		q.act(a)
	}
	if q.w().cfg.Bug == TellsFirst {
		q.tell(a)
	}
	if err := q.settle(a); err != nil {
		return err
	}
	if q.w().cfg.Bug != TellsFirst {
		q.tell(a)
	}
	q.job.Settled(a.Settled)
	if state, why := q.job.State(); state.Ended() {
		q.n.log("the job is %s %s", state, why)
		q.over = true
		return q.tidy()
	}
	q.sleep(a.Wake)
	return nil
}

func (q *requester) sleep(until time.Time) {
	if until.IsZero() {
		return
	}
	q.wake++
	mine := q.wake
	q.n.after(q.n.clock.until(q.w().now, until), func() error {
		if q.wake != mine {
			return nil
		}
		return q.step()
	})
}

func (q *requester) record(a scheduler.Actions) error {
	var b batch
	for _, l := range a.Leases {
		b.put(leaseKey(l.Lease), encode(l))
	}
	for _, x := range a.Executions {
		b.put(execKey(x.Execution), encode(x))
		q.tasks[x.Execution] = x.Task
		if x.Role == scheduler.RoleHedge {
			q.w().keeper.saw("hedged")
		}
	}
	for _, i := range a.Troubled {
		if v := q.job.Task(i); v.Settlement == nil {
			b.put(taskKey(keyTroubled, i), encode(v))
		}
	}
	if len(b.keys) == 0 {
		return nil
	}
	return q.n.disk.commit(b, false)
}

// settle writes what was learnt and settled, and removes what is of no use any
// more.
func (q *requester) settle(a scheduler.Actions) error {
	var b batch
	for _, e := range a.Evidence {
		q.w().keeper.evidence(e)
		b.put(taskKey(keyEvidence, q.evident), e)
		q.evident++
	}
	if len(b.keys) > 0 {
		if err := q.n.disk.commit(b, false); err != nil {
			return err
		}
		b = batch{}
	}
	for _, i := range a.Settled {
		b.put(taskKey(keySettled, i), encode(q.job.Task(i)))
		b.drop(taskKey(keyTroubled, i))
	}
	for _, e := range a.Over {
		b.drop(execKey(e))
	}
	for _, l := range a.Gone {
		b.drop(leaseKey(l))
	}
	state, _ := q.job.State()
	if state.Ended() {
		b.put(keyEnd, state)
	}
	if len(b.keys) == 0 {
		return nil
	}
	durable := len(a.Settled) > 0 || state.Ended()
	if q.w().cfg.Bug == SettlesLazily {
		durable = false
	}
	return q.n.disk.commit(b, durable)
}

// tell sends receipts, lets leases go, and tells the user.
func (q *requester) tell(a scheduler.Actions) {
	for _, i := range a.Settled {
		v := q.job.Task(i)
		q.w().keeper.told(i, *v.Settlement)
		q.n.log("task %d is %s: %s", i, v.State, v.Settlement.How)
		for _, x := range v.Executions {
			if l := q.held[x.ID]; l != nil && x.State != scheduler.ExecWrong {
				l.end.send(ackMsg{id: x.ID, receipt: true})
			}
			delete(q.held, x.ID)
		}
	}
	for _, id := range a.Close {
		if l := q.leases[id]; l != nil {
			l.end.send(releaseMsg{})
			l.end.close()
		}
	}
	for _, id := range a.Gone {
		delete(q.leases, id)
	}
}
