package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"github.com/mustermesh/muster/node/api"
)

// A runner is one `muster run`.
type runner struct {
	a             *app
	flags         jobFlags
	dir           string
	force, detach bool
	retry         time.Duration // see retry.limit
}

func newRun(a *app) *cobra.Command {
	r := &runner{a: a}
	cmd := &cobra.Command{
		Use:   "run PROGRAM.wasm|SPEC.yaml [flags] [-- ARGS]",
		Short: "Run a job, show its progress, print its result",
		Long: `Run submits a job, shows on standard error how it goes, and prints what its tasks
wrote to standard output, in the order of the tasks; with --reduce, what the
reduction wrote. Files that were collected with -O go to DIR/<path> for one task,
and to DIR/<task index>/<path> for several.

PROGRAM is a WebAssembly file or its CID. SPEC is a job specification; flags take
precedence over it (lists as a whole, --env and --label one by one).

Where no daemon runs in this home, the command is a node itself for as long as it
takes. An interrupt cancels the job; on a terminal it asks first, and can leave the
job as it is instead. A second interrupt leaves at once.

With --detach the command leaves once the job is stored. A daemon goes on with it;
where none runs, the next does that runs in this home, and until then nothing moves.`,
		Example: `  muster run hello.wasm -- Ada
  muster run -i ./books:/in --split files:16 -O /out --reduce merge.wasm count.wasm
  muster run job.yaml --confidence 0.999 -d ./result
  echo 1 2 3 | muster run --stdin - sum.wasm -o json`,
		Args: programArgument,
		RunE: r.run,
	}
	r.flags.register(cmd.Flags())
	cmd.Flags().StringVarP(&r.dir, "dir", "d", "", "`DIR` for the collected files (default ./muster-<first 8 of the job's id>)")
	cmd.Flags().BoolVar(&r.force, "force", false, "write into a folder that has files already, over those that are in the way")
	retryFlag(cmd.Flags(), &r.retry)
	cmd.Flags().BoolVar(&r.detach, "detach", false, "print the job's id and leave; the daemon goes on with it, or the next node of this home")
	return cmd
}

// programArgument wants one argument before the dashes.
func programArgument(cmd *cobra.Command, args []string) error {
	n := len(args)
	if dash := cmd.ArgsLenAtDash(); dash >= 0 {
		n = dash
	}
	switch {
	case n == 0:
		return errors.New("PROGRAM.wasm or SPEC.yaml is missing")
	case n > 1:
		return fmt.Errorf("%q is one argument too many; those of the program go after --", args[1])
	}
	return nil
}

func (r *runner) run(cmd *cobra.Command, args []string) error {
	wd, err := os.Getwd()
	if err != nil {
		return err
	}
	job, err := r.flags.job(cmd, args, wd, r.a.in)
	if err != nil {
		return err
	}
	if len(job.Outputs) > 0 {
		if err := checkFolder(r.dir, r.force); err != nil {
			return err
		}
	}
	ctx, deaf, stop := r.a.until(cmd.Context())
	defer stop()
	c, err := r.a.dial(ctx, cmd, network)
	if err != nil {
		return err
	}
	err = r.attached(ctx, c, job, deaf)
	if cause := context.Cause(ctx); err != nil && cause != nil {
		err = cause
	}
	return errors.Join(err, c.close())
}

// attached is the run once the node is there. Until the job is accepted an
// interrupt ends ctx; from then on it is about the job.
func (r *runner) attached(ctx context.Context, c *client, job *api.Job, deaf func()) error {
	show := r.a.progress()
	if r.detach || !r.a.asTable() {
		show = silent{}
	}
	accepted, err := submit(ctx, c, &api.SubmitJobRequest{Job: job, Local: r.flags.local, Engine: r.flags.engine}, show)
	if err != nil {
		return err
	}
	if r.detach {
		if c.own {
			r.a.goesOn(c, accepted.Job)
		}
		return r.a.printID(accepted.Job)
	}
	signals, hush := r.a.interrupts()
	deaf()
	w := &watch{
		a: r.a, c: c, job: accepted.Job, show: show, signals: signals, running: map[string]string{}, since: time.Now(), limit: r.retry,
		rearm: func() <-chan os.Signal {
			hush()
			signals, hush = r.a.interrupts()
			return signals
		},
	}
	fmt.Fprintf(r.a.err, "job %s: %s\n", accepted.Job, plural(int(accepted.Tasks), "task"))
	last, err := w.run(ctx)
	hush()
	if errors.Is(err, errDetached) {
		r.a.goesOn(c, accepted.Job)
		return nil
	}
	if err != nil {
		return err
	}
	ctx, _, stop := r.a.until(ctx)
	defer stop()
	res := &result{a: r.a, c: c, job: last, dir: r.dir, force: r.force}
	return errors.Join(jobError(last), res.deliver(ctx))
}

// goesOn says how to come back to a job that goes on without this command.
func (a *app) goesOn(c *client, id string) {
	p := a.page(a.err)
	if c.own {
		p.say("", "no daemon runs in this home: job %s is stored, and goes on when `muster daemon` (or any muster command that needs the mesh) runs here", short(id))
		return
	}
	p.say("", "job %s goes on; `muster job watch %[1]s` shows how, `muster job get %[1]s` fetches its files", short(id))
}

func (a *app) printID(id string) error {
	return a.print(object{{"job", id}}, func(w io.Writer) { fmt.Fprintln(w, id) })
}

// submit hands a job to the node and gives its last word: the job's id.
func submit(ctx context.Context, c *client, req *api.SubmitJobRequest, show progress) (*api.SubmitJobResponse, error) {
	stream, err := c.SubmitJob(ctx, connect.NewRequest(req))
	if err != nil {
		return nil, err
	}
	defer stream.Close()
	var last *api.SubmitJobResponse
	for stream.Receive() {
		last = stream.Msg()
		if last.Job == "" {
			show.show(time.Now(), news{files: last.FilesRead, bytes: last.BytesRead})
		}
	}
	switch err := stream.Err(); {
	case lostConnection(err):
		return nil, fmt.Errorf("the node stopped before it had stored the job (%s); its log says why: submit it again", message(err))
	case err != nil:
		return nil, err
	case last == nil || (last.Job == "" && !req.ValidateOnly):
		return nil, errors.New("the node took the job but gave it no id; see its log")
	}
	return last, nil
}

// silent shows nothing.
type silent struct{}

func (silent) show(time.Time, news) {}
func (silent) tick(time.Time)       {}
func (silent) done(time.Time)       {}
