package p2p

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mustermesh/muster/proto"

	"golang.org/x/sync/errgroup"
)

// Blocks keeps blocks by content id. Its methods are called from several
// goroutines.
type Blocks interface {
	// Get gives the block that id names, or an error if it is not here. The caller
	// does not change it. What is sent need not be verified: the receiver does.
	Get(ctx context.Context, id proto.CID) ([]byte, error)
	// Has tells whether the block that id names is here.
	Has(ctx context.Context, id proto.CID) (bool, error)
	// Put keeps a block. [Host.Fetch] has verified it against id, so Put need not
	// hash it again. The bytes are only lent: Put must not use them after it
	// returns. An error is our own, a full disk for one, and ends the fetch.
	Put(ctx context.Context, id proto.CID, block []byte) error
	// Links gives the ids that a block links to, in order. It is pure; an error
	// says that the block, though it is what id names, makes no sense.
	Links(id proto.CID, block []byte) ([]proto.CID, error)
}

// Access says who may have which content. It is asked for every request, from
// several goroutines, and must be quick.
type Access interface {
	// Allow tells whether asker, who shows grant (which may be empty and is
	// unchecked), may have all that is under root.
	Allow(asker proto.PeerID, root proto.CID, grant []byte) bool
}

const (
	contentName = "content/1.0.0"

	contentPerPeer = 8   // streams of one peer, those that wait for their turn included
	contentStreams = 256 // streams in all
	contentTurns   = 16  // answers under way; each holds two blocks
)

// ServeContent answers the content requests of peers out of blocks, as far as
// access allows; call it before Run.
func (h *Host) ServeContent(blocks Blocks, access Access) {
	c := &contentServer{blocks: blocks, access: access, turns: make(chan struct{}, contentTurns), pace: h.pace.block}
	h.Serve(Service{
		Name: contentName, MaxMessage: proto.MaxContentRequest, Deadline: h.pace.block,
		MaxStreamsPerPeer: contentPerPeer, MaxStreams: contentStreams, Handle: c.handle,
	})
}

type contentServer struct {
	blocks Blocks
	access Access
	turns  chan struct{} // room for as many as may answer at once
	pace   time.Duration
}

func (c *contentServer) handle(ctx context.Context, s *Stream) error {
	b, err := s.Recv()
	if err != nil {
		return err
	}
	req, err := proto.ParseContentRequest(b)
	if err != nil {
		return err
	}
	end, err := c.serve(ctx, s, req)
	if err != nil {
		return err
	}
	return s.Send(proto.MarshalContentEnd(end))
}

func (c *contentServer) serve(ctx context.Context, s *Stream, req proto.ContentRequest) (proto.ContentEnd, error) {
	if !c.access.Allow(s.Peer(), req.Root, req.Grant) {
		return proto.ContentNotFound, nil
	}
	if !c.turn(ctx) {
		return proto.ContentBusy, ctx.Err()
	}
	defer func() { <-c.turns }()
	ready := make(chan frame) // no room: one block is read while another is written
	var end proto.ContentEnd
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) {
		defer close(ready)
		end, err = c.read(ctx, req, ready)
		return err
	})
	g.Go(func() error { return sendBlocks(ctx, s, ready) })
	return end, g.Wait()
}

// turn waits until this node may answer one more, but not so long that the
// asker gives up.
func (c *contentServer) turn(ctx context.Context) bool {
	select {
	case c.turns <- struct{}{}:
		return true
	default:
	}
	timer := time.NewTimer(c.pace / 2)
	defer timer.Stop()
	select {
	case c.turns <- struct{}{}:
		return true
	case <-timer.C:
		return false
	case <-ctx.Done():
		return false
	}
}

// frame is a block and its id, on the way.
type frame struct {
	id    proto.CID
	block []byte
}

// read walks the graph and puts out what req asks for. A block that is missing
// or bad ends the answer and is no error.
func (c *contentServer) read(ctx context.Context, req proto.ContentRequest, out chan<- frame) (proto.ContentEnd, error) {
	w := newWalk(req.Root, maxWalk)
	missing := proto.ContentNotFound
	for n := uint64(0); ; missing = proto.ContentIncomplete {
		id, ok := w.next()
		if !ok {
			return proto.ContentDone, nil
		}
		taken := req.Mode.Has(id)
		if taken && req.Count > 0 && n >= req.First+req.Count {
			return proto.ContentMore, nil
		}
		wanted := taken && n >= req.First
		if taken {
			n++
		}
		if !wanted && id.IsRaw() {
			continue
		}
		block, err := c.blocks.Get(ctx, id)
		if err != nil || len(block) > proto.MaxBlock {
			return missing, ctx.Err()
		}
		if !id.IsRaw() && w.follow(c.blocks, id, block) != nil {
			return missing, nil
		}
		if !wanted {
			continue
		}
		select {
		case out <- frame{id, block}:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

func sendBlocks(ctx context.Context, s *Stream, ready <-chan frame) error {
	var head []byte
	for {
		select {
		case f, ok := <-ready:
			if !ok {
				return nil
			}
			head = proto.AppendContentBlock(head[:0], f.id, len(f.block))
			if err := s.sendParts(head, f.block); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// sendParts writes one frame given in two parts, of which the first begins with
// its length. Nobody else may Send meanwhile.
func (s *Stream) sendParts(head, body []byte) error {
	if err := s.write(head, body); err != nil {
		return err
	}
	s.count.messagesOut.Add(1)
	s.count.bytesOut.Add(uint64(len(head) + len(body)))
	return nil
}

// Why content could not be fetched.
var (
	// ErrUnavailable says that no source serves the content, or not all of it;
	// the reasons are wrapped.
	ErrUnavailable = errors.New("content not available")
	// ErrBadContent says that content is what its id names but makes no sense.
	ErrBadContent = errors.New("content makes no sense")
)

// A FetchRequest asks for the whole graph under Root.
type FetchRequest struct {
	Root proto.CID
	// From holds the peers to ask, the best first. Empty: those that the DHT names.
	From []proto.PeerID
	// Grant is shown to each of them; at most [proto.MaxContentGrant] bytes.
	Grant []byte
	// MaxBytes bounds what is received; it must be positive.
	MaxBytes int64
	// MaxBlocks bounds the graph; 0 means about a million.
	MaxBlocks int
	// Progress, if set, is told how many bytes this fetch has stored so far, one
	// call at a time. It must be quick.
	Progress func(bytes int64)
}

func (r FetchRequest) check() error {
	switch {
	case r.Root.IsZero():
		return fmt.Errorf("fetch: %w: no root", proto.ErrID)
	case r.MaxBytes <= 0 || r.MaxBlocks < 0:
		return fmt.Errorf("fetch %s: limits must be positive", r.Root)
	case len(r.Grant) > proto.MaxContentGrant:
		return fmt.Errorf("fetch %s: %w: grant of %d bytes", r.Root, ErrTooLarge, len(r.Grant))
	}
	return nil
}
