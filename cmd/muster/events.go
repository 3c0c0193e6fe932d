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
	cmd := &cobra.Command{
		Use:   "events",
		Short: "Print what happens at this node, a line for each event",
		Long: `Events prints what happened at this node, the oldest first, and with --follow what goes
on to happen. Each event has a number, which grows by one and survives a restart; --after
goes on behind one. Where events in between are no longer kept, it says so. With -o json
each line is an object, Event in api.proto.`,
		Example: "  muster events -f\n  muster events --job 3f2a9c1e\n  muster events --after 1042 -o json",
		Args:    noArguments,
		RunE: a.with(reading, func(ctx context.Context, c *client, _ []string) error {
			if req.Follow && c.own {
				fmt.Fprintln(a.err, "[no daemon runs in this home, so nothing goes on; this is what there is]")
				req.Follow = false
			}
			t := &tail{after: req.After, all: req.Job == "", take: a.printEvent(), gap: func(from, to uint64) {
				fmt.Fprintf(a.err, "[events %d to %d are not kept any more]\n", from, to)
			}}
			return t.run(ctx, c, req, patient(c, limit, a.tellOnce()))
		}),
	}
	cmd.Flags().BoolVarP(&req.Follow, "follow", "f", false, "go on until interrupted")
	cmd.Flags().StringVar(&req.Job, "job", "", "only of this `JOB`, by its id or the beginning of it")
	cmd.Flags().Uint64Var(&req.After, "after", 0, "begin behind the event of this `NUMBER`")
	retryFlag(cmd.Flags(), &limit)
	_ = cmd.RegisterFlagCompletionFunc("job", a.completions(jobWords))
	return cmd
}

// A tail reads a node's events, each once, over as many connections as it takes.
type tail struct {
	after uint64
	all   bool // of every job, so that numbers follow each other
	take  func(*api.Event) error
	gap   func(from, to uint64) // numbers that are missing
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
		t.gap(t.after+1, e.Sequence-1)
	}
	t.after = e.Sequence
	return t.take(e)
}

// printEvent gives what writes an event in the format that was asked for.
func (a *app) printEvent() func(*api.Event) error {
	if !a.asTable() {
		return func(e *api.Event) error { return a.printLine(plain(e)) }
	}
	return func(e *api.Event) error {
		_, err := io.WriteString(a.out, eventText(e)+"\n")
		return err
	}
}

// eventText gives an event as one line; its number is for --after.
func eventText(e *api.Event) string {
	return fmt.Sprintf("%6d  %s  %s", e.Sequence, time.UnixMilli(e.TimeMs).Format(time.DateTime), what(e, true))
}

// what says what happened; execution is whether to name the execution, too.
func what(e *api.Event, execution bool) string {
	state := e.State
	if state == "" {
		state = e.Kind
	}
	words := []string{fmt.Sprintf("%-10s", state)}
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
