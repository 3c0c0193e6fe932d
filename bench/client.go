package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"connectrpc.com/connect"
	"golang.org/x/sync/errgroup"

	"github.com/mustermesh/muster/e2e/mesh"
	"github.com/mustermesh/muster/node/api"
)

// Confidences that take no checker and two.
const (
	acceptOnly = 0
	verifyTwo  = 0.9
)

// jobLimit is how long one job of the benchmarks may take.
const jobLimit = 5 * time.Minute

// A client submits jobs to a requester's control API.
type client struct {
	api.MusterClient
	node *mesh.Node
	noop string // absolute path of the program
}

func newClient(n *mesh.Node, noop string) (*client, error) {
	noop, err := filepath.Abs(noop)
	return &client{MusterClient: n.API(64), node: n, noop: noop}, err
}

// A timing is how long a job took from before its submission on: until its id,
// which is on disk by then, and until its end was heard of.
type timing struct{ submitted, settled time.Duration }

// job runs one job of so many tasks.
func (c *client) job(ctx context.Context, tasks int, confidence float64) (t timing, err error) {
	ctx, cancel := context.WithTimeout(ctx, jobLimit)
	defer cancel()
	began := time.Now()
	id, err := c.submit(ctx, tasks, confidence)
	if err != nil {
		return t, err
	}
	t.submitted = time.Since(began)
	last, err := c.await(ctx, id)
	if err != nil {
		return t, err
	}
	t.settled = time.Since(began)
	want := last.Accepted + last.Verified
	if confidence > 0 {
		want = last.Verified
	}
	if last.State != "completed" || want != last.Tasks {
		return t, fmt.Errorf("job %s: %s: %d accepted and %d verified of %d tasks: %s", id, last.State, last.Accepted, last.Verified, last.Tasks, last.Reason)
	}
	return t, nil
}

func (c *client) submit(ctx context.Context, tasks int, confidence float64) (id string, err error) {
	stream, err := c.SubmitJob(ctx, connect.NewRequest(&api.SubmitJobRequest{Job: &api.Job{
		Program: &api.Program{Wasm: c.noop}, Count: uint32(tasks), Confidence: confidence, HasConfidence: true,
		Resources: &api.Resources{Memory: 16 << 20, Disk: 16 << 20},
	}}))
	if err != nil {
		return "", err
	}
	defer stream.Close()
	for stream.Receive() {
		id = stream.Msg().Job
	}
	return id, stream.Err()
}

func (c *client) await(ctx context.Context, id string) (*api.JobSummary, error) {
	stream, err := c.WatchJob(ctx, connect.NewRequest(&api.WatchJobRequest{Job: id}))
	if err != nil {
		return nil, err
	}
	defer stream.Close()
	for stream.Receive() {
		if m := stream.Msg(); m.Ended {
			return m.Job, nil
		}
	}
	return nil, errors.Join(stream.Err(), fmt.Errorf("job %s: the watch ended before the job", id))
}

// jobs runs so many jobs of one task, some at a time.
func (c *client) jobs(ctx context.Context, count, atOnce int, confidence float64) ([]timing, error) {
	took := make([]timing, count)
	var next atomic.Int64
	g, ctx := errgroup.WithContext(ctx)
	for range atOnce {
		g.Go(func() (err error) {
			for i := next.Add(1) - 1; i < int64(count) && err == nil; i = next.Add(1) - 1 {
				took[i], err = c.job(ctx, 1, confidence)
			}
			return err
		})
	}
	return took, g.Wait()
}

// Which part of a timing.
func submitted(t timing) time.Duration { return t.submitted }
func settled(t timing) time.Duration   { return t.settled }

// percentile gives the p-th of a hundred parts of some timings, in milliseconds.
func percentile(ts []timing, part func(timing) time.Duration, p int) float64 {
	ds := make([]time.Duration, len(ts))
	for i, t := range ts {
		ds[i] = part(t)
	}
	slices.Sort(ds)
	return milliseconds(ds[min(len(ds)*p/100, len(ds)-1)])
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
