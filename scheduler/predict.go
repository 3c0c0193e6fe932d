package scheduler

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/mustermesh/muster/proto"
)

// Bounds and weights of [Speeds].
const (
	historiesMost  = 4096 // of a program on a peer
	programsMost   = 256
	pacesMost      = 4096 // peers
	priorWeight    = 5.0  // observations that the other peers' times are worth
	leastKnown     = 4.5  // observations of a program, below which nothing is predicted: five, faded a little
	mostOff        = 24.0 // bars by which one observation can differ in a peer's pace: 17 times
	leastOutlasted = 0.5  // of the predicted times; who was stopped before shows nothing
)

// Speeds predicts how long a program will take on a peer, from how long it took
// before: on that peer, on the others, and from how that peer compares with the
// others elsewhere. An observation counts half after 200 further ones or three
// days. It holds 4096 pairs of a program and a peer at most, about a megabyte,
// and forgets those not used for longest first.
//
// What it knows of a program is one distribution: where the tasks of a job
// differ in size, it is that of the sizes too, and nothing tells the large ones
// beforehand. A caller that knows better can name the program by a content id
// that includes a class of size.
//
// The zero value is not usable, see [NewSpeeds]. Its methods may be called
// concurrently: the jobs of a requester share it.
type Speeds struct {
	mu       sync.Mutex
	programs map[proto.CID]*programSpeed
	paces    map[proto.PeerID]*pace
	count    int // histories
	tick     uint64
}

// A programSpeed is how long one program took.
type programSpeed struct {
	all   histogram // on all peers together
	peers map[proto.PeerID]*history
	used  uint64
}

// A history is how long one program took on one peer.
type history struct {
	histogram
	used uint64
}

// A pace is how a peer compares with others that ran the same programs: so many
// bars longer, over all programs.
type pace struct {
	at     time.Time
	longer float64
	weight float64 // observations, faded
	used   uint64
}

// NewSpeeds knows nothing yet.
func NewSpeeds() *Speeds {
	return &Speeds{programs: make(map[proto.CID]*programSpeed), paces: make(map[proto.PeerID]*pace)}
}

// Observe notes that an execution took wall on peer, by our own clock: a peer's
// word about it would let it choose when it is doubted. One that ended without a
// result is none to note. A wall of zero or less is ignored.
func (s *Speeds) Observe(now time.Time, peer proto.PeerID, program proto.CID, wall time.Duration) {
	if wall <= 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	i := barOf(wall)
	s.note(now, peer, program, []bar{{i, 1}})
	s.compare(now, peer, program, float64(i)+.5)
}

// ObserveAtLeast notes that an execution had taken least on peer when it was
// stopped. It counts as one that takes as long as the expected ones that are
// longer than that, so that a slow peer is known for one even if it is never let
// finish. One that was stopped before half of the expected ones end shows
// nothing and is ignored.
func (s *Speeds) ObserveAtLeast(now time.Time, peer proto.PeerID, program proto.CID, least time.Duration) {
	if least <= 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	expected, i := s.expected(now, peer, program), barOf(least)
	if len(expected) > 0 && float64(i) < quantile(expected, leastOutlasted) {
		return
	}
	s.note(now, peer, program, outlasting(expected, i))
	s.compare(now, peer, program, max(float64(i)+.5, s.usual(peer, program)))
}

// Predict gives the time within which the part quantile (over 0, below 1) of the
// executions of program on peer end. Of a peer that is not known, or for the
// zero peer, it is that of all peers together. It is not known before five
// executions of the program were observed anywhere.
func (s *Speeds) Predict(now time.Time, peer proto.PeerID, program proto.CID, q float64) (d time.Duration, known bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.known(now, program) {
		return 0, false
	}
	return barStart(quantile(s.expected(now, peer, program), q)), true
}

// Mean gives the mean time of program on all peers; it is known when a
// prediction is.
func (s *Speeds) Mean(now time.Time, program proto.CID) (d time.Duration, known bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.known(now, program) {
		return 0, false
	}
	return meanTime(s.programs[program].all.bars), true
}

func (s *Speeds) known(now time.Time, program proto.CID) bool {
	p := s.programs[program]
	return p != nil && p.all.weight(now) >= leastKnown
}

// expected gives the distribution of the times of program on peer: its own, and
// that of all, which weighs [priorWeight], moved by the peer's pace.
func (s *Speeds) expected(now time.Time, peer proto.PeerID, program proto.CID) []bar {
	p := s.programs[program]
	if p == nil {
		return nil
	}
	s.tick++
	p.used = s.tick
	weight := p.all.weight(now)
	prior := shifted{bars: p.all.bars, by: s.shift(peer), scale: min(priorWeight, weight) / total(p.all.bars)}
	own, scale := []bar(nil), 0.0
	if h := p.peers[peer]; h != nil {
		h.used, own, scale = s.tick, h.bars, fading(h.at, now)
	}
	return mix(make([]bar, 0, 2*barsMost), own, scale, prior)
}

// shift is a peer's pace in whole bars, nearer to none the less is known.
func (s *Speeds) shift(peer proto.PeerID) int {
	p := s.paces[peer]
	if p == nil {
		return 0
	}
	by := p.longer * p.weight / (p.weight + priorWeight)
	if by < 0 {
		return int(by - .5)
	}
	return int(by + .5)
}

// usual is where the middle of the times of all peers lies, and the pace of this
// one.
func (s *Speeds) usual(peer proto.PeerID, program proto.CID) float64 {
	middle := quantile(s.programs[program].all.bars, .5)
	if p := s.paces[peer]; p != nil {
		middle += p.longer
	}
	return middle
}

// note adds an observation to what is known of the program, and of it on the
// peer.
func (s *Speeds) note(now time.Time, peer proto.PeerID, program proto.CID, seen []bar) {
	s.tick++
	p := s.programs[program]
	if p == nil {
		p = &programSpeed{peers: make(map[proto.PeerID]*history)}
		s.programs[program] = p
	}
	h := p.peers[peer]
	if h == nil {
		h = &history{}
		p.peers[peer] = h
		s.count++
	}
	p.used, h.used = s.tick, s.tick
	p.all.observe(now, seen...)
	h.observe(now, seen...)
	s.forget()
}

// compare notes by how much a peer differs from all that ran the program. Where
// it alone did, there is nothing to compare.
func (s *Speeds) compare(now time.Time, peer proto.PeerID, program proto.CID, at float64) {
	p := s.programs[program]
	if p == nil || len(p.peers) < 2 {
		return
	}
	c := s.paces[peer]
	if c == nil {
		c = &pace{}
		s.paces[peer] = c
	}
	off := max(-mostOff, min(at-quantile(p.all.bars, .5), mostOff))
	kept := c.weight * math.Exp2(-1./halfLifeN) * fading(c.at, now)
	c.longer, c.weight = (c.longer*kept+off)/(kept+1), kept+1
	c.at, c.used = later(c.at, now), s.tick
	s.forget()
}

// forget drops what was not used for longest where there is too much, an eighth
// at a time.
func (s *Speeds) forget() {
	if len(s.programs) > programsMost {
		oldest := byUse(s.programs, func(p *programSpeed) uint64 { return p.used })
		for _, id := range oldest[:programsMost/8] {
			s.count -= len(s.programs[id].peers)
			delete(s.programs, id)
		}
	}
	if s.count > historiesMost {
		for _, h := range s.histories()[:historiesMost/8] {
			delete(s.programs[h.program].peers, h.peer)
			s.count--
		}
	}
	if len(s.paces) > pacesMost {
		for _, id := range byUse(s.paces, func(p *pace) uint64 { return p.used })[:pacesMost/8] {
			delete(s.paces, id)
		}
	}
}

// byUse gives the keys of a map, that used longest ago first.
func byUse[K comparable, V any](m map[K]V, used func(V) uint64) []K {
	return slices.SortedFunc(maps.Keys(m), func(a, b K) int { return cmp.Compare(used(m[a]), used(m[b])) })
}

// A historyOf is a history with its names.
type historyOf struct {
	*history
	program proto.CID
	peer    proto.PeerID
}

// histories gives all, that used longest ago first.
func (s *Speeds) histories() []historyOf {
	all := make([]historyOf, 0, s.count)
	for program, p := range s.programs {
		for peer, h := range p.peers {
			all = append(all, historyOf{h, program, peer})
		}
	}
	slices.SortFunc(all, func(a, b historyOf) int { return cmp.Compare(a.used, b.used) })
	return all
}
