package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strconv"
	"time"

	"connectrpc.com/connect"

	"github.com/mustermesh/muster/node/api"
	"github.com/mustermesh/muster/node/requester"
	"github.com/mustermesh/muster/node/sandbox"
	"github.com/mustermesh/muster/proto"
)

// SubmitJob reads a job and starts it; the last message has its id, which is on
// disk by then.
func (s *server) SubmitJob(ctx context.Context, req *connect.Request[api.SubmitJobRequest], stream *connect.ServerStream[api.SubmitJobResponse]) error {
	if s.n.Net == nil && !req.Msg.ValidateOnly && !req.Msg.Local {
		return code(errOffline)
	}
	if req.Msg.Job == nil {
		return code(fmt.Errorf("%w: empty", requester.ErrSpecification))
	}
	last := time.Now()
	j, err := s.n.requester.Submit(ctx, req.Msg, func(bytes int64, files int) {
		if time.Since(last) > progressEvery {
			last = time.Now()
			_ = stream.Send(&api.SubmitJobResponse{FilesRead: uint64(files), BytesRead: uint64(bytes)}) // the next send fails too
		}
	})
	if err != nil {
		return code(err)
	}
	out := &api.SubmitJobResponse{Job: j.ID().String(), Tasks: uint32(len(j.Specification().Tasks))}
	if root := j.Specification().Tasks[0].Input; !root.IsZero() {
		out.InputRoot = root.String()
	}
	return stream.Send(out)
}

// WatchJob streams a job's summary, and the tasks that changed, until it ended.
func (s *server) WatchJob(ctx context.Context, req *connect.Request[api.WatchJobRequest], stream *connect.ServerStream[api.WatchJobResponse]) error {
	j, err := s.n.requester.Find(req.Msg.Job)
	if err != nil {
		return code(err)
	}
	err = j.Watch(ctx, s.n.leaving, stream.Send)
	if errors.Is(err, requester.ErrLeaving) {
		return connect.NewError(connect.CodeUnavailable, err)
	}
	return err
}

// ListJobs lists the jobs of this home, the latest first.
func (s *server) ListJobs(_ context.Context, req *connect.Request[api.ListJobsRequest]) (*connect.Response[api.ListJobsResponse], error) {
	out := &api.ListJobsResponse{}
	for _, j := range s.n.requester.List() {
		sum := j.Summary()
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
	j, err := s.n.requester.Find(req.Msg.Job)
	if err != nil {
		return nil, code(err)
	}
	out, err := j.Describe(ctx)
	if err != nil {
		return nil, code(err)
	}
	return connect.NewResponse(out), nil
}

// CancelJob ends a job.
func (s *server) CancelJob(ctx context.Context, req *connect.Request[api.CancelJobRequest]) (*connect.Response[api.CancelJobResponse], error) {
	j, err := s.n.requester.Find(req.Msg.Job)
	if err != nil {
		return nil, code(err)
	}
	if s.n.Net == nil && !j.Ended() {
		return nil, code(errOffline)
	}
	if !j.Ended() {
		j.Cancel("cancelled by its requester")
		select {
		case <-j.Done():
		case <-ctx.Done():
			return nil, code(ctx.Err())
		}
	}
	return connect.NewResponse(&api.CancelJobResponse{State: j.Summary().State}), nil
}

const chunkSize = 256 << 10 // bytes of one message of a stream

// JobFiles streams the outputs of a completed job; with partial, of one that is
// not, what there is so far: the outputs of the tasks that are settled, under
// their index where there are many.
func (s *server) JobFiles(ctx context.Context, req *connect.Request[api.JobFilesRequest], stream *connect.ServerStream[api.FileChunk]) error {
	j, err := s.n.requester.Find(req.Msg.Job)
	if err != nil {
		return code(err)
	}
	root := j.Output()
	switch {
	case root.IsZero() && req.Msg.Partial:
		return s.sendSoFar(ctx, j, stream)
	case root.IsZero():
		return connect.NewError(connect.CodeFailedPrecondition, fmt.Errorf("job %s has no outputs: it is %s; what there is so far comes with partial", j.ID().Short(), j.Summary().State))
	}
	return code(s.sendTree(ctx, "", root, stream))
}

// sendSoFar streams the outputs of the tasks that are settled.
func (s *server) sendSoFar(ctx context.Context, j *requester.Job, stream *connect.ServerStream[api.FileChunk]) error {
	some := false
	err := j.SoFar(func(task int, output proto.CID) error {
		some = true
		n, err := s.n.content.Sub(ctx, output, sandbox.PathOut)
		if err != nil {
			return fmt.Errorf("task %d: %w", task, err)
		}
		dir := ""
		if len(j.Specification().Tasks) > 1 {
			dir = strconv.Itoa(task)
			if err := stream.Send(&api.FileChunk{Path: dir, Dir: true, Last: true}); err != nil {
				return err
			}
		}
		return s.sendTree(ctx, dir, n.CID, stream)
	})
	if err == nil && !some {
		return connect.NewError(connect.CodeFailedPrecondition, fmt.Errorf("job %s has no outputs yet: no task is settled", j.ID().Short()))
	}
	return code(err)
}

// sendTree streams a tree, file by file, under a folder.
func (s *server) sendTree(ctx context.Context, dir string, root proto.CID, stream *connect.ServerStream[api.FileChunk]) error {
	tree, err := s.n.content.OpenTree(ctx, root)
	if err != nil {
		return err
	}
	buf := make([]byte, chunkSize)
	for _, e := range tree.Entries() {
		if e.Dir {
			if err := stream.Send(&api.FileChunk{Path: path.Join(dir, e.Path), Dir: true, Last: true}); err != nil {
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
			if err := stream.Send(&api.FileChunk{Path: path.Join(dir, e.Path), Size: uint64(e.Size), Data: buf[:n], Last: off == e.Size}); err != nil {
				return err
			}
			if off == e.Size {
				break
			}
		}
	}
	return nil
}
