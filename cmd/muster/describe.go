package main

import (
	"fmt"
	"strings"

	"github.com/mustermesh/muster/internal/jobfile"
	"github.com/mustermesh/muster/node/api"
)

// maxRows is how many tasks a table shows; -o json has them all.
const maxRows = 200

// describe shows a job in full.
func describe(p *page, d *api.DescribeJobResponse) {
	j := d.Job
	p.facts(
		"id", j.Id, "name", j.Name, "state", j.State, "reason", j.Reason, "waiting", j.Waiting,
		"submitted", clock(j.SubmittedMs), "ended", clock(j.EndedMs),
		"result", verdict(j), "output root", j.OutputRoot, "fuel", fuelUsed(j), "spent", credits(j.Spent),
		"labels", labelText(j.Labels), "notes", strings.Join(j.Notes, "; "))
	p.section("History", historyGrid(d.History), "reason")
	describeTasks(p, d)
	g := columns("peer", "answer", "price", "slots", "reason")
	for _, b := range d.Bids {
		answer := "bid"
		if b.Refused {
			answer = "refused"
		}
		g.add(b.Peer, answer, numberText(b.Price), b.Slots, b.Reason)
	}
	p.section("Bids", g, "reason")
	if d.Spec.GetProgram() != nil {
		fmt.Fprintf(p.w, "\nSpecification\n%s", jobfile.Format(d.Spec))
	}
}

func describeTasks(p *page, d *api.DescribeJobResponse) {
	tasks := columns("task", "state", "outcome", "fuel", "output", "how")
	runs := columns("task", "execution", "peer", "role", "state", "cpu s", "fuel", "engine", "output", "reason")
	add := func(name string, t *api.Task) {
		tasks.add(name, t.State, outcome(t), fuelText(t.Fuel), t.Output, t.How)
		for _, x := range t.Executions {
			runs.add(name, short(x.Id), ending(x.Peer), x.Role, x.State, numberText(x.CpuSeconds), fuelText(x.Fuel), x.Engine, ending(x.Output), x.Reason)
		}
	}
	for _, t := range d.Tasks[:min(len(d.Tasks), maxRows)] {
		add(fmt.Sprint(t.Index), t)
	}
	if d.Reduce != nil {
		add("reduce", d.Reduce)
	}
	p.section("Tasks", tasks, "outcome", "how")
	if n := len(d.Tasks) - maxRows; n > 0 {
		p.say("", "and %s more; -o json has them all", plural(n, "task"))
	}
	p.section("Executions", runs, "reason")
}

func historyGrid(history []*api.Transition) *grid {
	g := columns("time", "state", "reason")
	for _, t := range history {
		g.add(clock(t.TimeMs), t.State, t.Reason)
	}
	return g
}

// fuelUsed says what the results of a job took, "" where there are none.
func fuelUsed(j *api.JobSummary) string {
	if j.Fuel == 0 {
		return ""
	}
	return fmt.Sprintf("%s used by the results, checks not counted", fuelText(j.Fuel))
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
