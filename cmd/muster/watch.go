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
	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"

	"github.com/mustermesh/muster/node/api"
)

// errDetached ends a watch whose job goes on.
var errDetached = errors.New("detached")

func newJobWatch(a *app) *cobra.Command {
	var limit time.Duration
	var ascii bool
	cmd := aboutJob(a, network, "watch", "Show how a job goes until it ends", func(ctx context.Context, c *client, job string) error {
		w := &watch{a: a, c: c, job: job, show: a.progress(), running: map[string]string{}, since: time.Now(), limit: limit}
		switch {
		case a.global.output == "json":
			w.show, w.lines = silent{}, true
		case !a.asTable():
			w.show = silent{}
		case a.isTerminal(a.err):
			return w.live(ctx, a.pen(a.err, ascii))
		}
		last, err := w.run(ctx)
		if err != nil {
			return err
		}
		if w.lines {
			return errors.Join(jobError(last), a.printLine(plain(last)))
		}
		return errors.Join(jobError(last), a.print(plain(last), func(io.Writer) { a.sayVerdict(last) }))
	})
	cmd.Long = `Watch shows how a job goes until it ends, on a terminal as a chart of its executions.
JOB is an id or the beginning of one. Leaving it (q or Ctrl-C) leaves the job as it is.
With -o json it prints an object per line whenever something changed, {job, changed,
ended} as in WatchJobResponse, and at the end the job's summary.`
	retryFlag(cmd.Flags(), &limit)
	cmd.Flags().BoolVar(&ascii, "ascii", false, "draw with ASCII alone (default where the locale is not UTF-8)")
	return cmd
}

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
	limit   time.Duration // to try again for after a broken connection
	keys    <-chan byte   // nil: nobody types
	all     bool          // wants all tasks at the beginning, not only what changes
	lines   bool          // prints what comes as lines of JSON
	last    *api.JobSummary
}

// A tiding is what comes to a watch: news of the job, or that none come.
type tiding struct {
	news *api.WatchJobResponse
	away time.Time // since when the daemon does not answer
}

// run shows the job's progress until it ended. An interrupt cancels it, or asks
// whether to, where somebody can answer.
func (w *watch) run(ctx context.Context) (last *api.JobSummary, err error) {
	ctx, cancel := context.WithCancel(ctx)
	events := make(chan tiding) // unbuffered: the node keeps only the newest
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer close(events)
		return w.receive(gctx, events)
	})
	last, err = w.loop(ctx, events)
	cancel()
	if rerr := g.Wait(); err == nil && last == nil {
		err = rerr
	}
	w.show.done(time.Now())
	return last, err
}

func (w *watch) loop(ctx context.Context, events <-chan tiding) (*api.JobSummary, error) {
	tick := time.NewTicker(frameEvery)
	defer tick.Stop()
	for {
		select {
		case e, ok := <-events:
			if !ok {
				return nil, nil
			}
			if err := w.take(e); err != nil {
				return nil, err
			}
			if e.news.GetEnded() {
				return e.news.Job, nil
			}
		case now := <-tick.C:
			if w.answers == nil {
				w.show.tick(now)
			}
		case key := <-w.keys:
			if leaves(key) {
				return nil, errDetached
			}
			if s, ok := w.show.(*jobScreen); ok {
				s.key(key)
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

// receive gives what the node tells of the job, over as many connections as it
// takes.
func (w *watch) receive(ctx context.Context, events chan<- tiding) error {
	send := func(t tiding) error {
		select {
		case events <- t:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	again := patient(w.c, w.limit, func(since time.Time) { _ = send(tiding{away: since}) })
	return again.do(ctx, func(ctx context.Context, heard func()) error {
		stream, err := w.c.WatchJob(ctx, connect.NewRequest(&api.WatchJobRequest{Job: w.job}))
		if err != nil {
			return err
		}
		defer stream.Close()
		for first := true; stream.Receive(); first = false {
			heard()
			m := stream.Msg()
			if first && w.all {
				if m.Changed, err = w.tasks(ctx); err != nil {
					return err
				}
			}
			if err := send(tiding{news: m}); err != nil || m.Ended {
				return err
			}
		}
		if err := stream.Err(); err != nil {
			return err
		}
		return connect.NewError(connect.CodeUnavailable, fmt.Errorf("the node stopped; job %s goes on when it is back: `muster job list`", short(w.job)))
	})
}

// tasks gives all tasks of the job as they are now.
func (w *watch) tasks(ctx context.Context) ([]*api.Task, error) {
	resp, err := w.c.DescribeJob(ctx, connect.NewRequest(&api.DescribeJobRequest{Job: w.job}))
	if err != nil {
		return nil, err
	}
	return resp.Msg.Tasks, nil
}

func (w *watch) take(t tiding) error {
	if t.news == nil {
		clear(w.running) // what ends meanwhile is not told
		w.tell(news{job: w.last, away: t.away})
		return nil
	}
	e := t.news
	same := len(e.Changed) == 0 && !e.Ended && proto.Equal(e.Job, w.last)
	w.last = e.Job
	for _, t := range e.Changed {
		for _, x := range t.Executions {
			if x.State == "running" {
				w.running[x.Id] = x.Peer
			} else {
				delete(w.running, x.Id)
			}
		}
	}
	w.tell(news{job: e.Job, changed: e.Changed, ended: e.Ended})
	if w.lines && !same {
		return w.a.printLine(plain(e))
	}
	return nil
}

func (w *watch) tell(n news) {
	if n.job == nil {
		return
	}
	peers := map[string]bool{}
	for _, p := range w.running {
		peers[p] = true
	}
	n.peers, n.since = len(peers), w.since
	s, live := w.show.(*jobScreen)
	switch {
	case live:
		s.show(time.Now(), n)
	case w.answers == nil:
		w.show.show(time.Now(), n)
	}
}
