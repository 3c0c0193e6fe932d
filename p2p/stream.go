package p2p

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mustermesh/muster/proto"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/multiformats/go-multistream"
)

const (
	// callDeadline is the time for one message where nobody says otherwise.
	callDeadline = 30 * time.Second
	// maxSend bounds our own messages; what a peer accepts is usually less.
	maxSend = 16 << 20
	// maxPending is how many bytes wait behind a write under way before Send
	// makes its caller wait too.
	maxPending = 256 << 10
	// keepBuffer is the largest write buffer that a quiet stream keeps.
	keepBuffer = 32 << 10
)

// A Stream carries length-delimited messages to and from one peer. Send, Close,
// Reset and SetIdle may be called from several goroutines; Recv from one at a
// time.
type Stream struct {
	s     network.Stream
	peer  proto.PeerID
	max   int // bytes of a message that comes in
	count *counters
	idle  atomic.Int64 // time.Duration
	r     *bufio.Reader

	mu      sync.Mutex // guards the fields below
	turn    sync.Cond  // a write has ended
	pending []byte     // frames that nobody writes yet
	spare   []byte     // buffer of the last write, to be used again
	queued  uint64     // bytes ever put into pending
	written uint64     // bytes of those that were written
	writing bool
	err     error // of the first write that failed
}

func newStream(s network.Stream, p proto.PeerID, max int, count *counters) *Stream {
	st := &Stream{s: s, peer: p, max: max, count: count, r: bufio.NewReader(s)}
	st.turn.L = &st.mu
	st.SetIdle(callDeadline)
	return st
}

// Peer tells who is at the other end.
func (s *Stream) Peer() proto.PeerID { return s.peer }

// SetIdle sets the time that each following message may take, from the call of
// Send or Recv until it is over. It holds for calls that begin after it.
func (s *Stream) SetIdle(d time.Duration) { s.idle.Store(int64(d)) }

// Send writes messages, in order and next to each other, and returns when they
// are handed to the connection. What several goroutines send while a write is
// under way goes out together in the next; a lone message is never held back.
// After an error the stream is of no more use: Reset it.
func (s *Stream) Send(msgs ...[]byte) error {
	total := 0
	for _, m := range msgs {
		if len(m) > maxSend {
			return fmt.Errorf("%w: %d bytes to send; at most %d", ErrTooLarge, len(m), maxSend)
		}
		total += len(m)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.pending) >= maxPending && s.err == nil {
		s.waitOrFlush()
	}
	before := len(s.pending)
	for _, m := range msgs {
		s.pending = appendFrame(s.pending, m)
	}
	s.queued += uint64(len(s.pending) - before)
	mine := s.queued
	for s.written < mine && s.err == nil {
		s.waitOrFlush()
	}
	if s.written < mine {
		return s.err
	}
	s.count.messagesOut.Add(uint64(len(msgs)))
	s.count.bytesOut.Add(uint64(total))
	return nil
}

// waitOrFlush writes what is pending, or waits for the write under way to end.
// The caller holds s.mu, which is free meanwhile.
func (s *Stream) waitOrFlush() {
	if s.writing {
		s.turn.Wait()
		return
	}
	buf, end := s.pending, s.queued
	s.pending, s.spare, s.writing = s.spare[:0], nil, true
	s.mu.Unlock()
	err := s.write(buf)
	s.mu.Lock()
	s.writing = false
	if cap(buf) <= keepBuffer {
		s.spare = buf
	}
	if err != nil {
		s.err = err
	} else {
		s.written = end
	}
	s.turn.Broadcast()
}

// write is for a caller that knows no other writes.
func (s *Stream) write(parts ...[]byte) error {
	if err := s.s.SetWriteDeadline(s.deadline()); err != nil {
		return streamError(err)
	}
	for _, b := range parts {
		if _, err := s.s.Write(b); err != nil {
			return streamError(err)
		}
	}
	return nil
}

func (s *Stream) deadline() time.Time { return time.Now().Add(time.Duration(s.idle.Load())) }

// Recv reads the next message; the bytes are the caller's. It returns io.EOF
// when the peer has closed its side, and errors that wrap [ErrTooLarge],
// [ErrFrame], [ErrTimeout] or [ErrReset].
func (s *Stream) Recv() ([]byte, error) { return s.recvInto(nil) }

// recvInto is Recv into buf, if the message fits there.
func (s *Stream) recvInto(buf []byte) ([]byte, error) {
	if err := s.s.SetReadDeadline(s.deadline()); err != nil {
		return nil, streamError(err)
	}
	b, err := readFrame(s.r, s.max, buf)
	if err != nil {
		return nil, streamError(err)
	}
	s.count.messagesIn.Add(1)
	s.count.bytesIn.Add(uint64(len(b)))
	return b, nil
}

// CloseWrite tells the peer that nothing more comes; it may still answer.
func (s *Stream) CloseWrite() error { return streamError(s.s.CloseWrite()) }

// Close ends the stream in good order; what was sent still arrives.
func (s *Stream) Close() error { return streamError(s.s.Close()) }

// Reset ends the stream at once, for both ends.
func (s *Stream) Reset() { _ = s.s.Reset() } // a stream that is gone is as good

// streamError gives the library's errors our names.
func streamError(err error) error {
	switch {
	case err == nil || err == io.EOF || errors.Is(err, ErrTooLarge) || errors.Is(err, ErrFrame):
		return err
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("%w: %w", ErrTimeout, err)
	case errors.As(err, new(multistream.ErrNotSupported[protocolID])):
		return fmt.Errorf("%w: %w", ErrNotSpoken, err)
	}
	var timeout interface{ Timeout() bool }
	if errors.As(err, &timeout) && timeout.Timeout() {
		return fmt.Errorf("%w: %w", ErrTimeout, err)
	}
	return fmt.Errorf("%w: %w", ErrReset, err)
}
