package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"connectrpc.com/connect"

	"github.com/mustermesh/muster/internal/content"
	"github.com/mustermesh/muster/node/api"
	"github.com/mustermesh/muster/node/requester"
	"github.com/mustermesh/muster/node/sandbox"
	"github.com/mustermesh/muster/proto"
	"github.com/mustermesh/muster/scheduler"
	"github.com/mustermesh/muster/trust"
)

// A server answers the local control API.
type server struct {
	api.UnimplementedMusterHandler // answers what this version does not

	n        *node
	attached attachments
}

// code turns our sentinels into the API's codes, which the command line turns
// into exit codes.
func code(err error) error {
	var noTask *requester.NoTaskError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, requester.ErrNoJob), errors.Is(err, content.ErrNotFound), errors.Is(err, errNoPeer):
		return connect.NewError(connect.CodeNotFound, err)
	case errors.Is(err, requester.ErrSpecification), errors.Is(err, requester.ErrAmbiguous), errors.Is(err, proto.ErrID):
		return connect.NewError(connect.CodeInvalidArgument, err)
	case errors.As(err, &noTask):
		return connect.NewError(connect.CodeNotFound, err)
	case errors.Is(err, errOffline):
		return connect.NewError(connect.CodeFailedPrecondition, err)
	case errors.Is(err, context.Canceled):
		return connect.NewError(connect.CodeCanceled, err)
	}
	return connect.NewError(connect.CodeUnknown, err)
}

var (
	errOffline = errors.New("this needs the network, and this node was opened for reading alone; start one with: muster daemon")
	errNoPeer  = errors.New("no such peer")
)

// Status tells how this node is.
func (s *server) Status(_ context.Context, _ *connect.Request[api.StatusRequest]) (*connect.Response[api.StatusResponse], error) {
	n := s.n
	out := &api.StatusResponse{
		Id: n.Self.String(), Version: Version, Network: n.cfg.Network, Roles: n.roles(), Home: n.cfg.Home,
		Pid: uint32(os.Getpid()), Isolation: n.print.Level.String(), Warnings: n.warnings(),
		StartedMs: n.started.UnixMilli(), Offline: n.Net == nil, Counters: n.counters(),
	}
	if n.Net != nil {
		out.Addrs = n.Net.Addrs()
		out.Peers = uint32(len(n.Net.Peers()))
		status, _ := n.Net.Bootstrapped()
		for _, b := range status {
			for _, a := range b.Addrs {
				out.Bootstrap = append(out.Bootstrap, &api.BootstrapPeer{Addr: a, Connected: b.Connected, Error: b.Err})
			}
		}
	}
	out.JobsOpen = uint32(len(n.requester.OpenJobs()))
	return connect.NewResponse(out), nil
}

// Attach keeps this node alive while the stream is open.
func (s *server) Attach(ctx context.Context, _ *connect.Request[api.AttachRequest], stream *connect.ServerStream[api.AttachResponse]) error {
	if !s.attached.enter() {
		return connect.NewError(connect.CodeUnavailable, errors.New("this node is leaving; try again"))
	}
	defer s.attached.leave()
	if err := stream.Send(&api.AttachResponse{}); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
	case <-s.n.leaving:
	}
	return nil
}

// ListPeers lists the connected peers, or, given a condition, the providers
// that meet it, wherever they were heard of.
func (s *server) ListPeers(ctx context.Context, req *connect.Request[api.ListPeersRequest]) (*connect.Response[api.ListPeersResponse], error) {
	if s.n.Net == nil {
		return nil, code(errOffline)
	}
	can, err := scheduler.ParseConstraints(req.Msg.Can)
	if err != nil {
		return nil, connect.NewError(connect.CodeInvalidArgument, err)
	}
	if len(can) > 0 {
		s.n.overlay.Survey(ctx, s.n.started.Add(s.n.cfg.ClientWarmUp))
	}
	rows := make(map[proto.PeerID]*api.Peer)
	for _, p := range s.n.Net.Peers() {
		rows[p.ID] = &api.Peer{
			Id: p.ID.String(), Addrs: p.Addrs, Agent: p.Agent, Transport: p.Transport,
			Connected: true, LatencyMs: float64(p.Latency) / float64(time.Millisecond),
		}
	}
	meets := s.adverts(rows, can)
	out := &api.ListPeersResponse{}
	for id, row := range rows {
		if len(can) == 0 && row.Connected || meets[id] {
			out.Peers = append(out.Peers, row)
		}
	}
	slices.SortFunc(out.Peers, func(a, b *api.Peer) int {
		if a.Id < b.Id {
			return -1
		}
		return 1
	})
	return connect.NewResponse(out), nil
}

// adverts adds what is advertised to the rows, and tells who meets all
// conditions.
func (s *server) adverts(rows map[proto.PeerID]*api.Peer, can []scheduler.Constraint) map[proto.PeerID]bool {
	meets := make(map[proto.PeerID]bool)
	now := s.n.Now()
	ids, known := s.n.Directory.Providers()
	for i, id := range ids {
		row := rows[id]
		if row == nil {
			row = &api.Peer{Id: id.String(), Addrs: known[i].Advert.Addrs}
			rows[id] = row
		}
		row.Advert, row.Source, row.AgeMs = advertMessage(known[i].Advert), known[i].Source, now.Sub(known[i].At).Milliseconds()
		meets[id] = len(can) > 0 && !slices.ContainsFunc(can, func(c scheduler.Constraint) bool {
			return !c.Holds(scheduler.Facts{Advert: known[i].Advert})
		})
	}
	return meets
}

func advertMessage(a proto.Advert) *api.Advert {
	return &api.Advert{
		Executor: a.Executor, Profile: a.Profile, Engine: a.Engine.String(), Isolation: a.Isolation,
		Offered: resourcesMessage(a.Offered), Free: resourcesMessage(a.Free), Slots: uint32(a.Slots), FreeSlots: uint32(a.FreeSlots),
		Price: float64(a.Price) / 1e6, Labels: a.Labels, Version: a.Version,
	}
}

func resourcesMessage(r proto.Resources) *api.Resources {
	return &api.Resources{Cpu: float64(r.CPU) / 1000, Memory: r.Memory, Disk: r.Disk, Gpu: r.GPU}
}

// ConnectPeer connects to a peer.
func (s *server) ConnectPeer(ctx context.Context, req *connect.Request[api.ConnectPeerRequest]) (*connect.Response[api.ConnectPeerResponse], error) {
	if s.n.Net == nil {
		return nil, code(errOffline)
	}
	id, err := s.n.Net.Connect(ctx, req.Msg.Addr)
	if err != nil {
		return nil, code(err)
	}
	return connect.NewResponse(&api.ConnectPeerResponse{Id: id.String()}), nil
}

// PeerID tells who this node is and where it listens.
func (s *server) PeerID(context.Context, *connect.Request[api.PeerIDRequest]) (*connect.Response[api.PeerIDResponse], error) {
	out := &api.PeerIDResponse{Id: s.n.Self.String()}
	if s.n.Net != nil {
		out.Addrs = s.n.Net.Addrs()
	}
	return connect.NewResponse(out), nil
}

// ListTrust lists what this node thinks of the peers that it had to do with.
func (s *server) ListTrust(context.Context, *connect.Request[api.ListTrustRequest]) (*connect.Response[api.ListTrustResponse], error) {
	out := &api.ListTrustResponse{}
	for _, st := range s.n.ledger.List(s.n.Now()) {
		out.Peers = append(out.Peers, standingMessage(st))
	}
	return connect.NewResponse(out), nil
}

func standingMessage(st trust.Standing) *api.Standing {
	out := &api.Standing{
		Peer: st.Peer.String(), Checked: st.N, Lies: uint32(st.Lies), Availability: st.Availability,
		Executions: uint64(st.Executions), State: "known",
	}
	if !st.LastSeen.IsZero() {
		out.LastMs = st.LastSeen.UnixMilli()
	}
	switch {
	case st.Distrusted():
		out.State = "distrusted"
	case st.N == 0:
		out.State = "new"
	}
	return out
}

const maxEvidenceShown = 100

// ShowTrust tells what is known of one peer, with the evidence.
func (s *server) ShowTrust(_ context.Context, req *connect.Request[api.ShowTrustRequest]) (*connect.Response[api.ShowTrustResponse], error) {
	id, err := s.peer(req.Msg.Peer)
	if err != nil {
		return nil, code(err)
	}
	evidence, err := s.n.ledger.Evidence(id, 0)
	if err != nil && len(evidence) == 0 {
		return nil, code(err)
	}
	out := &api.ShowTrustResponse{Standing: standingMessage(s.n.ledger.Standing(s.n.Now(), id))}
	for _, e := range worthShowing(evidence) {
		out.Evidence = append(out.Evidence, &api.Evidence{
			TimeMs: e.Time.UnixMilli(), Kind: e.Kind.String(), Job: e.Job.String(), Task: uint32(e.Task),
			Digest: e.Digest.String(), Answered: e.Output.String(), Right: e.Right.String(), Detail: e.Detail, Answer: e.Answer,
		})
	}
	return connect.NewResponse(out), nil
}

// worthShowing gives all proofs, and of the rest the newest.
func worthShowing(all []trust.Evidence) []trust.Evidence {
	room := maxEvidenceShown
	for _, e := range all {
		if len(e.Answer) > 0 {
			room--
		}
	}
	return slices.DeleteFunc(all, func(e trust.Evidence) bool {
		if len(e.Answer) > 0 {
			return false
		}
		room--
		return room < 0
	})
}

// peer gives the peer that an id, or the unambiguous ending of one that this
// node knows, names.
func (s *server) peer(text string) (proto.PeerID, error) {
	if id, err := proto.ParsePeerID(text); err == nil {
		return id, nil
	}
	var found []proto.PeerID
	for _, st := range s.n.ledger.List(s.n.Now()) {
		if id := st.Peer.String(); text != "" && len(text) <= len(id) && id[len(id)-len(text):] == text {
			found = append(found, st.Peer)
		}
	}
	if len(found) != 1 {
		return proto.PeerID{}, fmt.Errorf("%w: %d known peers end in %q; see: muster trust list", errNoPeer, len(found), text)
	}
	return found[0], nil
}

// AddBlob reads a file or directory of this machine into the content store.
func (s *server) AddBlob(ctx context.Context, req *connect.Request[api.AddBlobRequest], stream *connect.ServerStream[api.AddBlobResponse]) error {
	release := s.n.content.Hold()
	defer release()
	last := time.Now()
	node, err := s.n.content.AddPath(ctx, req.Msg.Path, content.AddOptions{Progress: func(bytes int64, files int) {
		if time.Since(last) > progressEvery {
			last = time.Now()
			_ = stream.Send(&api.AddBlobResponse{FilesRead: uint64(files), BytesRead: uint64(bytes)}) // the next send fails too
		}
	}})
	if err != nil {
		return code(err)
	}
	use := content.Use{Class: content.Job, Tag: "blob:" + s.n.Self.String() + ":"}
	if req.Msg.Public {
		use.Class = content.Public
	}
	if err := s.n.content.Record(ctx, node, use); err != nil {
		return code(err)
	}
	if err := s.n.content.Pin(ctx, node.CID, use.Tag); err != nil {
		return code(err)
	}
	if err := s.n.content.Flush(ctx); err != nil {
		return code(err)
	}
	if req.Msg.Public && s.n.Net != nil {
		if err := s.n.Net.Provide(ctx, node.CID); err != nil {
			s.n.Log.Info("content not advertised yet", "root", node.CID, "err", err)
		}
	}
	return stream.Send(&api.AddBlobResponse{Cid: node.CID.String(), Size: uint64(node.Size)})
}

const progressEvery = 200 * time.Millisecond

// GetBlob streams the files under a content id, fetched from peers where they
// are not here.
func (s *server) GetBlob(ctx context.Context, req *connect.Request[api.GetBlobRequest], stream *connect.ServerStream[api.FileChunk]) error {
	cid, err := proto.ParseCID(req.Msg.Cid)
	if err != nil {
		return code(err)
	}
	from, err := peerIDs(req.Msg.From)
	if err != nil {
		return code(err)
	}
	if missing, err := s.n.content.Missing(ctx, cid, 1); err != nil || len(missing) > 0 {
		if err := s.n.fetch(ctx, cid, from, sandbox.MaxInput); err != nil {
			return connect.NewError(connect.CodeNotFound, fmt.Errorf("%s is not here, and could not be fetched: %w", cid, err))
		}
	}
	return code(s.sendTree(ctx, "", cid, stream))
}

// StatBlob tells what is known of a content id.
func (s *server) StatBlob(ctx context.Context, req *connect.Request[api.StatBlobRequest]) (*connect.Response[api.StatBlobResponse], error) {
	cid, err := proto.ParseCID(req.Msg.Cid)
	if err != nil {
		return nil, code(err)
	}
	out := &api.StatBlobResponse{Cid: cid.String()}
	missing, err := s.n.content.Missing(ctx, cid, 1)
	if err != nil {
		return nil, code(err)
	}
	out.Complete = len(missing) == 0
	if ok, err := s.n.content.Has(ctx, cid); err != nil || !ok {
		return nil, code(errors.Join(err, fmt.Errorf("%s: %w; fetch it with: muster blob get %s", cid, content.ErrNotFound, cid)))
	}
	if out.Complete {
		tree, err := s.n.content.OpenTree(ctx, cid)
		if err != nil {
			return nil, code(err)
		}
		entries := tree.Entries()
		out.Size, out.Entries = uint64(tree.Size()), uint64(len(entries))
		out.Dir = len(entries) != 1 || entries[0].Path != ""
	}
	if root, err := s.n.content.Stat(cid); err == nil {
		out.Pins = root.Pins
		for _, u := range root.Uses {
			if out.Class == "" || u.Class == content.Public {
				out.Class = u.Class.String()
			}
		}
	}
	return connect.NewResponse(out), nil
}
