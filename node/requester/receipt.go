package requester

import (
	"time"

	"github.com/mustermesh/muster/node/overlay"
	"github.com/mustermesh/muster/proto"
	"github.com/mustermesh/muster/scheduler"
)

// A due is a receipt that its provider is to get once it is on disk.
type due struct {
	lease    *taken
	id       proto.ExecutionID
	cost     proto.Credits
	envelope []byte
}

// receipts signs one batch of receipts for the settled tasks, for the next write
// to take along, and then for [Job.deliver].
func (j *Job) receipts(settled []int) (dues []due) {
	var batch []proto.Statement
	var tasks []int
	var bodies []proto.Receipt
	now := j.r.Now()
	for _, i := range settled {
		for _, e := range j.core.Task(i).Executions {
			l, h, ok := j.heldAnswer(e.ID)
			if !ok {
				continue
			}
			if e.State != scheduler.ExecAnswered {
				l.drop(e.ID)
				continue
			}
			r := proto.Receipt{
				Answer: h.hash, Job: j.id, Execution: e.ID, Digest: h.answer.Digest, Output: h.answer.Output,
				CPU: h.answer.CPU, Amount: l.cost(h.answer.CPU), Fuel: h.answer.Fuel, Engine: h.answer.Engine,
			}
			batch = append(batch, proto.Statement{
				Network: j.r.Network, Purpose: proto.PurposeReceipt, Issued: now, Expires: now.Add(overlay.AnswerLife),
				Addressee: l.peer, Body: r.Marshal(),
			})
			dues, tasks, bodies = append(dues, due{lease: l, id: e.ID, cost: r.Amount}), append(tasks, i), append(bodies, r)
		}
	}
	for at := 0; at < len(batch); at += proto.MaxBatch {
		for k, env := range j.r.SealBatch(batch[at:min(at+proto.MaxBatch, len(batch))]) {
			d := &dues[at+k]
			d.envelope = env
			j.keepReceipt(tasks[at+k], d.lease.peer, bodies[at+k], env)
			j.spend(d.cost)
		}
	}
	return dues
}

// deliver sends receipts that are on disk by now.
func (j *Job) deliver(dues []due) {
	for _, d := range dues {
		d.lease.send(proto.Frame{Ack: &proto.Ack{Execution: d.id, Receipt: d.envelope}})
		d.lease.drop(d.id)
		j.pay(d.lease.peer, d.cost)
	}
}

// payFor credits a provider for what an execution did that is cancelled: being
// slower than another is no fault.
func (j *Job) payFor(l *taken, c scheduler.Cancel) {
	amount := l.cost(c.Worth)
	l.mu.Lock()
	task, known := l.tasks[c.Execution]
	l.mu.Unlock()
	if amount == 0 || !known {
		return
	}
	r := proto.Receipt{
		Job: j.id, Execution: c.Execution, Digest: proto.TaskDigest(l.prog, l.list[task]), Amount: amount, CPU: c.Worth,
	}
	env := j.r.Sign(proto.PurposeReceipt, l.peer, overlay.AnswerLife, r.Marshal())
	l.send(proto.Frame{Ack: &proto.Ack{Execution: c.Execution, Receipt: env}})
	j.keepReceipt(task, l.peer, r, env)
	j.spend(amount)
	j.pay(l.peer, amount)
}

// cost is what so much work is worth under a lease: price × core-hours.
func (l *taken) cost(cpu time.Duration) proto.Credits {
	return proto.Credits(float64(l.price) * cpu.Hours())
}

func (j *Job) spend(amount proto.Credits) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.progress.Spent += amount
}

func (j *Job) pay(peer proto.PeerID, amount proto.Credits) {
	if amount == 0 {
		return
	}
	if err := j.r.acct.Add(j.ctx, peer, 0, amount); err != nil {
		j.r.Log.Error("account", "peer", peer, "err", err)
	}
}

func (j *Job) heldAnswer(e proto.ExecutionID) (*taken, held, bool) {
	for _, l := range j.leases {
		l.mu.Lock()
		h, ok := l.answers[e]
		l.mu.Unlock()
		if ok {
			return l, h, true
		}
	}
	return nil, held{}, false
}

func (l *taken) drop(e proto.ExecutionID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.answers, e)
}

// proof gives the signed answer of an execution that was proven wrong.
func (j *Job) proof(e scheduler.Evidence) []byte {
	if e.Kind != scheduler.EvidenceWrong {
		return nil
	}
	_, h, _ := j.heldAnswer(e.Execution)
	return h.envelope
}
