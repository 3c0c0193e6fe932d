package provider

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/mustermesh/muster/node/overlay"
	"github.com/mustermesh/muster/proto"
)

// A Meter takes how large something was. Safe for concurrent use.
type Meter interface {
	// Observe counts one; of what took time, in seconds.
	Observe(v float64)
}

// counts are what a provider did since it was made, beside its [Stats].
type counts struct{ bids, refused, unreached, won, attached atomic.Uint64 }

// Counts are what a provider did since it was made.
type Counts struct {
	Bids      uint64 // announcements answered with a bid …
	Refused   uint64 // … with a refusal …
	Unreached uint64 // of both, answers that did not arrive
	Won       uint64 // leases taken
	Attached  uint64 // leases that their requester took up again
}

// Counts tells what the provider did.
func (p *Provider) Counts() Counts {
	return Counts{
		Bids: p.counts.bids.Load(), Refused: p.counts.refused.Load(), Unreached: p.counts.unreached.Load(),
		Won: p.counts.won.Load(), Attached: p.counts.attached.Load(),
	}
}

// answered counts how an announcement was answered, and whether that arrived.
func (c *counts) answered(bid bool, err error) {
	if bid {
		c.bids.Add(1)
	} else {
		c.refused.Add(1)
	}
	if err != nil {
		c.unreached.Add(1)
	}
}

// A watch follows one execution with spans, and measures it. One goroutine has it.
type watch struct {
	p     *Provider
	ctx   context.Context // of the whole
	whole overlay.Span
	part  overlay.Span // fetching, then running
	began time.Time    // of the guest; zero: not yet
}

// watch begins to follow an execution that is about to be prepared. Of the trace
// that its requester sent, what this node's owner allows is continued.
func (p *Provider) watch(ctx context.Context, from proto.PeerID, a proto.Award) *watch {
	w := &watch{p: p}
	w.ctx, w.whole = p.Tracer.StartFor(ctx, from, a.Trace, "execution")
	w.whole.Set("peer", from.String())
	w.whole.Set("job", a.Job.String())
	_, w.part = p.Tracer.Start(w.ctx, "fetch input", "")
	return w
}

// runs notes that the guest begins.
func (w *watch) runs() {
	w.part.End(nil)
	w.began = w.p.Now()
	_, w.part = w.p.Tracer.Start(w.ctx, "run", "")
}

// over notes that the execution gave an answer, or why there is none.
func (w *watch) over(err error) {
	w.part.End(err)
	w.whole.End(err)
	if !w.began.IsZero() {
		w.p.meter.Observe(w.p.Now().Sub(w.began).Seconds())
	}
}
