package livelog

import (
	"fmt"
	"os"
	"sort"
)

const (
	suffix    = ".livelog"
	blockSize = 64 << 10 // bytes of a file; fewer are kept in memory
	maxGaps   = 256      // of one stream that are remembered; an older one takes what is before it along
)

// A stream is the end of what one guest wrote to one of its streams, as far as
// it came. Bytes are counted twice: by their offset, which the sender says, and
// by their place among those that came, which has no gaps.
type stream struct {
	file    func() string // names a new file
	block   int64         // bytes of a file
	tail    []byte        // the last bytes, less than a block
	blocks  []string      // the files before the tail, of a block each, oldest first
	came    int64         // place at which the tail ends
	skip    int64         // bytes of the oldest block that are cut
	parts   []part        // of what is kept
	changed chan struct{}
}

// A part is a run of bytes without a gap. It ends where the next begins.
type part struct {
	place  int64
	offset uint64
}

// first is the place of the oldest byte that is kept.
func (s *stream) first() int64 {
	return s.came - int64(len(s.tail)) - int64(len(s.blocks))*s.block + s.skip
}

// end is the offset behind the last byte that came.
func (s *stream) end() uint64 {
	if len(s.parts) == 0 {
		return 0
	}
	p := s.parts[len(s.parts)-1]
	return p.offset + uint64(s.came-p.place)
}

// size is what the stream counts as: its memory, and its files.
func (s *stream) size() int64 {
	return int64(len(s.tail)) + int64(len(s.blocks))*s.block
}

// append adds data, which fits into the tail, at offset, which is not before the
// end.
func (s *stream) append(offset uint64, data []byte) error {
	if len(s.parts) == 0 || offset > s.end() {
		s.parts = append(s.parts, part{s.came, offset})
	}
	s.tail = append(s.tail, data...)
	s.came += int64(len(data))
	if len(s.parts) > maxGaps {
		s.cutTo(s.parts[len(s.parts)-maxGaps].place)
	}
	if int64(len(s.tail)) < s.block {
		return nil
	}
	return s.spill()
}

// spill writes the tail, which is a whole block, to a file. If that fails all
// that is kept is cut: the disk cannot be trusted with what is there either.
func (s *stream) spill() error {
	path := s.file()
	if err := os.WriteFile(path, s.tail, 0o600); err != nil {
		os.Remove(path)
		s.tail = s.tail[:0]
		s.remove()
		s.parts = []part{{s.came, s.end()}}
		return fmt.Errorf("live log: %w", err)
	}
	s.blocks = append(s.blocks, path)
	s.tail = s.tail[:0]
	return nil
}

// forget lets go of the oldest block, or of half of the tail if there is none,
// and tells how many bytes of its size that was.
func (s *stream) forget() int64 {
	before := s.size()
	if len(s.blocks) > 0 {
		s.cutTo(s.first() - s.skip + s.block)
	} else {
		s.cutTo(s.came - int64(len(s.tail)/2))
	}
	return before - s.size()
}

// cutTo lets go of everything before place.
func (s *stream) cutTo(place int64) {
	for len(s.blocks) > 0 && s.first()-s.skip+s.block <= place {
		os.Remove(s.blocks[0])
		s.blocks, s.skip = s.blocks[1:], 0
	}
	if len(s.blocks) > 0 {
		s.skip = max(s.skip, s.skip+place-s.first())
	} else if n := place - s.first(); n > 0 {
		s.tail = append(s.tail[:0], s.tail[n:]...)
	}
	i := max(s.part(place), 0)
	s.parts = append(s.parts[:0], s.parts[i:]...)
}

// part finds the part that place lies in.
func (s *stream) part(place int64) int {
	return sort.Search(len(s.parts), func(i int) bool { return s.parts[i].place > place }) - 1
}

// read gives what is kept from offset on, if anything is.
func (s *stream) read(offset uint64) (c Chunk, ok bool, err error) {
	if offset >= s.end() || s.first() == s.came {
		return Chunk{}, false, nil
	}
	i := sort.Search(len(s.parts), func(i int) bool { return s.parts[i].offset > offset }) - 1
	place, end := s.first(), s.came
	if i >= 0 {
		p, until := s.parts[i], s.came
		if i+1 < len(s.parts) {
			until = s.parts[i+1].place
		}
		place = max(place, until)
		if offset-p.offset < uint64(until-p.place) {
			place = max(s.first(), p.place+int64(offset-p.offset))
		}
	}
	i = s.part(place)
	if i+1 < len(s.parts) {
		end = s.parts[i+1].place
	}
	data, err := s.bytes(place, end)
	at := s.parts[i].offset + uint64(place-s.parts[i].place)
	return Chunk{Data: data, At: at, Cut: at - offset}, true, err
}

// bytes gives what lies at place, up to end or the end of its block.
func (s *stream) bytes(place, end int64) ([]byte, error) {
	tail := s.came - int64(len(s.tail))
	if place >= tail {
		return append([]byte(nil), s.tail[place-tail:end-tail]...), nil
	}
	from := place - (s.first() - s.skip) // in the blocks
	end = min(end, place+s.block-from%s.block)
	f, err := os.Open(s.blocks[from/s.block])
	if err != nil {
		return nil, err
	}
	defer f.Close() // opened for reading: nothing to lose
	p := make([]byte, end-place)
	_, err = f.ReadAt(p, from%s.block)
	return p, err
}

// remove deletes the files. What cannot be deleted goes when the folder is
// opened the next time.
func (s *stream) remove() {
	for _, path := range s.blocks {
		os.Remove(path)
	}
	s.blocks, s.skip = nil, 0
}

func (s *stream) wait() <-chan struct{} {
	if s.changed == nil {
		s.changed = make(chan struct{})
	}
	return s.changed
}

func (s *stream) wake() {
	if s.changed != nil {
		close(s.changed)
		s.changed = nil
	}
}
