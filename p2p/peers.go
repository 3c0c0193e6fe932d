package p2p

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/mustermesh/muster/proto"

	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/host/eventbus"
)

const (
	connectWorkers = 8                // callbacks at a time; each is for another peer
	connectTime    = 30 * time.Second // for the callbacks of one connection
	maxKnown       = 128              // addresses that Known gives
	knownPerPeer   = 2
	measureEvery   = 5 * time.Minute
)

// A peerTable knows which peers of our network are connected, and has the
// program told, once for each coming and going.
type peerTable struct {
	mu         sync.Mutex // guards the fields below
	onConnect  []func(context.Context, proto.PeerID)
	onDisconn  []func(proto.PeerID)
	of         map[peer.ID]*peerState
	known      []string         // addresses of peers that are gone, the latest last
	wakeups    chan struct{}    // one mark for each free worker; room for all of them
	identified map[peer.ID]bool // while connected
}

// peerState is there while the peer is a member or the program thinks so.
type peerState struct {
	member bool // connected and identified
	told   bool // the program was told that it is there
	busy   bool // a worker is telling it
}

func newPeerTable() *peerTable {
	return &peerTable{
		of: make(map[peer.ID]*peerState), wakeups: make(chan struct{}, connectWorkers),
		identified: make(map[peer.ID]bool),
	}
}

// OnConnect has f called when a peer of our network is connected and can be
// asked; once for each peer, not for each connection. Calls for different peers
// may overlap. ctx ends after 30 s at most. Call it before Run.
func (h *Host) OnConnect(f func(ctx context.Context, p proto.PeerID)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.mustBeEarly("OnConnect")
	h.peers.onConnect = append(h.peers.onConnect, f)
}

// OnDisconnect has f called when the last connection of a peer that OnConnect
// told of is gone, and never while OnConnect's call for it still runs. It must
// not block. Call it before Run.
func (h *Host) OnDisconnect(f func(p proto.PeerID)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.mustBeEarly("OnDisconnect")
	h.peers.onDisconn = append(h.peers.onDisconn, f)
}

func (t *peerTable) subscribe(net host.Host) (event.Subscription, error) {
	return net.EventBus().Subscribe([]any{
		new(event.EvtPeerIdentificationCompleted), new(event.EvtPeerConnectednessChanged),
	}, eventbus.BufSize(256)) // a burst of connections; the loop below never waits for anybody
}

// watch keeps the table until ctx ends.
func (t *peerTable) watch(ctx context.Context, h *Host, events event.Subscription) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case e, ok := <-events.Out():
			if !ok {
				return nil
			}
			t.take(h, e)
		}
	}
}

func (t *peerTable) take(h *Host, e any) {
	switch e := e.(type) {
	case event.EvtPeerIdentificationCompleted:
		if e.ProtocolVersion != h.prefix {
			h.log.Debug("peer of another network sent away", "part", "p2p", "peer", e.Peer)
			_ = h.net.Network().ClosePeer(e.Peer) // gone already is as good
			return
		}
		t.update(h, e.Peer, true)
	case event.EvtPeerConnectednessChanged:
		t.update(h, e.Peer, false)
	}
}

// update looks anew at what p is, and has a worker tell the program if that
// changed. What the library knows of p's protocols is not asked: news of a change
// can be dropped on the way, or be overtaken by what it was before.
func (t *peerTable) update(h *Host, p peer.ID, identified bool) {
	connected := h.connected(p)
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case !connected:
		delete(t.identified, p)
	case identified:
		t.identified[p] = true
	}
	member := connected && t.identified[p]
	s := t.of[p]
	if s == nil {
		if !member {
			return
		}
		s = new(peerState)
		t.of[p] = s
	}
	s.member = member
	if member {
		t.keep(h.goodAddrs(p))
	}
	t.settle(p, s)
}

// settle wakes a worker if the program knows something else of p than we do, and
// forgets p if nobody needs it. The caller holds t.mu.
func (t *peerTable) settle(p peer.ID, s *peerState) {
	switch {
	case s.busy:
	case s.member != s.told:
		t.wake()
	case !s.member:
		delete(t.of, p)
	}
}

func (t *peerTable) wake() {
	select {
	case t.wakeups <- struct{}{}:
	default: // all workers are awake and will look
	}
}

// work tells the program of comings and goings until ctx ends.
func (t *peerTable) work(ctx context.Context, h *Host) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.wakeups:
		}
		for ctx.Err() == nil && t.tellOne(ctx) {
		}
	}
}

// tellOne tells the program of one peer, and whether there was one to tell of.
func (t *peerTable) tellOne(ctx context.Context) bool {
	p, came, ok := t.next()
	if !ok {
		return false
	}
	id, err := fromPeer(p)
	if err == nil && came {
		ctx, cancel := context.WithTimeout(ctx, connectTime)
		for _, f := range t.onConnect {
			f(ctx, id)
		}
		cancel()
	}
	if err == nil && !came {
		for _, f := range t.onDisconn {
			f(id)
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.of[p]
	s.busy, s.told = false, came
	t.settle(p, s)
	return true
}

func (t *peerTable) next() (p peer.ID, came, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for p, s := range t.of {
		if !s.busy && s.member != s.told {
			s.busy = true
			t.wake() // another worker may find another peer
			return p, s.member, true
		}
	}
	return "", false, false
}

func (t *peerTable) member(p peer.ID) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.of[p]
	return s != nil && s.member
}

func (t *peerTable) members() []peer.ID {
	t.mu.Lock()
	defer t.mu.Unlock()
	var out []peer.ID
	for p, s := range t.of {
		if s.member {
			out = append(out, p)
		}
	}
	return out
}

// keep puts addresses last in the list of known ones. The caller holds t.mu.
func (t *peerTable) keep(addrs []string) {
	t.known = slices.DeleteFunc(t.known, func(s string) bool { return slices.Contains(addrs, s) })
	t.known = append(t.known, addrs...)
	if over := len(t.known) - maxKnown; over > 0 {
		t.known = slices.Delete(t.known, 0, over)
	}
}
