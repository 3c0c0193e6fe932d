package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mustermesh/muster/executor"
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
	answerLife   = time.Hour // of signed bids, answers, receipts
)

// A provider carries out the lending side: it answers announcements with bids,
// takes leases, runs tasks in the sandbox and answers. What it does is decided
// by a [scheduler.Book].
type provider struct {
	*common
	box  *sandbox
	acct *accounts
	crew *crew

	mu      sync.Mutex // guards all below
	book    *scheduler.Book
	leases  map[proto.LeaseID]*lent
	expired []retained
	busy    map[heardKey]heard // refused for being busy: asked again when a slot is free

	done, failed atomic.Uint64
	refusals     [32]atomic.Uint64 // by reason
}

// A lent lease is the provider's end of one.
type lent struct {
	award   proto.Award
	from    proto.PeerID
	stream  *p2p.Stream
	running map[proto.ExecutionID]context.CancelFunc
	unseen  map[proto.ExecutionID]string // answered, not yet receipted: tag of the pinned output
}

// A retained output is kept until its lease's grace is over.
type retained struct {
	tag   string
	until time.Time
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
	if err := p.box.content.Unpin(ctx, tag); err != nil {
		p.log.Warn("unpin output", "err", err)
	}
}

// consider answers one announcement with a bid or a refusal.
func (p *provider) consider(ctx context.Context, h heard) {
	from, a := h.from, h.announcement
	p.mu.Lock()
	bid, no := scheduler.Offer(p.book.Lending(), p.book.Busy()+p.book.Queued(), a, p.client(from))
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
	ctx, done := context.WithTimeout(ctx, bidTimeout)
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

// serveLease is the provider's end of a lease stream. docs/wire.md §5.
func (p *provider) serveLease(ctx context.Context, s *p2p.Stream) error {
	s.SetIdle(leaseSilence)
	frame, err := recvFrame(s)
	if err != nil {
		return err
	}
	if frame.Award == nil {
		return p.strike(s, "lease stream without award")
	}
	l, err := p.openAward(s, frame.Award.Award)
	if err != nil {
		p.log.Warn("award refused", "peer", s.Peer(), "err", err)
		p.net.Misbehaved(s.Peer(), "bad award")
		return err
	}
	if no := p.take(l); no != nil {
		p.count(no.Reason)
		return s.Send(proto.Frame{Reply: &proto.AwardReply{Reason: no.Reason, Detail: proto.ClipDetail(no.Detail)}}.Marshal())
	}
	defer p.end(l)
	if err := s.Send(proto.Frame{Reply: &proto.AwardReply{Accepted: true}}.Marshal()); err != nil {
		return err
	}
	stop := p.keepAlive(ctx, s)
	defer stop()
	for i := range frame.Award.Tasks {
		p.enqueue(l, frame.Award.Tasks[i])
	}
	return p.follow(ctx, l)
}

func (p *provider) openAward(s *p2p.Stream, b []byte) (*lent, error) {
	env, err := p.open(b, proto.PurposeAward)
	if err != nil {
		return nil, err
	}
	if env.Signer != s.Peer() {
		return nil, fmt.Errorf("%w: an award of %s came from %s", proto.ErrSignature, env.Signer, s.Peer())
	}
	award, err := proto.ParseAward(env.Body)
	if err != nil {
		return nil, err
	}
	return &lent{award: award, from: env.Signer, stream: s, running: make(map[proto.ExecutionID]context.CancelFunc), unseen: make(map[proto.ExecutionID]string)}, nil
}

func (p *provider) take(l *lent) *scheduler.No {
	if err := p.box.exec.Check(requirementOf(l.award.Program)); err != nil {
		return &scheduler.No{Reason: proto.ReasonExecutor, Detail: err.Error()}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, taken := p.leases[l.award.Lease]; taken {
		return &scheduler.No{Reason: proto.ReasonNoLease, Detail: "the lease exists already"}
	}
	if no := p.book.Award(p.now(), p.client(l.from), l.award); no != nil {
		return no
	}
	p.leases[l.award.Lease] = l
	p.net.Protect(l.from, "lease")
	return nil
}

func requirementOf(pr proto.Program) executor.Requirement {
	return executor.Requirement{Profile: pr.Profile, Memory: pr.Resources.Memory, Disk: pr.Resources.Disk, Module: int64(pr.CodeSize)}
}

// follow reads the requester's frames until the lease ends.
func (p *provider) follow(ctx context.Context, l *lent) error {
	for {
		frame, err := recvFrame(l.stream)
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case errors.Is(err, proto.ErrMalformed):
			return p.strike(l.stream, "malformed lease frame")
		case err != nil:
			return err
		case frame.Task != nil:
			p.enqueue(l, *frame.Task)
		case frame.Cancel != nil:
			p.cancelExecution(l, *frame.Cancel)
		case frame.Ack != nil:
			p.acknowledged(ctx, l, frame.Ack)
		case frame.Release:
			return nil
		case frame.Ping:
		default:
			return p.strike(l.stream, "lease frame out of turn")
		}
	}
}

func (p *provider) enqueue(l *lent, a proto.Assignment) {
	p.mu.Lock()
	no := p.book.Enqueue(l.award.Lease, a)
	p.mu.Unlock()
	if no != nil {
		p.send(l, proto.Frame{Failure: &proto.Failure{Execution: a.Execution, Reason: no.Reason, Detail: proto.ClipDetail(no.Detail)}})
		return
	}
	p.startNext()
}

// startNext starts what the book says may start.
func (p *provider) startNext() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, q := range p.book.Next() {
		l := p.leases[q.Lease]
		ctx, cancel := context.WithCancel(p.crew.ctx)
		if !p.crew.try(func(context.Context) { p.execute(ctx, l, q) }) {
			cancel()
			p.book.Done(p.now(), q.Lease)
			continue
		}
		l.running[q.Assignment.Execution] = cancel
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
		p.answer(ctx, l, id, answer)
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

func (p *provider) cancelExecution(l *lent, id proto.ExecutionID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.book.Drop(p.now(), id) {
		return
	}
	if cancel, ok := l.running[id]; ok {
		cancel()
	}
}

// acknowledged notes that the requester holds an answer; with its receipt the
// task is settled and the output no longer needed here.
func (p *provider) acknowledged(ctx context.Context, l *lent, a *proto.Ack) {
	if len(a.Receipt) == 0 {
		return
	}
	env, err := p.open(a.Receipt, proto.PurposeReceipt)
	if err != nil || env.Signer != l.from {
		p.net.Misbehaved(l.from, "bad receipt")
		return
	}
	r, err := proto.ParseReceipt(env.Body)
	if err != nil || r.Execution != a.Execution {
		p.net.Misbehaved(l.from, "bad receipt")
		return
	}
	p.mu.Lock()
	tag, ok := l.unseen[r.Execution]
	delete(l.unseen, r.Execution)
	p.mu.Unlock()
	if !ok {
		return
	}
	p.forget(ctx, tag)
	if err := p.acct.add(ctx, l.from, r.Amount, 0); err != nil {
		p.log.Error("account", "peer", l.from, "err", err)
	}
}

// end forgets a lease: its tasks stop, its answered outputs stay for the grace.
func (p *provider) end(l *lent) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.book.End(l.award.Lease)
	delete(p.leases, l.award.Lease)
	for _, cancel := range l.running {
		cancel()
	}
	until := p.now().Add(min(l.award.Grace, maxGrace))
	for _, tag := range l.unseen {
		p.expired = append(p.expired, retained{tag, until})
	}
	clear(l.unseen)
	p.net.Unprotect(l.from, "lease")
}

// maxGrace bounds what a requester can ask a provider to keep.
const maxGrace = 10 * time.Minute

// freed offers the free slot to jobs that were refused for being busy.
func (p *provider) freed() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.busy) == 0 || p.book.Busy()+p.book.Queued() >= p.book.Lending().Advert.Slots {
		return
	}
	for _, h := range p.busy {
		if p.now().Before(h.expires) {
			p.crew.try(func(ctx context.Context) { p.consider(ctx, h) })
		}
	}
	clear(p.busy)
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
