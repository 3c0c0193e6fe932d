package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"connectrpc.com/connect"

	"github.com/mustermesh/muster/node"
	"github.com/mustermesh/muster/node/api"
)

const (
	fakePeer = "12D3KooWAfPDpPRRRBrmqy9is2zjU5srQ4hKuZitiGmh4NTTpS2d"
	fakeCID  = "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy"
	slowJob  = "bb00000000000000000000000000000000000000000000000000000000000000"
)

// A fakeNode answers the control API as a node would. What becomes of a job its
// name says: ok (also ""), failed, disputed, expired, slow (runs until it is
// cancelled), lost (the node goes away).
type fakeNode struct {
	api.UnimplementedMusterHandler
	mu        sync.Mutex
	job       *api.SubmitJobRequest // the last that was submitted
	cancelled chan struct{}         // closed by CancelJob
	watched   chan struct{}         // closed when somebody watches
	evil      string                // path of a file that JobFiles sends
}

func newFakeNode() *fakeNode {
	return &fakeNode{cancelled: make(chan struct{}), watched: make(chan struct{})}
}

func (f *fakeNode) last() *api.SubmitJobRequest {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.job
}

func fakeID(name string) string {
	if name == "slow" {
		return slowJob
	}
	return fmt.Sprintf("%-064s", "aa")[:2] + strings.Repeat("0", 62)
}

func (f *fakeNode) SubmitJob(_ context.Context, r *connect.Request[api.SubmitJobRequest], s *connect.ServerStream[api.SubmitJobResponse]) error {
	for _, c := range r.Msg.Job.Constraints {
		if c == "nonsense" {
			return connect.NewError(connect.CodeInvalidArgument, errors.New("constraint \"nonsense\": expected an operator"))
		}
	}
	f.mu.Lock()
	f.job = r.Msg
	f.mu.Unlock()
	tasks := max(r.Msg.Job.Count, 1)
	if r.Msg.ValidateOnly {
		return s.Send(&api.SubmitJobResponse{Tasks: tasks, InputRoot: fakeCID})
	}
	if err := s.Send(&api.SubmitJobResponse{FilesRead: 1, BytesRead: 100}); err != nil {
		return err
	}
	return s.Send(&api.SubmitJobResponse{Job: fakeID(r.Msg.Job.Name), Tasks: tasks})
}

func (f *fakeNode) summary() *api.JobSummary {
	req := f.last()
	if req == nil {
		return nil
	}
	tasks := max(req.Job.Count, 1)
	j := &api.JobSummary{
		Id: fakeID(req.Job.Name), Name: req.Job.Name, State: "completed", Tasks: tasks, Verified: tasks,
		ConfidenceWanted: 0.9, ConfidenceReached: 0.9375, How: "2 independent checkers each", SubmittedMs: 1_700_000_000_000,
		Labels: req.Job.Labels, Fuel: 2_500_000 * uint64(tasks),
	}
	switch req.Job.Name {
	case "failed":
		j.State, j.Verified, j.Failed, j.ExitCode, j.Reason = "failed", 0, tasks, 7, "task 0: exited with 7"
	case "disputed":
		j.State, j.Verified, j.Disputed = "disputed", 0, tasks
	case "expired":
		j.State, j.Verified, j.Reason = "expired", 0, "no provider with a gpu"
	case "part":
		j.State, j.Verified, j.ConfidenceReached = "running", 0, 0
	case "accepted":
		j.Verified, j.Accepted, j.ConfidenceReached = tasks-1, 1, 0.91
	}
	return j
}

func (f *fakeNode) WatchJob(ctx context.Context, _ *connect.Request[api.WatchJobRequest], s *connect.ServerStream[api.WatchJobResponse]) error {
	end := f.summary()
	if end == nil {
		return connect.NewError(connect.CodeNotFound, errors.New("no such job"))
	}
	running := &api.JobSummary{Id: end.Id, State: "running", Tasks: end.Tasks, Running: 1}
	changed := []*api.Task{{Executions: []*api.Execution{{Id: "e1", Peer: fakePeer, State: "running"}}}}
	if err := s.Send(&api.WatchJobResponse{Job: running, Changed: changed}); err != nil {
		return err
	}
	switch end.Name {
	case "lost":
		return nil
	case "slow":
		close(f.watched)
		select {
		case <-f.cancelled:
			end.State, end.Verified = "cancelled", 0
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return s.Send(&api.WatchJobResponse{Job: end, Ended: true})
}

func (f *fakeNode) CancelJob(_ context.Context, r *connect.Request[api.CancelJobRequest]) (*connect.Response[api.CancelJobResponse], error) {
	if r.Msg.Job != slowJob {
		return nil, connect.NewError(connect.CodeFailedPrecondition, errors.New("job aa000000 is completed already"))
	}
	close(f.cancelled)
	return connect.NewResponse(&api.CancelJobResponse{State: "cancelled"}), nil
}

func (f *fakeNode) find(prefix string) (*api.JobSummary, error) {
	if j := f.summary(); j != nil && strings.HasPrefix(j.Id, prefix) {
		return j, nil
	}
	return nil, connect.NewError(connect.CodeNotFound, fmt.Errorf("no job begins with %q", prefix))
}

func (f *fakeNode) ListJobs(context.Context, *connect.Request[api.ListJobsRequest]) (*connect.Response[api.ListJobsResponse], error) {
	resp := &api.ListJobsResponse{}
	if j := f.summary(); j != nil {
		resp.Jobs = append(resp.Jobs, j)
	}
	return connect.NewResponse(resp), nil
}

func (f *fakeNode) DescribeJob(_ context.Context, r *connect.Request[api.DescribeJobRequest]) (*connect.Response[api.DescribeJobResponse], error) {
	j, err := f.find(r.Msg.Job)
	if err != nil {
		return nil, err
	}
	engine := "wazero/1.12.0/amd64"
	if f.last().Engine == "interpreter" {
		engine = "wazero-interpreter/1.12.0/amd64"
	}
	d := &api.DescribeJobResponse{Job: j, Spec: f.last().Job, History: []*api.Transition{{State: "pending", TimeMs: 1_700_000_000_000}}}
	for i := range j.Tasks {
		d.Tasks = append(d.Tasks, &api.Task{
			Index: i, State: "verified", Ok: true, Outcome: "exited", Output: fakeCID, How: "checked",
			Executions: []*api.Execution{{Id: "e1e1e1e1e1", Peer: fakePeer, Role: "executor", State: "answered", CpuSeconds: 0.5, Fuel: 2_500_000, Engine: engine}}, Fuel: 2_500_000,
		})
	}
	d.Bids = []*api.Bid{{Peer: fakePeer, Refused: true, Reason: "busy\x1b[31m"}}
	return connect.NewResponse(d), nil
}

func (f *fakeNode) JobLogs(_ context.Context, r *connect.Request[api.JobLogsRequest], s *connect.ServerStream[api.LogChunk]) error {
	j, err := f.find(r.Msg.Job)
	if err != nil {
		return err
	}
	name := "stdout"
	if r.Msg.Stderr {
		name = "stderr"
	}
	for i := range int64(j.Tasks) {
		if r.Msg.Task >= 0 && r.Msg.Task != i {
			continue
		}
		if err := s.Send(&api.LogChunk{Task: uint32(i), Data: fmt.Appendf(nil, "%s of task %d\n", name, i)}); err != nil {
			return err
		}
	}
	return nil
}

func (f *fakeNode) JobFiles(_ context.Context, r *connect.Request[api.JobFilesRequest], s *connect.ServerStream[api.FileChunk]) error {
	j, err := f.find(r.Msg.Job)
	if err != nil {
		return err
	}
	if j.State == "running" && !r.Msg.Partial {
		return nil
	}
	if f.evil != "" {
		return s.Send(&api.FileChunk{Path: f.evil, Size: 1, Data: []byte("x"), Last: true})
	}
	job := f.last().Job
	for i := range max(job.Count, 1) {
		for _, out := range job.Outputs {
			p := out[1:] + "/a.txt"
			if job.Count > 1 {
				p = fmt.Sprintf("%d/%s", i, p)
			}
			for _, c := range []*api.FileChunk{{Path: filepath.Dir(p), Dir: true}, {Path: p, Size: 7, Data: []byte("one")}, {Path: p, Size: 7, Data: []byte("two\n"), Last: true}} {
				if err := s.Send(c); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// Events has the numbers 5 to 7; those before are not kept any more.
func (f *fakeNode) Events(_ context.Context, r *connect.Request[api.EventsRequest], s *connect.ServerStream[api.Event]) error {
	for _, e := range []*api.Event{
		{Sequence: 5, TimeMs: 1_700_000_000_000, Kind: "node", State: "started", Gap: r.Msg.After < 4},
		{Sequence: 6, TimeMs: 1_700_000_001_000, Kind: "execution", Job: slowJob, Task: 3, Execution: "e1e1e1e1e1", Peer: fakePeer, State: "failed", Text: "trap:\x1b[2J unreachable"},
		{Sequence: 7, TimeMs: 1_700_000_002_000, Kind: "progress", Job: slowJob, Task: 4, Execution: "e2e2e2e2e2", Peer: fakePeer, Progress: &api.Progress{Fraction: 0.5, Text: "half"}},
	} {
		if e.Sequence > r.Msg.After && strings.HasPrefix(e.Job, r.Msg.Job) {
			if err := s.Send(e); err != nil {
				return err
			}
		}
	}
	return nil
}

func (f *fakeNode) PeerID(context.Context, *connect.Request[api.PeerIDRequest]) (*connect.Response[api.PeerIDResponse], error) {
	return connect.NewResponse(&api.PeerIDResponse{Id: fakePeer, Addrs: []string{"/ip4/127.0.0.1/tcp/1/p2p/" + fakePeer}}), nil
}

func (f *fakeNode) ListPeers(_ context.Context, r *connect.Request[api.ListPeersRequest]) (*connect.Response[api.ListPeersResponse], error) {
	p := &api.Peer{
		Id: fakePeer, Connected: true, Transport: "tcp", LatencyMs: 1.25, Agent: r.Msg.Can,
		Advert: &api.Advert{Executor: "wasm", Offered: &api.Resources{Cpu: 2, Memory: 1 << 30}, Slots: 2, FreeSlots: 1, Labels: map[string]string{"region": "eu"}},
	}
	return connect.NewResponse(&api.ListPeersResponse{Peers: []*api.Peer{p}}), nil
}

func (f *fakeNode) Status(context.Context, *connect.Request[api.StatusRequest]) (*connect.Response[api.StatusResponse], error) {
	return connect.NewResponse(&api.StatusResponse{
		Id: fakePeer, Network: "lab", Roles: []string{"provider"}, Offline: true, Counters: map[string]uint64{"bids": 1 << 60},
		Bootstrap: []*api.BootstrapPeer{{Addr: "/ip4/192.0.2.1/tcp/1", Error: "timeout"}},
	}), nil
}

func (f *fakeNode) ProviderStatus(context.Context, *connect.Request[api.ProviderStatusRequest]) (*connect.Response[api.ProviderStatusResponse], error) {
	return connect.NewResponse(&api.ProviderStatusResponse{WhyNot: "isolation is landlock", Slots: 2, Refusals: map[string]uint64{"busy": 3}}), nil
}

func (f *fakeNode) ListTrust(context.Context, *connect.Request[api.ListTrustRequest]) (*connect.Response[api.ListTrustResponse], error) {
	return connect.NewResponse(&api.ListTrustResponse{Peers: []*api.Standing{{Peer: fakePeer, Checked: 12.5, State: "known", Availability: 1, Executions: 20}}}), nil
}

func (f *fakeNode) ShowTrust(_ context.Context, r *connect.Request[api.ShowTrustRequest]) (*connect.Response[api.ShowTrustResponse], error) {
	if !strings.HasSuffix(fakePeer, r.Msg.Peer) {
		return nil, connect.NewError(connect.CodeNotFound, errors.New("nobody here ends in that"))
	}
	return connect.NewResponse(&api.ShowTrustResponse{
		Standing: &api.Standing{Peer: fakePeer, State: "distrusted", Lies: 1},
		Evidence: []*api.Evidence{{Kind: "wrong", Job: slowJob, Answered: fakeCID, Right: fakeCID, Answer: []byte{1, 2}}},
	}), nil
}

func (f *fakeNode) AddBlob(_ context.Context, r *connect.Request[api.AddBlobRequest], s *connect.ServerStream[api.AddBlobResponse]) error {
	if !filepath.IsAbs(r.Msg.Path) {
		return connect.NewError(connect.CodeInvalidArgument, errors.New("not an absolute path"))
	}
	return s.Send(&api.AddBlobResponse{Cid: fakeCID, Size: 3})
}

func (f *fakeNode) GetBlob(_ context.Context, r *connect.Request[api.GetBlobRequest], s *connect.ServerStream[api.FileChunk]) error {
	switch {
	case r.Msg.Cid == fakeCID:
		return s.Send(&api.FileChunk{Path: fakeCID, Size: 4, Data: []byte("blob"), Last: true})
	case strings.HasPrefix(r.Msg.Cid, "bafybei"):
		if err := s.Send(&api.FileChunk{Path: "sub", Dir: true}); err != nil {
			return err
		}
		return s.Send(&api.FileChunk{Path: "sub/f", Size: 1, Data: []byte("f"), Last: true})
	}
	return connect.NewError(connect.CodeNotFound, errors.New("nobody has it"))
}

func (f *fakeNode) StatBlob(context.Context, *connect.Request[api.StatBlobRequest]) (*connect.Response[api.StatBlobResponse], error) {
	return connect.NewResponse(&api.StatBlobResponse{Cid: fakeCID, Size: 1 << 20, Complete: true, Class: "public"}), nil
}

// serve answers on a unix socket until the test ends.
func (f *fakeNode) serve(t testing.TB, socket string) func() { return serveOn(t, f, socket) }

func serveOn(t testing.TB, h api.MusterHandler, socket string) func() {
	t.Helper()
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle(api.NewMusterHandler(h))
	srv := &http.Server{Handler: mux}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = srv.Serve(l)
	}()
	return func() {
		srv.Close()
		<-done
	}
}

// fakeMesh stands in for package node: FAKE_API is the socket of a fakeNode, and
// with FAKE_OWN the node counts as the command's own.
func fakeMesh() mesh {
	return mesh{
		init: func(cfg node.Config) (string, error) {
			return fakePeer, os.MkdirAll(cfg.Home, 0o700)
		},
		serve: func(ctx context.Context, cfg node.Config, log *slog.Logger, ready func(string, []string)) error {
			log.Info("serving", "network", cfg.Network, "roles", cfg.Roles, "lend", fmt.Sprint(cfg.Lend), "bootstrap", cfg.Bootstrap, "mdns", cfg.MDNS)
			if cfg.Network == "broken" {
				return errors.New("it broke")
			}
			ready(fakePeer, []string{cfg.Listen[0] + "/p2p/" + fakePeer})
			<-ctx.Done()
			return nil
		},
		dial: func(_ context.Context, cfg node.Config, _ bool, _ *slog.Logger) (*client, error) {
			socket := os.Getenv("FAKE_API")
			if socket == "" {
				return nil, connect.NewError(connect.CodeUnavailable, fmt.Errorf("nothing answers in %s", cfg.Home))
			}
			return dialSocket(socket, os.Getenv("FAKE_OWN") != ""), nil
		},
	}
}

func dialSocket(socket string, own bool) *client {
	tr := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", socket)
	}}
	return &client{
		MusterClient: api.NewMusterClient(&http.Client{Transport: tr}, "http://muster"),
		own:          own,
		close: func() error {
			tr.CloseIdleConnections()
			return nil
		},
	}
}
