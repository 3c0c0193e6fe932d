package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/mustermesh/muster/node/api"
)

const (
	topEvery  = time.Second
	topJobs   = 50 // open jobs asked for, of each state
	topEvents = 50 // the latest
)

func newTop(a *app) *cobra.Command {
	var t top
	cmd := &cobra.Command{
		Use:   "top",
		Short: "Show what goes on at this node, again every second",
		Long: `Top shows how this node is, its open jobs, what runs here for others, and what happened
last. On a terminal it shows them again every second until q or Ctrl-C; elsewhere once.`,
		Example: "  muster top\n  muster top -n 1\n  muster top -n 1 -o json",
		Args:    noArguments,
		RunE: a.with(reading, func(ctx context.Context, c *client, _ []string) error {
			t := t
			t.a, t.c = a, c
			return t.run(ctx)
		}),
	}
	cmd.Flags().Uint32VarP(&t.times, "times", "n", 0, "show it `N` times, one below the other, and end")
	cmd.Flags().BoolVar(&t.ascii, "ascii", false, "draw with ASCII alone (default where the locale is not UTF-8)")
	retryFlag(cmd.Flags(), &t.limit)
	return cmd
}

// A top shows a node.
type top struct {
	a     *app
	c     *client
	times uint32 // 0: on a terminal until somebody leaves, else once
	ascii bool
	limit time.Duration
}

// A snapshot is what top shows at a time.
type snapshot struct {
	at     time.Time
	node   *api.StatusResponse
	lends  *api.ProviderStatusResponse
	jobs   []*api.JobSummary // that are open, the newest first
	events []*api.Event      // the latest
	away   time.Time         // since when the daemon does not answer; zero: it does
}

func (t *top) run(ctx context.Context) error {
	if t.times == 0 && t.a.asTable() && t.a.isTerminal(t.a.out) {
		return t.live(ctx)
	}
	every := time.NewTicker(topEvery)
	defer every.Stop()
	for i := range max(t.times, 1) {
		if i > 0 {
			select {
			case <-every.C:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		s, err := t.look(ctx)
		if err != nil {
			return err
		}
		latest := &recent{}
		if err := latest.once(ctx, t.c); err != nil {
			return err
		}
		s.events = latest.list()
		if err := t.print(s); err != nil {
			return err
		}
	}
	return nil
}

func (t *top) print(s *snapshot) error {
	switch {
	case t.a.asTable():
		columns := 100
		if t.a.isTerminal(t.a.out) {
			columns, _ = t.a.size()
		}
		f := s.frame(t.a.pen(t.a.out, t.ascii), columns, 0)
		_, err := fmt.Fprint(t.a.out, f.text(columns, t.a.pen(t.a.out, t.ascii)))
		return err
	case t.times > 1 && t.a.global.output == "json":
		return t.a.printLine(s.document())
	}
	return t.a.print(s.document(), nil)
}

// look asks the node for everything but events.
func (t *top) look(ctx context.Context) (*snapshot, error) {
	s := &snapshot{at: time.Now()}
	status, err := t.c.Status(ctx, connect.NewRequest(&api.StatusRequest{}))
	if err != nil {
		return nil, err
	}
	lends, err := t.c.ProviderStatus(ctx, connect.NewRequest(&api.ProviderStatusRequest{}))
	if err != nil {
		return nil, err
	}
	s.node, s.lends = status.Msg, lends.Msg
	for _, state := range openStates {
		jobs, err := t.c.ListJobs(ctx, connect.NewRequest(&api.ListJobsRequest{State: state, Limit: topJobs}))
		if err != nil {
			return nil, err
		}
		s.jobs = append(s.jobs, jobs.Msg.Jobs...)
	}
	slices.SortStableFunc(s.jobs, func(a, b *api.JobSummary) int { return cmp.Compare(b.SubmittedMs, a.SubmittedMs) })
	return s, nil
}

// live shows the node on a screen of its own until somebody leaves it.
func (t *top) live(ctx context.Context) error {
	pen := t.a.pen(t.a.out, t.ascii)
	sc := t.a.openScreen(t.a.out, pen)
	defer sc.leave()
	latest := &recent{}
	seen := make(chan *snapshot)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		err := latest.follow(ctx, t.c, patient(t.c, t.limit, nil))
		if err != nil && ctx.Err() == nil && !lostConnection(err) {
			latest.fail(err)
			return nil
		}
		return err
	})
	g.Go(func() error { return t.watch(ctx, seen) })
	g.Go(func() error { return t.draw(ctx, sc, latest, seen) })
	err := g.Wait()
	if errors.Is(err, errLeft) || errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// errLeft ends a screen that somebody left.
var errLeft = errors.New("left")

func (t *top) draw(ctx context.Context, sc *screen, latest *recent, seen <-chan *snapshot) error {
	typed := keys(t.a.in)
	tick := time.NewTicker(frameEvery)
	defer tick.Stop()
	var now *snapshot
	for {
		select {
		case s := <-seen:
			if now != nil && s.node == nil {
				s.node, s.lends, s.jobs = now.node, now.lends, now.jobs
			}
			now = s
		case key := <-typed:
			if leaves(key) {
				return errLeft
			}
		case at := <-tick.C:
			if now == nil || now.node == nil {
				continue
			}
			now.at, now.events = at, latest.list()
			sc.draw(func(columns, rows int) frame { return now.frame(sc.pen, columns, rows) })
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// watch looks at the node every second.
func (t *top) watch(ctx context.Context, seen chan<- *snapshot) error {
	send := func(s *snapshot) error {
		select {
		case seen <- s:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	again := patient(t.c, t.limit, func(since time.Time) { _ = send(&snapshot{away: since}) })
	return again.do(ctx, func(ctx context.Context, heard func()) error {
		every := time.NewTicker(topEvery)
		defer every.Stop()
		for {
			s, err := t.look(ctx)
			if err != nil {
				return err
			}
			heard()
			if err := send(s); err != nil {
				return err
			}
			select {
			case <-every.C:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	})
}

// recent keeps the latest events, but for the guests' progress, which would be
// nearly all of them.
type recent struct {
	mu     sync.Mutex // guards events
	events []*api.Event
}

func (r *recent) take(e *api.Event) error {
	if e.Kind == "progress" {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.events) == topEvents {
		r.events = append(r.events[:0], r.events[1:]...)
	}
	r.events = append(r.events, e)
	return nil
}

// fail has the list end with why there are no more events.
func (r *recent) fail(err error) {
	_ = r.take(&api.Event{TimeMs: time.Now().UnixMilli(), Kind: "node", Text: "no events: " + message(err)})
}

func (r *recent) list() []*api.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.events)
}

func (r *recent) once(ctx context.Context, c *client) error {
	t := &tail{take: r.take}
	return t.run(ctx, c, &api.EventsRequest{}, retry{})
}

func (r *recent) follow(ctx context.Context, c *client, again retry) error {
	t := &tail{take: r.take}
	return t.run(ctx, c, &api.EventsRequest{Follow: true}, again)
}
