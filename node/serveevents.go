package node

import (
	"context"
	"time"

	"connectrpc.com/connect"

	"github.com/mustermesh/muster/internal/eventlog"
	"github.com/mustermesh/muster/node/api"
	"github.com/mustermesh/muster/proto"
)

// maxEvents is how many events a node keeps.
const maxEvents = 8192

// Events streams what happened at this node, the oldest first, and with follow
// what goes on to happen, until the node leaves. A reader that is too slow misses
// events, and is told.
func (s *server) Events(ctx context.Context, req *connect.Request[api.EventsRequest], stream *connect.ServerStream[api.Event]) error {
	var job proto.JobID
	if req.Msg.Job != "" {
		j, err := s.n.requester.Find(req.Msg.Job)
		if err != nil {
			return code(err)
		}
		job = j.ID()
	}
	after := req.Msg.After
	for first := true; ; first = false {
		page := s.n.events.After(after)
		gap := page.Gap
		for _, e := range page.Events {
			after = e.Sequence
			if job != (proto.JobID{}) && e.Job != job {
				continue
			}
			m := eventMessage(e)
			m.Gap, gap = gap, false
			if err := stream.Send(m); err != nil {
				return err
			}
		}
		if page.More == nil {
			continue
		}
		if !req.Msg.Follow {
			return nil
		}
		if first { // the headers go out though there is no event yet
			if err := stream.Send(nil); err != nil {
				return err
			}
		}
		select {
		case <-page.More:
		case <-ctx.Done():
			return nil
		case <-s.n.leaving:
			return nil
		}
	}
}

func eventMessage(e eventlog.Event) *api.Event {
	m := &api.Event{Sequence: e.Sequence, TimeMs: e.TimeMS, Kind: string(e.Kind), Task: uint32(e.Task), State: e.State, Text: e.Text}
	if e.Job != (proto.JobID{}) {
		m.Job = e.Job.String()
	}
	if e.Execution != (proto.ExecutionID{}) {
		m.Execution = e.Execution.String()
	}
	if e.Peer != (proto.PeerID{}) {
		m.Peer = e.Peer.String()
	}
	if e.Kind == eventlog.Progress {
		m.Progress, m.Text = &api.Progress{Fraction: e.Fraction, Text: e.Text}, ""
	}
	return m
}

// happened tells of something that happened to the node itself.
func (n *node) happened(state, text string) {
	n.events.Add(eventlog.Event{TimeMS: time.Now().UnixMilli(), Kind: eventlog.Node, State: state, Text: text})
}
