package scheduler

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/mustermesh/muster/proto"
)

// ErrSpeeds is wrapped by every error about bytes that [Speeds] cannot be read
// from. What they held can be learnt again: start with [NewSpeeds].
var ErrSpeeds = errors.New("unreadable speeds")

// The form on disk: a version; the programs, each a content id
// and the histogram of all peers; the histories, each the number of its program,
// a peer and a histogram; the paces, each a peer, a time, bars and a weight. Each
// list begins with its length and goes from that used longest ago to the last. A
// histogram is a time, the number of bars, and each bar's index and weight.
// Numbers are unsigned varints in their shortest form, weights and bars
// multiples of 1/256, times seconds since 1970.
const (
	speedsVersion = 1
	fraction      = 256
	mostWeight    = 1 << 20 // 4096 observations; they fade before
	mostSeconds   = 1 << 38 // some 8700 years
	paceOffset    = 32      // bars, added to what may be negative
)

// MarshalBinary gives what is known, in a form for [Speeds.UnmarshalBinary]: some
// 100 bytes for a program on a peer. It never fails.
func (s *Speeds) MarshalBinary() ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := []byte{speedsVersion}
	programs := byUse(s.programs, func(p *programSpeed) uint64 { return p.used })
	number := make(map[proto.CID]uint64, len(programs))
	b = binary.AppendUvarint(b, uint64(len(programs)))
	for i, id := range programs {
		number[id] = uint64(i)
		b = appendHistogram(append(b, id.Bytes()...), s.programs[id].all)
	}
	b = binary.AppendUvarint(b, uint64(s.count))
	for _, h := range s.histories() {
		b = append(binary.AppendUvarint(b, number[h.program]), h.peer[:]...)
		b = appendHistogram(b, h.histogram)
	}
	peers := byUse(s.paces, func(p *pace) uint64 { return p.used })
	b = binary.AppendUvarint(b, uint64(len(peers)))
	for _, id := range peers {
		p := s.paces[id]
		b = appendTime(append(b, id[:]...), p.at)
		b = binary.AppendUvarint(b, rounded(p.longer+paceOffset))
		b = binary.AppendUvarint(b, max(rounded(p.weight), 1))
	}
	return b, nil
}

func appendHistogram(b []byte, h histogram) []byte {
	n := 0
	for _, x := range h.bars {
		if rounded(float64(x.weight)) > 0 {
			n++
		}
	}
	b = append(appendTime(b, h.at), byte(n))
	for _, x := range h.bars {
		if w := rounded(float64(x.weight)); w > 0 {
			b = binary.AppendUvarint(append(b, x.index), w)
		}
	}
	return b
}

func appendTime(b []byte, t time.Time) []byte {
	return binary.AppendUvarint(b, uint64(max(0, min(t.Unix(), mostSeconds))))
}

// rounded gives x, not below zero, in 256ths.
func rounded(x float64) uint64 { return uint64(x*fraction + .5) }

// UnmarshalBinary replaces what is known by what [Speeds.MarshalBinary] gave. It
// takes nothing else: not a byte more, no other order, nothing beyond the
// bounds. Its error wraps [ErrSpeeds], and s stays as it was.
func (s *Speeds) UnmarshalBinary(b []byte) error {
	r := &speedsReader{rest: b}
	read := NewSpeeds()
	if v := r.byte(); v != speedsVersion {
		return fmt.Errorf("%w: version %d, this muster reads %d; to learn them anew, delete the record", ErrSpeeds, v, speedsVersion)
	}
	programs := r.programs(read)
	r.histories(read, programs)
	r.paces(read)
	if len(r.rest) > 0 {
		r.fail("bytes left over")
	}
	if r.err != nil {
		return r.err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.programs, s.paces, s.count, s.tick = read.programs, read.paces, read.count, read.tick
	return nil
}

// A speedsReader takes the bytes apart; after the first fault it gives zeros.
type speedsReader struct {
	rest []byte
	err  error
}

func (r *speedsReader) fail(what string) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: %s; to learn them anew, delete the record", ErrSpeeds, what)
	}
	r.rest = nil
}

func (r *speedsReader) byte() byte { return r.take(1)[0] }

// take gives the next n bytes, of which there are few.
func (r *speedsReader) take(n int) []byte {
	if len(r.rest) < n {
		r.fail("cut off")
		return make([]byte, n)
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

// number gives a number from least to most.
func (r *speedsReader) number(least, most uint64) uint64 {
	v, n := binary.Uvarint(r.rest)
	if n <= 0 || n > 1 && r.rest[n-1] == 0 || v < least || v > most {
		r.fail("a number out of bounds")
		return least
	}
	r.rest = r.rest[n:]
	return v
}

func (r *speedsReader) peer() proto.PeerID { return proto.PeerID(r.take(len(proto.PeerID{}))) }

func (r *speedsReader) time() time.Time { return time.Unix(int64(r.number(0, mostSeconds)), 0) }

func (r *speedsReader) histogram() (h histogram) {
	h.at = r.time()
	n := int(r.byte())
	if n < 1 || n > barsMost {
		r.fail("a histogram without bars, or with too many")
	}
	last := -1
	for range n {
		if r.err != nil {
			return h
		}
		b := bar{index: r.byte(), weight: float32(r.number(1, mostWeight)) / fraction}
		if int(b.index) <= last {
			r.fail("bars out of order")
		}
		last = int(b.index)
		h.bars = append(h.bars, b)
	}
	return h
}

func (r *speedsReader) programs(s *Speeds) (ids []proto.CID) {
	for range r.number(0, programsMost) {
		id, err := proto.CIDFromBytes(r.take(36))
		if err != nil || s.programs[id] != nil {
			r.fail("not the content id of another program")
			return ids
		}
		s.tick++
		s.programs[id] = &programSpeed{all: r.histogram(), peers: make(map[proto.PeerID]*history), used: s.tick}
		ids = append(ids, id)
	}
	return ids
}

func (r *speedsReader) histories(s *Speeds, programs []proto.CID) {
	n := r.number(0, historiesMost)
	if n > 0 && len(programs) == 0 {
		r.fail("histories of no program")
	}
	for range n {
		i, peer := r.number(0, uint64(max(len(programs), 1)-1)), r.peer()
		if r.err != nil {
			return
		}
		p := s.programs[programs[i]]
		if p.peers[peer] != nil {
			r.fail("a peer twice")
			return
		}
		s.tick++
		s.count++
		p.peers[peer] = &history{histogram: r.histogram(), used: s.tick}
	}
}

func (r *speedsReader) paces(s *Speeds) {
	for range r.number(0, pacesMost) {
		id := r.peer()
		if r.err != nil || s.paces[id] != nil {
			r.fail("a peer twice")
			return
		}
		s.tick++
		at := r.time()
		longer := float64(r.number((paceOffset-mostOff)*fraction, (paceOffset+mostOff)*fraction))/fraction - paceOffset
		weight := float64(r.number(1, mostWeight)) / fraction
		s.paces[id] = &pace{at: at, longer: longer, weight: weight, used: s.tick}
	}
}
