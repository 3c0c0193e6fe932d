package telemetry

import (
	"compress/gzip"
	"context"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// newTestTracer makes a tracer whose spans stay in its queue.
func newTestTracer(t testing.TB, cfg Config) *Tracer {
	t.Helper()
	cfg.TraceEndpoint = "http://127.0.0.1:1"
	tracer, err := newTracer(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return tracer
}

func recorded(tracer *Tracer) []sdktrace.ReadOnlySpan {
	tracer.queue.mu.Lock()
	defer tracer.queue.mu.Unlock()
	return tracer.queue.waiting
}

func parse(t *testing.T, s Span) Traceparent {
	t.Helper()
	p, err := ParseTraceparent(s.Traceparent())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// Nothing that a stranger sends changes whether its work is recorded; what a
// listed peer sends does.
func TestAStrangerDecidesNothingAboutSampling(t *testing.T) {
	const unsampled = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"
	friends := []string{"friend"}
	for name, c := range map[string]struct {
		cfg             Config
		from            Remote
		records, joined bool
	}{
		"a stranger asks, we record nothing":         {Config{}, Remote{"stranger", parentText}, false, false},
		"a stranger asks, others are listed":         {Config{TracePeers: friends}, Remote{"stranger", parentText}, false, false},
		"a stranger declines, we record all":         {Config{TraceSample: 1}, Remote{"stranger", unsampled}, true, false},
		"a stranger asks, we record all":             {Config{TraceSample: 1}, Remote{"stranger", parentText}, true, false},
		"a stranger sends nonsense":                  {Config{}, Remote{"stranger", "x"}, false, false},
		"nobody asks, others are listed":             {Config{TracePeers: []string{""}}, Remote{"", parentText}, false, false},
		"a friend asks, we record nothing ourselves": {Config{TracePeers: friends}, Remote{"friend", parentText}, true, true},
		"a friend declines, we record all":           {Config{TraceSample: 1, TracePeers: friends}, Remote{"friend", unsampled}, false, true},
		"a friend sends nonsense":                    {Config{TracePeers: friends}, Remote{"friend", "x"}, false, false},
		"everybody is a friend":                      {Config{TracePeers: []string{"*"}}, Remote{"stranger", parentText}, true, true},
	} {
		tracer := newTestTracer(t, c.cfg)
		_, span := tracer.StartRemote(t.Context(), c.from, "execution")
		p := parse(t, span)
		span.End(nil)
		if got := len(recorded(tracer)) == 1; got != c.records || p.Sampled != c.records {
			t.Errorf("%s: recorded %v, says %v; want %v", name, got, p.Sampled, c.records)
		}
		if got := strings.Contains(parentText, hex.EncodeToString(p.Trace[:])); got != c.joined {
			t.Errorf("%s: in the same trace %v, want %v", name, got, c.joined)
		}
	}
}

// A link names the stranger's trace, so that two people can put theirs together.
func TestAStrangersTraceIsLinked(t *testing.T) {
	tracer := newTestTracer(t, Config{TraceSample: 1})
	ctx, own := tracer.Start(t.Context(), "mine", "")
	_, span := tracer.StartRemote(ctx, Remote{"stranger", parentText}, "execution")
	span.End(nil)
	got := recorded(tracer)[0]
	if got.Parent().IsValid() || len(got.Links()) != 1 || got.Links()[0].SpanContext.TraceID().String() != parentText[3:35] {
		t.Errorf("parent %v, links %v; want no parent and one link", got.Parent(), got.Links())
	}
	if parse(t, span).Trace == parse(t, own).Trace {
		t.Error("a stranger's work is in a trace of ours")
	}
}

func TestSpansAreChildrenOfWhatBeganThem(t *testing.T) {
	tracer := newTestTracer(t, Config{TraceSample: 1})
	ctx, job := tracer.Start(t.Context(), "job", parentText)
	if p := parse(t, job); hex.EncodeToString(p.Trace[:]) != parentText[3:35] {
		t.Errorf("the job is in trace %x", p.Trace)
	}
	_, task := tracer.Start(ctx, "task", "", String("state", strings.Repeat("é", 200)), Int("count", 3), Took("wait", 1500*time.Nanosecond))
	task.Event("leased", String("why", "\xff!"))
	task.Set(Int("count", 4))
	task.End(errors.New("not \xff text"))
	task.End(nil)
	task.Set(Int("count", 5))
	spans := recorded(tracer)
	if len(spans) != 1 {
		t.Fatalf("%d spans, want 1", len(spans))
	}
	got, parent := spans[0], parse(t, job)
	if [8]byte(got.Parent().SpanID()) != parent.Span || got.Status().Description != "not  text" {
		t.Errorf("parent %v, status %q", got.Parent(), got.Status().Description)
	}
	attrs := map[string]string{}
	for _, kv := range got.Attributes() {
		attrs[string(kv.Key)] = kv.Value.String()
	}
	if attrs["count"] != "4" || attrs["wait_us"] != "1" || attrs["state"] != strings.Repeat("é", maxAttrSize/2) {
		t.Errorf("attributes %q", attrs)
	}
	if e := got.Events(); len(e) != 1 || e[0].Attributes[0].Value.AsString() != "!" {
		t.Errorf("events %v", e)
	}
	_, other := tracer.Start(t.Context(), "other", "malformed")
	if parse(t, other).Trace == parent.Trace {
		t.Error("a malformed parent led into the trace of another")
	}
}

func TestWithoutATracerNothingHappens(t *testing.T) {
	var tracer *Tracer
	ctx, span := tracer.Start(t.Context(), "job", parentText)
	if _, remote := tracer.StartRemote(ctx, Remote{"p", parentText}, "x"); ctx != t.Context() || remote != (Span{}) || span.Traceparent() != "" {
		t.Errorf("got %v, %q", ctx, span.Traceparent())
	}
	if n := testing.AllocsPerRun(100, func() { useTracer(t.Context(), nil) }); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}

var errUse = errors.New("x")

func useTracer(ctx context.Context, tracer *Tracer) {
	ctx, span := tracer.Start(ctx, "job", parentText, String("state", "open"), Int("tasks", 3), Took("wait", time.Second))
	_, inner := tracer.StartRemote(ctx, Remote{"peer", parentText}, "execution", Int("slot", 1))
	inner.Set(Int("n", 1))
	inner.Event("started", String("a", "b"))
	inner.End(nil)
	span.End(errUse)
}

func BenchmarkNoTracer(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		useTracer(b.Context(), nil)
	}
}

func BenchmarkUnsampled(b *testing.B) {
	tracer := newTestTracer(b, Config{})
	b.ReportAllocs()
	for b.Loop() {
		useTracer(b.Context(), tracer)
	}
}

// A fakeCollector takes spans, or not.
type fakeCollector struct {
	mu    sync.Mutex // guards what follows
	sizes []int
	err   error
}

func (f *fakeCollector) ExportSpans(_ context.Context, spans []sdktrace.ReadOnlySpan) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sizes = append(f.sizes, len(spans))
	return f.err
}

func TestSpansThatNobodyTakesAreLostNotKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var logged strings.Builder
		fake := &fakeCollector{err: errors.New("down")}
		tracer := newTestTracer(t, Config{TraceSample: 1})
		tracer.queue.to, tracer.queue.log = fake, slog.New(slog.NewTextHandler(&logged, nil))
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { tracer.queue.run(ctx); close(done) }()
		end := func(n int) {
			for range n {
				_, span := tracer.Start(ctx, "x", "")
				span.End(nil)
			}
		}
		end(maxQueued + 5) // of which five find no room
		time.Sleep(sendEvery + time.Second)
		end(1)
		time.Sleep(sendEvery)
		fake.mu.Lock()
		fake.err = nil
		fake.mu.Unlock()
		end(2)
		time.Sleep(sendEvery)
		end(3)
		stop()
		<-done
		if want := []int{512, 512, 512, 512, 1, 2, 3}; !equal(fake.sizes, want) {
			t.Errorf("sent batches of %v, want %v", fake.sizes, want)
		}
		if sent, lost := tracer.queue.counts(); sent != 5 || lost != maxQueued+6 {
			t.Errorf("%d sent, %d lost; want 5, %d", sent, lost, maxQueued+6)
		}
		if n := strings.Count(logged.String(), "\n"); n != 2 {
			t.Errorf("logged %d lines, want one when it began and one when it ended:\n%s", n, logged.String())
		}
	})
}

func equal(a, b []int) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// What arrives at a collector is OTLP.
func TestSpansReachACollector(t *testing.T) {
	type post struct {
		path, kind, token string
		data              *tracepb.TracesData
	}
	posts := make(chan post, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		zip, err := gzip.NewReader(r.Body)
		if err != nil {
			t.Error(err)
			return
		}
		raw, err := io.ReadAll(zip)
		data := new(tracepb.TracesData)
		if err = errors.Join(err, proto.Unmarshal(raw, data)); err != nil {
			t.Error(err)
		}
		posts <- post{r.URL.Path, r.Header.Get("Content-Type"), r.Header.Get("api-key"), data}
	}))
	defer srv.Close()
	in, _ := serving(t, Config{
		TraceEndpoint: srv.URL, TraceSample: 1, TraceHeaders: map[string]string{"api-key": "t"}, Version: "1.2.3", Node: "12D3",
	})
	_, span := in.Tracer().Start(t.Context(), "job", parentText, String("bad", "\xff"))
	span.End(nil)
	in.tracer.queue.flush(t.Context(), patience)
	got := <-posts
	if got.path != "/v1/traces" || got.kind != "application/x-protobuf" || got.token != "t" {
		t.Errorf("posted to %s as %s with token %q", got.path, got.kind, got.token)
	}
	rs := got.data.ResourceSpans[0]
	if s := rs.ScopeSpans[0].Spans[0]; s.Name != "job" || hex.EncodeToString(s.TraceId) != parentText[3:35] {
		t.Errorf("got span %v", s)
	}
	facts := map[string]string{}
	for _, kv := range rs.Resource.Attributes {
		facts[kv.Key] = kv.Value.GetStringValue()
	}
	if facts["service.name"] != "muster" || facts["service.version"] != "1.2.3" || facts["service.instance.id"] != "12D3" {
		t.Errorf("resource %v", facts)
	}
	if got := told(t, in); !strings.Contains(got, `muster_trace_spans_total{outcome="sent"} 1`) {
		t.Errorf("the metrics say\n%s", got)
	}
}

// Headers are for the configured collector alone.
func TestARedirectIsNotFollowed(t *testing.T) {
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("followed") }))
	defer other.Close()
	srv := httptest.NewServer(http.RedirectHandler(other.URL, http.StatusTemporaryRedirect))
	defer srv.Close()
	tracer := newTestTracer(t, Config{TraceSample: 1})
	exporter, err := newExporter(Config{TraceEndpoint: srv.URL})
	if err != nil {
		t.Fatal(err)
	}
	_, span := tracer.Start(t.Context(), "x", "")
	span.End(nil)
	err = exporter.ExportSpans(t.Context(), recorded(tracer))
	if err == nil || !strings.Contains(err.Error(), "307") || strings.Contains(err.Error(), "127.0.0.1") {
		t.Errorf("got %v, want the status and no address", err)
	}
}
