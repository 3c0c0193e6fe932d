package telemetry

import (
	"errors"
	"log/slog"
	"maps"
	"math"
	"strings"
	"testing"
)

func TestAConfigThatTellsTooMuchIsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		cfg  Config
		want string // in the error; empty: accepted
	}{
		"nothing is asked for":                      {Config{}, ""},
		"a loopback address":                        {Config{Listen: "127.0.0.1:9464"}, ""},
		"a loopback address of version 6":           {Config{Listen: "[::1]:0"}, ""},
		"localhost":                                 {Config{Listen: "localhost:9464", Pprof: true}, ""},
		"all addresses":                             {Config{Listen: ":9464"}, "set metrics_remote: true"},
		"all addresses, spelled out":                {Config{Listen: "0.0.0.0:9464"}, "listen on 127.0.0.1"},
		"an address on the network":                 {Config{Listen: "192.168.1.7:9464"}, "can be reached from other machines"},
		"an address on the network that is meant":   {Config{Listen: "192.168.1.7:9464", Remote: true}, ""},
		"profiles on the network":                   {Config{Listen: "0.0.0.0:9464", Remote: true, Pprof: true}, "ssh -L"},
		"profiles without an address":               {Config{Pprof: true}, "set metrics_listen"},
		"a name":                                    {Config{Listen: "example.org:9464", Remote: true}, "write an IP address"},
		"no port":                                   {Config{Listen: "127.0.0.1"}, "no host:port"},
		"a port that is too large":                  {Config{Listen: "127.0.0.1:65536"}, "no port"},
		"a collector":                               {Config{TraceEndpoint: "http://127.0.0.1:4318", TraceSample: 1}, ""},
		"a collector by another protocol":           {Config{TraceEndpoint: "grpc://127.0.0.1:4317"}, "no http or https URL"},
		"a collector with a password":               {Config{TraceEndpoint: "https://u:hunter2@c.example"}, "has a user"},
		"a collector with a token in the query":     {Config{TraceEndpoint: "https://c.example/?t=hunter2"}, "a query"},
		"headers in the clear":                      {Config{TraceEndpoint: "http://c.example", TraceHeaders: map[string]string{"a": "hunter2"}}, "https trace_endpoint"},
		"headers over TLS":                          {Config{TraceEndpoint: "https://c.example", TraceHeaders: map[string]string{"a": "hunter2"}}, ""},
		"headers to this machine":                   {Config{TraceEndpoint: "http://[::1]:4318", TraceHeaders: map[string]string{"a": "hunter2"}}, ""},
		"more than all traces":                      {Config{TraceSample: 1.1}, "from 0 to 1"},
		"no number":                                 {Config{TraceSample: math.NaN()}, "from 0 to 1"},
		"more peers than anybody writes by himself": {Config{TracePeers: make([]string, 2000)}, "more than 1024"},
	} {
		err := c.cfg.Validate()
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: got %v, want none", name, err)
		case c.want != "" && (!errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		case err != nil && strings.Contains(err.Error(), "hunter2"):
			t.Errorf("%s: the error tells the secret: %v", name, err)
		}
		if _, openErr := Open(c.cfg, slog.New(slog.DiscardHandler)); c.want != "" && openErr == nil {
			t.Errorf("%s: Open took it", name)
		}
	}
}

func TestTheCollectorsPathIsAddedOnce(t *testing.T) {
	for in, want := range map[string]string{
		"http://127.0.0.1:4318":             "http://127.0.0.1:4318/v1/traces",
		"http://127.0.0.1:4318/":            "http://127.0.0.1:4318/v1/traces",
		"https://c.example/otlp":            "https://c.example/otlp/v1/traces",
		"https://c.example/otlp/v1/traces":  "https://c.example/otlp/v1/traces",
		"https://c.example:4318/v1/traces/": "https://c.example:4318/v1/traces/v1/traces",
	} {
		u, err := Config{TraceEndpoint: in}.collector()
		if err != nil || u.String() != want {
			t.Errorf("%s: got %v, %v; want %s", in, u, err, want)
		}
	}
}

func TestHeadersAreReadAsTheStandardWritesThem(t *testing.T) {
	got, err := ParseHeaders("api-key=abc, Authorization=Basic%20dTpw==,,x=")
	want := map[string]string{"api-key": "abc", "Authorization": "Basic dTpw==", "x": ""}
	if err != nil || !maps.Equal(got, want) {
		t.Errorf("got %q, %v; want %q", got, err, want)
	}
	for _, bad := range []string{"hunter2", "=hunter2", "a b=hunter2", "a=hunter2%0d%0ax: y", "a=hunter2%zz"} {
		if _, err := ParseHeaders(bad); !errors.Is(err, ErrConfig) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: got %v, want an error that does not repeat it", bad, err)
		}
	}
}
