package node

import (
	"context"
	"errors"

	"connectrpc.com/connect"

	"github.com/mustermesh/muster/node/api"
	"github.com/mustermesh/muster/node/requester"
)

// JobLogs streams what tasks print: of one, of all, or of the result; with
// follow, until the job has ended. It waits for as long as nothing is printed.
func (s *server) JobLogs(ctx context.Context, req *connect.Request[api.JobLogsRequest], stream *connect.ServerStream[api.LogChunk]) error {
	j, err := s.n.requester.Find(req.Msg.Job)
	if err != nil {
		return code(err)
	}
	err = j.Logs(ctx, s.n.leaving, req.Msg, stream.Send)
	if errors.Is(err, requester.ErrLeaving) {
		return connect.NewError(connect.CodeUnavailable, err)
	}
	return code(err)
}
