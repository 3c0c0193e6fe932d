package node

import (
	"context"

	"github.com/mustermesh/muster/internal/telemetry"
	"github.com/mustermesh/muster/node/overlay"
	"github.com/mustermesh/muster/proto"
)

// A tracer is the real tracer as the parts of a node see it.
type tracer struct{ t *telemetry.Tracer }

// Start begins a span of this node's own work.
func (t tracer) Start(ctx context.Context, name, parent string) (context.Context, overlay.Span) {
	ctx, s := t.t.Start(ctx, name, parent)
	return ctx, span{s}
}

// StartFor begins a span of work for a peer.
func (t tracer) StartFor(ctx context.Context, peer proto.PeerID, parent, name string) (context.Context, overlay.Span) {
	ctx, s := t.t.StartRemote(ctx, telemetry.Remote{Peer: peer.String(), Parent: parent}, name)
	return ctx, span{s}
}

type span struct{ telemetry.Span }

// Set says something about the span.
func (s span) Set(key, value string) { s.Span.Set(telemetry.String(key, value)) }
