package p2p

import (
	"sync"
	"time"

	"github.com/mustermesh/muster/proto"

	"github.com/libp2p/go-libp2p/core/peer"
)

// What becomes of misbehaving peers. Strikes fade, so that a peer on a bad line
// is not shut out for what it did last week.
const (
	strikeLife  = 10 * time.Minute // after this long a strike is forgotten
	strikesOut  = 5                // strikes within strikeLife that close the door
	banTime     = 15 * time.Minute
	strikeScore = -400 // gossip score of one strike: two stop gossip, all five everything
	maxStruck   = 4096 // peers remembered
)

// strikes counts the misbehaviour of peers.
type strikes struct {
	mu sync.Mutex
	of map[proto.PeerID][]time.Time // oldest first, at most strikesOut
}

func newStrikes() *strikes { return &strikes{of: make(map[proto.PeerID][]time.Time)} }

// add counts one strike and tells whether it was one too many.
func (s *strikes) add(p proto.PeerID, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.of[p]; !known && len(s.of) >= maxStruck {
		s.forgetFaded(now)
	}
	fresh := append(recent(s.of[p], now), now)
	if len(fresh) >= strikesOut {
		delete(s.of, p)
		return true
	}
	s.of[p] = fresh
	return false
}

// forgetFaded makes room: first those whose strikes have faded, else anybody.
func (s *strikes) forgetFaded(now time.Time) {
	for p, times := range s.of {
		if len(recent(times, now)) == 0 {
			delete(s.of, p)
		}
	}
	for p := range s.of {
		if len(s.of) < maxStruck {
			return
		}
		delete(s.of, p)
	}
}

func recent(times []time.Time, now time.Time) []time.Time {
	for len(times) > 0 && now.Sub(times[0]) > strikeLife {
		times = times[1:]
	}
	return times
}

func (s *strikes) count(p proto.PeerID, now time.Time) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(recent(s.of[p], now))
}

func (s *strikes) forget(p proto.PeerID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.of, p)
}

// Misbehaved counts a breach of protocol by p, with a constant reason for the
// log. Five within ten minutes close its connections and keep it out for
// fifteen; fewer lower what its gossip counts.
func (h *Host) Misbehaved(p proto.PeerID, reason string) {
	h.stats.misbehaved.Add(1)
	h.log.Warn("peer misbehaved", "part", "p2p", "peer", p, "reason", reason)
	now := time.Now()
	if !h.strikes.add(p, now) {
		return
	}
	h.gate.ban(p, now.Add(banTime))
	h.log.Warn("peer kept out for misbehaviour", "part", "p2p", "peer", p, "took", banTime)
	_ = h.net.Network().ClosePeer(toPeer(p)) // gone already is as good
}

// gossipScore is what gossip thinks of p besides its own rules.
func (h *Host) gossipScore(id peer.ID) float64 {
	p, err := fromPeer(id)
	if err != nil {
		return strikesOut * strikeScore
	}
	return strikeScore * float64(h.strikes.count(p, time.Now()))
}
