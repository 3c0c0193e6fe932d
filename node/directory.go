package node

import (
	"slices"
	"sync"
	"time"

	"github.com/mustermesh/muster/proto"
	"github.com/mustermesh/muster/scheduler"
)

// Bounds of what a node keeps about others.
const (
	maxAdverts       = 4096
	advertLifetime   = 2 * time.Minute
	maxHeard         = 256 // open announcements, ours and others'
	announceLifetime = 30 * time.Second
)

// A directory holds the latest advert of each provider, and the announcements
// that are open, ours and others'. Safe for concurrent use; everything in it
// has an expiry, and it never grows over its bounds.
type directory struct {
	now func() time.Time

	mu      sync.Mutex // guards all below
	adverts map[proto.PeerID]known
	heard   map[heardKey]heard
	changed func() // called without the lock when an advert came or went
}

type known struct {
	advert  proto.Advert
	source  string // gossip, hello, dht
	at      time.Time
	expires time.Time
}

// A heardKey names an announcement: by its signer too, so that nobody can take
// the place of another's job.
type heardKey struct {
	from proto.PeerID
	job  proto.JobID
}

type heard struct {
	announcement proto.Announcement
	from         proto.PeerID
	envelope     []byte
	expires      time.Time
}

func newDirectory(now func() time.Time) *directory {
	return &directory{now: now, adverts: make(map[proto.PeerID]known), heard: make(map[heardKey]heard), changed: func() {}}
}

// addAdvert keeps an advert unless a later one of the same peer is here; it
// tells whether it was news.
func (d *directory) addAdvert(env proto.Envelope, a proto.Advert, source string) bool {
	d.mu.Lock()
	old, ok := d.adverts[env.Signer]
	news := !ok || a.Sequence > old.advert.Sequence
	if news {
		if !ok && len(d.adverts) >= maxAdverts {
			d.evictAdvert()
		}
		d.adverts[env.Signer] = known{advert: a, source: source, at: d.now(), expires: env.Expires}
	}
	d.mu.Unlock()
	if news {
		d.changed()
	}
	return news
}

func (d *directory) evictAdvert() {
	var oldest proto.PeerID
	var at time.Time
	for id, k := range d.adverts {
		if at.IsZero() || k.at.Before(at) {
			oldest, at = id, k.at
		}
	}
	delete(d.adverts, oldest)
}

// dropPeer forgets a peer's advert: it is gone.
func (d *directory) dropPeer(id proto.PeerID) {
	d.mu.Lock()
	_, ok := d.adverts[id]
	delete(d.adverts, id)
	d.mu.Unlock()
	if ok {
		d.changed()
	}
}

// providers gives the unexpired adverts, ordered by peer.
func (d *directory) providers() (ids []proto.PeerID, ks []known) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.now()
	for id, k := range d.adverts {
		if now.After(k.expires) {
			delete(d.adverts, id)
			continue
		}
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(a, b proto.PeerID) int { return slices.Compare(a[:], b[:]) })
	for _, id := range ids {
		ks = append(ks, d.adverts[id])
	}
	return ids, ks
}

// advertOf gives a peer's advert.
func (d *directory) advertOf(id proto.PeerID) (known, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	k, ok := d.adverts[id]
	return k, ok && d.now().Before(k.expires)
}

// addHeard keeps an announcement unless this one, or a later one of its job, is
// here already; it tells whether it was news. That also stops replays: an
// announcement is remembered for as long as its envelope is taken.
func (d *directory) addHeard(from proto.PeerID, a proto.Announcement, envelope []byte, expires time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	key := heardKey{from, a.Job}
	if old, ok := d.heard[key]; ok && a.Sequence <= old.announcement.Sequence {
		return false
	}
	if len(d.heard) >= maxHeard {
		d.evictHeard()
	}
	d.heard[key] = heard{a, from, envelope, expires}
	return true
}

func (d *directory) evictHeard() {
	now := d.now()
	var first heardKey
	var at time.Time
	for id, h := range d.heard {
		if now.After(h.expires) {
			delete(d.heard, id)
		} else if at.IsZero() || h.expires.Before(at) {
			first, at = id, h.expires
		}
	}
	if len(d.heard) >= maxHeard {
		delete(d.heard, first)
	}
}

// closeJob forgets an announcement.
func (d *directory) closeJob(from proto.PeerID, id proto.JobID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.heard, heardKey{from, id})
}

// open gives the unexpired announcements.
func (d *directory) open() (hs []heard) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.now()
	for id, h := range d.heard {
		switch {
		case now.After(h.expires.Add(proto.MaxSkew)):
			delete(d.heard, id)
		case !now.After(h.expires):
			hs = append(hs, h)
		}
	}
	return hs
}

// candidates gives the working set for a job: every provider whose advert is
// known, with what stands against it.
func (d *directory) candidates(a proto.Announcement, complete func(*scheduler.Candidate)) (cs []scheduler.Candidate) {
	ids, ks := d.providers()
	for i, id := range ids {
		adv := ks[i].advert
		c := scheduler.Candidate{ID: id, Free: adv.FreeSlots, Price: adv.Price, Engine: adv.Engine}
		if no, ok := scheduler.Eligible(adv, a); !ok {
			c.Ineligible = no
		}
		complete(&c)
		cs = append(cs, c)
	}
	return cs
}
