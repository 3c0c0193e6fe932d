package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"github.com/mustermesh/muster/node/api"
)

func newJobRetry(a *app) *cobra.Command {
	var wait bool
	var limit time.Duration
	cmd := aboutJob(a, network, "retry", "Run the tasks of an ended job again that have no good result", func(ctx context.Context, c *client, job string) error {
		resp, err := c.RetryJob(ctx, connect.NewRequest(&api.RetryJobRequest{Job: job}))
		if err != nil {
			return err
		}
		r := resp.Msg
		fmt.Fprintf(a.err, "job %s: %s %s again\n", short(r.Job), plural(int(r.Tasks), "task"), agree(r.Tasks, "runs", "run"))
		if !wait {
			a.goesOn(c, r.Job)
			return a.print(plain(r), func(w io.Writer) { fmt.Fprintln(w, r.Job) })
		}
		w := &watch{a: a, c: c, job: r.Job, show: a.progress(), running: map[string]string{}, since: time.Now(), limit: limit}
		last, err := w.run(ctx)
		if err != nil && ctx.Err() != nil {
			a.goesOn(c, r.Job)
		}
		if err != nil {
			return err
		}
		return errors.Join(jobError(last), a.print(plain(last), func(w io.Writer) {
			fmt.Fprintln(w, last.Id)
			a.sayVerdict(last)
		}))
	})
	cmd.Long = `Retry runs those tasks of an ended job again that have no good result: that failed, were
given up or are disputed, and what a cancelled or expired job left over. Results that
are good are kept. The job keeps its id, which is printed; with --wait the command
shows how it goes, and ends as ` + "`muster run`" + ` would.
JOB is an id or the beginning of one.`
	cmd.Example = "  muster job retry 3f2a9c1e\n  muster job retry 3f2a9c1e --wait && muster job get 3f2a9c1e"
	retryFlag(cmd.Flags(), &limit)
	cmd.Flags().BoolVar(&wait, "wait", false, "show how it goes, and leave when it has ended")
	return cmd
}
