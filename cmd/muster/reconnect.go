package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"connectrpc.com/connect"
	"github.com/spf13/pflag"
)

const (
	retryFor    = 2 * time.Minute        // without an answer until a command gives up
	retryFirst  = 250 * time.Millisecond // until the first try again
	retryMost   = 2 * time.Second        // between two tries
	retryStable = 5 * time.Second        // a connection that lasted this long was a good one
)

// A retry asks a node again where the connection to it broke: a daemon that is
// restarted goes on with its jobs, and so does who watches them.
type retry struct {
	limit time.Duration         // without an answer; 0: no second try
	lost  func(since time.Time) // told before every wait; nil: nobody is told
}

// patient is a retry for what c shows; a node in this process does not come back.
func patient(c *client, limit time.Duration, lost func(since time.Time)) retry {
	if c.own {
		limit = 0
	}
	return retry{limit: limit, lost: lost}
}

func retryFlag(flags *pflag.FlagSet, limit *time.Duration) {
	flags.DurationVar(limit, "retry", retryFor, "give up after `TIME` without an answer of the daemon; 0 is at once")
}

// do calls ask until it ends well, or badly for another reason than a lost
// connection, or until nothing has answered for the limit. ask calls heard
// whenever something came; before anything ever came nothing is tried again.
func (r retry) do(ctx context.Context, ask func(ctx context.Context, heard func()) error) error {
	var since time.Time
	wait, ever := retryFirst, false
	for {
		var first time.Time
		err := ask(ctx, func() {
			if first.IsZero() {
				first = time.Now()
			}
		})
		now := time.Now()
		ever = ever || !first.IsZero()
		if err == nil || ctx.Err() != nil || !ever || r.limit <= 0 || !lostConnection(err) {
			return err
		}
		if since.IsZero() || (!first.IsZero() && now.Sub(first) >= retryStable) {
			since, wait = now, retryFirst
		}
		if now.Sub(since) >= r.limit {
			return fmt.Errorf("%w; gave up after %s", err, age(r.limit))
		}
		if r.lost != nil {
			r.lost(since)
		}
		select {
		case <-time.After(min(wait, r.limit-now.Sub(since))):
		case <-ctx.Done():
			return ctx.Err()
		}
		wait = min(2*wait, retryMost)
	}
}

// lostConnection tells whether an answer was cut off or did not come, rather
// than being a refusal.
func lostConnection(err error) bool {
	var ce *connect.Error
	if !errors.As(err, &ce) {
		return false
	}
	switch ce.Code() {
	case connect.CodeUnavailable:
		return true
	case connect.CodeUnknown, connect.CodeInternal:
		return !connect.IsWireError(err) // a stream that was torn off
	}
	return false
}

// noAnswer says that the daemon is away since a time.
func noAnswer(since, now time.Time) string {
	return fmt.Sprintf("the daemon does not answer; trying again (%d s)", int(max(now.Sub(since), 0).Seconds()))
}

// tellOnce makes a function for retry.lost that says once per outage, on
// standard error, that the daemon is away.
func (a *app) tellOnce() func(since time.Time) {
	var told time.Time
	return func(since time.Time) {
		if !since.Equal(told) {
			told = since
			fmt.Fprintln(a.err, "[the daemon does not answer; trying again]")
		}
	}
}
