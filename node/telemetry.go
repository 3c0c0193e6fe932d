package node

import (
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"

	"github.com/mustermesh/muster/internal/telemetry"
	"github.com/mustermesh/muster/node/overlay"
	"github.com/mustermesh/muster/node/provider"
	"github.com/mustermesh/muster/node/requester"
)

// A Telemetry says what this node tells those who look after it, besides what
// they ask it for. The zero value tells nobody anything. docs/observing.md.
type Telemetry struct {
	MetricsListen string   // host:port where metrics are served; empty: nowhere
	MetricsRemote bool     // MetricsListen may be reachable from other machines
	MetricsHosts  []string // names under which metrics may be asked for, besides localhost and IP addresses
	Pprof         bool     // profiles are served there, too; on loopback alone

	TraceEndpoint string   // http or https URL of an OTLP collector; empty: no traces
	TraceHeaders  string   // for the collector: "name=value,name=value", percent-encoded; a secret
	TraceSample   float64  // part of the traces begun here that are recorded, 0 to 1
	TracePeers    []string // peer ids whose traces are continued; "*" for all
}

// instruments gives the configuration of the node's instruments. One command's
// node serves no metrics: it would be in the way of the daemon's.
func (c Config) instruments(self string) (telemetry.Config, error) {
	t := c.Telemetry
	headers, err := telemetry.ParseHeaders(t.TraceHeaders)
	if err != nil {
		return telemetry.Config{}, fmt.Errorf("OTEL_EXPORTER_OTLP_HEADERS: %w", err)
	}
	out := telemetry.Config{
		Listen: t.MetricsListen, Remote: t.MetricsRemote, Hosts: t.MetricsHosts, Pprof: t.Pprof,
		TraceEndpoint: t.TraceEndpoint, TraceHeaders: headers, TraceSample: t.TraceSample, TracePeers: t.TracePeers,
		Version: Version, Node: self,
	}
	if c.client {
		out.Listen, out.Pprof = "", false
	}
	return out, nil
}

// validateTelemetry says what is wrong with what is told.
func (c Config) validateTelemetry() error {
	t, err := c.instruments("")
	if err != nil {
		return err
	}
	return t.Validate()
}

// Instruments of one node.
type instruments struct {
	*telemetry.Instruments
	recent                      *telemetry.RecentLog
	jobs, runs, waits, provided *telemetry.Meter // seconds
	kept                        *atomic.Int64    // bytes of content, when they were last counted; 0: not yet
}

// recentRecords is how many records of the log are kept for a bundle.
const recentRecords = 2000

// keepRecent has a log keep its latest records, whatever its level, too.
func keepRecent(log *slog.Logger) (*slog.Logger, *telemetry.RecentLog) {
	recent := telemetry.NewRecentLog(log.Handler(), recentRecords)
	return slog.New(recent), recent
}

// Bounds of what takes time, in seconds: from what a warm sandbox needs to what a
// day's job does.
func meter() *telemetry.Meter {
	return telemetry.NewMeter(.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200, 43200)
}

func (n *node) openInstruments(recent *telemetry.RecentLog) error {
	cfg, err := n.cfg.instruments(n.Self.String())
	if err != nil {
		return err
	}
	n.told = instruments{recent: recent, jobs: meter(), runs: meter(), waits: meter(), provided: meter(), kept: new(atomic.Int64)}
	if n.told.Instruments, err = telemetry.Open(cfg, n.Log); err != nil {
		return err
	}
	n.told.Collect(n.samples)
	n.told.Health(n.healthy)
	if t := n.told.Tracer(); t != nil {
		n.Tracer = tracer{t}
	}
	return nil
}

// healthy says why this node is of no use: it is about to end.
func (n *node) healthy() error {
	select {
	case <-n.leaving:
		return errors.New("this node is ending")
	default:
		return nil
	}
}

func (i *instruments) requesterMeters() requester.Meters {
	return requester.Meters{Jobs: i.jobs, Executions: i.runs, Waits: i.waits}
}

var (
	_ overlay.Tracer = tracer{}
	_ provider.Meter = (*telemetry.Meter)(nil)
)
