package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/mustermesh/muster/internal/jobfile"
)

func newRoot(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:   "muster",
		Short: "Run work on other people's machines, and check that it was done right",
		Long: `muster is a peer-to-peer compute mesh in one program. Anybody can lend a machine,
anybody can run work on the machines of others, and nobody stands in between.

Results go to standard output, progress and messages to standard error.
Exit codes: 0 ok, 1 error, 2 usage, 3 not found, 4 the daemon cannot be reached,
5 the job failed, 6 the job is disputed, 124 it took too long.`,
		Example: `  muster devnet -n 4                       a whole mesh on this machine, to try things
  muster run prog.wasm -- --verbose        run a program somewhere, print what it prints
  muster run -i ./books:/in --split files:16 -O /out count.wasm
  muster daemon                            lend this machine`,
		SilenceErrors: true,
		SilenceUsage:  true,
		PersistentPreRun: func(*cobra.Command, []string) {
			a.began = true
		},
		RunE: noCommand(a),
		Args: cobra.ArbitraryArgs,
	}
	a.global.register(root.PersistentFlags())
	_ = root.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(formats, cobra.ShellCompDirectiveNoFileComp))
	_ = root.RegisterFlagCompletionFunc("log-level", cobra.FixedCompletions([]string{"debug", "info", "warn", "error"}, cobra.ShellCompDirectiveNoFileComp))
	root.AddCommand(
		newRun(a), newJob(a), newInit(a), newDaemon(a), newDevnet(a), newNode(a), newPeer(a),
		newProvider(a), newTrust(a), newBlob(a), newDoctor(a), newVersion(a),
		newTop(a), newEvents(a),
	)
	a.complete(root)
	return root
}

// group makes a command that only holds others.
func group(a *app, use, what string, subs ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: what, RunE: noCommand(a), Args: cobra.ArbitraryArgs}
	cmd.AddCommand(subs...)
	return cmd
}

// noCommand answers a word that is no command, or none.
func noCommand(a *app) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		a.began = false
		if len(args) == 0 {
			cmd.SetOut(a.err)
			_ = cmd.Help()
			return errors.New("a command is missing")
		}
		var names []string
		for _, sub := range cmd.Commands() {
			if sub.IsAvailableCommand() {
				names = append(names, sub.Name())
			}
		}
		if near := jobfile.Nearest(args[0], names); near != "" {
			return fmt.Errorf("there is no command %q in `%s`; did you mean `%s`?", args[0], cmd.CommandPath(), near)
		}
		return fmt.Errorf("there is no command %q in `%s`", args[0], cmd.CommandPath())
	}
}

// An access is how a command needs the node.
type access bool

const (
	reading access = true  // what the home holds is enough
	network access = false // it takes other nodes
)

// with wraps a command that asks a node: it loads the configuration, reaches the
// node, and ends with it. An interrupt ends ctx.
func (a *app) with(how access, do func(ctx context.Context, c *client, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		ctx, _, stop := a.until(cmd.Context())
		defer stop()
		c, err := a.dial(ctx, cmd, how)
		if err != nil {
			return err
		}
		err = do(ctx, c, args)
		if cause := context.Cause(ctx); err != nil && cause != nil {
			err = cause
		}
		return errors.Join(err, c.close())
	}
}

func (a *app) dial(ctx context.Context, cmd *cobra.Command, how access) (*client, error) {
	cfg, err := a.load(cmd)
	if err != nil {
		return nil, err
	}
	log, err := a.logger(&cfg, "warn")
	if err != nil {
		return nil, err
	}
	return a.mesh.dial(ctx, cfg, bool(how), log)
}

// argument wants exactly one, called name.
func argument(name string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		switch {
		case len(args) == 0:
			return fmt.Errorf("%s is missing", name)
		case len(args) > 1:
			return fmt.Errorf("one %s is enough; %q is too many", name, args[1])
		}
		return nil
	}
}

// noArguments wants none.
func noArguments(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("%q is not expected here", args[0])
	}
	return nil
}
