package main

import (
	"bufio"
	"context"
	"fmt"
	"strings"
	"time"

	"connectrpc.com/connect"

	"github.com/mustermesh/muster/node/api"
)

// patience is how long a cancelled job may take to say that it ended.
const patience = 10 * time.Second

// interrupted cancels the job, or where somebody can answer asks what to do.
func (w *watch) interrupted(ctx context.Context) error {
	w.signals = nil
	if !w.a.isTerminal(w.a.in) || !w.a.isTerminal(w.a.err) {
		return w.cancel(ctx)
	}
	w.show.done(time.Now())
	detach := "[d]etach and let it run"
	if w.c.own {
		detach = "[d]etach (no daemon runs here: it is stored, and goes on when a node of this home runs)"
	}
	fmt.Fprintf(w.a.err, "Job %s is not finished: [c]ancel it, %s, or Enter to go on? ", short(w.job), detach)
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

// answered does what somebody wants done about the job; anything that is not
// clear means to go on.
func (w *watch) answered(ctx context.Context, answer string) error {
	w.answers = nil
	switch {
	case strings.HasPrefix(answer, "c"):
		return w.cancel(ctx)
	case strings.HasPrefix(answer, "d"):
		return errDetached
	}
	w.signals = w.rearm()
	return nil
}

// cancel has the job stopped; its end comes as other news of it does.
func (w *watch) cancel(ctx context.Context) error {
	fmt.Fprintf(w.a.err, "cancelling job %s; once more to leave at once\n", short(w.job))
	w.giveUp = time.After(patience)
	ctx, stop := context.WithTimeout(ctx, patience)
	defer stop()
	_, err := w.c.CancelJob(ctx, connect.NewRequest(&api.CancelJobRequest{Job: w.job}))
	return err
}
