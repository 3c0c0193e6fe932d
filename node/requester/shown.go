package requester

import (
	"crypto/sha256"
	"hash"
	"io"

	"github.com/mustermesh/muster/internal/livelog"
)

// maxSpans is how many parts with gaps between them are remembered of what one
// reader was shown of one stream.
const maxSpans = 4096

// A span is a part of a stream: from its first byte up to the one behind its last.
type span struct{ from, to uint64 }

// shown is what a reader has of a stream whose output is not verified: a hash,
// to tell later whether it was right.
type shown struct {
	next  uint64 // behind the last byte
	spans []span // in order, not touching
	hash  hash.Hash
	vague bool // there were too many gaps: it cannot be compared
}

func newShown(from uint64) shown { return shown{next: from, hash: sha256.New()} }

// add notes what was shown, which is not before next.
func (s *shown) add(at uint64, data []byte) {
	if len(data) == 0 {
		return
	}
	end := at + uint64(len(data))
	switch n := len(s.spans); {
	case n > 0 && s.spans[n-1].to == at:
		s.spans[n-1].to = end
	case n < maxSpans:
		s.spans = append(s.spans, span{at, end})
	default:
		s.vague = true
	}
	s.next = end
	s.hash.Write(data)
}

// any tells whether anything was shown.
func (s *shown) any() bool { return len(s.spans) > 0 || s.vague }

// whole tells whether it was shown without a gap from the start on.
func (s *shown) whole() bool {
	return s.next == 0 || !s.vague && len(s.spans) == 1 && s.spans[0].from == 0
}

// in tells whether r, of so many bytes, has what was shown, where it was shown.
func (s *shown) in(r io.ReaderAt, size int64) (bool, error) {
	if s.vague || s.next > uint64(size) {
		return false, nil
	}
	h := sha256.New()
	for _, p := range s.spans {
		if _, err := io.Copy(h, io.NewSectionReader(r, int64(p.from), int64(p.to-p.from))); err != nil {
			return false, err
		}
	}
	return string(h.Sum(nil)) == string(s.hash.Sum(nil)), nil
}

// A check compares another execution's stream, as it comes, with what was shown
// of one before.
type check struct {
	with *shown
	at   uint64 // compared so far
	span int    // of with, that at lies in or before
	hash hash.Hash
	gap  bool // something that was shown did not come
}

func newCheck(with *shown) *check {
	return &check{with: with, hash: sha256.New(), gap: with.vague}
}

// add takes what comes next.
func (c *check) add(ch livelog.Chunk) {
	for end := ch.At + uint64(len(ch.Data)); c.span < len(c.with.spans); c.span++ {
		p := c.with.spans[c.span]
		c.at = max(c.at, p.from)
		if c.at < min(ch.At, p.to) {
			c.gap, c.at = true, min(ch.At, p.to)
		}
		if to := min(end, p.to); c.at < to {
			c.hash.Write(ch.Data[c.at-ch.At : to-ch.At])
			c.at = to
		}
		if c.at < p.to {
			return
		}
	}
}

// same tells whether all that was compared is the same.
func (c *check) same() bool {
	return string(c.hash.Sum(nil)) == string(c.with.hash.Sum(nil))
}
