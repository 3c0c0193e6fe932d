package p2p

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mustermesh/muster/proto"
)

// liar is a content server that says what a test wants, in place of the real one.
func liar(t *testing.T, network string, say func(s *Stream, req proto.ContentRequest) error) *node {
	n := openNode(t, testConfig(t, network))
	n.Serve(Service{
		Name: contentName, MaxMessage: proto.MaxContentRequest, Deadline: patience, MaxStreamsPerPeer: 100,
		Handle: func(_ context.Context, s *Stream) error {
			b, err := s.Recv()
			if err != nil {
				return err
			}
			req, err := proto.ParseContentRequest(b)
			if err != nil {
				return err
			}
			return say(s, req)
		},
	})
	return n.run(t)
}

func TestLiarsAreCountedAndOthersAsked(t *testing.T) {
	src := newMemory()
	root := src.file(100, 2000, 8)
	order := []frame{}
	w := newWalk(root, maxWalk)
	for id, ok := w.next(); ok; id, ok = w.next() {
		order = append(order, frame{id, src.blocks[id]})
		if err := w.descend(context.Background(), src, id); err != nil {
			t.Fatal(err)
		}
	}
	send := func(s *Stream, id proto.CID, b []byte) error {
		return s.sendParts(proto.AppendContentBlock(nil, id, len(b)), b)
	}
	end := func(s *Stream, e proto.ContentEnd) error { return s.Send(proto.MarshalContentEnd(e)) }
	for name, c := range map[string]struct {
		say  func(s *Stream, req proto.ContentRequest) error
		lies bool
	}{
		"wrong bytes":          {func(s *Stream, _ proto.ContentRequest) error { return send(s, root, []byte("wrong")) }, true},
		"block out of turn":    {func(s *Stream, _ proto.ContentRequest) error { return send(s, order[1].id, order[1].block) }, true},
		"block of other graph": {func(s *Stream, _ proto.ContentRequest) error { return send(s, proto.RawCID(nil), nil) }, true},
		"done before the end":  {func(s *Stream, _ proto.ContentRequest) error { return end(s, proto.ContentDone) }, true},
		"more before the end":  {func(s *Stream, _ proto.ContentRequest) error { return end(s, proto.ContentMore) }, true},
		"garbage":              {func(s *Stream, _ proto.ContentRequest) error { return s.Send([]byte("garbage")) }, true},
		"a frame too large":    {func(s *Stream, _ proto.ContentRequest) error { return s.Send(make([]byte, 3<<20)) }, true},
		"blocks past the end": {func(s *Stream, _ proto.ContentRequest) error {
			for _, f := range append(order, order...) {
				if err := send(s, f.id, f.block); err != nil {
					return nil
				}
			}
			return end(s, proto.ContentDone)
		}, true},
		"a reset":       {func(s *Stream, _ proto.ContentRequest) error { return errMissing }, false},
		"no end":        {func(s *Stream, _ proto.ContentRequest) error { return nil }, false},
		"busy for ever": {func(s *Stream, _ proto.ContentRequest) error { return end(s, proto.ContentBusy) }, false},
		"half of it, no more": {func(s *Stream, req proto.ContentRequest) error {
			for _, f := range order[min(req.First, 8):8] {
				if err := send(s, f.id, f.block); err != nil {
					return err
				}
			}
			return end(s, proto.ContentIncomplete)
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			client, servers := contentNodes(t, allow(anybody), src)
			bad := liar(t, client.cfg.Network, c.say)
			join(t, client, bad)
			dst := newMemory()
			err := client.Fetch(testContext(t), request(root, bad), newMemory())
			if whole := name == "blocks past the end"; whole != (err == nil) || !whole && !errors.Is(err, ErrUnavailable) {
				t.Errorf("from the liar alone: got %v", err)
			}
			if lied := client.Stats().Misbehaved > 0; lied != c.lies {
				t.Errorf("counted as misbehaviour: %v, want %v", lied, c.lies)
			}
			if err := client.Fetch(testContext(t), request(root, bad, servers[0]), dst); err != nil {
				t.Errorf("with an honest source beside: %v", err)
			}
			dst.same(t, src, root)
		})
	}
}

// A source that stands still does not hold up the end, and one that never says
// anything is given up after the time for a block.
func TestStallingSourceIsLeftBehind(t *testing.T) {
	src := newMemory()
	root := src.file(100, 2000, 200)
	network := randomNetwork()
	client := openNode(t, testConfig(t, network), func(p *pace) { p.block = time.Second }).run(t)
	honest := openNode(t, testConfig(t, network))
	honest.ServeContent(src, allow(anybody))
	honest.run(t)
	release := make(chan struct{})
	var stalled atomic.Int64
	stall := liar(t, network, func(s *Stream, req proto.ContentRequest) error {
		stalled.Add(1)
		<-release
		return nil
	})
	defer close(release)
	join(t, client, honest)
	join(t, client, stall)
	dst := newMemory()
	if err := client.Fetch(testContext(t), request(root, honest, stall), dst); err != nil {
		t.Fatal(err)
	}
	dst.same(t, src, root)
	if stalled.Load() == 0 {
		t.Error("the stalling source was not asked: nothing was tested")
	}
	err := client.Fetch(testContext(t), request(root, stall), newMemory())
	if !errors.Is(err, ErrUnavailable) || !errors.Is(err, ErrTimeout) {
		t.Errorf("from the stalling source alone: got %v, want ErrUnavailable for ErrTimeout", err)
	}
}
