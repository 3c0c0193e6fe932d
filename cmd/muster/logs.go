package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"github.com/mustermesh/muster/node/api"
)

func newJobLogs(a *app) *cobra.Command {
	req := &api.JobLogsRequest{}
	var limit time.Duration
	var prefix bool
	var prefixSet func() bool
	cmd := aboutJob(a, reading, "logs", "Print what a job's tasks wrote, in the order of the tasks", func(ctx context.Context, c *client, job string) error {
		req.Job = job
		f := &follow{source: jobLogs{c}, out: a.out, err: a.err, req: req, prefix: prefix}
		if !prefixSet() {
			f.prefix = req.Follow && req.Task < 0 && a.isTerminal(a.out)
		}
		if req.Follow && c.own {
			fmt.Fprintln(a.err, "[no daemon runs in this home, so nothing goes on; this is what there is]")
			req.Follow = false
		}
		return f.run(ctx, patient(c, limit, a.tellOnce()))
	})
	cmd.Long = `Logs prints what a job's tasks wrote, in the order of the tasks. With --follow it goes on
until the job has ended, in the order in which it comes; what a task writes before its
result is verified is its provider's word. It waits for as long as nothing is written,
and goes on where it was after a daemon was restarted.
JOB is an id or the beginning of one.`
	cmd.Example = "  muster job logs 3f2a9c1e\n  muster job logs 3f2a9c1e -f\n  muster job logs 3f2a9c1e --task 3 --stderr"
	cmd.Flags().Int64Var(&req.Task, "task", allTasks, "only task `N`, from 0")
	cmd.Flags().BoolVar(&req.Stderr, "stderr", false, "their standard error instead of standard output")
	cmd.Flags().BoolVarP(&req.Follow, "follow", "f", false, "go on until the job has ended")
	cmd.Flags().BoolVar(&prefix, "prefix", false, "begin each line with its task (default on a terminal where several are followed)")
	prefixSet = func() bool { return cmd.Flags().Changed("prefix") }
	retryFlag(cmd.Flags(), &limit)
	check := cmd.Args
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if req.Task < 0 && cmd.Flags().Changed("task") {
			return fmt.Errorf("task %d; they are counted from 0", req.Task)
		}
		return check(cmd, args)
	}
	return cmd
}

// A logSource opens streams of what tasks wrote.
type logSource interface {
	open(ctx context.Context, req *api.JobLogsRequest) (logStream, error)
}

// A logStream is one connection over which they come.
type logStream interface {
	Receive() bool
	Msg() *api.LogChunk
	Err() error
	Close() error
}

// jobLogs is the node as a logSource.
type jobLogs struct{ c *client }

func (j jobLogs) open(ctx context.Context, req *api.JobLogsRequest) (logStream, error) {
	return j.c.JobLogs(ctx, connect.NewRequest(req))
}

// A follow writes what tasks wrote, each byte once, over as many connections as
// it takes. No time passes for it: a task may be silent for as long as it likes.
type follow struct {
	source   logSource
	out, err io.Writer
	req      *api.JobLogsRequest
	prefix   bool

	tasks   map[uint32]*told
	saidRaw bool // that what comes is not verified
}

// told is what was written of one task.
type told struct {
	execution string
	next      uint64 // offset of the first byte that is not written yet
	partial   []byte // a line that has not ended, where lines have prefixes
}

// maxPartial is how long a line may get before it is written in pieces, in bytes.
const maxPartial = 64 << 10

func (f *follow) run(ctx context.Context, again retry) error {
	f.tasks = map[uint32]*told{}
	err := again.do(ctx, f.once)
	for _, task := range slices.Sorted(maps.Keys(f.tasks)) {
		if t := f.tasks[task]; len(t.partial) > 0 && err == nil {
			err = f.flush(task, t)
		}
	}
	return err
}

// once follows over one connection.
func (f *follow) once(ctx context.Context, heard func()) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // the stream ends where out takes no more
	req := &api.JobLogsRequest{Job: f.req.Job, Task: f.req.Task, Stderr: f.req.Stderr, Follow: f.req.Follow}
	if t := f.tasks[uint32(req.Task)]; req.Task >= 0 && t != nil {
		req.Offset = t.next
	}
	stream, err := f.source.open(ctx, req)
	if err != nil {
		return err
	}
	defer stream.Close()
	for stream.Receive() {
		heard()
		if err := f.take(stream.Msg()); err != nil {
			return err
		}
	}
	return stream.Err()
}

// take writes what is new in a chunk.
func (f *follow) take(c *api.LogChunk) error {
	if c.Note != "" {
		f.note("%s", clean(c.Note))
	}
	if len(c.Data) == 0 && c.Cut == 0 {
		return nil
	}
	t := f.tasks[c.Task]
	if t == nil {
		t = &told{execution: c.Execution}
		f.tasks[c.Task] = t
	}
	if c.Live && !f.saidRaw {
		f.saidRaw = true
		f.note("what running tasks write is shown as their providers send it; it is not verified yet")
	}
	if err := f.turn(t, c); err != nil {
		return err
	}
	data := c.Data
	switch {
	case c.Offset > t.next || (c.Offset == t.next && c.Cut > 0):
		f.note("task %d: %s not kept", c.Task, bytesText(max(c.Offset-t.next, c.Cut)))
	case c.Offset < t.next:
		data = data[min(t.next-c.Offset, uint64(len(data))):]
	}
	t.next = max(t.next, c.Offset+uint64(len(c.Data)))
	return f.write(c.Task, t, data)
}

// turn notices that a task's output now comes from another execution, whose
// bytes need not be those that came before.
func (f *follow) turn(t *told, c *api.LogChunk) error {
	if c.Execution == "" || c.Execution == t.execution {
		return nil
	}
	before := t.execution
	t.execution = c.Execution
	if before == "" || t.next == 0 || c.Offset >= t.next {
		return nil
	}
	if err := f.flush(c.Task, t); err != nil {
		return err
	}
	what := "the verified output"
	if c.Live {
		what = "the output of execution " + short(c.Execution)
	}
	f.note("task %d: what was shown came from execution %s, which did not make the result; here is %s", c.Task, clean(short(before)), clean(what))
	t.next = c.Offset
	return nil
}

func (f *follow) note(format string, args ...any) {
	fmt.Fprintf(f.err, "["+format+"]\n", args...)
}

// write gives data to the reader, with prefixes line by line.
func (f *follow) write(task uint32, t *told, data []byte) error {
	if !f.prefix {
		_, err := f.out.Write(data)
		return err
	}
	for len(data) > 0 {
		end := bytes.IndexByte(data, '\n') + 1
		whole := end > 0
		if !whole {
			end = len(data)
		}
		t.partial = append(t.partial, data[:end]...)
		data = data[end:]
		if whole || len(t.partial) > maxPartial {
			if err := f.flush(task, t); err != nil {
				return err
			}
		}
	}
	return nil
}

// flush writes the line that has been collected.
func (f *follow) flush(task uint32, t *told) error {
	if len(t.partial) == 0 {
		return nil
	}
	row := fmt.Appendf(nil, "%4d | %s", task, t.partial)
	if row[len(row)-1] != '\n' {
		row = append(row, '\n')
	}
	t.partial = t.partial[:0]
	_, err := f.out.Write(row)
	return err
}
