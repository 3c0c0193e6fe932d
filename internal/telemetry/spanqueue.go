package telemetry

import (
	"context"
	"log/slog"
	"sync"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// Limits of what waits to be sent. At most maxQueued spans in sendEvery are sent,
// whatever is recorded; the rest is lost, and counted.
const (
	maxQueued   = 2048
	maxBatch    = 512
	sendEvery   = 5 * time.Second
	sendTimeout = 10 * time.Second
	lastTimeout = 3 * time.Second // of what is left at the end
)

// A spanSender sends spans to a collector.
type spanSender interface {
	ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error
}

// A spanQueue keeps ended spans until run sends them. Adding one never waits.
type spanQueue struct {
	to  spanSender
	log *slog.Logger

	mu         sync.Mutex // guards what follows
	waiting    []sdktrace.ReadOnlySpan
	sent, lost uint64

	failing bool // the collector did not take the last batch; of run alone
}

func newSpanQueue(to spanSender, log *slog.Logger) *spanQueue { return &spanQueue{to: to, log: log} }

// OnStart does nothing.
func (q *spanQueue) OnStart(context.Context, sdktrace.ReadWriteSpan) {}

// OnEnd takes a span, if it is to be recorded and there is room.
func (q *spanQueue) OnEnd(s sdktrace.ReadOnlySpan) {
	if !s.SpanContext().IsSampled() {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiting) >= maxQueued {
		q.lost++
		return
	}
	q.waiting = append(q.waiting, s)
}

// Shutdown does nothing: run is ended by its context.
func (q *spanQueue) Shutdown(context.Context) error { return nil }

// ForceFlush does nothing: run sends in time.
func (q *spanQueue) ForceFlush(context.Context) error { return nil }

func (q *spanQueue) counts() (sent, lost uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.sent, q.lost
}

// run sends what waits, every few seconds until ctx ends, and once more then.
func (q *spanQueue) run(ctx context.Context) {
	tick := time.NewTicker(sendEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			q.flush(ctx, sendTimeout)
		case <-ctx.Done():
			q.flush(context.WithoutCancel(ctx), lastTimeout)
			return
		}
	}
}

// flush sends all that waits now, in batches. What the collector does not take is
// lost: a queue that waited for it would only lose newer spans.
func (q *spanQueue) flush(ctx context.Context, limit time.Duration) {
	q.mu.Lock()
	all := q.waiting
	q.waiting = nil
	q.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for len(all) > 0 {
		batch := all[:min(len(all), maxBatch)]
		all = all[len(batch):]
		q.note(len(batch), q.to.ExportSpans(ctx, batch))
	}
}

// note counts a batch, and logs when the collector's state changes.
func (q *spanQueue) note(n int, err error) {
	q.mu.Lock()
	if err == nil {
		q.sent += uint64(n)
	} else {
		q.lost += uint64(n)
	}
	q.mu.Unlock()
	if failing := err != nil; failing != q.failing {
		q.failing = failing
		if failing {
			q.log.Warn("the trace collector does not take spans", "err", err)
		} else {
			q.log.Info("the trace collector takes spans again")
		}
	}
}
