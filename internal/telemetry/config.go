package telemetry

import (
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// ErrConfig is wrapped by every error about a [Config]. The text names the key of
// the configuration file, and says what to write.
var ErrConfig = errors.New("telemetry")

// A Config says what is told, and to whom. Its zero value tells nobody anything.
type Config struct {
	// Listen is where /metrics and /healthz are served: "127.0.0.1:9464", or
	// "localhost:0" for any free port. Empty: nowhere. An address that other
	// machines can reach is refused unless Remote is set.
	Listen string
	// Remote lets Listen be reachable from other machines. Nobody has to identify
	// himself there.
	Remote bool
	// Hosts are names, without port, under which the server may be asked, besides
	// localhost and every IP address. A web page could point any other name at it.
	Hosts []string
	// Pprof also serves /debug/pprof/, on loopback addresses only: it tells much,
	// and profiling costs much.
	Pprof bool

	// TraceEndpoint is the http or https URL of an OTLP collector, /v1/traces being
	// added unless it ends so. Empty: no traces.
	TraceEndpoint string
	// TraceHeaders go with every request to TraceEndpoint. They may be secrets:
	// over plain http they are sent to a loopback address only.
	TraceHeaders map[string]string
	// TraceSample is the part of the traces begun here that are recorded, 0 to 1.
	TraceSample float64
	// TracePeers are peers, by id, whose traces are continued here, recorded if
	// they say so. "*" stands for every peer, which is for meshes without strangers.
	TracePeers []string

	Version string // of this program, told to the collector
	Node    string // peer id of this node, told to the collector
}

// maxListed bounds each list of a [Config].
const maxListed = 1024

// Validate refuses what would tell more, or to more, than was asked for.
func (c Config) Validate() error {
	if err := c.validateListen(); err != nil {
		return err
	}
	if len(c.Hosts) > maxListed || len(c.TracePeers) > maxListed || len(c.TraceHeaders) > maxListed {
		return fmt.Errorf("%w: a list of more than %d entries", ErrConfig, maxListed)
	}
	if math.IsNaN(c.TraceSample) || c.TraceSample < 0 || c.TraceSample > 1 {
		return fmt.Errorf("%w: trace_sample is %v; write a number from 0 to 1", ErrConfig, c.TraceSample)
	}
	if c.TraceEndpoint == "" {
		return nil
	}
	_, err := c.collector()
	return err
}

func (c Config) validateListen() error {
	if c.Listen == "" {
		if c.Pprof {
			return fmt.Errorf("%w: pprof needs an address to be served on: set metrics_listen, for instance to 127.0.0.1:9464", ErrConfig)
		}
		return nil
	}
	host, port, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return fmt.Errorf("%w: metrics_listen %q is no host:port; write for instance 127.0.0.1:9464", ErrConfig, c.Listen)
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > math.MaxUint16 {
		return fmt.Errorf("%w: metrics_listen %q has no port from 0 to 65535", ErrConfig, c.Listen)
	}
	loopback := host == "localhost"
	if ip, err := netip.ParseAddr(host); err == nil {
		loopback = ip.IsLoopback()
	} else if host != "" && !loopback {
		return fmt.Errorf("%w: metrics_listen %q begins with a name; write an IP address or localhost", ErrConfig, c.Listen)
	}
	return c.validateReach(loopback)
}

// validateReach decides whether to serve where only this machine can reach, or not.
func (c Config) validateReach(loopback bool) error {
	switch {
	case loopback:
		return nil
	case !c.Remote:
		return fmt.Errorf("%w: metrics_listen %q can be reached from other machines, where nobody has to identify himself; "+
			"listen on 127.0.0.1 or [::1], or set metrics_remote: true if that is meant", ErrConfig, c.Listen)
	case c.Pprof:
		return fmt.Errorf("%w: pprof is served on loopback addresses only, and metrics_listen is %q; "+
			"listen on 127.0.0.1 and reach it through ssh -L, or set pprof: false", ErrConfig, c.Listen)
	}
	return nil
}

// collector gives the URL that traces are sent to.
func (c Config) collector() (*url.URL, error) {
	u, err := url.Parse(c.TraceEndpoint)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" {
		return nil, fmt.Errorf("%w: trace_endpoint is no http or https URL; write for instance http://127.0.0.1:4318", ErrConfig)
	}
	if u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("%w: trace_endpoint has a user, a query or a fragment; put what the collector wants to see into its headers", ErrConfig)
	}
	if len(c.TraceHeaders) > 0 && u.Scheme == "http" && !isLoopbackHost(u.Hostname()) {
		return nil, fmt.Errorf("%w: headers for the collector would cross the network in the clear; use an https trace_endpoint", ErrConfig)
	}
	if !strings.HasSuffix(u.Path, "/v1/traces") {
		u = u.JoinPath("v1", "traces")
	}
	return u, nil
}

func isLoopbackHost(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

func (c Config) tracesPeer(peer string) bool {
	return slices.Contains(c.TracePeers, "*") || peer != "" && slices.Contains(c.TracePeers, peer)
}

// ParseHeaders reads headers as OTEL_EXPORTER_OTLP_HEADERS writes them:
// "name=value,name=value", with percent-encoded values
// (https://opentelemetry.io/docs/specs/otel/protocol/exporter). Errors do not
// repeat what was read.
func ParseHeaders(s string) (map[string]string, error) {
	out := map[string]string{}
	for i, pair := range strings.Split(s, ",") {
		if strings.TrimSpace(pair) == "" {
			continue
		}
		name, value, ok := strings.Cut(pair, "=")
		name = strings.TrimSpace(name)
		text, err := url.PathUnescape(strings.TrimSpace(value))
		if !ok || err != nil || !isToken(name) || !isFieldValue(text) {
			return nil, fmt.Errorf("%w: header %d is not of the form name=value", ErrConfig, i+1)
		}
		out[name] = text
	}
	if len(out) > maxListed {
		return nil, fmt.Errorf("%w: more than %d headers", ErrConfig, maxListed)
	}
	return out, nil
}

// isToken tells whether s can be the name of a header: RFC 9110 §5.6.2.
func isToken(s string) bool {
	other := func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("!#$%&'*+-.^_`|~", r))
	}
	return s != "" && !strings.ContainsFunc(s, other)
}

// isFieldValue tells whether s can be the value of a header: RFC 9110 §5.5.
func isFieldValue(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f })
}
