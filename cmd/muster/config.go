package main

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/mustermesh/muster/internal/jobfile"
	"github.com/mustermesh/muster/node"
)

// globals are the flags of every command.
type globals struct {
	home, network, output, logLevel string
	bootstrap, listen               []string
	noMDNS                          bool
}

// settings are the flags that have a config key and a variable each; the
// variable is MUSTER_ and the flag's name.
var settings = []string{"network", "bootstrap", "listen", "output", "log-level", "no-mdns"}

func (g *globals) register(fs *pflag.FlagSet) {
	fs.StringVar(&g.home, "home", "", "`DIR` with this node's identity and data (MUSTER_HOME; default "+displayHome()+")")
	fs.StringVar(&g.network, "network", "", "`NAME` of the mesh (MUSTER_NETWORK; default main)")
	fs.StringSliceVar(&g.bootstrap, "bootstrap", nil, "`ADDR` of a peer to begin with, ending in /p2p/ID; may be repeated (MUSTER_BOOTSTRAP)")
	fs.StringSliceVar(&g.listen, "listen", nil, "`ADDR` to listen on, such as /ip4/0.0.0.0/tcp/0; may be repeated (MUSTER_LISTEN)")
	fs.StringVarP(&g.output, "output", "o", "", "`FORMAT` of what is printed: table, json or yaml (MUSTER_OUTPUT; default table)")
	fs.StringVar(&g.logLevel, "log-level", "", "`LEVEL` of messages: debug, info, warn or error (MUSTER_LOG_LEVEL; default info for a daemon, else warn)")
	fs.BoolVar(&g.noMDNS, "no-mdns", false, "do not look for peers on the local network (MUSTER_NO_MDNS)")
}

func displayHome() string {
	home := node.DefaultHome()
	if u, err := os.UserHomeDir(); err == nil {
		if rest, ok := strings.CutPrefix(home, u+"/"); ok {
			return "~/" + rest
		}
	}
	return home
}

// fromEnvironment sets every flag that was not given from its variable.
func fromEnvironment(fs *pflag.FlagSet, getenv func(string) string) error {
	for _, name := range settings {
		variable := "MUSTER_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
		if v := getenv(variable); v != "" && !fs.Changed(name) {
			if err := fs.Set(name, v); err != nil {
				return usagef("%s: %w", variable, err)
			}
		}
	}
	return nil
}

// load gives the configuration: defaults, then the config file, then the
// environment, then flags.
func (a *app) load(cmd *cobra.Command) (node.Config, error) {
	cfg := node.DefaultConfig()
	if a.global.home != "" {
		cfg.Home = a.global.home
	}
	home, err := filepath.Abs(cfg.Home)
	if err != nil {
		return cfg, err
	}
	cfg.Home = home
	cfg.LogLevel = ""
	file, err := readConfig(configPath(home))
	if err != nil {
		return cfg, err
	}
	file.apply(&cfg)
	cfg.Telemetry.TraceHeaders = os.Getenv("OTEL_EXPORTER_OTLP_HEADERS")
	fs := cmd.Flags()
	if err := fromEnvironment(fs, os.Getenv); err != nil {
		return cfg, err
	}
	if !fs.Changed("output") && file.Output != nil {
		a.global.output = *file.Output
	}
	a.global.apply(fs, &cfg)
	if err := cfg.Validate(); err != nil {
		return cfg, &exitError{exitUsage, err}
	}
	return cfg, checkFormat(a.global.output)
}

func (g *globals) apply(fs *pflag.FlagSet, cfg *node.Config) {
	given(fs, "network", &cfg.Network, g.network)
	given(fs, "bootstrap", &cfg.Bootstrap, g.bootstrap)
	given(fs, "listen", &cfg.Listen, g.listen)
	given(fs, "log-level", &cfg.LogLevel, g.logLevel)
	given(fs, "no-mdns", &cfg.MDNS, !g.noMDNS)
}

// given sets a field whose flag, or variable, was given.
func given[T any](fs *pflag.FlagSet, name string, field *T, v T) {
	if fs.Changed(name) {
		*field = v
	}
}

func configPath(home string) string { return filepath.Join(home, "config.yaml") }

// A fileConfig is config.yaml: what is absent keeps its default.
type fileConfig struct {
	Network     *string           `yaml:"network"`
	Bootstrap   []string          `yaml:"bootstrap"`
	Listen      []string          `yaml:"listen"`
	MDNS        *bool             `yaml:"mdns"`
	Roles       []string          `yaml:"roles"`
	Output      *string           `yaml:"output"`
	LogLevel    *string           `yaml:"log_level"`
	Lend        fileLend          `yaml:"lend"`
	Price       *float64          `yaml:"price"`
	MaxCredit   *float64          `yaml:"max_credit"`
	Allow       []string          `yaml:"allow"`
	Deny        []string          `yaml:"deny"`
	Labels      map[string]string `yaml:"labels"`
	AcceptWeak  *bool             `yaml:"accept_weak_isolation"`
	Cache       *size             `yaml:"cache"`
	MaxProgram  *size             `yaml:"max_program"`
	SandboxIdle *time.Duration    `yaml:"sandbox_idle"`

	Grace        *time.Duration `yaml:"grace"`
	Patience     *time.Duration `yaml:"patience"`
	DrainTimeout *time.Duration `yaml:"drain_timeout"`
	Hedge        *string        `yaml:"hedge"`
	LiveLogs     *size          `yaml:"live_logs"`
	KeepJobs     *time.Duration `yaml:"keep_jobs"`
	KeepJobsMost *int           `yaml:"keep_jobs_most"`

	MetricsListen *string  `yaml:"metrics_listen"`
	MetricsRemote *bool    `yaml:"metrics_remote"`
	MetricsHosts  []string `yaml:"metrics_hosts"`
	Pprof         *bool    `yaml:"pprof"`
	TraceEndpoint *string  `yaml:"trace_endpoint"`
	TraceSample   *float64 `yaml:"trace_sample"`
	TracePeers    []string `yaml:"trace_peers"`

	AllowPrograms []string `yaml:"allow_programs"`
	DenyPrograms  []string `yaml:"deny_programs"`
}

type fileLend struct {
	CPU    *float64 `yaml:"cpu"`
	Memory *size    `yaml:"memory"`
	Disk   *size    `yaml:"disk"`
	Slots  *int     `yaml:"slots"`

	Hours          []string `yaml:"hours"`
	IdleOnly       *bool    `yaml:"idle_only"`
	OnBattery      *bool    `yaml:"on_battery"`
	MaxTemperature *float64 `yaml:"max_temperature"`
	MaxLoad        *float64 `yaml:"max_load"`
}

// A size is a number of bytes, written as 256MiB or as the number.
type size uint64

// UnmarshalYAML reads either form.
func (s *size) UnmarshalYAML(b []byte) error {
	n, err := jobfile.ParseSize(strings.Trim(strings.TrimSpace(string(b)), `"'`))
	*s = size(n)
	return err
}

const maxConfig = 1 << 16 // bytes

// readConfig reads a config file; one that is not there says nothing.
func readConfig(path string) (c fileConfig, err error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return c, nil
	}
	if err != nil {
		return c, err
	}
	if len(b) > maxConfig {
		return c, fmt.Errorf("%s: %d bytes; at most %d", path, len(b), maxConfig)
	}
	if err := yaml.UnmarshalWithOptions(b, &c, yaml.Strict()); err != nil {
		return c, fmt.Errorf("%s: %w", path, configFault(err))
	}
	return c, nil
}

var configKeys = []string{
	"network", "bootstrap", "listen", "mdns", "roles", "output", "log_level", "lend", "price", "max_credit", "allow", "deny",
	"labels", "accept_weak_isolation", "cache", "max_program", "sandbox_idle", "hedge", "live_logs", "keep_jobs", "keep_jobs_most", "cpu", "memory", "disk", "slots",
	"grace", "patience", "drain_timeout", "hours", "idle_only", "on_battery", "max_temperature", "max_load", "allow_programs", "deny_programs",
	"metrics_listen", "metrics_remote", "metrics_hosts", "pprof", "trace_endpoint", "trace_sample", "trace_peers",
}

// configFault puts the place before what is wrong, and what was meant after it.
func configFault(err error) error {
	var ye yaml.Error
	if !errors.As(err, &ye) || ye.GetToken() == nil {
		return err
	}
	t, text := ye.GetToken(), ye.GetMessage()
	var unknown *yaml.UnknownFieldError
	if errors.As(err, &unknown) {
		text = "unknown key `" + t.Value + "`"
		if near := jobfile.Nearest(t.Value, configKeys); near != "" {
			text += "; did you mean `" + near + "`?"
		}
	}
	return fmt.Errorf("line %d, column %d: %s", t.Position.Line, t.Position.Column, text)
}

func (f fileConfig) apply(cfg *node.Config) {
	set(&cfg.Network, f.Network)
	set(&cfg.MDNS, f.MDNS)
	set(&cfg.LogLevel, f.LogLevel)
	set(&cfg.Price, f.Price)
	set(&cfg.MaxCredit, f.MaxCredit)
	set(&cfg.AcceptWeakIsolation, f.AcceptWeak)
	set(&cfg.SandboxIdle, f.SandboxIdle)
	set(&cfg.Grace, f.Grace)
	set(&cfg.Patience, f.Patience)
	set(&cfg.DrainTimeout, f.DrainTimeout)
	set(&cfg.Hedge, f.Hedge)
	set(&cfg.Lend.CPU, f.Lend.CPU)
	set(&cfg.Lend.Slots, f.Lend.Slots)
	set(&cfg.Lend.Memory, (*uint64)(f.Lend.Memory))
	set(&cfg.Lend.Disk, (*uint64)(f.Lend.Disk))
	set(&cfg.Rules.IdleOnly, f.Lend.IdleOnly)
	set(&cfg.Rules.OnBattery, f.Lend.OnBattery)
	set(&cfg.Rules.MaxTemperature, f.Lend.MaxTemperature)
	set(&cfg.Rules.MaxLoad, f.Lend.MaxLoad)
	set(&cfg.Cache, (*uint64)(f.Cache))
	set(&cfg.LiveLogs, (*uint64)(f.LiveLogs))
	set(&cfg.KeepJobs, f.KeepJobs)
	set(&cfg.KeepJobsMost, f.KeepJobsMost)
	set(&cfg.Telemetry.MetricsListen, f.MetricsListen)
	set(&cfg.Telemetry.MetricsRemote, f.MetricsRemote)
	set(&cfg.Telemetry.Pprof, f.Pprof)
	set(&cfg.Telemetry.TraceEndpoint, f.TraceEndpoint)
	set(&cfg.Telemetry.TraceSample, f.TraceSample)
	if f.MaxProgram != nil {
		cfg.MaxProgram = int64(*f.MaxProgram)
	}
	for _, l := range []struct {
		to   *[]string
		from []string
	}{
		{&cfg.Bootstrap, f.Bootstrap}, {&cfg.Listen, f.Listen}, {&cfg.Roles, f.Roles}, {&cfg.Allow, f.Allow}, {&cfg.Deny, f.Deny},
		{&cfg.Rules.Hours, f.Lend.Hours}, {&cfg.Rules.AllowPrograms, f.AllowPrograms}, {&cfg.Rules.DenyPrograms, f.DenyPrograms},
		{&cfg.Telemetry.MetricsHosts, f.MetricsHosts}, {&cfg.Telemetry.TracePeers, f.TracePeers},
	} {
		if l.from != nil {
			*l.to = l.from
		}
	}
	if f.Labels != nil {
		cfg.Labels = f.Labels
	}
}

// ruleFlags are a daemon's flags for the owner's rules.
type ruleFlags struct{ node.Rules }

func (f *ruleFlags) register(fs *pflag.FlagSet) {
	fs.StringArrayVar(&f.Hours, "hours", nil, "`HOURS` to lend in, local time, such as \"mon-fri 18:00-08:00\" or sat,sun; may be repeated (default always)")
	fs.BoolVar(&f.IdleOnly, "idle-only", false, "lend only while nobody else uses this machine")
	fs.BoolVar(&f.OnBattery, "on-battery", false, "lend on battery, too")
	fs.Float64Var(&f.MaxTemperature, "max-temperature", 0, "take nothing new from `CELSIUS` on, until it is 5 below; 10 above it, stop (default no ceiling)")
	fs.Float64Var(&f.MaxLoad, "max-load", 0, "with --idle-only, `PART` of each core that others may use (default 0.25)")
	fs.StringSliceVar(&f.AllowPrograms, "allow-program", nil, "run only the program with this `CID`, or NAME=CID; may be repeated")
	fs.StringSliceVar(&f.DenyPrograms, "deny-program", nil, "never run the program with this `CID`, or NAME=CID; may be repeated")
}

// apply puts the flags that were given over the configuration.
func (f *ruleFlags) apply(fs *pflag.FlagSet, r *node.Rules) {
	given(fs, "hours", &r.Hours, f.Hours)
	given(fs, "idle-only", &r.IdleOnly, f.IdleOnly)
	given(fs, "on-battery", &r.OnBattery, f.OnBattery)
	given(fs, "max-temperature", &r.MaxTemperature, f.MaxTemperature)
	given(fs, "max-load", &r.MaxLoad, f.MaxLoad)
	given(fs, "allow-program", &r.AllowPrograms, f.AllowPrograms)
	given(fs, "deny-program", &r.DenyPrograms, f.DenyPrograms)
}

// telemetryFlags are a daemon's flags for what it tells its owner.
type telemetryFlags struct{ node.Telemetry }

func (f *telemetryFlags) register(fs *pflag.FlagSet) {
	fs.StringVar(&f.MetricsListen, "metrics-listen", "", "`HOST:PORT` to serve metrics on, such as 127.0.0.1:9464 (default nowhere)")
	fs.BoolVar(&f.Pprof, "pprof", false, "serve profiles with the metrics, too")
	fs.StringVar(&f.TraceEndpoint, "trace-endpoint", "", "`URL` of an OTLP collector to send traces to (default none)")
}

// apply puts the flags that were given over the configuration.
func (f *telemetryFlags) apply(fs *pflag.FlagSet, t *node.Telemetry) {
	given(fs, "metrics-listen", &t.MetricsListen, f.MetricsListen)
	given(fs, "pprof", &t.Pprof, f.Pprof)
	given(fs, "trace-endpoint", &t.TraceEndpoint, f.TraceEndpoint)
}

func set[T any](field, value *T) {
	if value != nil {
		*field = *value
	}
}

// logger writes to standard error; usual is the level where none was chosen.
func (a *app) logger(cfg *node.Config, usual string) (*slog.Logger, error) {
	if cfg.LogLevel == "" {
		cfg.LogLevel = usual
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(cfg.LogLevel)); err != nil {
		return nil, usagef("log level %q; there are debug, info, warn and error", cfg.LogLevel)
	}
	return slog.New(slog.NewTextHandler(a.err, &slog.HandlerOptions{Level: level})), nil
}
