package node

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mustermesh/muster/p2p"
	"github.com/mustermesh/muster/proto"
	"github.com/mustermesh/muster/scheduler"
)

// Protocols between nodes. docs/wire.md §1.
const (
	protoHello = "hello/1.0.0"
	protoBid   = "bid/1.0.0"
	protoLease = "lease/1.0.0"
)

// Timing of a lease stream.
const (
	leaseSilence = 15 * time.Second // a side that hears nothing for so long gives up
	pingEvery    = 5 * time.Second
	bidTimeout   = 10 * time.Second
	reachTimeout = 3 * time.Second // for the whole of an answer to an announcement
	answerLife   = time.Hour       // of signed bids, answers, receipts
)

// A provider carries out the lending side: it answers announcements with bids,
// takes leases, runs tasks in the sandbox and answers. What it does is decided
// by a [scheduler.Book].
type provider struct {
	*common
	box  *sandbox
	acct *accounts
	crew *crew

	bidders *crew // considers announcements; who floods them fills this one alone

	mu      sync.Mutex // guards all below
	book    *scheduler.Book
	leases  map[proto.LeaseID]*lent
	expired []retained
	busy    map[heardKey]heard // refused for being busy: asked again when a slot is free

	done, failed atomic.Uint64
	refusals     [32]atomic.Uint64 // by reason
}

func newProvider(c *common, box *sandbox, acct *accounts, l scheduler.Lending) *provider {
	return &provider{
		common: c, box: box, acct: acct, book: scheduler.NewBook(l),
		leases: make(map[proto.LeaseID]*lent), busy: make(map[heardKey]heard),
	}
}

// Run serves until ctx ends, and returns when all executions have stopped.
func (p *provider) Run(ctx context.Context) error {
	tick := time.NewTicker(scheduler.IdleLease / 4)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			p.sweep(ctx)
		}
	}
}

// sweep lets idle leases go and unpins outputs whose grace is over.
func (p *provider) sweep(ctx context.Context) {
	now := p.now()
	p.mu.Lock()
	var idle []*lent
	for _, id := range p.book.Idle(now) {
		if l := p.leases[id]; l != nil {
			idle = append(idle, l)
		}
	}
	var tags []string
	kept := p.expired[:0]
	for _, r := range p.expired {
		if now.Before(r.until) {
			kept = append(kept, r)
		} else {
			tags = append(tags, r.tag)
		}
	}
	p.expired = kept
	p.mu.Unlock()
	for _, l := range idle {
		if err := l.stream.Send(proto.Frame{Release: true}.Marshal()); err == nil {
			l.stream.Close()
		}
	}
	for _, tag := range tags {
		p.forget(ctx, tag)
	}
}

func (p *provider) forget(ctx context.Context, tag string) {
	if err := p.box.content.Release(ctx, tag); err != nil {
		p.log.Warn("unpin output", "err", err)
	}
}

// consider answers one announcement with a bid or a refusal.
func (p *provider) consider(ctx context.Context, h heard) {
	from, a := h.from, h.announcement
	p.mu.Lock()
	bid, no := scheduler.Offer(p.book.Lending(), p.book.BusyFor(from), a, p.client(from))
	if no != nil && no.Reason == proto.ReasonBusy && len(p.busy) < maxHeard {
		p.busy[heardKey{from, a.Job}] = h
	}
	p.mu.Unlock()
	var frame proto.BidFrame
	if no != nil {
		p.count(no.Reason)
		body := proto.Refusal{Job: a.Job, Reason: no.Reason, Detail: proto.ClipDetail(no.Detail)}.Marshal()
		frame.Refusal = p.sign(proto.PurposeRefusal, from, answerLife, body)
	} else {
		frame.Bid = p.sign(proto.PurposeBid, from, answerLife, bid.Marshal())
	}
	ctx, done := context.WithTimeout(ctx, reachTimeout)
	defer done()
	if err := p.reach(ctx, from, a.Addrs); err != nil {
		p.log.Debug("requester not reached", "peer", from, "job", a.Job, "err", err)
		return
	}
	if _, err := p.net.Call(ctx, from, protoBid, frame.Marshal(), 64); err != nil {
		p.log.Debug("bid not delivered", "peer", from, "job", a.Job, "err", err)
	}
}

func (p *provider) client(id proto.PeerID) scheduler.Client {
	return scheduler.Client{ID: id, Balance: p.acct.owed(id)}
}

func (p *provider) count(r proto.Reason) {
	if int(r) < len(p.refusals) {
		p.refusals[r].Add(1)
	}
}

// startNext starts what the book says may start.
func (p *provider) startNext() {
	p.mu.Lock()
	var declined []scheduler.Queued
	for _, q := range p.book.Next() {
		l := p.leases[q.Lease]
		ctx, cancel := context.WithCancel(p.crew.ctx)
		if p.crew.try(func(context.Context) { p.execute(ctx, l, q) }) {
			l.running[q.Assignment.Execution] = cancel
			continue
		}
		cancel()
		delete(l.open, q.Assignment.Execution)
		p.book.Done(p.now(), q.Lease)
		declined = append(declined, q)
	}
	p.mu.Unlock()
	for _, q := range declined {
		p.mu.Lock()
		l := p.leases[q.Lease]
		p.mu.Unlock()
		if l != nil {
			p.send(l, proto.Frame{Failure: &proto.Failure{Execution: q.Assignment.Execution, Reason: proto.ReasonBusy, Detail: "the node has too much to do, or is ending"}})
		}
	}
}

// execute runs one task and sends its answer, or why there is none.
func (p *provider) execute(ctx context.Context, l *lent, q scheduler.Queued) {
	id := q.Assignment.Execution
	tag := resultTag(l.from, id)
	answer, err := p.box.run(ctx, work{
		owner: l.from, program: l.award.Program, task: q.Assignment.Task, from: []proto.PeerID{l.from},
		tag: tag, inputTag: jobTag(l.from, l.award.Job),
		started: func() { p.send(l, proto.Frame{Started: &id}) },
	})
	p.mu.Lock()
	l.running[id]()
	delete(l.running, id)
	delete(l.open, id)
	p.book.Done(p.now(), q.Lease)
	switch _, leased := p.leases[q.Lease]; {
	case err == nil && leased:
		l.unseen[id] = tag
	case err == nil:
		p.expired = append(p.expired, retained{tag, p.now().Add(min(l.award.Grace, maxGrace))})
	}
	p.mu.Unlock()
	if err != nil {
		p.failed.Add(1)
		p.send(l, proto.Frame{Failure: failureFrame(id, err)})
	} else {
		p.done.Add(1)
		p.answer(p.crew.ctx, l, id, answer) // ctx has ended with the execution
	}
	p.startNext()
	p.freed()
}

func failureFrame(id proto.ExecutionID, err error) *proto.Failure {
	var f *failure
	if errors.As(err, &f) {
		return &proto.Failure{Execution: id, Reason: f.reason, Detail: proto.ClipDetail(f.detail)}
	}
	return &proto.Failure{Execution: id, Reason: proto.ReasonOther, Detail: proto.ClipDetail(err.Error())}
}

func (p *provider) answer(ctx context.Context, l *lent, id proto.ExecutionID, a proto.Answer) {
	a.Execution, a.Lease, a.Epoch = id, l.award.Lease, l.award.Epoch
	env := p.sign(proto.PurposeAnswer, l.from, answerLife, a.Marshal())
	p.send(l, proto.Frame{Answer: &proto.AnswerFrame{Answer: env, Blocks: p.box.inline(ctx, a)}})
}

func (p *provider) send(l *lent, f proto.Frame) {
	if err := l.stream.Send(f.Marshal()); err != nil {
		l.stream.Reset()
	}
}

// freed offers the free slot to jobs that were refused for being busy.
func (p *provider) freed() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for key, h := range p.busy {
		if p.book.BusyFor(h.from) >= p.book.Lending().Advert.Slots {
			continue
		}
		delete(p.busy, key)
		if p.now().Before(h.expires) {
			p.bidders.try(func(ctx context.Context) { p.consider(ctx, h) })
		}
	}
}

// keepAlive pings the other end of a lease stream until stop is called.
func (c *common) keepAlive(ctx context.Context, s *p2p.Stream) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	started := c.pingers.try(func(context.Context) {
		defer close(done)
		tick := time.NewTicker(pingEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				if s.Send(proto.Frame{Ping: true}.Marshal()) != nil {
					s.Reset()
					return
				}
			}
		}
	})
	if !started {
		close(done)
	}
	return func() { cancel(); <-done }
}

func (c *common) strike(s *p2p.Stream, reason string) error {
	c.net.Misbehaved(s.Peer(), reason)
	return fmt.Errorf("%s: %s", s.Peer(), reason)
}

func recvFrame(s *p2p.Stream) (proto.Frame, error) {
	b, err := s.Recv()
	if err != nil {
		return proto.Frame{}, err
	}
	return proto.ParseFrame(b)
}
