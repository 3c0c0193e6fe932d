package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/mustermesh/muster/node/api"
	"github.com/mustermesh/muster/proto"
	"github.com/mustermesh/muster/scheduler"
)

// SubmitJob reads a job and starts it; the last message has its id, which is on
// disk by then.
func (s *server) SubmitJob(ctx context.Context, req *connect.Request[api.SubmitJobRequest], stream *connect.ServerStream[api.SubmitJobResponse]) error {
	if s.n.net == nil && !req.Msg.ValidateOnly && !req.Msg.Local {
		return code(errOffline)
	}
	if req.Msg.Job == nil {
		return code(fmt.Errorf("%w: empty", ErrSpecification))
	}
	last := time.Now()
	j, err := s.n.requester.submit(ctx, req.Msg, s.n.fetch, func(bytes int64, files int) {
		if time.Since(last) > progressEvery {
			last = time.Now()
			_ = stream.Send(&api.SubmitJobResponse{FilesRead: uint64(files), BytesRead: uint64(bytes)}) // the next send fails too
		}
	})
	if err != nil {
		return code(err)
	}
	out := &api.SubmitJobResponse{Job: j.id.String(), Tasks: uint32(len(j.spec.Tasks))}
	if root := j.spec.Tasks[0].Input; !root.IsZero() {
		out.InputRoot = root.String()
	}
	return stream.Send(out)
}

// WatchJob streams a job's summary, and the tasks that changed, until it ended.
func (s *server) WatchJob(ctx context.Context, req *connect.Request[api.WatchJobRequest], stream *connect.ServerStream[api.WatchJobResponse]) error {
	j, err := s.n.requester.find(req.Msg.Job)
	if err != nil {
		return code(err)
	}
	updates, stop := j.watch()
	defer stop()
	tick := time.NewTicker(time.Second) // what a job waits for changes without an event
	defer tick.Stop()
	pending := make(map[int]scheduler.TaskView)
	for {
		ended := j.ended() // before the summary: what it says then is final
		if err := stream.Send(&api.WatchJobResponse{Job: j.summary(), Changed: taskMessages(pending), Ended: ended}); err != nil || ended {
			return err
		}
		clear(pending)
		select {
		case <-ctx.Done():
			return nil
		case <-s.n.leaving:
			return connect.NewError(connect.CodeUnavailable, errors.New("the node is leaving"))
		case <-tick.C:
		case <-j.over:
			if !j.ended() {
				return connect.NewError(connect.CodeUnavailable, errors.New("the node is leaving"))
			}
		case u := <-updates:
			collect(pending, u, updates)
		}
	}
}

// collect takes the updates that are waiting; of each task the last counts.
func collect(pending map[int]scheduler.TaskView, u update, more chan update) {
	for {
		if u.phase == phaseTasks {
			for _, t := range u.tasks {
				pending[t.Index] = t
			}
		}
		select {
		case u = <-more:
		default:
			return
		}
	}
}

func taskMessages(views map[int]scheduler.TaskView) (out []*api.Task) {
	for _, v := range views {
		out = append(out, taskMessage(v))
	}
	return out
}

// ListJobs lists the jobs of this home, the latest first.
func (s *server) ListJobs(_ context.Context, req *connect.Request[api.ListJobsRequest]) (*connect.Response[api.ListJobsResponse], error) {
	out := &api.ListJobsResponse{}
	for _, j := range s.n.requester.list() {
		sum := j.summary()
		if req.Msg.State != "" && sum.State != req.Msg.State {
			continue
		}
		out.Jobs = append(out.Jobs, sum)
		if req.Msg.Limit > 0 && len(out.Jobs) == int(req.Msg.Limit) {
			break
		}
	}
	return connect.NewResponse(out), nil
}

// DescribeJob tells all that is known of a job.
func (s *server) DescribeJob(ctx context.Context, req *connect.Request[api.DescribeJobRequest]) (*connect.Response[api.DescribeJobResponse], error) {
	j, err := s.n.requester.find(req.Msg.Job)
	if err != nil {
		return nil, code(err)
	}
	out := &api.DescribeJobResponse{Job: j.summary(), Spec: &api.Job{}}
	if err := protojson.Unmarshal(j.record.Written, out.Spec); err != nil {
		return nil, code(err)
	}
	p := j.snapshot()
	for _, h := range p.History {
		out.History = append(out.History, &api.Transition{State: string(h.State), TimeMs: h.TimeMS, Reason: h.Reason})
	}
	tasks, reduce, bids, err := j.views(ctx)
	if err != nil {
		return nil, code(err)
	}
	for i, v := range tasks {
		m := taskMessage(v)
		m.Digest = proto.TaskDigest(j.spec.Program, j.spec.Task(i)).String()
		out.Tasks = append(out.Tasks, m)
	}
	if reduce != nil {
		out.Reduce = taskMessage(*reduce)
	}
	for _, b := range bids {
		m := &api.Bid{Peer: b.Peer.String(), Price: float64(b.Price) / 1e6, Slots: uint32(b.Slots)}
		if b.Refusal != nil {
			m.Refused, m.Reason = true, b.Refusal.Reason.String()+": "+b.Refusal.Detail
		}
		out.Bids = append(out.Bids, m)
	}
	return connect.NewResponse(out), nil
}

// views gives every task as it stands: out of the loop while it runs, from disk
// otherwise.
func (j *job) views(ctx context.Context) (tasks []scheduler.TaskView, reduce *scheduler.TaskView, bids []scheduler.BidView, err error) {
	live := make(map[int]scheduler.TaskView)
	phase := phaseTasks
	j.ask(ctx, func(core *scheduler.Job) {
		phase = j.phase
		for i := range j.tasks {
			live[i] = core.Task(i)
		}
		bids = core.Bids()
	})
	for i := range j.spec.Tasks {
		v, ok := live[i]
		restored := v.Settlement != nil && len(v.Executions) == 0 // by an earlier run, and told on disk
		if !ok || phase != phaseTasks || restored {
			if v, ok, err = loadTask(j.r.db, j.id, phaseTasks, i); err != nil {
				return nil, nil, nil, err
			}
		}
		if !ok {
			v = scheduler.TaskView{Index: i, State: scheduler.TaskWaiting}
		}
		tasks = append(tasks, v)
	}
	if j.spec.Reduce == nil {
		return tasks, nil, bids, nil
	}
	v, ok := live[0]
	if !ok || phase != phaseReduce {
		if v, ok, err = loadTask(j.r.db, j.id, phaseReduce, 0); err != nil {
			return nil, nil, nil, err
		}
	}
	if ok {
		reduce = &v
	}
	return tasks, reduce, bids, nil
}

func taskMessage(v scheduler.TaskView) *api.Task {
	out := &api.Task{Index: uint32(v.Index), State: string(v.State)}
	if s := v.Settlement; s != nil {
		out.How, out.Output, out.Ok = s.How, s.Output.String(), s.Ok()
		if s.Outcome.Result != 0 {
			out.Outcome = s.Outcome.Result.String()
		}
		out.ExitCode, out.Trap = s.Outcome.ExitCode, s.Outcome.Trap
	}
	for _, e := range v.Executions {
		out.Executions = append(out.Executions, executionMessage(e))
	}
	return out
}

func executionMessage(e scheduler.ExecView) *api.Execution {
	out := &api.Execution{
		Id: e.ID.String(), Peer: e.Peer.String(), Role: string(e.Role), State: string(e.State), Reason: e.Reason,
		Output: e.Outcome.Output.String(), CpuSeconds: e.Outcome.CPU.Seconds(),
	}
	if e.Outcome.Engine.Name != "" {
		out.Engine = e.Outcome.Engine.String()
	}
	if !e.Started.IsZero() {
		out.StartedMs = e.Started.UnixMilli()
	}
	if !e.Ended.IsZero() {
		out.EndedMs = e.Ended.UnixMilli()
	}
	return out
}

// summary tells how the job stands.
func (j *job) summary() *api.JobSummary {
	j.mu.Lock()
	defer j.mu.Unlock()
	p := j.progress
	out := &api.JobSummary{
		Id: j.id.String(), Name: j.spec.Name, Tasks: uint32(len(j.spec.Tasks)), Accepted: uint32(p.Counts.Accepted),
		Verified: uint32(p.Counts.Verified), Disputed: uint32(p.Counts.Disputed), Failed: uint32(p.Counts.Failed),
		Running: uint32(p.Counts.Running), ConfidenceWanted: float64(j.spec.Confidence) / proto.ConfidenceUnit,
		ConfidenceReached: float64(p.Reached) / proto.ConfidenceUnit, How: p.How, OutputRoot: p.Output.String(),
		Waiting: j.waiting, Labels: j.spec.Labels, Spent: float64(p.Spent) / 1e6, Local: j.record.Local,
		ExitCode: p.Exit, TimedOut: p.Late, Notes: p.Notes, SubmittedMs: j.spec.Submitted.UnixMilli(),
	}
	if n := len(p.History); n > 0 {
		last := p.History[n-1]
		out.State, out.Reason = string(last.State), last.Reason
		if last.State.Ended() {
			out.EndedMs, out.Waiting = last.TimeMS, ""
		}
	}
	if j.spec.Reduce != nil {
		out.ReduceState = reduceState(p, out.State)
	}
	return out
}

func reduceState(p progress, state string) string {
	switch {
	case p.Phase == phaseTasks:
		return "waiting"
	case scheduler.State(state).Ended():
		return state
	}
	return "running"
}

// CancelJob ends a job.
func (s *server) CancelJob(ctx context.Context, req *connect.Request[api.CancelJobRequest]) (*connect.Response[api.CancelJobResponse], error) {
	j, err := s.n.requester.find(req.Msg.Job)
	if err != nil {
		return nil, code(err)
	}
	if s.n.net == nil && !j.ended() {
		return nil, code(errOffline)
	}
	if !j.ended() {
		j.cancel("cancelled by its requester")
		select {
		case <-j.over:
		case <-ctx.Done():
			return nil, code(ctx.Err())
		}
	}
	return connect.NewResponse(&api.CancelJobResponse{State: j.summary().State}), nil
}

// Values of JobLogsRequest.Task besides an index.
const (
	logsAll    = -1
	logsResult = -2
)

// JobLogs streams stdout or stderr of one task, of all in order, or of the
// result.
func (s *server) JobLogs(ctx context.Context, req *connect.Request[api.JobLogsRequest], stream *connect.ServerStream[api.Chunk]) error {
	j, err := s.n.requester.find(req.Msg.Job)
	if err != nil {
		return code(err)
	}
	phase, from, to := phaseTasks, 0, len(j.spec.Tasks)
	switch t := req.Msg.Task; {
	case t == logsResult && j.spec.Reduce != nil:
		phase, to = phaseReduce, 1
	case t >= int64(to) || t < logsResult:
		return connect.NewError(connect.CodeNotFound, fmt.Errorf("job %s has tasks 0 to %d, no task %d", j.id.Short(), to-1, t))
	case t >= 0:
		from, to = int(t), int(t)+1
	}
	path := pathStdout
	if req.Msg.Stderr {
		path = pathStderr
	}
	for i := from; i < to; i++ {
		v, ok, err := loadTask(s.n.db, j.id, phase, i)
		if err != nil {
			return code(err)
		}
		if !ok || v.Settlement == nil || v.Settlement.Output.IsZero() {
			continue
		}
		if err := s.sendFile(ctx, v.Settlement.Output, path, stream); err != nil {
			return code(err)
		}
	}
	return nil
}

const chunkSize = 256 << 10 // bytes of one message of a stream

func (s *server) sendFile(ctx context.Context, root proto.CID, path string, stream *connect.ServerStream[api.Chunk]) error {
	n, err := s.n.content.Sub(ctx, root, path)
	if err != nil {
		return err
	}
	f, err := s.n.content.OpenFile(ctx, n.CID)
	if err != nil {
		return err
	}
	buf := make([]byte, chunkSize)
	for {
		k, err := io.ReadFull(f, buf)
		if k > 0 {
			if err := stream.Send(&api.Chunk{Data: buf[:k]}); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// JobFiles streams the outputs of a completed job.
func (s *server) JobFiles(ctx context.Context, req *connect.Request[api.JobFilesRequest], stream *connect.ServerStream[api.FileChunk]) error {
	j, err := s.n.requester.find(req.Msg.Job)
	if err != nil {
		return code(err)
	}
	p := j.snapshot()
	if p.Output.IsZero() {
		return connect.NewError(connect.CodeFailedPrecondition, fmt.Errorf("job %s has no outputs: it is %s", j.id.Short(), j.summary().State))
	}
	return code(s.sendTree(ctx, p.Output, stream))
}

// sendTree streams a tree, file by file.
func (s *server) sendTree(ctx context.Context, root proto.CID, stream *connect.ServerStream[api.FileChunk]) error {
	tree, err := s.n.content.OpenTree(ctx, root)
	if err != nil {
		return err
	}
	buf := make([]byte, chunkSize)
	for _, e := range tree.Entries() {
		if e.Dir {
			if err := stream.Send(&api.FileChunk{Path: e.Path, Dir: true, Last: true}); err != nil {
				return err
			}
			continue
		}
		for off := int64(0); ; {
			n := min(int64(len(buf)), e.Size-off)
			if n > 0 {
				if _, err := tree.ReadAt(ctx, e.Path, buf[:n], off); err != nil && !errors.Is(err, io.EOF) {
					return err
				}
			}
			off += n
			if err := stream.Send(&api.FileChunk{Path: e.Path, Size: uint64(e.Size), Data: buf[:n], Last: off == e.Size}); err != nil {
				return err
			}
			if off == e.Size {
				break
			}
		}
	}
	return nil
}
