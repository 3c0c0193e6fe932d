package overlay

import (
	"testing"
	"time"

	"github.com/mustermesh/muster/proto"
)

func anybody(proto.PeerID) bool { return true }

func TestClocks(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	t.Run("a peer ahead of us stays ahead as time passes", func(t *testing.T) {
		var c Clocks
		c.note(peerOf(1), now.Add(3*time.Minute), now)
		if got := c.Offsets(now.Add(time.Hour), anybody); len(got) != 1 || got[0] != 3*time.Minute {
			t.Errorf("got %v, want [3m0s]", got)
		}
	})
	t.Run("peers that do not count are left out", func(t *testing.T) {
		var c Clocks
		c.note(peerOf(1), now, now)
		c.note(peerOf(2), now.Add(time.Second), now)
		got := c.Offsets(now, func(id proto.PeerID) bool { return id == peerOf(2) })
		if len(got) != 1 || got[0] != time.Second {
			t.Errorf("got %v, want [1s]", got)
		}
	})
	t.Run("they never grow over their bound", func(t *testing.T) {
		var c Clocks
		for i := range 2 * maxClocks {
			c.note(peerOf(i), now, now)
		}
		if got := len(c.Offsets(now, anybody)); got != maxClocks {
			t.Errorf("%d peers remembered, want %d", got, maxClocks)
		}
	})
}
