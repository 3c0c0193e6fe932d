package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"github.com/mustermesh/muster/node/api"
)

func newJob(a *app) *cobra.Command {
	return group(a, "job", "Submit jobs, and ask how they are",
		newJobSubmit(a), newJobList(a), newJobDescribe(a), newJobWatch(a), newJobLogs(a), newJobGet(a), newJobCancel(a), newJobValidate(a),
		newJobExplain(a), newJobRetry(a), newJobReceipts(a))
}

func newJobSubmit(a *app) *cobra.Command {
	r := &runner{a: a, detach: true}
	cmd := &cobra.Command{
		Use:   "submit PROGRAM.wasm|SPEC.yaml [flags] [-- ARGS]",
		Short: "Store a job and print its id",
		Long: `Submit hands a job to this home's node, prints its id, and leaves once the job is
stored. A daemon goes on with it, also after it was stopped and started again. Where
none runs, nothing moves until the next muster daemon, or another command that needs
the mesh, runs in this home.`,
		Example: "  muster job submit job.yaml\n  muster job submit -n 8 sim.wasm -- --steps 1000",
		Args:    programArgument,
		RunE:    r.run,
	}
	r.flags.register(cmd.Flags())
	return cmd
}

func newJobList(a *app) *cobra.Command {
	req := &api.ListJobsRequest{}
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List this node's jobs, the newest first",
		Example: "  muster job list --state running\n  muster job list -o json",
		Args:    noArguments,
		RunE: a.with(reading, func(ctx context.Context, c *client, _ []string) error {
			resp, err := c.ListJobs(ctx, connect.NewRequest(req))
			if err != nil {
				return err
			}
			return a.print(plainList(resp.Msg.Jobs), func(w io.Writer) {
				a.show(w, jobGrid(resp.Msg.Jobs, time.Now()), "no jobs; `muster run` makes one", "name", "why")
			})
		}),
	}
	cmd.Flags().StringVar(&req.State, "state", "", "only those in this `STATE`: pending, bidding, running, completed, failed, disputed, cancelled or expired")
	cmd.Flags().Uint32Var(&req.Limit, "limit", 50, "at most `N`; 0 is all")
	return cmd
}

func jobGrid(jobs []*api.JobSummary, now time.Time) *grid {
	g := columns("id", "name", "state", "tasks", "verified", "accepted", "age", "why")
	for _, j := range jobs {
		why := j.Waiting
		if why == "" {
			why = j.Reason
		}
		g.add(short(j.Id), j.Name, j.State, j.Tasks, j.Verified, j.Accepted, ago(j.SubmittedMs, now), why)
	}
	return g
}

// aboutJob makes a command with one argument, a job.
func aboutJob(a *app, how access, use, what string, do func(ctx context.Context, c *client, job string) error) *cobra.Command {
	return &cobra.Command{
		Use:     use + " JOB",
		Short:   what,
		Long:    what + ".\nJOB is an id or the beginning of one.",
		Example: "  muster job " + use + " 3f2a9c1e",
		Args:    argument("JOB"),
		RunE: a.with(how, func(ctx context.Context, c *client, args []string) error {
			return do(ctx, c, args[0])
		}),
	}
}

func newJobDescribe(a *app) *cobra.Command {
	return aboutJob(a, reading, "describe", "Show a job's states, tasks, executions, bids and specification", func(ctx context.Context, c *client, job string) error {
		resp, err := c.DescribeJob(ctx, connect.NewRequest(&api.DescribeJobRequest{Job: job}))
		if err != nil {
			return err
		}
		return a.print(plain(resp.Msg), func(w io.Writer) { describe(a.page(w), resp.Msg) })
	})
}

func newJobGet(a *app) *cobra.Command {
	r := result{a: a}
	cmd := aboutJob(a, reading, "get", "Fetch the files that a job collected, and print the folder", func(ctx context.Context, c *client, job string) error {
		resp, err := c.DescribeJob(ctx, connect.NewRequest(&api.DescribeJobRequest{Job: job}))
		if err != nil {
			return err
		}
		r := r
		r.c, r.job = c, resp.Msg.Job
		going := !ended(r.job.State)
		if going && !r.part {
			return fmt.Errorf("job %s is %s, not finished; `muster job get %[1]s --partial` fetches what there is so far", short(r.job.Id), clean(r.job.State))
		}
		r.part = r.part && going
		at, n, err := r.files(ctx)
		if err != nil {
			return err
		}
		a.aboutFiles(r.job, n, r.part)
		return a.print(object{{"job", r.job.Id}, {"output_dir", at}, {"output_files", n}}, func(w io.Writer) {
			if n > 0 {
				fmt.Fprintln(w, at)
			}
		})
	})
	cmd.Example = "  muster job get 3f2a9c1e\n  muster job get 3f2a9c1e -d ./result\n  muster job get 3f2a9c1e --partial"
	cmd.Flags().StringVarP(&r.dir, "dir", "d", "", "`DIR` for the files (default ./muster-<first 8 of the job's id>, with --partial ./muster-<…>-partial)")
	cmd.Flags().BoolVar(&r.force, "force", false, "write into a folder that has files already, over those that are in the way")
	cmd.Flags().BoolVar(&r.part, "partial", false, "of a job that is not finished, what there is so far")
	return cmd
}

// aboutFiles says what a person should know of the files that were fetched.
func (a *app) aboutFiles(j *api.JobSummary, n int, part bool) {
	id, state := short(j.Id), clean(j.State)
	switch {
	case part:
		fmt.Fprintf(a.err, "job %s (%s): %s so far, %s done; `muster job get %s` fetches them all once it has ended\n", id, state, plural(n, "file"), ofTasks(settled(j), j.Tasks), id)
	case n == 0:
		fmt.Fprintf(a.err, "job %s (%s) has no files\n", id, state)
	}
}

func newJobCancel(a *app) *cobra.Command {
	return aboutJob(a, network, "cancel", "Stop a job; what its tasks have made is kept", func(ctx context.Context, c *client, job string) error {
		resp, err := c.CancelJob(ctx, connect.NewRequest(&api.CancelJobRequest{Job: job}))
		if err != nil {
			return err
		}
		return a.print(plain(resp.Msg), func(w io.Writer) { fmt.Fprintln(w, clean(resp.Msg.State)) })
	})
}

func newJobValidate(a *app) *cobra.Command {
	var f jobFlags
	var ask bool
	cmd := &cobra.Command{
		Use:   "validate PROGRAM.wasm|SPEC.yaml [flags] [-- ARGS]",
		Short: "Check a job without submitting it",
		Long: `Validate reads a job as run would, with the same flags, and tells everything that is
wrong with it. With --deep a node reads the inputs too, splits them, and checks the
program and the constraints.`,
		Example: "  muster job validate job.yaml\n  muster job validate job.yaml --deep",
		Args:    programArgument,
		RunE: func(cmd *cobra.Command, args []string) error {
			wd, err := os.Getwd()
			if err != nil {
				return err
			}
			if _, err := a.load(cmd); err != nil {
				return err
			}
			job, err := f.job(cmd, args, wd, a.in)
			if err != nil {
				return err
			}
			verdict := object{{"file", args[0]}, {"valid", true}}
			if ask {
				return a.with(reading, a.validateDeep(job, verdict))(cmd, args)
			}
			return a.print(verdict, func(w io.Writer) { fmt.Fprintf(w, "%s: ok\n", args[0]) })
		},
	}
	f.register(cmd.Flags())
	cmd.Flags().BoolVar(&ask, "deep", false, "let a node check what takes reading the inputs")
	return cmd
}

func (a *app) validateDeep(job *api.Job, verdict object) func(context.Context, *client, []string) error {
	return func(ctx context.Context, c *client, args []string) error {
		last, err := submit(ctx, c, &api.SubmitJobRequest{Job: job, ValidateOnly: true}, silent{})
		if err != nil {
			return err
		}
		verdict = append(verdict, member{"tasks", last.Tasks}, member{"input_root", last.InputRoot})
		return a.print(verdict, func(w io.Writer) { fmt.Fprintf(w, "%s: ok, %s\n", args[0], plural(int(last.Tasks), "task")) })
	}
}
