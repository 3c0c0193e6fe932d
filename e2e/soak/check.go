package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"connectrpc.com/connect"
	"golang.org/x/sync/errgroup"

	"github.com/mustermesh/muster/node/api"
)

// A result is what one task left.
type result struct{ stdout, counts string }

// check looks at a job that ended: how each task was settled, and that its
// result is what the native program gives.
func (s *soak) check(ctx context.Context, b *batch) error {
	d, err := s.describe(ctx, b.id)
	if err != nil {
		return err
	}
	if d.Job.State != "completed" || int(d.Job.Verified) != b.size || len(d.Tasks) != b.size {
		return fmt.Errorf("it is %s (%s), %d of %d tasks verified; want completed, all", d.Job.State, d.Job.Reason, d.Job.Verified, b.size)
	}
	for _, t := range d.Tasks {
		if err := errors.Join(s.note(b, t), s.once(t)); err != nil {
			return err
		}
	}
	if err := s.receipts(ctx, d); connect.CodeOf(err) == connect.CodeUnimplemented {
		s.say("NOT CHECKED: the receipts of %s, for this muster gives none", b.name)
	} else if err != nil {
		return err
	}
	return s.compare(ctx, b)
}

func (s *soak) describe(ctx context.Context, job string) (d *api.DescribeJobResponse, err error) {
	client := s.fleet.requester()
	err = s.persist(ctx, func() error {
		resp, err := client.DescribeJob(ctx, connect.NewRequest(&api.DescribeJobRequest{Job: job}))
		if err == nil {
			d = resp.Msg
		}
		return err
	})
	return d, err
}

// once: the task has one settlement, on answers that agree, of two peers or more,
// of whom none answered twice, or on the requester's own run.
func (s *soak) once(t *api.Task) error {
	if t.State != "verified" || !t.Ok || t.Output == "" || t.How == "" {
		return fmt.Errorf("task %d is %s (%s), with output %q", t.Index, t.State, t.How, t.Output)
	}
	ids, peers, agreed, own := map[string]bool{}, map[string]bool{}, 0, false
	for _, e := range t.Executions {
		s.executions.Add(1)
		if ids[e.Id] {
			return fmt.Errorf("task %d has execution %s twice", t.Index, e.Id)
		}
		ids[e.Id] = true
		switch e.State {
		case "answered":
			if e.Output != t.Output {
				return fmt.Errorf("task %d was settled with %s, and execution %s answered %s", t.Index, t.Output, e.Id, e.Output)
			}
			if peers[e.Peer] {
				return fmt.Errorf("task %d: %s checked itself", t.Index, e.Peer)
			}
			peers[e.Peer] = true
			agreed++
			own = own || e.Peer == s.fleet.node(0).ID // as good as any number of peers
		case "wrong":
			return fmt.Errorf("task %d: %s was proven wrong, and nobody lies here", t.Index, e.Peer)
		case "assigned", "running":
			return fmt.Errorf("task %d is settled, and execution %s is still %s", t.Index, e.Id, e.State)
		default:
			s.lost.Add(1)
		}
	}
	if own && agreed == 1 {
		s.alone.Add(1)
	} else if agreed < 2 {
		return fmt.Errorf("task %d is verified (%s), and has %d answers:\n%v", t.Index, t.How, agreed, t.Executions)
	}
	return nil
}

// receipts: none is given twice, and all are for answers that counted.
func (s *soak) receipts(ctx context.Context, d *api.DescribeJobResponse) error {
	answered := map[string]bool{}
	for _, t := range d.Tasks {
		for _, e := range t.Executions {
			answered[e.Id] = e.State == "answered"
		}
	}
	client := s.fleet.requester()
	return s.persist(ctx, func() error {
		resp, err := client.JobReceipts(ctx, connect.NewRequest(&api.JobReceiptsRequest{Job: d.Job.Id}))
		if err != nil {
			return err
		}
		seen := map[string]bool{}
		for _, r := range resp.Msg.Receipts {
			if seen[r.Execution] || !answered[r.Execution] {
				return fmt.Errorf("%w: task %d: a receipt for execution %s, seen before: %v, that answered: %v", errBroken, r.Task, r.Execution, seen[r.Execution], answered[r.Execution])
			}
			seen[r.Execution] = true
		}
		return nil
	})
}

// compare runs the native program on every text and compares.
func (s *soak) compare(ctx context.Context, b *batch) error {
	got, stdout, err := s.results(ctx, b)
	if err != nil {
		return err
	}
	want := make([]result, b.size)
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i := range want {
		g.Go(func() (err error) {
			want[i], err = s.natively(gctx, b, i)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	var printed strings.Builder
	for i, w := range want {
		if got[i] != w.counts {
			return fmt.Errorf("task %d gave\n%s\nnatively\n%s", i, got[i], w.counts)
		}
		printed.WriteString(w.stdout)
	}
	if stdout != printed.String() {
		return fmt.Errorf("the tasks printed\n%s\nnatively\n%s", stdout, printed.String())
	}
	s.verified.Add(int64(b.size))
	return nil
}

// results gives what the tasks left, and what they printed together.
func (s *soak) results(ctx context.Context, b *batch) (counts map[int]string, stdout string, err error) {
	client := s.fleet.requester()
	err = s.persist(ctx, func() error {
		counts, stdout = make(map[int]string), ""
		files, err := client.JobFiles(ctx, connect.NewRequest(&api.JobFilesRequest{Job: b.id}))
		if err != nil {
			return err
		}
		defer files.Close()
		for files.Receive() {
			f := files.Msg()
			top, _, _ := strings.Cut(f.Path, "/")
			if i, err := strconv.Atoi(top); err == nil && path.Base(f.Path) == "counts.tsv" {
				counts[i] += string(f.Data)
			}
		}
		if err := files.Err(); err != nil {
			return err
		}
		logs, err := client.JobLogs(ctx, connect.NewRequest(&api.JobLogsRequest{Job: b.id, Task: -1}))
		if err != nil {
			return err
		}
		defer logs.Close()
		var all bytes.Buffer
		for logs.Receive() {
			all.Write(logs.Msg().Data)
		}
		stdout = all.String()
		return logs.Err()
	})
	return counts, stdout, err
}

// natively runs the program on this machine, outside of any sandbox.
func (s *soak) natively(ctx context.Context, b *batch, i int) (r result, err error) {
	out := b.piece(i) + ".out"
	stdout, err := exec.CommandContext(ctx, s.native, "-in", b.piece(i), "-out", out).Output()
	if err != nil {
		return r, fmt.Errorf("%s: %w", s.native, err)
	}
	counts, err := os.ReadFile(filepath.Join(out, "counts.tsv"))
	return result{string(stdout), string(counts)}, errors.Join(err, os.RemoveAll(out))
}
