package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"time"

	"connectrpc.com/connect"

	"github.com/mustermesh/muster/node/api"
)

// ExplainJob explains the last job by its name: stuck waits for want of peers,
// dead has tasks that were given up; any other is as it is for no special reason.
func (f *fakeNode) ExplainJob(_ context.Context, r *connect.Request[api.ExplainJobRequest]) (*connect.Response[api.ExplainJobResponse], error) {
	j, err := f.find(r.Msg.Job)
	if err != nil {
		return nil, err
	}
	switch j.Name {
	case "stuck":
		return connect.NewResponse(stuckJob(j)), nil
	case "dead":
		return connect.NewResponse(deadJob(j)), nil
	}
	return connect.NewResponse(&api.ExplainJobResponse{
		Job: j, Why: "Every task has a verified result.", Needs: "1 core, 256 MiB of memory",
		History: []*api.Transition{{State: "pending", TimeMs: 1_700_000_000_000}, {State: "completed", TimeMs: 1_700_000_001_000}},
	}), nil
}

func fakePeerID(n int) string { return fmt.Sprintf("%s%03d", fakePeer[:len(fakePeer)-3], n) }

func stuckJob(j *api.JobSummary) *api.ExplainJobResponse {
	j.State, j.Tasks, j.Verified, j.Running = "bidding", 8, 2, 1
	x := &api.ExplainJobResponse{
		Job: j, Why: "One of 44 known peers fits, and it has no free slot: 30 refused, mostly because they ask for more than 1 credit per core-hour.",
		Needs:  "1 core, 64 GiB of memory and 1 GiB of files on amd64, for at most 1 credit per core-hour",
		Change: []string{"Pay 2 credits per core-hour (--max-price 2): 20 more peers would fit.", "Ask for 16 GiB of memory (--memory 16GiB), if the program can do with that: 6 more peers would fit.", "Wait: the peer that fits expects a free slot in about 40 s."},
		History: []*api.Transition{
			{State: "pending", TimeMs: 1_700_000_000_000, Reason: "submitted"},
			{State: "bidding", TimeMs: 1_700_000_000_500, Reason: "announced to 44 peers; the working set of known peers was asked for signed bids and refusals"},
		},
		ExpiresMs: 1_700_000_300_000,
	}
	x.Peers = append(x.Peers,
		&api.PeerDecision{Peer: fakePeerID(1), Verdict: "chosen", Class: "none", Executions: 3, Answered: 2, Failed: 1, Price: 0.5},
		&api.PeerDecision{Peer: fakePeerID(2), Verdict: "unreachable", Class: "reach", Detail: "dial /ip4/192.0.2.7/udp/4170/quic-v1: no answer within 5 s; last seen 3 hours ago", Change: "that it comes back, or that its relay does"},
		&api.PeerDecision{Peer: fakePeerID(3), Verdict: "distrusted", Class: "trust", Detail: "gave a wrong answer to task 3 of job 3f2a9c1e, as re-execution proved", Change: ""},
		&api.PeerDecision{Peer: fakePeerID(4), Verdict: "available", Class: "none", Detail: "drawn next"},
	)
	for i := range 30 {
		p := &api.PeerDecision{Peer: fakePeerID(100 + i), Verdict: "refused", Class: "price", Signed: true, Detail: fmt.Sprintf("asks for %d credits per core-hour, and the job pays at most 1", i+2), Change: fmt.Sprintf("--max-price %d", i+2)}
		if i%3 == 0 {
			p.Class, p.Detail, p.Change = "policy", "lends only from 18:00 to 08:00 on weekdays\x1b[31m", "that its owner changes hours, or to wait until 18:00"
		}
		x.Peers = append(x.Peers, p)
	}
	for i := range 10 {
		x.Peers = append(x.Peers, &api.PeerDecision{Peer: fakePeerID(200 + i), Verdict: "unfit", Class: "requirement", Detail: "lends 16 GiB of memory, and a task needs 64 GiB", Change: "--memory 16GiB"})
	}
	return x
}

func deadJob(j *api.JobSummary) *api.ExplainJobResponse {
	j.State, j.Tasks, j.Verified, j.Failed, j.Dead = "failed", 4, 2, 2, 1
	runs := make([]*api.Execution, 7)
	for i := range runs {
		runs[i] = &api.Execution{Id: fmt.Sprint("e", i), Peer: fakePeerID(i), Role: "executor", State: "failed", EndedMs: 1_700_000_000_000 + int64(i)*1000,
			Reason: fmt.Sprintf("attempt %d: the provider went away while the guest ran, and did not come back within its grace", i)}
	}
	return &api.ExplainJobResponse{
		Job: j, Why: "Task 1 was given up after 7 attempts.",
		Tasks: []*api.TaskTrouble{
			{Task: 1, State: "dead", Why: "7 executions were lost, and no more are allowed", Executions: runs},
			{Task: 2, State: "running", Why: "slow", Executions: runs},
		},
	}
}

// ExplainProvider explains a provider that asked too much; asked about less than
// a minute, one that lends nothing.
func (f *fakeNode) ExplainProvider(_ context.Context, r *connect.Request[api.ExplainProviderRequest]) (*connect.Response[api.ExplainProviderResponse], error) {
	if time.Since(time.UnixMilli(r.Msg.SinceMs)) < time.Minute {
		return connect.NewResponse(&api.ExplainProviderResponse{WhyNot: "the owner's hours are mon-fri 18:00-08:00.", SinceMs: r.Msg.SinceMs}), nil
	}
	x := &api.ExplainProviderResponse{
		Enabled: true, Seen: 120, Bids: 30, Won: 12, Executions: 340, SinceMs: r.Msg.SinceMs,
		Summary: "Of 120 announced jobs this node bid for 30 and won 12; most others pay less than it asks.",
		Reasons: []*api.Count{{Text: "the price is above what the job pays", Count: 70}, {Text: "not enough memory", Count: 20}},
		Change:  []string{"Ask for 0.5 credits per core-hour: 40 more jobs.", "Lend 8 GiB of memory: 20 more jobs."},
	}
	for i := range 25 {
		x.Recent = append(x.Recent, &api.Considered{TimeMs: 1_700_000_000_000, Job: slowJob, Requester: fakePeerID(i), Outcome: "refused", Reason: "price",
			Detail: "asks for 1 credit per core-hour, and the job pays at most 0.5", Change: "a price of 0.5", Tasks: uint32(i), MaxPrice: 0.5})
	}
	return connect.NewResponse(x), nil
}

// Doctor finds a problem only if it looks deep.
func (f *fakeNode) Doctor(_ context.Context, r *connect.Request[api.DoctorRequest]) (*connect.Response[api.DoctorResponse], error) {
	x := &api.DoctorResponse{Findings: []*api.Finding{
		{Area: "sandbox", Level: "ok", Detail: "isolation level namespaces: user, pid, mount and network namespaces, Landlock, seccomp and resource limits are in force"},
		{Area: "sandbox", Level: "warning", Detail: "no cgroup may be made here, so that memory is limited for each process alone", Fix: "start the daemon as a service with Delegate=yes, or as a user with a delegated cgroup"},
		{Area: "clock", Level: "note", Detail: "1.2 s behind the median of 5 peers", Fix: "turn on time synchronisation"},
		{Area: "disk", Level: "ok", Detail: "120 GiB free"},
	}}
	if r.Msg.Deep {
		x.Findings = append(x.Findings, &api.Finding{Area: "sandbox", Level: "problem", Detail: "a program that should print a line printed nothing", Fix: "see docs/sandbox.md"})
	}
	return connect.NewResponse(x), nil
}

// Bundle sends an archive of two files in small pieces.
func (f *fakeNode) Bundle(_ context.Context, _ *connect.Request[api.BundleRequest], s *connect.ServerStream[api.Chunk]) error {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	t := tar.NewWriter(z)
	for _, name := range []string{"doctor.json", "config.yaml"} {
		if err := t.WriteHeader(&tar.Header{Name: name, Size: 2, Mode: 0o600}); err != nil {
			return err
		}
		if _, err := t.Write([]byte("{}")); err != nil {
			return err
		}
	}
	if err := errors.Join(t.Close(), z.Close()); err != nil {
		return err
	}
	for b.Len() > 0 {
		if err := s.Send(&api.Chunk{Data: b.Next(50)}); err != nil {
			return err
		}
	}
	return nil
}

// Drain has two executions running, which end once somebody waits as long as it
// takes.
func (f *fakeNode) Drain(_ context.Context, r *connect.Request[api.DrainRequest]) (*connect.Response[api.DrainResponse], error) {
	x := &api.DrainResponse{Draining: r.Msg.On}
	if !r.Msg.Wait {
		x.Running, x.Queued = 2, 1
	}
	return connect.NewResponse(x), nil
}

// Rules gives rules of which the request's change takes the place.
func (f *fakeNode) Rules(_ context.Context, r *connect.Request[api.RulesRequest]) (*connect.Response[api.RulesResponse], error) {
	rules := &api.Rules{Cpu: 2, Memory: 8 << 30, IdleOnly: true}
	from, to := r.Msg.Change.ProtoReflect(), rules.ProtoReflect()
	for _, name := range r.Msg.Fields {
		field := to.Descriptor().Fields().ByTextName(name)
		if field == nil {
			return nil, connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("no rule is called %q", name))
		}
		if to.Clear(field); from.Has(field) {
			to.Set(field, from.Get(field))
		}
	}
	return connect.NewResponse(&api.RulesResponse{Rules: rules, WhyNot: "idle_only: somebody uses this machine", Notes: []string{"this host tells no temperature"}}), nil
}

// RetryJob runs two tasks of a failed job again.
func (f *fakeNode) RetryJob(_ context.Context, r *connect.Request[api.RetryJobRequest]) (*connect.Response[api.RetryJobResponse], error) {
	j, err := f.find(r.Msg.Job)
	if err != nil {
		return nil, err
	}
	if j.State == "completed" {
		return nil, connect.NewError(connect.CodeFailedPrecondition, errors.New("every task of job "+short(j.Id)+" has a good result; there is nothing to run again"))
	}
	return connect.NewResponse(&api.RetryJobResponse{Job: j.Id, Tasks: 2, State: "pending"}), nil
}

// JobReceipts has one receipt for each task, and one for a reduction.
func (f *fakeNode) JobReceipts(_ context.Context, r *connect.Request[api.JobReceiptsRequest]) (*connect.Response[api.JobReceiptsResponse], error) {
	j, err := f.find(r.Msg.Job)
	if err != nil {
		return nil, err
	}
	x := &api.JobReceiptsResponse{}
	if j.Name == "free" {
		return connect.NewResponse(x), nil
	}
	for i := range j.Tasks {
		x.Receipts = append(x.Receipts, &api.Receipt{Task: i, Execution: "e1e1e1e1e1", Peer: fakePeerID(int(i)), Amount: 0.25, CpuSeconds: 1.5, Fuel: 1_234_567_890, Engine: "wazero/1.12.0/amd64", Output: fakeCID, TimeMs: 1_700_000_000_000, Envelope: []byte{1, 2}})
	}
	x.Receipts = append(x.Receipts, &api.Receipt{Reduce: true, Execution: "e2e2e2e2e2", Peer: fakePeerID(0), Amount: 1, CpuSeconds: 2, Fuel: 999, Output: fakeCID, Envelope: []byte{3}})
	return connect.NewResponse(x), nil
}
