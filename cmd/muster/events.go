package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"github.com/mustermesh/muster/node/api"
)

func newEvents(a *app) *cobra.Command {
	req := &api.EventsRequest{}
	var limit time.Duration
	var numbers bool
	cmd := &cobra.Command{
		Use:   "events",
		Short: "Print what happens at this node, a line for each event",
		Long: `Events prints what happened at this node, the oldest first, and with --follow what goes
on to happen. Each event has a number, which --numbers shows; they grow, also over a
restart, and --after goes on behind one. Where events in between are no longer kept, it
says so. With -o json each line is an object, Event in api.proto.`,
		Example: "  muster events -f\n  muster events --job 3f2a9c1e\n  muster events --after 1042 -o json",
		Args:    noArguments,
		RunE: a.with(reading, func(ctx context.Context, c *client, _ []string) error {
			if req.Follow && c.own {
				fmt.Fprintln(a.err, "[no daemon runs in this home, so nothing goes on; this is what there is]")
				req.Follow = false
			}
			t := &tail{after: req.After, all: req.Job == "", take: a.printEvent(numbers), gap: func() {
				fmt.Fprintln(a.err, "[events before these are not kept any more]")
			}}
			return t.run(ctx, c, req, patient(c, limit, a.tellOnce()))
		}),
	}
	cmd.Flags().BoolVarP(&req.Follow, "follow", "f", false, "go on until interrupted")
	cmd.Flags().StringVar(&req.Job, "job", "", "only of this `JOB`, by its id or the beginning of it")
	cmd.Flags().Uint64Var(&req.After, "after", 0, "begin behind the event of this `NUMBER`")
	cmd.Flags().BoolVar(&numbers, "numbers", false, "begin each line with the event's number")
	retryFlag(cmd.Flags(), &limit)
	return cmd
}

// A tail reads a node's events, each once, over as many connections as it takes.
type tail struct {
	after uint64
	all   bool // of every job, so that numbers follow each other
	take  func(*api.Event) error
	gap   func() // told where some are missing
}

func (t *tail) run(ctx context.Context, c *client, req *api.EventsRequest, again retry) error {
	return again.do(ctx, func(ctx context.Context, heard func()) error {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel() // the stream ends where nobody takes more
		stream, err := c.Events(ctx, connect.NewRequest(&api.EventsRequest{Job: req.Job, After: t.after, Follow: req.Follow}))
		if err != nil {
			return err
		}
		defer stream.Close()
		for stream.Receive() {
			heard()
			if err := t.event(stream.Msg()); err != nil {
				return err
			}
		}
		if stream.Err() == nil && req.Follow {
			return connect.NewError(connect.CodeUnavailable, fmt.Errorf("the node stopped; `muster events --after %d` goes on when it is back", t.after))
		}
		return stream.Err()
	})
}

func (t *tail) event(e *api.Event) error {
	if e.Sequence <= t.after && e.Sequence != 0 {
		return nil // known already
	}
	missing := e.Gap || (t.all && t.after > 0)
	if missing && e.Sequence > t.after+1 && t.gap != nil {
		t.gap()
	}
	t.after = e.Sequence
	return t.take(e)
}

// printEvent gives what writes an event in the format that was asked for.
func (a *app) printEvent(numbers bool) func(*api.Event) error {
	if !a.asTable() {
		return func(e *api.Event) error { return a.printLine(plain(e)) }
	}
	return func(e *api.Event) error {
		s := time.UnixMilli(e.TimeMs).Format(time.DateTime) + "  " + what(e, true)
		if numbers {
			s = fmt.Sprintf("%d  %s", e.Sequence, s)
		}
		_, err := io.WriteString(a.out, s+"\n")
		return err
	}
}

// what says what happened; execution is whether to name the execution, too.
func what(e *api.Event, execution bool) string {
	words := []string{fmt.Sprintf("%-9s %-9s", e.Kind, e.State)}
	if e.Job != "" {
		words = append(words, "job "+short(e.Job))
	}
	if e.Execution != "" || e.Kind == "task" || e.Kind == "progress" {
		words = append(words, fmt.Sprintf("task %d", e.Task))
	}
	if e.Peer != "" {
		words = append(words, "peer "+ending(e.Peer))
	}
	if e.Execution != "" && execution {
		words = append(words, "execution "+short(e.Execution))
	}
	s := strings.TrimRight(strings.Join(words, "  "), " ")
	if p := e.Progress; p != nil && p.Fraction >= 0 {
		s += fmt.Sprintf("  %.0f%%", 100*min(p.Fraction, 1))
	}
	if text := strings.TrimSpace(e.Text + " " + e.Progress.GetText()); text != "" {
		s += ": " + text
	}
	return clean(s)
}
