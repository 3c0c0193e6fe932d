package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"connectrpc.com/connect"

	"github.com/mustermesh/muster/node/api"
)

// What is shown of a run that went wrong.
const (
	shownTasks   = 5 // of a job
	explainLimit = 20 * time.Second
)

// explain says why it does not go on: of each job that has not ended what keeps
// it, what its open tasks went through, what providers do, and what all logged
// last.
func (s *soak) explain() error {
	ctx, cancel := context.WithTimeout(context.Background(), explainLimit)
	defer cancel()
	client := s.fleet.requester()
	list, err := client.ListJobs(ctx, connect.NewRequest(&api.ListJobsRequest{}))
	if err != nil {
		return fmt.Errorf("explain: %w", err)
	}
	var b strings.Builder
	for _, j := range list.Msg.Jobs {
		if j.EndedMs == 0 || j.State != "completed" {
			s.explainJob(ctx, &b, j)
		}
	}
	for _, n := range s.fleet.mesh.Nodes() {
		p, err := n.API(1).ProviderStatus(ctx, connect.NewRequest(&api.ProviderStatusRequest{}))
		if err != nil {
			fmt.Fprintf(&b, "\n%s (%s): %v", n.Name, n.ID, err)
		} else {
			fmt.Fprintf(&b, "\n%s (%s): %d busy, %d leases, %d queued, %d kept, refusals %v", n.Name, n.ID, p.Msg.SlotsBusy, p.Msg.Leases, p.Msg.Queued, p.Msg.Kept, p.Msg.Refusals)
		}
		b.WriteString(n.LastWords())
	}
	return errors.New(b.String())
}

func (s *soak) explainJob(ctx context.Context, b *strings.Builder, j *api.JobSummary) {
	fmt.Fprintf(b, "\njob %s %s: %s %s; %d of %d verified, %d running, %d given up; %s", j.Name, j.Id, j.State, j.Reason, j.Verified, j.Tasks, j.Running, j.Dead, j.Waiting)
	client := s.fleet.requester()
	if x, err := client.ExplainJob(ctx, connect.NewRequest(&api.ExplainJobRequest{Job: j.Id})); err == nil {
		fmt.Fprintf(b, "\n  %s; %s", x.Msg.Why, strings.Join(x.Msg.Change, "; "))
		for _, p := range x.Msg.Peers {
			fmt.Fprintf(b, "\n  peer %s: %s %s %s", p.Peer, p.Verdict, p.Class, p.Detail)
		}
	}
	d, err := client.DescribeJob(ctx, connect.NewRequest(&api.DescribeJobRequest{Job: j.Id}))
	if err != nil {
		fmt.Fprintf(b, "\n  %v", err)
		return
	}
	shown := 0
	for _, t := range d.Msg.Tasks {
		if t.State == "verified" {
			continue
		}
		if shown++; shown > shownTasks {
			break
		}
		fmt.Fprintf(b, "\n  task %d: %s %s", t.Index, t.State, t.How)
		for _, e := range t.Executions {
			fmt.Fprintf(b, "\n    %s %s %s at %s, away %v: %s", e.Id, e.Role, e.State, e.Peer, e.Away, e.Reason)
		}
	}
}
