package main

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/spf13/pflag"

	"github.com/mustermesh/muster/node"
)

func TestTelemetryIsReadFromFileAndFlags(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.yaml")
	err := os.WriteFile(path, []byte(`metrics_listen: 127.0.0.1:9464
metrics_remote: true
metrics_hosts: [here]
pprof: true
trace_endpoint: http://127.0.0.1:4318
trace_sample: 0.5
trace_peers: ["*"]
`), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	file, err := readConfig(path)
	if err != nil {
		t.Fatal(err)
	}
	var cfg node.Config
	file.apply(&cfg)
	want := node.Telemetry{
		MetricsListen: "127.0.0.1:9464", MetricsRemote: true, MetricsHosts: []string{"here"}, Pprof: true,
		TraceEndpoint: "http://127.0.0.1:4318", TraceSample: 0.5, TracePeers: []string{"*"},
	}
	if !reflect.DeepEqual(cfg.Telemetry, want) {
		t.Errorf("the file gives %+v, want %+v", cfg.Telemetry, want)
	}
	var f telemetryFlags
	fs := pflag.NewFlagSet("", pflag.ContinueOnError)
	f.register(fs)
	if err := fs.Parse([]string{"--metrics-listen", "[::1]:0", "--pprof=false"}); err != nil {
		t.Fatal(err)
	}
	f.apply(fs, &cfg.Telemetry)
	want.MetricsListen, want.Pprof = "[::1]:0", false
	if !reflect.DeepEqual(cfg.Telemetry, want) {
		t.Errorf("with flags it is %+v, want %+v", cfg.Telemetry, want)
	}
}
