package provider

import (
	"context"
	"time"

	"github.com/mustermesh/muster/node/overlay"
	"github.com/mustermesh/muster/proto"
	"github.com/mustermesh/muster/scheduler"
)

// reachTimeout bounds the whole of an answer to an announcement.
const reachTimeout = 3 * time.Second

// Consider answers an announcement beside the caller; it is dropped when too many
// are being considered.
func (p *Provider) Consider(h overlay.Heard) {
	if !p.Bidders.Try(func(ctx context.Context) { p.offer(ctx, h) }) {
		p.dropped(h)
	}
}

// decide says what an announcement gets: a bid or a refusal. Call it with the
// lock.
func (p *Provider) decide(h overlay.Heard) (proto.Bid, *scheduler.No) {
	return scheduler.Offer(p.book.Lending(), p.book.BusyFor(h.From), h.Announcement, p.client(h.From))
}

// offer answers one announcement with a bid or a refusal.
func (p *Provider) offer(ctx context.Context, h overlay.Heard) {
	from, a := h.From, h.Announcement
	p.mu.Lock()
	lent := p.book.Lending()
	bid, no := p.decide(h)
	if no != nil {
		p.remember(h, no)
	} else {
		delete(p.refused, overlay.HeardKey{From: from, Job: a.Job})
	}
	p.mu.Unlock()
	var frame proto.BidFrame
	if no != nil {
		p.count(no.Reason)
		body := proto.Refusal{Job: a.Job, Reason: no.Reason, Detail: proto.ClipDetail(no.Detail)}.Marshal()
		frame.Refusal = p.Sign(proto.PurposeRefusal, from, overlay.AnswerLife, body)
	} else {
		frame.Bid = p.Sign(proto.PurposeBid, from, overlay.AnswerLife, bid.Marshal())
	}
	ctx, done := context.WithTimeout(ctx, reachTimeout)
	defer done()
	err := p.Reach(ctx, from, a.Addrs)
	if err == nil {
		_, err = p.Net.Call(ctx, from, overlay.ProtoBid, frame.Marshal(), 64)
	}
	if err != nil {
		p.Log.Debug("bid not delivered", "peer", from, "job", a.Job, "err", err)
	}
	p.considered(h, verdict{lent, bid, no, err})
	p.counts.answered(no == nil, err)
}

func (p *Provider) client(id proto.PeerID) scheduler.Client {
	return scheduler.Client{ID: id, Balance: p.acct.Owed(id)}
}

func (p *Provider) count(r proto.Reason) {
	if int(r) < len(p.refusals) {
		p.refusals[r].Add(1)
	}
}
