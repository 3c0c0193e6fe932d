package overlay

import (
	"context"

	"github.com/mustermesh/muster/proto"
)

// A Tracer begins spans: pieces of work that take time, for whoever watches this
// node. Safe for concurrent use.
type Tracer interface {
	// Start begins a span below parent, a W3C traceparent of this node's own making;
	// without one, below the span in ctx, or else a trace of its own. The returned ctx
	// carries the span.
	Start(ctx context.Context, name, parent string) (context.Context, Span)
	// StartFor begins a span for work that a peer asked for, with the traceparent that
	// it sent, of any form: what a stranger sends changes nothing of what is recorded.
	StartFor(ctx context.Context, peer proto.PeerID, parent, name string) (context.Context, Span)
}

// A Span is a piece of work that takes time. Safe for concurrent use; after End
// its methods do nothing.
type Span interface {
	// Traceparent names the span for those who continue from it; "" without a tracer.
	Traceparent() string
	// Set says something about the span.
	Set(key, value string)
	// End ends the span; err says how it failed, nil that it did not.
	End(err error)
}

// NoTracer watches nothing.
type NoTracer struct{}

// Start begins nothing.
func (NoTracer) Start(ctx context.Context, _, _ string) (context.Context, Span) { return ctx, noSpan{} }

// StartFor begins nothing.
func (NoTracer) StartFor(ctx context.Context, _ proto.PeerID, _, _ string) (context.Context, Span) {
	return ctx, noSpan{}
}

type noSpan struct{}

func (noSpan) Traceparent() string { return "" }
func (noSpan) Set(string, string)  {}
func (noSpan) End(error)           {}
