package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/mustermesh/muster/internal/jobfile"
	"github.com/mustermesh/muster/node/api"
)

// maxRows is how many tasks a table shows; -o json has them all.
const maxRows = 200

// describe shows a job in full.
func (a *app) describe(w io.Writer, d *api.DescribeJobResponse) {
	j := d.Job
	facts(w,
		"id", j.Id, "name", j.Name, "state", j.State, "reason", j.Reason, "waiting", j.Waiting,
		"submitted", clock(j.SubmittedMs), "ended", clock(j.EndedMs),
		"result", verdict(j), "output root", j.OutputRoot, "spent", credits(j.Spent),
		"labels", labelText(j.Labels), "notes", strings.Join(j.Notes, "; "))
	heading(w, "History", len(d.History))
	g := columns("time", "state", "reason")
	for _, t := range d.History {
		g.add(clock(t.TimeMs), t.State, t.Reason)
	}
	a.section(w, g)
	a.describeTasks(w, d)
	heading(w, "Bids", len(d.Bids))
	g = columns("peer", "answer", "price", "slots", "reason")
	for _, b := range d.Bids {
		answer := "bid"
		if b.Refused {
			answer = "refused"
		}
		g.add(b.Peer, answer, numberText(b.Price), b.Slots, b.Reason)
	}
	a.section(w, g)
	if d.Spec.GetProgram() != nil {
		fmt.Fprintf(w, "\nSpecification\n%s", jobfile.Format(d.Spec))
	}
}

func (a *app) describeTasks(w io.Writer, d *api.DescribeJobResponse) {
	tasks := columns("task", "state", "outcome", "output", "how")
	runs := columns("task", "execution", "peer", "role", "state", "cpu s", "output", "reason")
	add := func(name string, t *api.Task) {
		tasks.add(name, t.State, outcome(t), t.Output, t.How)
		for _, x := range t.Executions {
			runs.add(name, short(x.Id), ending(x.Peer), x.Role, x.State, numberText(x.CpuSeconds), ending(x.Output), x.Reason)
		}
	}
	for _, t := range d.Tasks[:min(len(d.Tasks), maxRows)] {
		add(fmt.Sprint(t.Index), t)
	}
	if d.Reduce != nil {
		add("reduce", d.Reduce)
	}
	heading(w, "Tasks", len(tasks.rows))
	a.section(w, tasks)
	if n := len(d.Tasks) - maxRows; n > 0 {
		fmt.Fprintf(w, "and %s more; -o json has them all\n", plural(n, "task"))
	}
	heading(w, "Executions", len(runs.rows))
	a.section(w, runs)
}

func heading(w io.Writer, title string, rows int) {
	if rows > 0 {
		fmt.Fprintf(w, "\n%s\n", title)
	}
}

func (a *app) section(w io.Writer, g *grid) {
	if len(g.rows) > 0 {
		g.write(w, a.color(w))
	}
}

// outcome says how a task's program ended.
func outcome(t *api.Task) string {
	switch {
	case t.Outcome == "":
		return ""
	case t.Trap != "":
		return t.Outcome + ": " + t.Trap
	case t.Outcome == "exited":
		return fmt.Sprintf("exited with %d", t.ExitCode)
	}
	return t.Outcome
}

// ending gives the last eight characters of an id: the first ones of peer ids and
// CIDs are all the same.
func ending(id string) string { return id[max(0, len(id)-8):] }

func credits(c float64) string {
	if c == 0 {
		return ""
	}
	return numberText(c) + " credits"
}

func labelText(m map[string]string) string {
	words := make([]string, 0, len(m))
	for _, k := range sortedKeys(m) {
		words = append(words, k+"="+m[k])
	}
	return strings.Join(words, " ")
}
