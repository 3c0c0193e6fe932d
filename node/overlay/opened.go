package overlay

import (
	"crypto/sha256"
	"sync"

	"github.com/mustermesh/muster/proto"
)

// opened remembers announcements that were checked a moment ago: gossip checks
// each before it passes it on, and again before it is handled. Safe for
// concurrent use.
type opened struct {
	mu   sync.Mutex // guards by
	by   map[[sha256.Size]byte]openedAnnouncement
	most int // entries; all are forgotten at once when there are more
}

type openedAnnouncement struct {
	env          proto.Envelope
	announcement proto.Announcement
}

func newOpened(most int) *opened {
	return &opened{by: make(map[[sha256.Size]byte]openedAnnouncement), most: most}
}

func (o *opened) put(data []byte, a openedAnnouncement) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.by) >= o.most {
		clear(o.by)
	}
	o.by[sha256.Sum256(data)] = a
}

func (o *opened) get(data []byte) (openedAnnouncement, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	a, ok := o.by[sha256.Sum256(data)]
	return a, ok
}
