package telemetry

import (
	"context"
	"log/slog"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// A Tracer begins spans. A nil Tracer does nothing, and costs nothing. Methods are
// safe for concurrent use.
type Tracer struct {
	otel    trace.Tracer
	queue   *spanQueue
	believe func(peer string) bool
}

// Limits of one span.
const (
	maxAttrSize   = 256 // bytes of a text
	maxAttrs      = 32
	maxEvents     = 32
	maxErrorBytes = 256
)

func newTracer(cfg Config, log *slog.Logger) (*Tracer, error) {
	exporter, err := newExporter(cfg)
	if err != nil {
		return nil, err
	}
	queue := newSpanQueue(exporter, log)
	provider := sdktrace.NewTracerProvider(
		sdktrace.WithSpanProcessor(queue),
		// The ids of traces begun here are ours, so their ratio cannot be steered.
		sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(cfg.TraceSample))),
		sdktrace.WithResource(resource.NewSchemaless(
			attribute.String("service.name", "muster"), attribute.String("service.version", cfg.Version), attribute.String("service.instance.id", cfg.Node),
		)),
		sdktrace.WithRawSpanLimits(sdktrace.SpanLimits{
			AttributeValueLengthLimit: maxAttrSize, AttributeCountLimit: maxAttrs, EventCountLimit: maxEvents,
			LinkCountLimit: 1, AttributePerEventCountLimit: maxAttrs, AttributePerLinkCountLimit: 1,
		}),
		sdktrace.WithoutPanicRecording(),
	)
	return &Tracer{otel: provider.Tracer("github.com/mustermesh/muster"), queue: queue, believe: cfg.tracesPeer}, nil
}

// Start begins a span. Its parent is the traceparent that this node itself wrote
// down or was given by its user; if that is empty or malformed the span in ctx;
// without either it begins a trace, recorded or not as the configuration says.
// Whatever another peer sent goes to [Tracer.StartRemote]. The returned ctx
// carries the span; the caller ends it, once.
func (t *Tracer) Start(ctx context.Context, name, parent string, attrs ...Attr) (context.Context, Span) {
	if t == nil {
		return ctx, Span{}
	}
	if parent != "" {
		if p, err := ParseTraceparent(parent); err == nil {
			ctx = trace.ContextWithRemoteSpanContext(ctx, p.context())
		}
	}
	return t.start(ctx, name, attrs)
}

// A Remote is a traceparent as another peer sent it.
type Remote struct {
	Peer   string // who sent it, as the connection proves
	Parent string // as it came, of any form
}

// StartRemote begins a span for work that a peer asked for. The trace of a peer
// that the configuration lists is continued, and recorded if it is there. That
// of anybody else is not: the span begins a trace of its own, recorded as if
// nothing had been sent, and only names the other as a link. So nothing that a
// stranger sends changes what is recorded, nor adds to a trace of ours.
func (t *Tracer) StartRemote(ctx context.Context, from Remote, name string, attrs ...Attr) (context.Context, Span) {
	if t == nil {
		return ctx, Span{}
	}
	opts := []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindServer)}
	p, err := ParseTraceparent(from.Parent)
	if err == nil && t.believe(from.Peer) {
		return t.start(trace.ContextWithRemoteSpanContext(ctx, p.context()), name, attrs, opts...)
	}
	opts = append(opts, trace.WithNewRoot())
	if err == nil {
		opts = append(opts, trace.WithLinks(trace.Link{SpanContext: p.context()}))
	}
	return t.start(ctx, name, attrs, opts...)
}

func (t *Tracer) start(ctx context.Context, name string, attrs []Attr, opts ...trace.SpanStartOption) (context.Context, Span) {
	ctx, span := t.otel.Start(ctx, name, opts...)
	if span.IsRecording() {
		span.SetAttributes(keyValues(attrs)...)
	}
	return ctx, Span{span}
}

// samples tells how many spans there were.
func (t *Tracer) samples() []Sample {
	sent, lost := t.queue.counts()
	const name, help = "muster_trace_spans_total", "Recorded spans, by whether the collector took them."
	return []Sample{
		{Name: name, Help: help, Kind: Counter, Labels: map[string]string{"outcome": "sent"}, Value: float64(sent)},
		{Name: name, Help: help, Kind: Counter, Labels: map[string]string{"outcome": "lost"}, Value: float64(lost)},
	}
}

func (p Traceparent) context() trace.SpanContext {
	var flags trace.TraceFlags
	return trace.NewSpanContext(trace.SpanContextConfig{TraceID: p.Trace, SpanID: p.Span, TraceFlags: flags.WithSampled(p.Sampled), Remote: true})
}

// A Span is a piece of work that takes time. Its zero value does nothing. Methods
// are safe for concurrent use, and do nothing after End.
type Span struct{ otel trace.Span }

// Traceparent names this span for those who continue from it, whether or not it
// is recorded; empty without a tracer. It tells nothing but random ids, and is
// safe to send to strangers; what is sent to the executions of one task must be
// the same for all, so that none can tell whether it checks another.
func (s Span) Traceparent() string {
	if s.otel == nil {
		return ""
	}
	c := s.otel.SpanContext()
	return Traceparent{Trace: c.TraceID(), Span: c.SpanID(), Sampled: c.IsSampled()}.String()
}

// Set adds attributes, or replaces those with the same keys.
func (s Span) Set(attrs ...Attr) {
	if s.otel != nil && s.otel.IsRecording() {
		s.otel.SetAttributes(keyValues(attrs)...)
	}
}

// Event notes that something happened now. A span keeps the latest 32.
func (s Span) Event(name string, attrs ...Attr) {
	if s.otel != nil && s.otel.IsRecording() {
		s.otel.AddEvent(name, trace.WithAttributes(keyValues(attrs)...))
	}
}

// End ends the span; err says how it failed, nil that it did not.
func (s Span) End(err error) {
	if s.otel == nil {
		return
	}
	if err != nil {
		s.otel.SetStatus(codes.Error, clip(err.Error(), maxErrorBytes))
	}
	s.otel.End()
}

// An Attr is a fact about a span. Make one with [String], [Int] or [Took].
type Attr struct {
	key    string
	text   string
	number int64
	isText bool
}

// String is a text; beyond 256 bytes it is cut.
func String(key, value string) Attr { return Attr{key: key, text: value, isText: true} }

// Int is a number.
func Int(key string, value int64) Attr { return Attr{key: key, number: value} }

// Took is a duration, told in microseconds under key with "_us".
func Took(key string, d time.Duration) Attr {
	return Attr{key: key, number: d.Microseconds(), text: "_us"}
}

func keyValues(attrs []Attr) []attribute.KeyValue {
	out := make([]attribute.KeyValue, 0, len(attrs))
	for _, a := range attrs {
		if a.isText {
			out = append(out, attribute.String(a.key, clip(a.text, maxAttrSize)))
		} else {
			out = append(out, attribute.Int64(a.key+a.text, a.number))
		}
	}
	return out
}

// clip gives at most n bytes of s, in valid UTF-8: a text that is not would make
// the whole batch unsendable.
func clip(s string, n int) string {
	if len(s) > n {
		s = s[:n]
	}
	return strings.ToValidUTF8(s, "")
}
