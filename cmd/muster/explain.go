package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"github.com/mustermesh/muster/node/api"
)

// How much of an explanation people are shown without --all.
const (
	shownPeers      = 20
	shownTasks      = 10
	shownExecutions = 5 // of a task that may still succeed
)

func newJobExplain(a *app) *cobra.Command {
	var all bool
	cmd := aboutJob(a, reading, "explain", "Say why a job is as it is, what would change that, and why each peer was or was not chosen", func(ctx context.Context, c *client, job string) error {
		resp, err := c.ExplainJob(ctx, connect.NewRequest(&api.ExplainJobRequest{Job: job}))
		if err != nil {
			return err
		}
		return a.print(plain(resp.Msg), func(w io.Writer) {
			x := &explanation{ExplainJobResponse: resp.Msg, page: a.page(w), now: time.Now(), all: all}
			x.write()
			if c.own && !ended(resp.Msg.Job.GetState()) {
				a.page(a.err).say("", "no daemon runs in this home, so nothing moves now; `muster daemon` or `muster job watch` takes the job up")
			}
		})
	})
	cmd.Long = `Explain says in a sentence why a job is in its state, what one of its tasks needs, and
what would have to change for it to go on, the most useful first. Then it tells of
every peer that this node thought of why it was or was not chosen, and of every task
in trouble how each of its executions ended. A verdict with a * rests on the peer's own
signed refusal; the others are what this node found.

JOB is an id or the beginning of one. A job that has ended can be asked about, too.`
	cmd.Example = `  muster job explain 3f2a9c1e
  muster job explain 3f2a9c1e --all | less
  muster job explain 3f2a9c1e -o json`
	cmd.Flags().BoolVar(&all, "all", false, "show all peers, tasks and executions, not only some of each")
	return cmd
}

// An explanation shows why a job is as it is.
type explanation struct {
	*api.ExplainJobResponse
	*page
	now time.Time
	all bool
}

func (x *explanation) write() {
	x.summary()
	if len(x.Change) > 0 {
		x.title("What would help")
		x.numbered(x.Change)
	}
	x.decisions()
	x.troubles()
	x.section("History", historyGrid(x.History), "reason")
}

func (x *explanation) summary() {
	j := x.Job
	if j == nil {
		j = &api.JobSummary{}
	}
	name := short(j.Id)
	if j.Name != "" {
		name += " (" + j.Name + ")"
	}
	s := fmt.Sprintf("Job %s: %s", name, j.State)
	if n := len(x.History); n > 0 && !ended(j.State) {
		s += " for " + ago(x.History[n-1].TimeMs, x.now)
	} else if j.EndedMs > 0 {
		s += " " + ago(j.EndedMs, x.now) + " ago"
	}
	s += "; " + ofTasks(settled(j), j.Tasks) + " done"
	for _, n := range []string{counts(j.Running, "running"), counts(j.Failed, "failed"), counts(j.Dead, "dead")} {
		if n != "" {
			s += ", " + n
		}
	}
	x.say("", "%s", s)
	if x.Why != "" {
		fmt.Fprintln(x.w)
		x.say("  ", "%s", x.Why)
	}
	limit, fuel, notes := x.limit(), fuelUsed(j), strings.Join(j.Notes, "; ")
	if x.Needs+limit+fuel+notes != "" {
		fmt.Fprintln(x.w)
		x.facts("a task needs", x.Needs, "given up", limit, "fuel", fuel, "notes", notes)
	}
}

// limit says when the job is given up, "" for never.
func (x *explanation) limit() string {
	left := time.UnixMilli(x.ExpiresMs).Sub(x.now)
	switch {
	case x.ExpiresMs == 0 || ended(x.Job.GetState()):
		return ""
	case left <= 0:
		return "at any moment, for nothing has moved (--queue-timeout)"
	}
	return fmt.Sprintf("in %s, unless something moves before (--queue-timeout)", age(left.Truncate(time.Second)))
}

func (x *explanation) troubles() {
	if len(x.Tasks) == 0 {
		return
	}
	x.title("Tasks in trouble (%d)", len(x.Tasks))
	shown := x.Tasks
	if !x.all {
		shown = shown[:min(len(shown), shownTasks)]
	}
	for _, t := range shown {
		x.trouble(t)
	}
	if n := len(x.Tasks) - len(shown); n > 0 {
		x.say("", "and %s more; --all shows them", plural(n, "task"))
	}
}

func (x *explanation) trouble(t *api.TaskTrouble) {
	state, runs := t.State, t.Executions
	dead := strings.HasPrefix(state, "dead")
	if dead {
		state = "dead (given up)"
	}
	s := fmt.Sprintf("task %d, %s", t.Task, state)
	if t.Why != "" {
		s += ": " + t.Why
	}
	x.say("  ", "%s", s)
	hidden := 0
	if !dead && !x.all {
		hidden = max(0, len(runs)-shownExecutions)
	}
	if hidden > 0 {
		x.say("    ", "%s before these; --all shows them", plural(hidden, "execution"))
	}
	for _, e := range runs[hidden:] {
		x.say("    - ", "%s", oneLine(e))
	}
}

// oneLine gives an execution in a line: when, who, how it ended, and why.
func oneLine(e *api.Execution) string {
	at := cmp.Or(e.EndedMs, e.StartedMs, e.CreatedMs)
	parts := []string{clock(at), ending(e.Peer), e.Role, e.State}
	if e.Away {
		parts = append(parts, "(out of touch)")
	}
	if e.Fuel > 0 {
		parts = append(parts, fmt.Sprintf("(%s of fuel)", fuelText(e.Fuel)))
	}
	s := strings.Join(slices.DeleteFunc(parts, func(p string) bool { return p == "" }), " ")
	if e.Reason != "" {
		s += ": " + e.Reason
	}
	return s
}
