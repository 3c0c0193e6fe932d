package main

import (
	"errors"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/mustermesh/muster/e2e/mesh"
	"github.com/mustermesh/muster/node/api"
)

// What a requester's description calls an execution.
const (
	stateAnswered = "answered"
	roleExecutor  = "executor"
	roleChecker   = "checker"
)

// A tally counts who did what.
type tally struct {
	names map[string]string // of nodes, by id
	order []string          // ids of the nodes
	rows  map[string]*row
	twice []string // tasks of which somebody answered more than once
}

type row struct{ ran, checked, own, lost int }

func newTally(nodes []*mesh.Node) tally {
	t := tally{names: map[string]string{}, rows: map[string]*row{}}
	for _, n := range nodes {
		t.names[n.ID] = n.Name
		t.order = append(t.order, n.ID)
		t.rows[n.ID] = &row{}
	}
	return t
}

// add counts the executions of a job and of its reduction.
func (t *tally) add(d *api.DescribeJobResponse) {
	for _, task := range d.Tasks {
		t.task(fmt.Sprintf("task %d of %s", task.Index, d.Job.Name), task)
	}
	if d.Reduce != nil {
		t.task("the reduction of "+d.Job.Name, d.Reduce)
	}
}

func (t *tally) task(name string, task *api.Task) {
	answered := map[string]bool{}
	for _, e := range task.Executions {
		r := t.rows[e.Peer]
		if r == nil {
			r = &row{}
			t.rows[e.Peer] = r
			t.order = append(t.order, e.Peer)
		}
		switch {
		case e.State != stateAnswered:
			r.lost++
			continue
		case e.Role == roleExecutor:
			r.ran++
		case e.Role == roleChecker:
			r.checked++
		default:
			r.own++
		}
		if answered[e.Peer] {
			t.twice = append(t.twice, fmt.Sprintf("%s by %s", name, t.name(e.Peer)))
		}
		answered[e.Peer] = true
	}
}

func (t *tally) name(id string) string {
	if name, ok := t.names[id]; ok {
		return name
	}
	return id
}

func (t *tally) write(w io.Writer) {
	tab := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(tab, "node\tran\tchecked\town runs\twithout answer\t")
	for _, id := range t.order {
		r := t.rows[id]
		fmt.Fprintf(tab, "%s\t%d\t%d\t%d\t%d\t\n", t.name(id), r.ran, r.checked, r.own, r.lost)
	}
	tab.Flush()
}

// check tells whether the work was spread as it should be: over every provider
// and nobody else, the requester aside, whose own runs the table shows; no
// result checked by whoever made it.
func (t *tally) check() error {
	var errs []error
	for id, r := range t.rows {
		switch name, known := t.names[id]; {
		case !known:
			errs = append(errs, fmt.Errorf("%s ran tasks and is not one of ours", id))
		case name == requesterName:
			if r.ran+r.checked > 0 {
				errs = append(errs, errors.New("the requester lent itself"))
			}
		case r.ran+r.checked == 0:
			errs = append(errs, fmt.Errorf("%s ran nothing", name))
		case r.own > 0:
			errs = append(errs, fmt.Errorf("%s has runs of its own", name))
		}
	}
	for _, what := range t.twice {
		errs = append(errs, fmt.Errorf("answered twice: %s", what))
	}
	return errors.Join(errs...)
}
