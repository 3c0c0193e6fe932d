package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/mustermesh/muster/executor"
	"github.com/mustermesh/muster/p2p"
	"github.com/mustermesh/muster/proto"
	"github.com/mustermesh/muster/scheduler"
)

// A lent lease is the provider's end of one.
type lent struct {
	award   proto.Award
	from    proto.PeerID
	stream  *p2p.Stream
	running map[proto.ExecutionID]context.CancelFunc
	open    map[proto.ExecutionID]struct{} // waits or runs
	unseen  map[proto.ExecutionID]string   // answered, not yet receipted: tag of the pinned output
}

// A retained output is kept until its lease's grace is over.
type retained struct {
	tag   string
	until time.Time
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
		return p.refuseAward(s, err)
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

// refuseAward tells a peer whose clock is off that it is; anything else that is
// wrong with an award is misbehaviour.
func (p *provider) refuseAward(s *p2p.Stream, err error) error {
	p.log.Warn("award refused", "peer", s.Peer(), "err", err)
	if errors.Is(err, proto.ErrExpired) || errors.Is(err, proto.ErrSkew) {
		return s.Send(proto.Frame{Reply: &proto.AwardReply{Reason: proto.ReasonOther, Detail: proto.ClipDetail(err.Error())}}.Marshal())
	}
	return p.strike(s, "bad award")
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
	return &lent{
		award: award, from: env.Signer, stream: s, running: make(map[proto.ExecutionID]context.CancelFunc),
		open: make(map[proto.ExecutionID]struct{}), unseen: make(map[proto.ExecutionID]string),
	}, nil
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
	p.net.Protect(l.from, leaseTag(l.award.Lease))
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
	if no := p.admit(l, a); no != nil {
		p.send(l, proto.Frame{Failure: &proto.Failure{Execution: a.Execution, Reason: no.Reason, Detail: proto.ClipDetail(no.Detail)}})
		return
	}
	p.startNext()
}

// admit puts a task into the book. An execution that is open already is refused:
// its id is what it is cancelled and answered by.
func (p *provider) admit(l *lent, a proto.Assignment) *scheduler.No {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, twice := l.open[a.Execution]; twice {
		return &scheduler.No{Reason: proto.ReasonOther, Detail: "the execution is under way already"}
	}
	no := p.book.Enqueue(l.award.Lease, a)
	if no == nil {
		l.open[a.Execution] = struct{}{}
	}
	return no
}

func (p *provider) cancelExecution(l *lent, id proto.ExecutionID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, open := l.open[id]; !open {
		return
	}
	if p.book.Drop(p.now(), id) {
		delete(l.open, id)
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
	p.net.Unprotect(l.from, leaseTag(l.award.Lease))
}

// maxGrace bounds what a requester can ask a provider to keep.
const maxGrace = 10 * time.Minute
