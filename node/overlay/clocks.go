package overlay

import (
	"sync"
	"time"

	"github.com/mustermesh/muster/proto"
)

// maxClocks is how many peers' clocks are remembered.
const maxClocks = 1024

// Clocks is what peers' clocks showed when they greeted this node. Safe for
// concurrent use.
type Clocks struct {
	mu sync.Mutex // guards by
	by map[proto.PeerID]reading
}

// A reading is what a peer's clock showed at a moment of ours.
type reading struct {
	peer time.Time
	at   time.Time // with the monotonic clock, so that a step of ours is seen
}

// note keeps what a peer's clock showed; of more than 1024 peers any is forgotten.
func (c *Clocks) note(id proto.PeerID, peer, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.by == nil {
		c.by = make(map[proto.PeerID]reading)
	}
	if _, known := c.by[id]; !known && len(c.by) >= maxClocks {
		for other := range c.by {
			delete(c.by, other)
			break
		}
	}
	c.by[id] = reading{peer, now}
}

// Offsets gives how far the clocks of those peers that count are ahead of now, as
// far as is known; the time that a greeting took counts as behind.
func (c *Clocks) Offsets(now time.Time, counts func(proto.PeerID) bool) (offsets []time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, r := range c.by {
		if counts(id) {
			offsets = append(offsets, r.peer.Add(now.Sub(r.at)).Sub(now.Round(0)))
		}
	}
	return offsets
}

// noteClock reads a peer's clock off the advert that it signed just now, whether
// or not the difference lets us take what it says.
func (o *Overlay) noteClock(id proto.PeerID, advert []byte) {
	env, err := proto.OpenEnvelope(advert, proto.Expect{Network: o.Network, Purpose: proto.PurposeAdvert, Addressee: o.Self})
	if err == nil && env.Signer == id {
		o.Clocks.note(id, env.Issued, o.Now())
	}
}
