package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/mustermesh/muster/internal/jobfile"
	"github.com/mustermesh/muster/node"
)

// daemonFlags are what a provider decides.
type daemonFlags struct {
	roles, allow, deny, labels []string
	hedge                      string
	cpu, price, maxCredit      float64
	memory, disk               string
	slots                      int
	drain                      time.Duration
	weak, untilEOF             bool
	rules                      ruleFlags
	telemetry                  telemetryFlags
}

func newDaemon(a *app) *cobra.Command {
	f := &daemonFlags{}
	cmd := &cobra.Command{
		Use:   "daemon",
		Short: "Run a node: lend this machine, work for this home's commands, introduce others",
		Long: `Daemon runs a node until it is interrupted. It lends what the flags or config.yaml
say, under lend, price, max_credit, allow, deny and labels; never more than the
machine or its cgroup has, and only while the owner's rules do not hold it back.
Once it can be reached it prints its id and addresses, with -o json as one line.

When it is interrupted it takes nothing new, and what runs here for others may come
to its end first, for as long as --drain-timeout says. A second interrupt ends it at
once; what still runs then is taken up by the next run.`,
		Example: `  muster daemon
  muster daemon --cpu 2 --memory 4GiB --price 10
  muster daemon --role bootstrap --listen /ip4/0.0.0.0/tcp/4170`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(a, cmd) },
	}
	f.register(cmd.Flags())
	return cmd
}

func (f *daemonFlags) register(fs *pflag.FlagSet) {
	fs.StringSliceVar(&f.roles, "role", nil, "`ROLE` provider, requester or bootstrap; several with commas (default provider,requester)")
	fs.Float64Var(&f.cpu, "cpu", 0, "`CORES` to lend (default all)")
	fs.StringVar(&f.memory, "memory", "", "`SIZE` of memory to lend (default half)")
	fs.StringVar(&f.disk, "disk", "", "`SIZE` of tasks' files to allow")
	fs.IntVar(&f.slots, "slots", 0, "`N` tasks at a time (default one for each core)")
	fs.Float64Var(&f.price, "price", 0, "`CREDITS` to ask for a core-hour (default 0, free)")
	fs.Float64Var(&f.maxCredit, "max-credit", 0, "`CREDITS` that one requester may owe (default 0, no limit)")
	fs.StringSliceVar(&f.allow, "allow", nil, "work only for the requester with this `ID`; may be repeated")
	fs.StringSliceVar(&f.deny, "deny", nil, "never work for the requester with this `ID`; may be repeated")
	fs.StringArrayVar(&f.labels, "label", nil, "`KEY=VALUE` to state about this machine; may be repeated")
	fs.StringVar(&f.hedge, "hedge", "", "`WHEN` a slow execution of a job of this home gets a second one: predicted, mean (1.5 times the average) or off (default predicted)")
	fs.DurationVar(&f.drain, "drain-timeout", 0, "`DURATION` that others' tasks get to finish when this is interrupted (default 30s; 0 for none)")
	fs.BoolVar(&f.weak, "accept-weak-isolation", false, "lend even where the sandbox cannot use namespaces")
	fs.BoolVar(&f.untilEOF, "until-eof", false, "stop when standard input ends")
	_ = fs.MarkHidden("until-eof")
	f.rules.register(fs)
	f.telemetry.register(fs)
}

// apply puts the flags that were given over the configuration.
func (f *daemonFlags) apply(fs *pflag.FlagSet, cfg *node.Config) error {
	given(fs, "role", &cfg.Roles, f.roles)
	given(fs, "cpu", &cfg.Lend.CPU, f.cpu)
	given(fs, "slots", &cfg.Lend.Slots, f.slots)
	given(fs, "price", &cfg.Price, f.price)
	given(fs, "max-credit", &cfg.MaxCredit, f.maxCredit)
	given(fs, "allow", &cfg.Allow, f.allow)
	given(fs, "deny", &cfg.Deny, f.deny)
	given(fs, "hedge", &cfg.Hedge, f.hedge)
	f.rules.apply(fs, &cfg.Rules)
	f.telemetry.apply(fs, &cfg.Telemetry)
	given(fs, "drain-timeout", &cfg.DrainTimeout, f.drain)
	given(fs, "accept-weak-isolation", &cfg.AcceptWeakIsolation, f.weak)
	err := errors.Join(
		parsed(fs, "memory", &cfg.Lend.Memory, f.memory, jobfile.ParseSize),
		parsed(fs, "disk", &cfg.Lend.Disk, f.disk, jobfile.ParseSize),
		pairs("label", &cfg.Labels, f.labels),
	)
	if err != nil {
		return err
	}
	if err := cfg.Validate(); err != nil {
		return &exitError{exitUsage, err}
	}
	return nil
}

func (f *daemonFlags) run(a *app, cmd *cobra.Command) error {
	cfg, err := a.load(cmd)
	if err != nil {
		return err
	}
	if err := f.apply(cmd.Flags(), &cfg); err != nil {
		return err
	}
	log, err := a.logger(&cfg, "info")
	if err != nil {
		return err
	}
	ctx, _, stop := a.until(cmd.Context())
	defer stop()
	if f.untilEOF {
		if !cmd.Flags().Changed("drain-timeout") {
			cfg.DrainTimeout = 0 // whoever holds the other end waits
		}
		var end context.CancelFunc
		ctx, end = context.WithCancel(ctx)
		defer end()
		go func() { // ends with the input, or with the process
			_, _ = io.Copy(io.Discard, a.in)
			end()
		}()
	}
	return a.mesh.serve(ctx, cfg, log, func(id string, addrs []string) { a.announce(ready{id, addrs, cfg.Home}) })
}

// ready is what a daemon prints once it can be reached.
type ready struct {
	ID    string   `json:"id"`
	Addrs []string `json:"addrs"`
	Home  string   `json:"home"`
}

func (a *app) announce(r ready) {
	if !a.asTable() {
		b, _ := json.Marshal(r) // strings alone: it cannot fail
		fmt.Fprintf(a.out, "%s\n", b)
		return
	}
	fmt.Fprintf(a.out, "ready: %s\n", r.ID)
	for _, addr := range r.Addrs {
		fmt.Fprintf(a.out, "listens on %s\n", addr)
	}
}
