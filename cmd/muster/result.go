package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"connectrpc.com/connect"

	"github.com/mustermesh/muster/node/api"
)

// Which task's output to read: all, or what counts as the result of the job.
const (
	allTasks   = -1
	resultTask = -2
)

// What a JSON document holds of the tasks' output; the rest is had by job logs.
const (
	maxShownTasks  = 256
	maxShownOutput = 64 << 10 // bytes
)

// A result delivers what a job that ended has made.
type result struct {
	a     *app
	c     *client
	job   *api.JobSummary
	dir   string // for files; "" is the default
	force bool
	part  bool // what there is so far of a job that still runs
}

func (r *result) deliver(ctx context.Context) error {
	if !r.a.asTable() {
		return r.document(ctx)
	}
	err := errors.Join(
		copyLogs(ctx, r.c, r.a.out, &api.JobLogsRequest{Job: r.job.Id, Task: resultTask}),
		copyLogs(ctx, r.c, r.a.err, &api.JobLogsRequest{Job: r.job.Id, Task: resultTask, Stderr: true}),
	)
	if r.job.State != "completed" {
		return nil // there may be no output at all, and why is said already
	}
	if err != nil {
		return err
	}
	dir, n, err := r.files(ctx)
	if err != nil {
		return err
	}
	if n > 0 {
		fmt.Fprintf(r.a.err, "%s in %s\n", plural(n, "file"), dir)
	}
	for _, note := range r.job.Notes {
		r.a.page(r.a.err).say("note: ", "%s", note)
	}
	r.a.sayVerdict(r.job)
	return nil
}

// files fetches the collected files, and gives the folder ("" if there are none)
// and their number.
func (r *result) files(ctx context.Context) (dir string, n int, err error) {
	dir = r.dir
	if dir == "" {
		dir = "./muster-" + short(r.job.Id)
		if r.part {
			dir += "-partial" // so that it is not in the way of the rest
		}
	}
	stream, err := r.c.JobFiles(ctx, connect.NewRequest(&api.JobFilesRequest{Job: r.job.Id, Partial: r.part}))
	if err != nil {
		return "", 0, err
	}
	n, err = fetch(stream, dir, r.force)
	switch {
	case err != nil && n == 0:
		return "", 0, err
	case err != nil:
		return "", n, fmt.Errorf("%w; what came is in %s, and `muster job get %s --force -d %s` fetches it again", err, dir, short(r.job.Id), dir)
	case n == 0:
		return "", 0, nil
	}
	return dir, n, nil
}

// verdict says how far the result can be believed, and why.
func verdict(j *api.JobSummary) string {
	var parts []string
	if j.Accepted > 0 {
		parts = append(parts, fmt.Sprintf("%d accepted on standing alone", j.Accepted))
	}
	if j.Disputed > 0 {
		parts = append(parts, fmt.Sprintf("%d disputed", j.Disputed))
	}
	if j.Failed > 0 {
		parts = append(parts, fmt.Sprintf("%d failed", j.Failed))
	}
	s := ofTasks(j.Verified, j.Tasks) + " verified"
	if len(parts) > 0 {
		s += ", " + strings.Join(parts, ", ")
	}
	if j.How != "" {
		s += ": " + clean(j.How)
	}
	return s + fmt.Sprintf("; confidence %s reached (%s wanted)", numberText(j.ConfidenceReached), numberText(j.ConfidenceWanted))
}

// sayVerdict says on standard error how far a job's result can be believed.
func (a *app) sayVerdict(j *api.JobSummary) { a.page(a.err).say("", "%s", verdict(j)) }

// document prints everything about the job as one value.
func (r *result) document(ctx context.Context) error {
	desc, err := r.c.DescribeJob(ctx, connect.NewRequest(&api.DescribeJobRequest{Job: r.job.Id}))
	if err != nil {
		return err
	}
	doc := object{{"job", plain(desc.Msg.Job)}}
	doc = append(doc, member{"stdout", r.shown(ctx, resultTask)}, member{"tasks", r.tasks(ctx, desc.Msg.Tasks)})
	doc = append(doc, member{"reduce", plain(desc.Msg.Reduce)})
	var dir any
	n := 0
	if r.job.State == "completed" {
		at, files, err := r.files(ctx)
		if err != nil {
			return err
		}
		if n = files; at != "" {
			dir = at
		}
	}
	doc = append(doc, member{"output_dir", dir}, member{"output_files", n})
	return r.a.print(doc, nil)
}

func (r *result) tasks(ctx context.Context, ts []*api.Task) []any {
	out := make([]any, len(ts))
	for i, t := range ts {
		o := plain(t).(object)
		if len(ts) <= maxShownTasks {
			o = append(o, member{"stdout", r.shown(ctx, int64(t.Index))})
		}
		out[i] = o
	}
	return out
}

// shown gives a task's standard output where it is short text, else nil.
func (r *result) shown(ctx context.Context, task int64) any {
	var b limited
	err := copyLogs(ctx, r.c, &b, &api.JobLogsRequest{Job: r.job.Id, Task: task})
	if err != nil || !utf8.ValidString(b.String()) {
		return nil
	}
	return b.String()
}

// limited is a short text being written.
type limited struct{ strings.Builder }

var errLong = errors.New("too long to show")

func (l *limited) Write(p []byte) (int, error) {
	if l.Len()+len(p) > maxShownOutput {
		return 0, errLong
	}
	return l.Builder.Write(p)
}

// copyLogs writes what tasks wrote.
func copyLogs(ctx context.Context, c *client, w io.Writer, req *api.JobLogsRequest) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.JobLogs(ctx, connect.NewRequest(req))
	if err != nil {
		return err
	}
	defer stream.Close()
	for stream.Receive() {
		if stream.Msg().Live {
			continue // of a task without a result: nobody verified it
		}
		if _, err := w.Write(stream.Msg().Data); err != nil {
			cancel()
			return err
		}
	}
	return stream.Err()
}
