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

// job runs one job of so many tasks and gives the time from before its
// submission until its end was heard of.
func (c *client) job(ctx context.Context, tasks int, confidence float64) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, jobLimit)
	defer cancel()
	began := time.Now()
	id, err := c.submit(ctx, tasks, confidence)
	if err != nil {
		return 0, err
	}
	last, err := c.await(ctx, id)
	if err != nil {
		return 0, err
	}
	took := time.Since(began)
	want := last.Accepted + last.Verified
	if confidence > 0 {
		want = last.Verified
	}
	if last.State != "completed" || want != last.Tasks {
		return 0, fmt.Errorf("job %s: %s: %d accepted and %d verified of %d tasks: %s", id, last.State, last.Accepted, last.Verified, last.Tasks, last.Reason)
	}
	return took, nil
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

// jobs runs so many jobs of one task, some at a time, and gives how long each
// took, sorted.
func (c *client) jobs(ctx context.Context, count, atOnce int, confidence float64) ([]time.Duration, error) {
	took := make([]time.Duration, count)
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
	err := g.Wait()
	slices.Sort(took)
	return took, err
}

// percentile gives the p-th of sorted durations, in milliseconds.
func percentile(sorted []time.Duration, p int) float64 {
	return milliseconds(sorted[min(len(sorted)*p/100, len(sorted)-1)])
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
