package node

import (
	"bytes"
	"compress/gzip"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/mustermesh/muster/node/api"
)

// scrape gives what a node tells those who look after it.
func scrape(t *testing.T, n *running) string {
	t.Helper()
	req, err := http.NewRequestWithContext(testContext(t), http.MethodGet, "http://"+n.told.Addr()+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("scrape: %s, %v", res.Status, err)
	}
	return string(body)
}

// pair is a provider and a requester, whose configurations the caller completes.
func pair(t *testing.T, complete func(provider, requester *Config)) (provider, requester *running) {
	network := randomNetwork()
	p, r := testConfig(t, network), testConfig(t, network)
	r.Roles = []string{RoleRequester}
	complete(&p, &r)
	provider = startNode(t, p)
	r.Bootstrap = provider.info.Addrs[:1]
	requester = startNode(t, r)
	return provider, requester
}

func TestAJobIsSeenInTheMetricsOfBothSides(t *testing.T) {
	p, r := pair(t, func(p, r *Config) {
		p.Telemetry.MetricsListen, r.Telemetry.MetricsListen = "127.0.0.1:0", "127.0.0.1:0"
	})
	if before := scrape(t, r); !strings.Contains(before, "\nmuster_jobs_ended_total{state=\"completed\"} 0\n") {
		t.Error("a counter does not begin at 0")
	}
	if s := ends(t, submit(t, r.node, &api.SubmitJobRequest{Job: small(t, "noop")})); s.State != "completed" {
		t.Fatalf("job %s: %s", s.State, s.Reason)
	}
	for _, side := range []struct {
		name string
		n    *running
		want []string
	}{
		{"requester", r, []string{
			`muster_jobs_ended_total{state="completed"} 1`, `muster_tasks_settled_total{state="accepted"} 1`, `muster_job_seconds_count 1`,
			`muster_executions_total{role="requester",state="answered"} 1`, `muster_execution_seconds_count{role="requester"} 1`,
			`muster_announcements_total{direction="out"} 1`, `muster_jobs_open{state="running"} 0`, `muster_peers{path="direct"} 1`,
		}},
		{"provider", p, []string{
			`muster_executions_total{role="provider",state="answered"} 1`, `muster_execution_seconds_count{role="provider"} 1`,
			`muster_bids_total{outcome="won"} 1`, `muster_slots 2`, `muster_guests{state="running"} 0`,
		}},
	} {
		eventually(t, "the "+side.name+" has counted the job", func() bool {
			body := scrape(t, side.n)
			for _, line := range append(side.want, "muster_telemetry_samples_refused 0") {
				if !strings.Contains(body, "\n"+line+"\n") {
					return false
				}
			}
			return true
		})
	}
}

func TestEveryMetricIsInTheDocs(t *testing.T) {
	page, err := os.ReadFile("../docs/observing.md")
	if err != nil {
		t.Fatal(err)
	}
	p, r := pair(t, func(*Config, *Config) {})
	ends(t, submit(t, r.node, &api.SubmitJobRequest{Job: small(t, "noop")}))
	told := map[string]bool{}
	for _, s := range append(p.samples(), r.samples()...) {
		told[s.Name] = true
		if !bytes.Contains(page, []byte("`"+s.Name+"`")) {
			t.Errorf("docs/observing.md does not tell of %s", s.Name)
		}
	}
	// These need a time, an event or a collector that this test has not.
	rare := []string{"muster_content_bytes", "muster_clock_offset_seconds", "muster_refusals_total", "muster_trace_spans_total", "muster_telemetry_samples_refused"}
	for _, name := range rare {
		told[name] = true
	}
	for _, name := range regexp.MustCompile("`(muster_[a-z_]+)`").FindAllSubmatch(page, -1) {
		if !told[string(name[1])] && !strings.HasSuffix(string(name[1]), "_") {
			t.Errorf("no node tells %s, of which docs/observing.md speaks", name[1])
		}
	}
}

func TestNothingIsToldUnlessAskedFor(t *testing.T) {
	n := startNode(t, testConfig(t, randomNetwork()))
	if addr := n.told.Addr(); addr != "" {
		t.Errorf("metrics are served on %s", addr)
	}
	j := submit(t, n.node, &api.SubmitJobRequest{Job: small(t, "noop")})
	if trace := j.Specification().Trace; trace != "" {
		t.Errorf("the job is sent with the traceparent %s", trace)
	}
}

func TestACommandsNodeServesNoMetrics(t *testing.T) {
	cfg := testConfig(t, randomNetwork())
	cfg.Telemetry.MetricsListen, cfg.Telemetry.Pprof, cfg.client = "127.0.0.1:0", true, true
	if addr := startNode(t, cfg).told.Addr(); addr != "" {
		t.Errorf("metrics are served on %s", addr)
	}
}

func TestAConfigThatTellsTooMuchIsRefused(t *testing.T) {
	for name, change := range map[string]func(*Telemetry){
		"an address that others can reach": func(c *Telemetry) { c.MetricsListen = "0.0.0.0:9464" },
		"pprof without an address":         func(c *Telemetry) { c.Pprof = true },
		"headers that cannot be read":      func(c *Telemetry) { c.TraceHeaders = "no value" },
		"a part over 1":                    func(c *Telemetry) { c.TraceSample = 1.5 },
	} {
		cfg := testConfig(t, randomNetwork())
		change(&cfg.Telemetry)
		if err := cfg.Validate(); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

// A collector keeps the spans that it is sent, as they are on the wire.
type collector struct {
	*httptest.Server
	mu  sync.Mutex // guards got
	got []byte
}

func newCollector(t *testing.T) *collector {
	c := &collector{}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		z, err := gzip.NewReader(r.Body)
		if err != nil {
			t.Errorf("spans: %v", err)
			return
		}
		body, err := io.ReadAll(io.LimitReader(z, 1<<20))
		if err != nil {
			t.Errorf("spans: %v", err)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.got = append(c.got, body...)
	}))
	t.Cleanup(c.Close)
	return c
}

// lacks tells of which names no span of each name was sent: a text of protobuf has its
// length before it.
func (c *collector) lacks(names ...string) (missing []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, name := range names {
		if !bytes.Contains(c.got, append([]byte{0x2a, byte(len(name))}, name...)) { // field 5 of a span
			missing = append(missing, name)
		}
	}
	return missing
}

func TestAJobsTraceGoesOnAtItsProvider(t *testing.T) {
	theirs, ours := newCollector(t), newCollector(t)
	p, r := pair(t, func(p, r *Config) {
		p.Telemetry.TraceEndpoint, p.Telemetry.TracePeers, p.Telemetry.TraceSample = theirs.URL, []string{"*"}, 0
		r.Telemetry.TraceEndpoint = ours.URL
	})
	j := submit(t, r.node, &api.SubmitJobRequest{Job: small(t, "noop")})
	if s := ends(t, j); s.State != "completed" {
		t.Fatalf("job %s: %s", s.State, s.Reason)
	}
	eventually(t, "the provider is done", func() bool { return p.provider.Stats().Done == 1 })
	r.stop()
	p.stop()
	if missing := ours.lacks("job", "submit", "bidding", "execution", "settle"); len(missing) > 0 {
		t.Errorf("the requester's collector lacks %v", missing)
	}
	if missing := theirs.lacks("execution", "fetch input", "run"); len(missing) > 0 {
		t.Errorf("the provider's collector lacks %v", missing)
	}
	fields := strings.Split(j.Specification().Trace, "-")
	if len(fields) != 4 {
		t.Fatalf("traceparent %q", j.Specification().Trace)
	}
	id, err := hex.DecodeString(fields[1])
	if err != nil {
		t.Fatal(err)
	}
	for side, c := range map[string]*collector{"requester": ours, "provider": theirs} {
		c.mu.Lock()
		if !bytes.Contains(c.got, append([]byte{0x0a, 16}, id...)) { // field 1 of a span
			t.Errorf("no span of the %s is of the job's trace", side)
		}
		c.mu.Unlock()
	}
}
