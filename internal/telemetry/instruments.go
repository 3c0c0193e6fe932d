package telemetry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/common/expfmt"
	"golang.org/x/sync/errgroup"
)

// Instruments are one node's metrics and traces. Methods are safe for concurrent
// use.
type Instruments struct {
	log      *slog.Logger
	registry *prometheus.Registry
	sources  sources
	listener net.Listener // nil: metrics are not served
	server   *http.Server
	tracer   *Tracer // nil: no traces

	mu     sync.Mutex // guards health
	health func() error
}

// Open listens, if cfg says so; nothing is answered before Run. Errors that wrap
// [ErrConfig] are about cfg.
func Open(cfg Config, log *slog.Logger) (*Instruments, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	in := &Instruments{log: log.With("part", "telemetry"), registry: prometheus.NewRegistry()}
	in.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), &in.sources)
	if cfg.TraceEndpoint != "" {
		tracer, err := newTracer(cfg, in.log)
		if err != nil {
			return nil, err
		}
		in.tracer = tracer
		in.sources.add(tracer.samples)
	}
	if cfg.Listen != "" {
		if err := in.listen(cfg); err != nil {
			return nil, err
		}
	}
	return in, nil
}

func (in *Instruments) listen(cfg Config) error {
	ln, err := net.Listen("tcp", cfg.Listen)
	if err != nil {
		return fmt.Errorf("listen for metrics on %s: %w (set metrics_listen to another port, or to nothing)", cfg.Listen, err)
	}
	// A name may stand for any address, so what counts is where we came to be.
	addr, ok := ln.Addr().(*net.TCPAddr)
	if err := cfg.validateReach(ok && addr.IP.IsLoopback()); err != nil {
		return errors.Join(err, ln.Close())
	}
	in.listener, in.server = ln, newServer(cfg, in)
	return nil
}

// Addr gives the address where metrics are served, or nothing.
func (in *Instruments) Addr() string {
	if in.listener == nil {
		return ""
	}
	return in.listener.Addr().String()
}

// Tracer gives the tracer; nil, which is one that does nothing, without a
// collector.
func (in *Instruments) Tracer() *Tracer { return in.tracer }

// Collect adds a source of samples, which is asked at each scrape, from any
// goroutine, and should take less than a second. Labels have few values, known in
// advance: no peers, jobs, tasks or addresses. A sample is left out, and counted in
// muster_telemetry_samples_refused, if it has such a label or a malformed name,
// is a second one with equal name and labels, or is beyond 128 of one name or
// 4096 of all.
func (in *Instruments) Collect(source func() []Sample) { in.sources.add(source) }

// Health sets what /healthz answers: 200 while check gives nil, else 503 and the
// text of the error. Without it the node is healthy.
func (in *Instruments) Health(check func() error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.health = check
}

func (in *Instruments) healthy() error {
	in.mu.Lock()
	check := in.health
	in.mu.Unlock()
	if check == nil {
		return nil
	}
	return check()
}

// Metrics writes all metrics as text, for a bundle. It works whether or not
// they are served.
func (in *Instruments) Metrics(w io.Writer) error {
	families, err := in.registry.Gather()
	if err != nil && len(families) == 0 {
		return fmt.Errorf("gather metrics: %w", err)
	}
	enc := expfmt.NewEncoder(w, expfmt.NewFormat(expfmt.TypeTextPlain))
	for _, f := range families {
		if err := enc.Encode(f); err != nil {
			return fmt.Errorf("write metrics: %w", err)
		}
	}
	return nil
}

// Run serves metrics and sends traces until ctx ends; then it sends what is left,
// for 3 s at most.
func (in *Instruments) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	if in.listener != nil {
		in.log.Info("serving metrics", "addr", in.Addr())
		g.Go(func() error { return serve(ctx, in.server, in.listener) })
	}
	if in.tracer != nil {
		g.Go(func() error { in.tracer.queue.run(ctx); return nil })
	}
	if err := g.Wait(); err != nil {
		return fmt.Errorf("telemetry: %w", err)
	}
	return nil
}

// Close gives the address free. It is for those who did not come to Run, and does
// nothing after it.
func (in *Instruments) Close() error {
	if in.listener == nil {
		return nil
	}
	if err := in.listener.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}
