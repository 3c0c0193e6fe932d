package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"connectrpc.com/connect"
	"golang.org/x/sync/errgroup"

	"github.com/mustermesh/muster/node/api"
)

// errDetached ends a watch whose job goes on.
var errDetached = errors.New("detached")

// patience is how long a cancelled job may take to say that it ended.
const patience = 10 * time.Second

// A watch follows one job to its end.
type watch struct {
	a       *app
	c       *client
	job     string
	show    progress
	signals <-chan os.Signal
	running map[string]string // peer by running execution
	since   time.Time
	answers <-chan string    // to what an interrupt asked; nil if nothing was asked
	giveUp  <-chan time.Time // after a cancel
	rearm   func() <-chan os.Signal
}

// run shows the job's progress until it ended. An interrupt cancels it, or asks
// whether to, where somebody can answer.
func (w *watch) run(ctx context.Context) (last *api.JobSummary, err error) {
	ctx, cancel := context.WithCancel(ctx)
	events := make(chan *api.WatchJobResponse) // unbuffered: the node keeps only the newest
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return receive(gctx, w.c, w.job, events) })
	last, err = w.loop(ctx, events)
	cancel()
	if rerr := g.Wait(); err == nil && last == nil {
		err = rerr
	}
	w.show.done(time.Now())
	return last, err
}

func (w *watch) loop(ctx context.Context, events <-chan *api.WatchJobResponse) (*api.JobSummary, error) {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case e, ok := <-events:
			if !ok {
				return nil, nil
			}
			w.take(e)
			if e.Ended {
				return e.Job, nil
			}
		case now := <-tick.C:
			if w.answers == nil {
				w.show.tick(now)
			}
		case <-w.signals:
			if err := w.interrupted(ctx); err != nil {
				return nil, err
			}
		case answer := <-w.answers:
			if err := w.answered(ctx, answer); err != nil {
				return nil, err
			}
		case <-w.giveUp:
			return nil, fmt.Errorf("job %s was cancelled, but did not end within %s", short(w.job), patience)
		}
	}
}

func receive(ctx context.Context, c *client, job string, events chan<- *api.WatchJobResponse) error {
	defer close(events)
	stream, err := c.WatchJob(ctx, connect.NewRequest(&api.WatchJobRequest{Job: job}))
	if err != nil {
		return err
	}
	defer stream.Close()
	for stream.Receive() {
		select {
		case events <- stream.Msg():
		case <-ctx.Done():
			return ctx.Err()
		}
		if stream.Msg().Ended {
			return nil
		}
	}
	if err := stream.Err(); err != nil {
		return err
	}
	return connect.NewError(connect.CodeUnavailable, fmt.Errorf("the node stopped; job %s goes on when it is back: `muster job list`", short(job)))
}

func (w *watch) take(e *api.WatchJobResponse) {
	for _, t := range e.Changed {
		for _, x := range t.Executions {
			if x.State == "running" {
				w.running[x.Id] = x.Peer
			} else {
				delete(w.running, x.Id)
			}
		}
	}
	peers := map[string]bool{}
	for _, p := range w.running {
		peers[p] = true
	}
	if w.answers == nil {
		w.show.show(time.Now(), news{job: e.Job, peers: len(peers), since: w.since, ended: e.Ended})
	}
}

func (w *watch) interrupted(ctx context.Context) error {
	w.signals = nil
	if !w.a.isTerminal(w.a.in) || !w.a.isTerminal(w.a.err) {
		return w.cancel(ctx)
	}
	w.show.done(time.Now())
	choice := "[c]ancel it, or Enter to go on"
	if !w.c.own {
		choice = "[c]ancel it, [d]etach and let it run, or Enter to go on"
	}
	fmt.Fprintf(w.a.err, "Job %s is not finished: %s? ", short(w.job), choice)
	answers := make(chan string, 1) // so that the reader never waits for us
	w.answers = answers
	go func() { // ends with a line, or with the process: a read cannot be given up
		line, err := bufio.NewReader(w.a.in).ReadString('\n')
		if err != nil {
			line = "c"
		}
		answers <- strings.ToLower(strings.TrimSpace(line))
	}()
	return nil
}

func (w *watch) answered(ctx context.Context, answer string) error {
	w.answers = nil
	switch {
	case strings.HasPrefix(answer, "c"):
		return w.cancel(ctx)
	case strings.HasPrefix(answer, "d") && !w.c.own:
		return errDetached
	}
	w.signals = w.rearm()
	return nil
}

func (w *watch) cancel(ctx context.Context) error {
	fmt.Fprintf(w.a.err, "cancelling job %s; once more to leave at once\n", short(w.job))
	w.giveUp = time.After(patience)
	ctx, stop := context.WithTimeout(ctx, patience)
	defer stop()
	_, err := w.c.CancelJob(ctx, connect.NewRequest(&api.CancelJobRequest{Job: w.job}))
	return err
}
