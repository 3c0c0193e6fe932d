package livelog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"sync"

	"github.com/mustermesh/muster/proto"
)

// Errors that a caller may ask about with errors.Is.
var (
	ErrUnknown = errors.New("no live log of this execution: it has not begun, was dropped, or made room for others")
	ErrOffset  = errors.New("a log that ends beyond 2^63 bytes: take the sender for broken")
	ErrClosed  = errors.New("live logs closed")
)

// Config bounds a spool.
type Config struct {
	Dir       string // for files; made if it is not there, and of no use to anyone else
	PerStream int64  // bytes kept of one stream; at least 128 KiB
	// Total is how many bytes are kept of all, in memory and files together; at
	// least 1 MiB. An execution counts as 1 KiB besides what it printed.
	Total int64
}

// Validate tells whether c can be used.
func (c Config) Validate() error {
	if c.Dir == "" || c.PerStream < 2*blockSize || c.Total < 16*blockSize {
		return fmt.Errorf("live logs in %q with %d bytes a stream and %d in all: set a folder, at least %d and at least %d", c.Dir, c.PerStream, c.Total, 2*blockSize, 16*blockSize)
	}
	return nil
}

// A Key names one stream of one execution.
type Key struct {
	Execution proto.ExecutionID
	Stderr    bool
}

// A Chunk is a part of a stream.
type Chunk struct {
	Data []byte // at most 64 KiB; the caller's own
	At   uint64 // where Data begins in the stream
	// Cut is how many bytes before At, from where the reader asked to read, are
	// missing: they did not come, or are not kept any more.
	Cut uint64
}

// A Spool keeps live logs. All methods may be called concurrently; files are
// read and written under one lock.
type Spool struct {
	cfg   Config
	block int64 // bytes of a file: blockSize, but in tests

	mu     sync.Mutex
	logs   map[proto.ExecutionID]*pair
	ended  []proto.ExecutionID // oldest first; may name some that are gone
	used   int64               // bytes
	files  uint64              // made so far
	closed bool
}

// A pair is the log of one execution.
type pair struct {
	streams [2]*stream
	ended   bool
}

// pairCost is what a log without a byte counts as.
const pairCost = 1 << 10

// Open makes a spool, and removes from its folder what another one left there.
// Close it.
func Open(cfg Config) (*Spool, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("live logs: %w", err)
	}
	old, err := filepath.Glob(filepath.Join(cfg.Dir, "*"+suffix))
	if err != nil {
		return nil, fmt.Errorf("live logs: %w", err)
	}
	for _, path := range old {
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("live logs: %w", err)
		}
	}
	return &Spool{cfg: cfg, block: blockSize, logs: make(map[proto.ExecutionID]*pair)}, nil
}

// Begin makes room for the log of an execution; what is written for others is
// not kept. It does nothing if it has begun before and was not dropped.
func (s *Spool) Begin(e proto.ExecutionID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.logs[e] != nil {
		return
	}
	p := &pair{}
	for i := range p.streams {
		p.streams[i] = &stream{file: s.file, block: s.block}
	}
	s.logs[e] = p
	s.used += pairCost
	s.makeRoom(0)
}

func (s *Spool) file() string {
	s.files++
	return filepath.Join(s.cfg.Dir, fmt.Sprint(s.files, suffix))
}

// Write keeps a piece of a log as a peer sent it. What lies before the end of
// what is there, a repetition or something that comes late, is passed over; what
// is left out before it counts as cut. It gives ErrUnknown for an execution
// that has not begun or is dropped, ErrOffset for an offset without sense, and
// else only errors of the disk, which cut the log and leave it usable. After
// End it does nothing.
func (s *Spool) Write(l proto.Log) error {
	if l.Offset > math.MaxInt64-uint64(len(l.Data)) {
		return fmt.Errorf("%w: %d bytes at %d", ErrOffset, len(l.Data), l.Offset)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	st, p, err := s.stream(Key{l.Execution, l.Stderr})
	if err != nil || p.ended {
		return err
	}
	offset, data := l.Offset, l.Data
	if end := st.end(); offset < end {
		n := min(end-offset, uint64(len(data)))
		offset, data = offset+n, data[n:]
	}
	for len(data) > 0 && err == nil {
		n := min(len(data), int(st.block)-len(st.tail))
		s.limit(st, int64(n))
		before := st.size()
		err = st.append(offset, data[:n])
		s.used += st.size() - before
		offset, data = offset+uint64(n), data[n:]
	}
	st.wake()
	return err
}

// limit makes room for n more bytes of st. Where nothing that is over is left
// to let go of, the largest streams lose their oldest bytes.
func (s *Spool) limit(st *stream, n int64) {
	for st.size() > 0 && st.size()+n > s.cfg.PerStream {
		s.used -= st.forget()
	}
	s.makeRoom(n)
	for s.used+n > s.cfg.Total {
		big := s.largest()
		if big == nil {
			return
		}
		s.used -= big.forget()
	}
}

// largest gives the stream that takes the most, if any takes something.
func (s *Spool) largest() (big *stream) {
	size := int64(0)
	for _, p := range s.logs {
		for _, st := range p.streams {
			if st.size() > size {
				big, size = st, st.size()
			}
		}
	}
	return big
}

// makeRoom lets go of executions that are over, oldest first, until n more
// bytes fit.
func (s *Spool) makeRoom(n int64) {
	for s.used+n > s.cfg.Total && len(s.ended) > 0 {
		e := s.ended[0]
		s.ended = s.ended[1:]
		if p := s.logs[e]; p != nil && p.ended {
			s.drop(e)
		}
	}
}

// Read gives what there is of a stream from offset on, or after it where that
// is missing. It blocks until there is something; when the execution is over
// and everything was read it gives io.EOF, with a Chunk that has no Data but may
// say that the end is cut. It gives ErrUnknown for an execution
// that has not begun, and for one that is dropped meanwhile.
func (s *Spool) Read(ctx context.Context, k Key, offset uint64) (Chunk, error) {
	for {
		s.mu.Lock()
		st, p, err := s.stream(k)
		if err != nil {
			s.mu.Unlock()
			return Chunk{}, err
		}
		c, ok, err := st.read(offset)
		ended, end, changed := p.ended, st.end(), st.wait()
		s.mu.Unlock()
		switch {
		case err != nil:
			return Chunk{}, fmt.Errorf("live log: %w", err)
		case ok:
			return c, nil
		case ended:
			end = max(end, offset)
			return Chunk{At: end, Cut: end - offset}, io.EOF
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return Chunk{}, ctx.Err()
		}
	}
}

// stream finds a stream.
func (s *Spool) stream(k Key) (*stream, *pair, error) {
	if s.closed {
		return nil, nil, ErrClosed
	}
	p := s.logs[k.Execution]
	if p == nil {
		return nil, nil, fmt.Errorf("%s: %w", k.Execution, ErrUnknown)
	}
	if k.Stderr {
		return p.streams[1], p, nil
	}
	return p.streams[0], p, nil
}

// End says that an execution is over: nothing is written any more, readers get
// the rest and then io.EOF, and it may be let go of to make room.
func (s *Spool) End(e proto.ExecutionID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.logs[e]
	if p == nil || p.ended {
		return
	}
	p.ended = true
	s.ended = append(s.ended, e)
	for _, st := range p.streams {
		st.tail = bytes.Clone(st.tail) // without room to grow
		st.wake()
	}
	s.makeRoom(0)
}

// Drop forgets an execution.
func (s *Spool) Drop(e proto.ExecutionID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.logs[e] != nil {
		s.drop(e)
	}
}

func (s *Spool) drop(e proto.ExecutionID) {
	p := s.logs[e]
	delete(s.logs, e)
	s.used -= pairCost
	for _, st := range p.streams {
		s.used -= st.size()
		st.remove()
		st.wake()
	}
	if len(s.ended) > 2*len(s.logs)+16 {
		s.tidy()
	}
}

// tidy forgets the names of those that are gone.
func (s *Spool) tidy() {
	kept := make([]proto.ExecutionID, 0, len(s.logs))
	for _, e := range s.ended {
		if p := s.logs[e]; p != nil && p.ended {
			kept = append(kept, e)
		}
	}
	s.ended = kept
}

// Close drops everything; whoever reads gets ErrClosed.
func (s *Spool) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for e := range s.logs {
		s.drop(e)
	}
	s.closed = true
	return nil
}
