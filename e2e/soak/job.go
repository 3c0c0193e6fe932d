package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"connectrpc.com/connect"
	"golang.org/x/sync/errgroup"

	"github.com/mustermesh/muster/node/api"
)

// A batch is one job: its texts, and what the requester said of its tasks.
type batch struct {
	name string
	dir  string // its texts, one for each task
	size int
	id   string // once it is submitted

	mu      sync.Mutex // guards all below
	settled map[uint32]string
}

// soak has all jobs done while the daemons are killed.
func (s *soak) soak(ctx context.Context) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var rest errgroup.Group // ends with the jobs
	rest.Go(func() error { return s.report(ctx, stop) })
	if s.pause > 0 {
		rest.Go(func() error {
			err := s.fleet.harass(ctx, s.pause)
			if err != nil {
				stop(err)
			}
			return err
		})
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(s.open)
	for first := 0; first < s.tasks && gctx.Err() == nil; first += s.batch {
		g.Go(func() error { return s.job(gctx, first, min(s.batch, s.tasks-first)) })
	}
	err := g.Wait()
	stop(nil)
	if alone := int(s.alone.Load()); alone > s.tasks/20 {
		err = errors.Join(err, fmt.Errorf("%d of %d tasks rest on the requester's own run alone: the others hardly took part", alone, s.tasks))
	}
	return errors.Join(err, rest.Wait())
}

// report says how far it is, and ends a run in which nothing moves.
func (s *soak) report(ctx context.Context, stop context.CancelCauseFunc) error {
	tick := time.NewTicker(10 * time.Second)
	defer tick.Stop()
	before, since := int64(-1), time.Now()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		kills, requester := s.fleet.killed()
		now := s.settled.Load()
		s.say("%5d of %d tasks settled, %d compared; %d kills, %d of them the requester's", now, s.tasks, s.verified.Load(), kills, requester)
		if now+s.verified.Load() != before {
			before, since = now+s.verified.Load(), time.Now()
		} else if time.Since(since) > s.quiet {
			stop(fmt.Errorf("no task was settled for %s", s.quiet))
		}
	}
}

// job writes the texts of one job, has them counted, and compares.
func (s *soak) job(ctx context.Context, first, size int) error {
	b := &batch{name: fmt.Sprintf("soak-%d", first), dir: filepath.Join(s.dir, fmt.Sprintf("texts-%d", first)), size: size, settled: make(map[uint32]string)}
	if err := b.write(s.seed + uint64(first)); err != nil {
		return err
	}
	if err := s.submit(ctx, b); err != nil {
		return fmt.Errorf("%s: %w", b.name, err)
	}
	if err := s.follow(ctx, b); err != nil {
		return fmt.Errorf("%s: %w", b.name, err)
	}
	if err := s.check(ctx, b); err != nil {
		return fmt.Errorf("%s: %w", b.name, err)
	}
	return os.RemoveAll(b.dir)
}

var words = strings.Fields("the a harbour mill road boat grain stone water wheel and of to in was it night morning they went came saw little old")

// write makes a folder with a text for each task.
func (b *batch) write(seed uint64) error {
	r := rand.New(rand.NewPCG(seed, 2))
	for i := range b.size {
		dir := b.piece(i)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		var text strings.Builder
		for range 50 + r.IntN(400) {
			fmt.Fprintf(&text, "%s%d ", words[r.IntN(len(words))], r.IntN(3))
		}
		if err := os.WriteFile(filepath.Join(dir, "text.txt"), []byte(text.String()), 0o600); err != nil {
			return err
		}
	}
	return nil
}

func (b *batch) piece(i int) string { return filepath.Join(b.dir, fmt.Sprintf("%06d", i)) }

// submit hands the job in once, however often the requester dies of it: what it
// accepted it lists ever after.
func (s *soak) submit(ctx context.Context, b *batch) error {
	guest, err := filepath.Abs(s.guest)
	if err != nil {
		return err
	}
	job := &api.Job{
		Name: b.name, Program: &api.Program{Wasm: guest},
		Inputs: []*api.Input{{Source: b.dir, Target: "/in", Split: "files"}}, Outputs: []string{"/out"},
		Resources: &api.Resources{Memory: 64 << 20}, TimeoutMs: 60_000, QueueTimeoutMs: time.Hour.Milliseconds(),
		Confidence: 0.7, HasConfidence: true, // one check
	}
	client := s.fleet.requester()
	return s.persist(ctx, func() error {
		list, err := client.ListJobs(ctx, connect.NewRequest(&api.ListJobsRequest{}))
		if err != nil {
			return err
		}
		for _, j := range list.Msg.Jobs {
			if j.Name == b.name {
				b.id = j.Id
				return nil
			}
		}
		stream, err := client.SubmitJob(ctx, connect.NewRequest(&api.SubmitJobRequest{Job: job}))
		if err != nil {
			return err
		}
		defer stream.Close()
		for stream.Receive() {
			b.id = stream.Msg().Job
		}
		return stream.Err()
	})
}

// persist does something until the requester was there for all of it. What is
// wrong for other reasons than that it is away is told at once.
func (s *soak) persist(ctx context.Context, do func() error) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := do()
		switch connect.CodeOf(err) {
		case connect.CodeInvalidArgument, connect.CodeNotFound, connect.CodeFailedPrecondition, connect.CodeUnimplemented:
			return err
		}
		if err == nil || errors.Is(err, errBroken) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w; the requester says: %w", context.Cause(ctx), err)
		case <-tick.C:
		}
	}
}

var (
	errAway   = errors.New("the requester went away")
	errBroken = errors.New("what must hold does not")
)

// follow watches a job to its end, and notes what was settled. What was settled
// once stays as it was.
func (s *soak) follow(ctx context.Context, b *batch) error {
	client := s.fleet.requester()
	return s.persist(ctx, func() error {
		stream, err := client.WatchJob(ctx, connect.NewRequest(&api.WatchJobRequest{Job: b.id}))
		if err != nil {
			return err
		}
		defer stream.Close()
		for stream.Receive() {
			for _, t := range stream.Msg().Changed {
				if err := s.note(b, t); err != nil {
					return err
				}
			}
			if stream.Msg().Ended {
				return nil
			}
		}
		return errors.Join(errAway, stream.Err())
	})
}

func (s *soak) note(b *batch, t *api.Task) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	was, before := b.settled[t.Index]
	switch {
	case t.State != "verified" && before:
		return fmt.Errorf("%w: task %d was verified, and is %s now", errBroken, t.Index, t.State)
	case t.State != "verified":
		return nil
	case before && was != t.Output:
		return fmt.Errorf("%w: task %d was settled twice: %s, then %s", errBroken, t.Index, was, t.Output)
	case !before:
		b.settled[t.Index] = t.Output
		s.settled.Add(1)
	}
	return nil
}
