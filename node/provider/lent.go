package provider

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/mustermesh/muster/node/overlay"
	"github.com/mustermesh/muster/node/sandbox"
	"github.com/mustermesh/muster/p2p"
	"github.com/mustermesh/muster/proto"
	"github.com/mustermesh/muster/scheduler"
)

// A lent lease is the provider's end of one. It outlives its stream. The
// provider's lock guards what changes.
type lent struct {
	award   proto.Award
	from    proto.PeerID
	stream  *p2p.Stream   // nil: its requester is out of touch; see connect
	moved   chan struct{} // closed when stream is another
	running map[proto.ExecutionID]*guest
	voice   voice
}

func newLent(from proto.PeerID, a proto.Award) *lent {
	return &lent{award: a, from: from, running: make(map[proto.ExecutionID]*guest), moved: make(chan struct{}), voice: newVoice()}
}

// connect changes the stream. Call it with the provider's lock.
func (l *lent) connect(s *p2p.Stream) {
	l.stream = s
	close(l.moved)
	l.moved = make(chan struct{})
}

func resultTag(from proto.PeerID, e proto.ExecutionID) string { return sandbox.ResultTag(from, e) }

// ServeLease is the provider's end of a lease stream. docs/wire.md §5.
func (p *Provider) ServeLease(ctx context.Context, s *p2p.Stream) error {
	s.SetIdle(overlay.LeaseSilence)
	frame, err := overlay.RecvFrame(s)
	switch {
	case err != nil:
		return err
	case frame.Attach != nil:
		return p.attach(ctx, s, *frame.Attach)
	case frame.Award == nil:
		return p.Strike(s, "lease stream without award")
	}
	l, err := p.openAward(s, frame.Award.Award)
	if err != nil {
		return p.refuseAward(s, err)
	}
	if no := p.take(ctx, l, frame.Award.Tasks); no != nil {
		p.count(no.Reason)
		return decline(s, *no)
	}
	if err := s.Send(proto.Frame{Reply: &proto.AwardReply{Accepted: true}}.Marshal()); err != nil {
		p.broke(l, s)
		return err
	}
	p.won(l.from, l.award)
	p.mu.Lock()
	l.connect(s)
	p.mu.Unlock()
	for _, t := range frame.Award.Tasks {
		p.enqueue(l, t)
	}
	return p.serve(ctx, l, s)
}

func decline(s *p2p.Stream, no scheduler.No) error {
	return s.Send(proto.Frame{Reply: &proto.AwardReply{Reason: no.Reason, Detail: proto.ClipDetail(no.Detail)}}.Marshal())
}

// attach gives a requester its lease back, and tells how its executions stand.
func (p *Provider) attach(ctx context.Context, s *p2p.Stream, a proto.Attach) error {
	from := s.Peer()
	p.mu.Lock()
	_, no := p.book.Attach(p.Now(), from, a)
	l := p.leases[a.Lease]
	p.mu.Unlock()
	if no == nil && l == nil {
		no = &scheduler.No{Reason: proto.ReasonNoLease, Detail: "no such lease"}
	}
	switch {
	case no == nil:
	case no.Reason == proto.ReasonNoLease:
		return p.nothingLeft(ctx, s, a.Lease, no.Detail)
	default:
		return decline(s, *no)
	}
	if err := s.Send(proto.Frame{Reply: &proto.AwardReply{Accepted: true}}.Marshal()); err != nil {
		p.broke(l, s)
		return err
	}
	p.mu.Lock()
	at, no := p.book.Attach(p.Now(), from, a) // as it stands when the stream is known
	if no != nil {
		p.mu.Unlock()
		p.broke(l, s)
		return fmt.Errorf("attach: %s", no.Detail)
	}
	p.counts.attached.Add(1)
	old := l.stream
	l.connect(s)
	for _, e := range at.Stop {
		l.stop(e)
	}
	p.mu.Unlock()
	if old != nil {
		old.Reset()
	}
	for _, st := range at.Standings {
		p.tell(ctx, l, st)
	}
	p.startNext()
	return p.serve(ctx, l, s)
}

// tell says how an execution stands.
func (p *Provider) tell(ctx context.Context, l *lent, st scheduler.Standing) {
	switch {
	case !st.Known:
		p.send(l, proto.Frame{Failure: &proto.Failure{Execution: st.Execution, Reason: proto.ReasonNoLease, Detail: "it is not known here any more"}})
	case st.State == scheduler.WorkRunning:
		p.send(l, proto.Frame{Started: &st.Execution})
	case st.State == scheduler.WorkKept:
		a, err := p.result(l, st.Execution)
		if err != nil {
			p.send(l, proto.Frame{Failure: &proto.Failure{Execution: st.Execution, Reason: proto.ReasonDisk, Detail: "its result cannot be read"}})
			return
		}
		p.answer(ctx, l, a)
	}
}

// serve follows the stream of a lease until it ends. A lease that its requester
// lets go ends with it; one whose stream breaks lives on.
func (p *Provider) serve(ctx context.Context, l *lent, s *p2p.Stream) error {
	p.Net.Protect(l.from, overlay.LeaseTag(l.award.Lease))
	defer p.Net.Unprotect(l.from, overlay.LeaseTag(l.award.Lease))
	stop := p.KeepAlive(ctx, s)
	defer stop()
	released, err := p.follow(ctx, l, s)
	if !released {
		p.broke(l, s)
		return err
	}
	p.end(l)
	return p.nothingLeft(ctx, s, l.award.Lease, "released")
}

// nothingLeft removes what is on record of a lease of s's peer that is over, and
// says so. The peer then forgets it, too: a lease that a kill brought back would be
// nobody's. One that a power cut brings back is, until its grace is over: nothing
// waits for the disk here.
func (p *Provider) nothingLeft(ctx context.Context, s *p2p.Stream, lease proto.LeaseID, why string) error {
	if err := p.erase(context.WithoutCancel(ctx), s.Peer(), lease); err != nil {
		return err
	}
	return decline(s, scheduler.No{Reason: proto.ReasonNoLease, Detail: why})
}

func (p *Provider) broke(l *lent, s *p2p.Stream) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if l.stream != nil && l.stream != s {
		return // it was taken up again on another
	}
	l.connect(nil)
	p.book.Broke(p.Now(), l.award.Lease)
}

// refuseAward tells a peer whose clock is off that it is; anything else that is
// wrong with an award is misbehaviour.
func (p *Provider) refuseAward(s *p2p.Stream, err error) error {
	p.Log.Warn("award refused", "peer", s.Peer(), "err", err)
	if errors.Is(err, proto.ErrExpired) || errors.Is(err, proto.ErrSkew) {
		return decline(s, scheduler.No{Reason: proto.ReasonOther, Detail: err.Error()})
	}
	return p.Strike(s, "bad award")
}

func (p *Provider) openAward(s *p2p.Stream, b []byte) (*lent, error) {
	env, err := p.Open(b, proto.PurposeAward)
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
	return newLent(env.Signer, award), nil
}

// take puts a lease into the book, and it and its first tasks on disk.
func (p *Provider) take(ctx context.Context, l *lent, tasks []proto.Assignment) *scheduler.No {
	if err := p.box.Check(l.award.Program); err != nil {
		return &scheduler.No{Reason: proto.ReasonExecutor, Detail: err.Error()}
	}
	p.mu.Lock()
	no := p.book.Award(p.Now(), p.client(l.from), l.award)
	if no == nil {
		p.leases[l.award.Lease] = l
	}
	p.mu.Unlock()
	if no != nil {
		return no
	}
	if err := p.record(ctx, l, true, tasks...); err != nil {
		p.end(l)
		return p.unrecorded(err)
	}
	return nil
}

// unrecorded refuses what could not be written down: it would not survive a
// crash.
func (p *Provider) unrecorded(err error) *scheduler.No {
	p.Log.Error("nothing can be written down, so nothing is promised", "err", err)
	return &scheduler.No{Reason: proto.ReasonDisk, Detail: "the provider cannot write it down"}
}

// follow reads the requester's frames until the lease is let go or its stream
// ends.
func (p *Provider) follow(ctx context.Context, l *lent, s *p2p.Stream) (released bool, err error) {
	for {
		frame, err := overlay.RecvFrame(s)
		switch {
		case errors.Is(err, io.EOF):
			return false, nil
		case errors.Is(err, proto.ErrMalformed):
			return false, p.Strike(s, "malformed lease frame")
		case err != nil:
			return false, err
		case frame.Task != nil:
			p.accept(ctx, l, *frame.Task)
		case frame.Cancel != nil:
			p.cancel(l, *frame.Cancel)
		case frame.Ack != nil:
			p.acknowledged(ctx, l, frame.Ack)
		case frame.Release:
			return true, nil
		case frame.Ping:
		default:
			return false, p.Strike(s, "lease frame out of turn")
		}
	}
}

// accept writes a task down, and queues it.
func (p *Provider) accept(ctx context.Context, l *lent, a proto.Assignment) {
	if err := p.record(ctx, l, false, a); err != nil {
		p.refuse(l, a.Execution, p.unrecorded(err))
		return
	}
	p.enqueue(l, a)
}

func (p *Provider) enqueue(l *lent, a proto.Assignment) {
	p.mu.Lock()
	no := p.book.Enqueue(l.award.Lease, a)
	if no != nil && no.Reason != proto.ReasonOther { // else its record is that of the one under way
		p.discard(workKey(l.from, l.award.Lease, a.Execution))
	}
	p.mu.Unlock()
	if no != nil {
		p.refuse(l, a.Execution, no)
		return
	}
	p.startNext()
}

// refuse gives a task back that came over a lease.
func (p *Provider) refuse(l *lent, e proto.ExecutionID, no *scheduler.No) {
	p.send(l, proto.Frame{Failure: &proto.Failure{Execution: e, Reason: no.Reason, Detail: proto.ClipDetail(no.Detail)}})
}

// cancel takes a task back, at its requester's word.
func (p *Provider) cancel(l *lent, e proto.ExecutionID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.book.Cancel(p.Now(), l.award.Lease, e) {
		l.stop(e)
	} else {
		p.discard(workKey(l.from, l.award.Lease, e))
	}
}

// acknowledged notes that the requester holds an answer; with its receipt the
// task is settled and the output no longer needed here.
func (p *Provider) acknowledged(ctx context.Context, l *lent, a *proto.Ack) {
	if len(a.Receipt) == 0 {
		return
	}
	env, err := p.Open(a.Receipt, proto.PurposeReceipt)
	if err != nil || env.Signer != l.from {
		p.Net.Misbehaved(l.from, "bad receipt")
		return
	}
	r, err := proto.ParseReceipt(env.Body)
	if err != nil || r.Execution != a.Execution {
		p.Net.Misbehaved(l.from, "bad receipt")
		return
	}
	if r.Partial() { // for what it did before it was cancelled: what we are owed needs no proof of ours
		p.credit(ctx, l.from, r.Amount)
		return
	}
	p.mu.Lock()
	known := p.book.Acknowledged(p.Now(), scheduler.Ref{Lease: l.award.Lease, Execution: r.Execution})
	if known {
		p.discard(workKey(l.from, l.award.Lease, r.Execution))
	}
	p.mu.Unlock()
	if !known {
		return
	}
	p.forget(ctx, resultTag(l.from, r.Execution))
	p.credit(ctx, l.from, r.Amount)
}

func (p *Provider) credit(ctx context.Context, from proto.PeerID, amount proto.Credits) {
	if err := p.acct.Add(ctx, from, amount, 0); err != nil {
		p.Log.Error("account", "peer", from, "err", err)
	}
}

// end forgets a lease at its requester's word: its tasks stop, and nothing of it
// is kept.
func (p *Provider) end(l *lent) {
	p.mu.Lock()
	for _, e := range p.book.End(l.award.Lease) {
		l.stop(e)
	}
	l.connect(nil)
	p.mu.Unlock()
}
