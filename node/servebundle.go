package node

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/encoding/protojson"
	protobuf "google.golang.org/protobuf/proto"

	"github.com/mustermesh/muster/internal/telemetry"
	"github.com/mustermesh/muster/node/api"
)

// Bundle streams an archive for whoever helps, without secrets.
func (s *server) Bundle(ctx context.Context, _ *connect.Request[api.BundleRequest], stream *connect.ServerStream[api.Chunk]) error {
	parts, err := s.parts(ctx)
	if err != nil {
		return code(err)
	}
	return code(telemetry.WriteBundle(chunks{stream}, parts, telemetry.NewRedactor(s.n.secrets()...)))
}

// chunks sends what is written to it.
type chunks struct {
	to *connect.ServerStream[api.Chunk]
}

// maxChunk is how much one message of a stream carries, in bytes.
const maxChunk = 256 << 10

// Write sends p.
func (c chunks) Write(p []byte) (n int, err error) {
	for len(p) > 0 {
		piece := p[:min(len(p), maxChunk)]
		if err := c.to.Send(&api.Chunk{Data: bytes.Clone(piece)}); err != nil {
			return n, err
		}
		n, p = n+len(piece), p[len(piece):]
	}
	return n, nil
}

// secrets are what must not leave this node, in all forms in which it has them.
func (n *node) secrets() [][]byte {
	out := [][]byte{n.Key, n.Key.Seed(), []byte(n.cfg.Telemetry.TraceHeaders)}
	if file, err := os.ReadFile(n.cfg.keyPath()); err == nil {
		out = append(out, file)
	}
	headers, _ := telemetry.ParseHeaders(n.cfg.Telemetry.TraceHeaders) // it was read when the node was opened
	for _, value := range headers {
		out = append(out, []byte(value))
	}
	return out
}

// parts are the files of a bundle.
func (s *server) parts(ctx context.Context) (parts []telemetry.Part, err error) {
	status, err := s.Status(ctx, connect.NewRequest(&api.StatusRequest{}))
	if err != nil {
		return nil, err
	}
	lends, err := s.ProviderStatus(ctx, connect.NewRequest(&api.ProviderStatusRequest{}))
	if err != nil {
		return nil, err
	}
	for _, p := range []struct {
		name string
		make func() ([]byte, error)
	}{
		{"status.json", func() ([]byte, error) { return message(status.Msg) }},
		{"provider.json", func() ([]byte, error) { return message(lends.Msg) }},
		{"findings.json", func() ([]byte, error) { return json.Marshal(s.n.toldFindings(ctx)) }},
		{"config.json", s.n.toldConfig},
		{"jobs.json", func() ([]byte, error) { return json.Marshal(s.n.toldJobs()) }},
		{"peers.json", func() ([]byte, error) { return json.Marshal(s.n.toldPeers()) }},
		{"metrics.prom", s.n.toldMetrics},
		{"build.txt", toldBuild},
		{"recent.log", func() ([]byte, error) { return s.n.told.recent.Lines(), nil }},
	} {
		data, err := p.make()
		if err != nil {
			return nil, fmt.Errorf("bundle: %s: %w", p.name, err)
		}
		parts = append(parts, telemetry.Part{Name: p.name, Data: data})
	}
	return append(parts, telemetry.Goroutines()), nil
}

func message(m protobuf.Message) ([]byte, error) {
	return protojson.MarshalOptions{UseProtoNames: true, EmitUnpopulated: true}.Marshal(m)
}

// toldConfig is the configuration in force. Of the collector's headers it says
// whether there are any.
func (n *node) toldConfig() ([]byte, error) {
	c := n.cfg
	if c.Telemetry.TraceHeaders != "" {
		c.Telemetry.TraceHeaders = "set"
	}
	return json.Marshal(c)
}

func (n *node) toldMetrics() ([]byte, error) {
	var out bytes.Buffer
	err := n.told.Metrics(&out)
	return out.Bytes(), err
}

func toldBuild() ([]byte, error) {
	text := fmt.Sprintf("muster %s\n%s %s/%s, %d CPUs\n\n", Version, runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU())
	if info, ok := debug.ReadBuildInfo(); ok {
		text += info.String()
	}
	return []byte(text), nil
}

// A toldFinding is a finding of the doctor in a bundle.
type toldFinding struct{ Area, Level, Detail, Fix string }

func (n *node) toldFindings(ctx context.Context) []toldFinding {
	out := []toldFinding{}
	for _, f := range n.findings(ctx, false) {
		out = append(out, toldFinding{f.Area, f.Level.String(), f.Detail, f.Fix})
	}
	return out
}

// A toldJob is a job in a bundle: how it stands, and nothing that its user wrote.
type toldJob struct {
	ID, State, Reason, Waiting                           string
	Tasks, Accepted, Verified, Disputed, Failed, Running uint32
	SubmittedMS, EndedMS                                 int64
}

// maxToldJobs is how many jobs a bundle lists: the latest.
const maxToldJobs = 1000

func (n *node) toldJobs() []toldJob {
	out := []toldJob{}
	for _, j := range n.requester.List() {
		if len(out) == maxToldJobs {
			break
		}
		s := j.Summary()
		out = append(out, toldJob{
			s.Id, s.State, s.Reason, s.Waiting, s.Tasks, s.Accepted, s.Verified, s.Disputed, s.Failed, s.Running, s.SubmittedMs, s.EndedMs,
		})
	}
	return out
}

// A toldPeer is a connected peer in a bundle.
type toldPeer struct {
	ID, Agent, Transport string
	Inbound, Relayed     bool
	LatencyMS            int64
}

func (n *node) toldPeers() []toldPeer {
	out := []toldPeer{}
	if n.Net == nil {
		return out
	}
	for _, p := range n.Net.Peers() {
		out = append(out, toldPeer{p.ID.String(), p.Agent, p.Transport, p.Inbound, p.Relayed, p.Latency.Milliseconds()})
	}
	return out
}
