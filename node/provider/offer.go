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
	p.Bidders.Try(func(ctx context.Context) { p.offer(ctx, h) })
}

// offer answers one announcement with a bid or a refusal.
func (p *Provider) offer(ctx context.Context, h overlay.Heard) {
	from, a := h.From, h.Announcement
	p.mu.Lock()
	bid, no := scheduler.Offer(p.book.Lending(), p.book.BusyFor(from), a, p.client(from))
	if no != nil && no.Reason == proto.ReasonBusy && len(p.busy) < overlay.MaxHeard {
		p.busy[overlay.HeardKey{From: from, Job: a.Job}] = h
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
	p.considered(h, no, err)
}

func (p *Provider) client(id proto.PeerID) scheduler.Client {
	return scheduler.Client{ID: id, Balance: p.acct.Owed(id)}
}

func (p *Provider) count(r proto.Reason) {
	if int(r) < len(p.refusals) {
		p.refusals[r].Add(1)
	}
}

// freed offers the free slot to jobs that were refused for being busy.
func (p *Provider) freed() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for key, h := range p.busy {
		if p.book.BusyFor(h.From) >= p.book.Lending().Advert.Slots {
			continue
		}
		delete(p.busy, key)
		if p.Now().Before(h.Expires) {
			p.Consider(h)
		}
	}
}
