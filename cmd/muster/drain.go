package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"github.com/mustermesh/muster/internal/jobfile"
	"github.com/mustermesh/muster/node/api"
)

// drainStep is how long the node is asked to wait at a time, so that people see
// how far it is.
const drainStep = time.Second

// A drain stops a node from taking new work, and waits for the old.
type drain struct {
	a       *app
	c       *client
	wait    bool
	timeout time.Duration // of waiting; 0: none
	told    string
}

func newNodeDrain(a *app) *cobra.Command {
	var wait bool
	var timeout string
	cmd := &cobra.Command{
		Use:   "drain",
		Short: "Take no new work, and let what runs come to its end",
		Long: `Drain makes this home's daemon take no new work from others, as before a restart or an
upgrade; what runs here for others goes on to its end. With --wait the command leaves
when nothing runs any more. The node's own jobs are not touched. Resume takes
work again, and so does a daemon that starts anew: a drain is for the time until then.

It ends with 124 when --timeout has passed and something still runs; the node goes
on draining then.`,
		Example: "  muster node drain\n  muster node drain --wait --timeout 10m && systemctl restart muster",
		Args:    noArguments,
		RunE: a.with(reading, func(ctx context.Context, c *client, _ []string) error {
			d := &drain{a: a, c: c, wait: wait}
			if timeout != "" {
				ms, err := jobfile.ParseDuration(timeout)
				if err != nil {
					return usagef("--timeout: %w", err)
				}
				if !wait {
					return usagef("--timeout is about --wait, which is missing")
				}
				d.timeout = time.Duration(ms) * time.Millisecond
			}
			if c.own {
				return errNoDaemonToDrain
			}
			return d.run(ctx)
		}),
	}
	cmd.Flags().BoolVar(&wait, "wait", false, "leave only when nothing runs here for others any more")
	cmd.Flags().StringVar(&timeout, "timeout", "", "wait at most this `DURATION`, such as 10m (default no limit)")
	return cmd
}

func newNodeResume(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "resume",
		Short:   "Take work again after a drain",
		Example: "  muster node resume",
		Args:    noArguments,
		RunE: a.with(reading, func(ctx context.Context, c *client, _ []string) error {
			if c.own {
				return errNoDaemonToDrain
			}
			resp, err := c.Drain(ctx, connect.NewRequest(&api.DrainRequest{}))
			if err != nil {
				return err
			}
			return a.print(plain(resp.Msg), func(w io.Writer) {
				fmt.Fprintln(w, "this node takes work again, as far as its rules allow (`muster provider config`)")
			})
		}),
	}
}

var errNoDaemonToDrain = errors.New("no daemon runs in this home, so nothing runs here for others; `muster daemon` starts one")

func (d *drain) run(ctx context.Context) error {
	state, err := d.ask(ctx, 0)
	if err != nil {
		return err
	}
	if d.wait {
		if state, err = d.until(ctx, state); err != nil {
			return err
		}
	}
	return d.a.print(plain(state), func(w io.Writer) {
		switch n := state.Running + state.Queued; {
		case n == 0:
			fmt.Fprintln(w, "drained: nothing runs here for others; `muster node resume` takes work again")
		default:
			fmt.Fprintf(w, "draining: %s; `muster node drain --wait` waits for the end, `muster node resume` takes work again\n", remaining(state))
		}
	})
}

// ask tells the node to drain; with a wait above 0 it answers when nothing runs
// any more, or after that.
func (d *drain) ask(ctx context.Context, wait time.Duration) (*api.DrainResponse, error) {
	resp, err := d.c.Drain(ctx, connect.NewRequest(&api.DrainRequest{On: true, Wait: wait > 0, TimeoutMs: wait.Milliseconds()}))
	if err != nil {
		return nil, err
	}
	return resp.Msg, nil
}

// until waits until nothing runs any more, and says meanwhile what still does.
func (d *drain) until(ctx context.Context, state *api.DrainResponse) (*api.DrainResponse, error) {
	began := time.Now()
	pace := time.NewTicker(drainStep) // where the node does not wait as told
	defer pace.Stop()
	for state.Running+state.Queued > 0 {
		passed := time.Since(began)
		if d.timeout > 0 && passed >= d.timeout {
			return nil, &exitError{exitTimeout, fmt.Errorf("after %s %s; the node takes nothing new, and goes on with that: wait again with `muster node drain --wait`, or `muster node resume`", age(d.timeout), remaining(state))}
		}
		if s := remaining(state); s != d.told {
			fmt.Fprintf(d.a.err, "draining: %s\n", s)
			d.told = s
		}
		step := drainStep
		if d.timeout > 0 {
			step = max(min(step, d.timeout-passed), time.Millisecond)
		}
		next, err := d.ask(ctx, step)
		switch {
		case connect.CodeOf(err) == connect.CodeDeadlineExceeded && ctx.Err() == nil: // the step has passed
		case err != nil:
			return nil, err
		case next.Running+next.Queued == 0:
			return next, nil
		default:
			state = next
		}
		select {
		case <-pace.C:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-d.over(began):
		}
	}
	return state, nil
}

// over is ready when the time for waiting is over.
func (d *drain) over(began time.Time) <-chan time.Time {
	if d.timeout == 0 {
		return nil
	}
	return time.After(d.timeout - time.Since(began))
}

// remaining says what still runs.
func remaining(s *api.DrainResponse) string {
	var parts []string
	if s.Running > 0 {
		parts = append(parts, plural(int(s.Running), "execution")+" "+agree(s.Running, "runs", "run"))
	}
	if s.Queued > 0 {
		parts = append(parts, fmt.Sprintf("%d %s", s.Queued, agree(s.Queued, "waits", "wait")))
	}
	return strings.Join(parts, ", ")
}
