package overlay

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
	MaxHeard         = 256              // open announcements, ours and others'
	AnnounceLifetime = 30 * time.Second // of a signed announcement, at most
)

// A Directory holds the latest advert of each provider, and the announcements
// that are open, ours and others'. Safe for concurrent use; everything in it
// has an expiry, and it never grows over its bounds.
type Directory struct {
	now func() time.Time

	mu      sync.Mutex // guards all below
	adverts map[proto.PeerID]Known
	heard   map[HeardKey]Heard
	changed func() // called without the lock when an advert came or went
}

// A Known is an advert as it came in.
type Known struct {
	Advert  proto.Advert
	Source  string // gossip, hello, dht
	At      time.Time
	expires time.Time
}

// A HeardKey names an announcement: by its signer too, so that nobody can take
// the place of another's job.
type HeardKey struct {
	From proto.PeerID
	Job  proto.JobID
}

// A Heard is an announcement as it came in.
type Heard struct {
	Announcement proto.Announcement
	From         proto.PeerID
	envelope     []byte
	Expires      time.Time
}

// NewDirectory makes an empty directory whose clock is now.
func NewDirectory(now func() time.Time) *Directory {
	return &Directory{now: now, adverts: make(map[proto.PeerID]Known), heard: make(map[HeardKey]Heard), changed: func() {}}
}

// OnChange has f called whenever an advert came or went, without any lock held.
// Set it before the node runs.
func (d *Directory) OnChange(f func()) { d.changed = f }

// addAdvert keeps an advert unless a later one of the same peer is here; it
// tells whether it was news.
func (d *Directory) addAdvert(env proto.Envelope, a proto.Advert, source string) bool {
	d.mu.Lock()
	old, ok := d.adverts[env.Signer]
	news := !ok || a.Sequence > old.Advert.Sequence
	if news {
		if !ok && len(d.adverts) >= maxAdverts {
			d.evictAdvert()
		}
		d.adverts[env.Signer] = Known{Advert: a, Source: source, At: d.now(), expires: env.Expires}
	}
	d.mu.Unlock()
	if news {
		d.changed()
	}
	return news
}

func (d *Directory) evictAdvert() {
	var oldest proto.PeerID
	var at time.Time
	for id, k := range d.adverts {
		if at.IsZero() || k.At.Before(at) {
			oldest, at = id, k.At
		}
	}
	delete(d.adverts, oldest)
}

// dropPeer forgets a peer's advert: it is gone.
func (d *Directory) dropPeer(id proto.PeerID) {
	d.mu.Lock()
	_, ok := d.adverts[id]
	delete(d.adverts, id)
	d.mu.Unlock()
	if ok {
		d.changed()
	}
}

// Providers gives the unexpired adverts, ordered by peer.
func (d *Directory) Providers() (ids []proto.PeerID, ks []Known) {
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

// AdvertOf gives a peer's advert.
func (d *Directory) AdvertOf(id proto.PeerID) (Known, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	k, ok := d.adverts[id]
	return k, ok && d.now().Before(k.expires)
}

// AddHeard keeps an announcement unless this one, or a later one of its job, is
// here already; it tells whether it was news. That also stops replays: an
// announcement is remembered for as long as its envelope is taken.
func (d *Directory) AddHeard(from proto.PeerID, a proto.Announcement, envelope []byte, expires time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	key := HeardKey{from, a.Job}
	if old, ok := d.heard[key]; ok && a.Sequence <= old.Announcement.Sequence {
		return false
	}
	if len(d.heard) >= MaxHeard {
		d.evictHeard()
	}
	d.heard[key] = Heard{a, from, envelope, expires}
	return true
}

func (d *Directory) evictHeard() {
	now := d.now()
	var first HeardKey
	var at time.Time
	for id, h := range d.heard {
		if now.After(h.Expires) {
			delete(d.heard, id)
		} else if at.IsZero() || h.Expires.Before(at) {
			first, at = id, h.Expires
		}
	}
	if len(d.heard) >= MaxHeard {
		delete(d.heard, first)
	}
}

// CloseJob forgets an announcement.
func (d *Directory) CloseJob(from proto.PeerID, id proto.JobID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.heard, HeardKey{from, id})
}

// Open gives the unexpired announcements.
func (d *Directory) Open() (hs []Heard) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.now()
	for id, h := range d.heard {
		switch {
		case now.After(h.Expires.Add(proto.MaxSkew)):
			delete(d.heard, id)
		case !now.After(h.Expires):
			hs = append(hs, h)
		}
	}
	return hs
}

// Candidates gives the working set for a job: every provider whose advert is
// known, with what stands against it.
func (d *Directory) Candidates(a proto.Announcement, complete func(*scheduler.Candidate)) (cs []scheduler.Candidate) {
	ids, ks := d.Providers()
	for i, id := range ids {
		adv := ks[i].Advert
		c := scheduler.Candidate{ID: id, Free: adv.FreeSlots, Price: adv.Price, Engine: adv.Engine, Offered: adv.Offered}
		if no, ok := scheduler.Eligible(adv, a); !ok {
			c.Ineligible = no
		}
		complete(&c)
		cs = append(cs, c)
	}
	return cs
}
