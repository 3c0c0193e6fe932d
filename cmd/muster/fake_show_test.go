package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/mustermesh/muster/node/api"
)

// A show is a job whose every execution is written down beforehand, so that it
// can be seen as it is at any time, in a test or as a play on a terminal.
type show struct {
	tasks int
	begin int64 // Unix milliseconds
	runs  []showRun
	end   int64
}

type showRun struct {
	task                    uint32
	peer                    int
	role, state             string
	created, started, ended int64 // milliseconds from the beginning
	silent                  bool  // tells no progress
}

// newShow writes a job of so many tasks for so many providers of two slots each:
// executors, a checker for each third task, hedges, failures and a referee.
func newShow(tasks, peers int, begin int64) *show {
	s := &show{tasks: tasks, begin: begin}
	r := rand.New(rand.NewPCG(7, uint64(tasks)))
	free := make([]int64, 2*peers) // of each slot
	add := func(x showRun, took int64) showRun {
		slot := 0
		for i := range free {
			if free[i] < free[slot] {
				slot = i
			}
		}
		x.peer = slot / 2
		x.created = max(x.created, free[slot]-2000)
		x.started = max(x.created+300, free[slot]+100)
		x.ended = x.started + took
		if x.role == "referee" {
			x.peer, x.started, x.ended = -1, x.created+100, x.created+took
		} else {
			free[slot] = x.ended
		}
		s.runs = append(s.runs, x)
		s.end = max(s.end, x.ended+1000)
		return x
	}
	for i := range tasks {
		took := 2000 + r.Int64N(5000)
		x := showRun{task: uint32(i), role: "executor", state: "answered", created: 500, silent: i%4 == 1}
		switch {
		case i%11 == 5:
			x.state = []string{"failed", "lost"}[i/11%2]
			failed := add(x, took/3)
			add(showRun{task: x.task, role: "executor", state: "answered", created: failed.ended}, took)
		case i%9 == 3:
			slow := add(x, 3*took)
			s.runs[len(s.runs)-1].state = "cancelled"
			h := add(showRun{task: x.task, role: "executor", state: "answered", created: slow.started + 3*took/2}, took)
			s.runs[len(s.runs)-2].ended = min(slow.ended, h.ended)
		case i%13 == 7:
			x.state = "wrong"
			lie := add(x, took)
			c := add(showRun{task: x.task, role: "checker", state: "answered", created: lie.started}, took)
			add(showRun{task: x.task, role: "referee", state: "answered", created: max(lie.ended, c.ended)}, took/2)
		case i%3 == 0:
			e := add(x, took)
			add(showRun{task: x.task, role: "checker", state: "answered", created: e.started}, took)
		default:
			add(x, took)
		}
	}
	return s
}

// at gives the tasks as they are some milliseconds after the beginning.
func (s *show) at(ms int64) []*api.Task {
	out := make([]*api.Task, s.tasks)
	for i := range out {
		out[i] = &api.Task{Index: uint32(i), State: "waiting"}
	}
	for n, r := range s.runs {
		if r.created > ms {
			continue
		}
		t := out[r.task]
		x := &api.Execution{Id: fmt.Sprintf("%08x", n+1), Peer: fakePeerID(r.peer + 1), Role: r.role, State: "assigned", CreatedMs: s.begin + r.created}
		if r.started <= ms {
			x.State, x.StartedMs, t.State = "running", s.begin+r.started, "running"
			if !r.silent {
				x.Progress = &api.Progress{Fraction: float64(ms-r.started) / float64(r.ended-r.started), Text: fmt.Sprintf("epoch %d of 9", 9*(ms-r.started)/(r.ended-r.started))}
			}
		}
		if r.ended <= ms {
			x.State, x.EndedMs, x.Progress = r.state, s.begin+r.ended, nil
			if r.state == "answered" {
				t.State = "verified"
			}
		}
		t.Executions = append(t.Executions, x)
	}
	return out
}

func (s *show) summary(ms int64) *api.JobSummary {
	j := &api.JobSummary{
		Id: slowJob, Name: "wordcount", State: "running", Tasks: uint32(s.tasks), SubmittedMs: s.begin, Hedges: 2,
		ConfidenceWanted: 0.9, ConfidenceReached: 0.912, How: "checked on standing", Sequence: uint64(ms / 100),
	}
	for _, t := range s.at(ms) {
		j.Executions += uint32(len(t.Executions))
		for _, x := range t.Executions {
			if x.State == "running" {
				j.Running++
			}
		}
		if t.State == "verified" {
			j.Verified++
		}
	}
	if ms < 600 {
		j.State, j.Waiting = "bidding", "no provider has bid yet; 3 were asked, and bids are awaited for 500 ms"
	}
	if ms >= s.end {
		j.State, j.EndedMs = "completed", s.begin+s.end
	}
	j.Progress = float64(j.Verified) / float64(s.tasks)
	return j
}

// A showNode plays a show, as fast as time goes by.
type showNode struct {
	*fakeNode
	show *show
}

func (n *showNode) now() int64 { return time.Now().UnixMilli() - n.show.begin }

func (n *showNode) WatchJob(ctx context.Context, _ *connect.Request[api.WatchJobRequest], s *connect.ServerStream[api.WatchJobResponse]) error {
	before := map[string]string{}
	for {
		ms := n.now()
		var changed []*api.Task
		for _, t := range n.show.at(ms) {
			t.Executions = slices.DeleteFunc(t.Executions, func(x *api.Execution) bool {
				state := x.State + x.Progress.GetText()
				same := before[x.Id] == state
				before[x.Id] = state
				return same
			})
			if len(t.Executions) > 0 {
				changed = append(changed, t)
			}
		}
		j := n.show.summary(ms)
		if err := s.Send(&api.WatchJobResponse{Job: j, Changed: changed, Ended: j.EndedMs > 0}); err != nil || j.EndedMs > 0 {
			return err
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (n *showNode) DescribeJob(context.Context, *connect.Request[api.DescribeJobRequest]) (*connect.Response[api.DescribeJobResponse], error) {
	ms := n.now()
	return connect.NewResponse(&api.DescribeJobResponse{Job: n.show.summary(ms), Tasks: n.show.at(ms)}), nil
}

func (n *showNode) ListJobs(_ context.Context, r *connect.Request[api.ListJobsRequest]) (*connect.Response[api.ListJobsResponse], error) {
	resp := &api.ListJobsResponse{}
	if j := n.show.summary(n.now()); r.Msg.State == j.State || r.Msg.State == "" {
		resp.Jobs = append(resp.Jobs, j)
	}
	return connect.NewResponse(resp), nil
}

func (n *showNode) Status(context.Context, *connect.Request[api.StatusRequest]) (*connect.Response[api.StatusResponse], error) {
	return connect.NewResponse(showStatus(n.show.begin)), nil
}

func showStatus(begin int64) *api.StatusResponse {
	return &api.StatusResponse{Id: fakePeer, Network: "lab", Roles: []string{"provider", "requester"}, Peers: 14, StartedMs: begin - 7_380_000, JobsOpen: 1}
}

func (n *showNode) ProviderStatus(context.Context, *connect.Request[api.ProviderStatusRequest]) (*connect.Response[api.ProviderStatusResponse], error) {
	return connect.NewResponse(showLends(n.show.begin)), nil
}

func showLends(begin int64) *api.ProviderStatusResponse {
	return &api.ProviderStatusResponse{
		Enabled: true, Slots: 4, SlotsBusy: 3, Queued: 1, TasksDone: 210, TasksFailed: 2, Kept: 2, HeldBack: "somebody uses this machine (idle_only)",
		Guests: []*api.Guest{
			{Execution: "c0ffee0000", Job: "77aa000000", Requester: fakePeerID(1), StartedMs: begin - 61_000, Progress: &api.Progress{Fraction: 0.41, Text: "frame 41 of 100"}},
			{Execution: "c0ffee0111", Job: "77aa000000", Requester: fakePeerID(1), StartedMs: begin - 4_000, Progress: &api.Progress{Fraction: -1, Text: "loading\x1b[2J"}},
			{Execution: "beef000222", Job: "91bb000000", Requester: fakePeerID(2), StartedMs: begin - 1000, Orphan: true},
		},
	}
}

// events gives what happened until then, as events.
func (s *show) events(ms int64) (out []*api.Event) {
	add := func(at int64, r showRun, n int, state string) {
		if at <= ms {
			out = append(out, &api.Event{TimeMs: s.begin + at, Kind: "execution", Job: slowJob, Task: r.task, Execution: fmt.Sprintf("%08x", n+1), Peer: fakePeerID(r.peer + 1), State: state})
		}
	}
	for n, r := range s.runs {
		add(r.created, r, n, "assigned")
		add(r.started, r, n, "running")
		add(r.ended, r, n, r.state)
	}
	slices.SortStableFunc(out, func(a, b *api.Event) int { return cmp.Compare(a.TimeMs, b.TimeMs) })
	for i, e := range out {
		e.Sequence = uint64(i) + 1
	}
	return out
}

func (n *showNode) Events(ctx context.Context, r *connect.Request[api.EventsRequest], s *connect.ServerStream[api.Event]) error {
	after := r.Msg.After
	for {
		for _, e := range n.show.events(n.now()) {
			if e.Sequence <= after {
				continue
			}
			if after = e.Sequence; s.Send(e) != nil {
				return nil
			}
		}
		if !r.Msg.Follow {
			return nil
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// JobLogs has task 0 and task 1 each write a line a second.
func (n *showNode) JobLogs(ctx context.Context, r *connect.Request[api.JobLogsRequest], s *connect.ServerStream[api.LogChunk]) error {
	if !r.Msg.Follow {
		return connect.NewError(connect.CodeFailedPrecondition, errors.New("this node is for following"))
	}
	var sent [2]uint64
	for {
		for task := range sent {
			whole := strings.Builder{}
			for i := range min(n.now(), n.show.end) / 1000 {
				fmt.Fprintf(&whole, "task %d, second %d\n", task, i)
			}
			if r.Msg.Task >= 0 && r.Msg.Task != int64(task) || uint64(whole.Len()) <= sent[task] {
				continue
			}
			if err := s.Send(&api.LogChunk{Task: uint32(task), Offset: sent[task], Data: []byte(whole.String()[sent[task]:]), Live: true, Execution: "e1"}); err != nil {
				return err
			}
			sent[task] = uint64(whole.Len())
		}
		if n.now() >= n.show.end {
			return nil
		}
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// playShow serves a show on the socket $FAKE_API, for people who want to see the
// screens: link the test binary as muster-play and as muster, run one beside the
// other. Its arguments are the numbers of tasks and of providers, and since how
// many seconds the job runs.
func playShow(args []string) {
	numbers := []int{30, 3, 0}
	for i, a := range args {
		if _, err := fmt.Sscan(a, &numbers[i]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(exitUsage)
		}
	}
	_ = os.Remove(os.Getenv("FAKE_API"))
	l, err := net.Listen("unix", os.Getenv("FAKE_API"))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(exitError1)
	}
	begin := time.Now().Add(-time.Duration(numbers[2]) * time.Second).UnixMilli()
	mux := http.NewServeMux()
	mux.Handle(api.NewMusterHandler(&showNode{newFakeNode(), newShow(numbers[0], numbers[1], begin)}))
	_ = http.Serve(l, mux)
}

func TestAShowIsAWholeJob(t *testing.T) {
	s := newShow(30, 3, 1_700_000_000_000)
	if j := s.summary(s.end); j.Verified != 30 || j.State != "completed" {
		t.Errorf("got %d of 30 tasks verified, state %s", j.Verified, j.State)
	}
}
