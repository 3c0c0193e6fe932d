package node

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"connectrpc.com/connect"

	"github.com/mustermesh/muster/node/api"
	"github.com/mustermesh/muster/node/requester"
)

// ExplainJob says why a job is in its state, and of every peer why it was or was
// not chosen.
func (s *server) ExplainJob(ctx context.Context, req *connect.Request[api.ExplainJobRequest]) (*connect.Response[api.ExplainJobResponse], error) {
	j, err := s.n.requester.Find(req.Msg.Job)
	if err != nil {
		return nil, code(err)
	}
	out, err := j.Explain(ctx)
	if err != nil {
		return nil, code(err)
	}
	if len(out.Peers) == 0 && !j.Ended() {
		out.Change = append(s.n.unreached(), out.Change...)
	}
	return connect.NewResponse(out), nil
}

// unreached says which bootstrap peers do not answer: where a job knows of no
// provider, that is the likeliest cause.
func (n *node) unreached() (change []string) {
	if n.Net == nil {
		return nil
	}
	status, ok := n.Net.Bootstrapped()
	if ok || len(status) == 0 {
		return nil
	}
	var away []string
	for _, b := range status {
		if !b.Connected {
			away = append(away, strings.Join(b.Addrs, " "))
		}
	}
	return []string{fmt.Sprintf("see to it that a bootstrap peer answers; this node reaches none of %s", strings.Join(away, ", "))}
}

// RetryJob runs the tasks of an ended job again that have no good result.
func (s *server) RetryJob(ctx context.Context, req *connect.Request[api.RetryJobRequest]) (*connect.Response[api.RetryJobResponse], error) {
	if s.n.Net == nil {
		return nil, code(errOffline)
	}
	j, err := s.n.requester.Find(req.Msg.Job)
	if err != nil {
		return nil, code(err)
	}
	again, tasks, err := s.n.requester.Retry(ctx, j.ID())
	if errors.Is(err, requester.ErrNothingToRetry) {
		return nil, connect.NewError(connect.CodeFailedPrecondition, err)
	}
	if err != nil {
		return nil, code(err)
	}
	return connect.NewResponse(&api.RetryJobResponse{Job: again.ID().String(), Tasks: uint32(tasks), State: again.Summary().State}), nil
}

// JobReceipts gives what this node signed for work of a job.
func (s *server) JobReceipts(_ context.Context, req *connect.Request[api.JobReceiptsRequest]) (*connect.Response[api.JobReceiptsResponse], error) {
	j, err := s.n.requester.Find(req.Msg.Job)
	if err != nil {
		return nil, code(err)
	}
	list, err := j.Receipts()
	if err != nil {
		return nil, code(err)
	}
	return connect.NewResponse(&api.JobReceiptsResponse{Receipts: list}), nil
}
