package provider

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/mustermesh/muster/executor"
	"github.com/mustermesh/muster/internal/eventlog"
	"github.com/mustermesh/muster/node/overlay"
	"github.com/mustermesh/muster/node/sandbox"
	"github.com/mustermesh/muster/proto"
	"github.com/mustermesh/muster/scheduler"
)

// A guest is an execution that runs here. The provider's lock guards it.
type guest struct {
	cancel   context.CancelFunc
	job      proto.JobID
	from     proto.PeerID
	began    time.Time // zero: its program and input are being fetched
	progress proto.Progress
	why      *scheduler.No // it is stopped; nil: for no reason of this node's
}

// stop has an execution stopped, where it runs. Call it with the provider's lock.
func (l *lent) stop(e proto.ExecutionID) {
	if g := l.running[e]; g != nil {
		g.cancel()
	}
}

// startNext starts what the book says may start, and gives back what may not.
func (p *Provider) startNext() {
	p.mu.Lock()
	back := p.book.GiveBack(p.Now())
	for _, r := range back {
		p.discard(workKey(r.From, r.Lease, r.Assignment.Execution))
	}
	for _, q := range p.book.Next() {
		l := p.leases[q.Lease]
		ctx, cancel := context.WithCancel(p.Workers.Context())
		l.running[q.Assignment.Execution] = &guest{cancel: cancel, job: l.award.Job, from: l.from}
		if p.Workers.Try(func(context.Context) { p.execute(ctx, l, q) }) {
			p.underWay++
			continue
		}
		cancel()
		delete(l.running, q.Assignment.Execution)
		p.book.Done(p.Now(), q.Lease, q.Assignment.Execution, scheduler.Result{})
		back = append(back, scheduler.Returned{Queued: q, No: scheduler.No{Reason: proto.ReasonBusy, Detail: "the node has too much to do, or is ending"}})
	}
	p.mu.Unlock()
	for _, r := range back {
		if l := p.lease(r.Lease); l != nil {
			p.refuse(l, r.Assignment.Execution, &r.No)
		}
	}
}

func (p *Provider) lease(id proto.LeaseID) *lent {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.leases[id]
}

// execute runs one task and sends its answer, or why there is none. The answer is
// on disk before it is sent. What a stopping node cuts off stays on record, for
// its next run.
func (p *Provider) execute(ctx context.Context, l *lent, q scheduler.Queued) {
	defer p.over()
	id := q.Assignment.Execution
	seen := p.watch(ctx, l.from, l.award)
	var talk sync.WaitGroup
	defer talk.Wait() // last: nothing waits for what a guest still says
	answer, err := p.box.Run(ctx, sandbox.Work{
		Owner: l.from, Program: l.award.Program, Task: q.Assignment.Task, From: []proto.PeerID{l.from},
		Tag: resultTag(l.from, id), InputTag: sandbox.JobTag(l.from, l.award.Job),
		Started: func(x executor.Execution) {
			seen.runs()
			p.began(l, id)
			talk.Go(func() { p.talk(ctx, l, id, x) })
		},
	})
	ending := p.Workers.Context().Err() != nil
	answer.Execution, answer.Lease, answer.Epoch = id, l.award.Lease, l.award.Epoch
	if err == nil {
		if rerr := p.recordResult(context.WithoutCancel(ctx), l, answer); rerr != nil {
			no := p.unrecorded(rerr)
			err = &sandbox.Failure{Reason: no.Reason, Detail: no.Detail}
		}
	}
	seen.over(err)
	p.mu.Lock()
	g := l.running[id]
	g.cancel()
	if err != nil && g.why != nil {
		err = &sandbox.Failure{Reason: g.why.Reason, Detail: g.why.Detail}
	}
	delete(l.running, id)
	p.book.Done(p.Now(), q.Lease, id, scheduler.Result{Kept: err == nil, Bytes: answer.OutputSize})
	if err != nil && !ending {
		p.discard(workKey(l.from, l.award.Lease, id))
	}
	p.mu.Unlock()
	p.startNext() // a requester that does not read holds up nobody else
	switch {
	case err == nil:
		p.done.Add(1)
		p.ran(l.from, l.award.Job)
		p.answer(context.WithoutCancel(ctx), l, answer)
		p.tellEvent(l, id, "answered", "")
	case !ending:
		p.failed.Add(1)
		p.tellEvent(l, id, "failed", proto.ClipDetail(err.Error()))
		p.send(l, proto.Frame{Failure: failureFrame(id, err)})
	}
	p.freed()
}

// began notes that a guest runs.
func (p *Provider) began(l *lent, id proto.ExecutionID) {
	p.mu.Lock()
	if g := l.running[id]; g != nil {
		g.began = p.Now()
	}
	p.mu.Unlock()
	p.send(l, proto.Frame{Started: &id})
	p.tellEvent(l, id, "began", "")
}

// tellEvent notes what became of an execution here.
func (p *Provider) tellEvent(l *lent, id proto.ExecutionID, state, text string) {
	p.events.Add(eventlog.Event{
		Kind: eventlog.Provider, State: state, TimeMS: p.Now().UnixMilli(), Job: l.award.Job, Execution: id, Peer: l.from, Text: text,
	})
}

func failureFrame(id proto.ExecutionID, err error) *proto.Failure {
	var f *sandbox.Failure
	if errors.As(err, &f) {
		return &proto.Failure{Execution: id, Reason: f.Reason, Detail: proto.ClipDetail(f.Detail)}
	}
	return &proto.Failure{Execution: id, Reason: proto.ReasonOther, Detail: proto.ClipDetail(err.Error())}
}

func (p *Provider) answer(ctx context.Context, l *lent, a proto.Answer) {
	env := p.Sign(proto.PurposeAnswer, l.from, overlay.AnswerLife, a.Marshal())
	p.send(l, proto.Frame{Answer: &proto.AnswerFrame{Answer: env, Blocks: p.box.Inline(ctx, a)}})
}

// send sends a frame, unless the requester is out of touch: it hears of
// everything when it is back.
func (p *Provider) send(l *lent, f proto.Frame) {
	p.mu.Lock()
	s := l.stream
	p.mu.Unlock()
	if s == nil {
		return
	}
	if err := s.Send(f.Marshal()); err != nil {
		s.Reset()
	}
}

// A Guest is an execution that runs here, for whoever looks.
type Guest struct {
	Execution proto.ExecutionID
	Job       proto.JobID
	Requester proto.PeerID
	Began     time.Time // zero: its program and input are being fetched
	Progress  proto.Progress
	Orphan    bool // its requester is out of touch
}

// Guests gives what runs here now, in no order.
func (p *Provider) Guests() (gs []Guest) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range p.leases {
		for e, g := range l.running {
			gs = append(gs, Guest{Execution: e, Job: g.job, Requester: g.from, Began: g.began, Progress: g.progress, Orphan: l.stream == nil})
		}
	}
	return gs
}
