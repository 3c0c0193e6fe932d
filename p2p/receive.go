package p2p

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/mustermesh/muster/proto"

	"golang.org/x/sync/errgroup"
)

// pipeline is how many blocks of one answer are in memory at a time: one is
// read, one verified and stored, one between them.
const pipeline = 3

// reuse is the size from which a block's buffer is used again for the next.
const reuse = 128 << 10

// A sequence is the blocks that an answer must hold, in order.
type sequence interface {
	// want gives the next one; false: none is left, or none is wanted any more.
	want() (proto.CID, bool)
	// took says that the one that want gave has come and is stored.
	took(block []byte) error
	// ended tells, when none is left, whether that is because the answer must end
	// here, rather than because somebody else fetches the rest.
	ended() bool
}

// A rest is the sequence of a walk from a block on.
type rest struct {
	f    *fetch
	walk *walk
	cur  proto.CID
	mode proto.ContentMode
	done bool
}

func (r *rest) want() (proto.CID, bool) { return r.cur, !r.done }
func (r *rest) ended() bool             { return true }

func (r *rest) took(block []byte) error {
	if !r.cur.IsRaw() {
		if err := r.walk.follow(r.f.blocks, r.cur, block); err != nil {
			return err
		}
	}
	for {
		id, ok := r.walk.next()
		if r.done = !ok; !ok || r.mode.Has(id) {
			r.cur = id
			return nil
		}
	}
}

// receive sends req to src and stores the blocks of seq that come. It gives how
// the source ended the answer, or 0 where nobody wants the rest of it.
func (f *fetch) receive(ctx context.Context, src *source, req proto.ContentRequest, seq sequence) (proto.ContentEnd, error) {
	s, err := f.ask(ctx, src, req)
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(ctx, s.Reset) // also after a good end, when nothing is left to cut off
	defer stop()
	a := &answer{f: f, src: src, req: req, seq: seq, in: make(chan received, pipeline-2), empty: make(chan []byte, pipeline)}
	for range pipeline {
		a.empty <- nil // made when the first block comes
	}
	var reader errgroup.Group
	reader.Go(func() error {
		a.read(ctx, s)
		return nil
	})
	end, err := a.take(ctx)
	cancel()
	_ = reader.Wait() // gives no error
	return end, err
}

// An answer is what comes back for one request.
type answer struct {
	f     *fetch
	src   *source
	req   proto.ContentRequest
	seq   sequence
	got   uint64        // blocks so far
	in    chan received // see pipeline
	empty chan []byte   // buffers that nobody uses
}

// received is the bytes of a frame, or why there are no more.
type received struct {
	b   []byte
	err error
}

// read reads frames until the stream or ctx ends.
func (a *answer) read(ctx context.Context, s *Stream) {
	for {
		var r received
		select {
		case buf := <-a.empty:
			r.b, r.err = s.recvInto(buf)
		case <-ctx.Done():
			return
		}
		select {
		case a.in <- r:
		case <-ctx.Done():
			return
		}
		if r.err != nil {
			return
		}
	}
}

// take verifies and stores what read reads, until the answer ends or nobody
// wants the rest.
func (a *answer) take(ctx context.Context) (proto.ContentEnd, error) {
	for {
		want, more := a.seq.want()
		if !more && !a.seq.ended() {
			return 0, nil
		}
		var r received
		select {
		case r = <-a.in:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
		f, err := a.frame(r)
		if err != nil {
			return 0, err
		}
		if f.End != 0 {
			return f.End, a.checkEnd(f.End, more)
		}
		if !more || f.CID != want {
			return 0, lie("block %s out of turn", f.CID)
		}
		if err := a.keep(ctx, f); err != nil {
			return 0, err
		}
		if r.b = r.b[:cap(r.b)]; len(r.b) < reuse {
			r.b = nil
		}
		a.empty <- r.b // there is room: it came from there
	}
}

func (a *answer) frame(r received) (proto.ContentFrame, error) {
	switch {
	case r.err == io.EOF:
		return proto.ContentFrame{}, &sourceError{err: fmt.Errorf("%w: no end of the answer", ErrReset)}
	case r.err != nil:
		lied := errors.Is(r.err, ErrTooLarge) || errors.Is(r.err, ErrFrame)
		return proto.ContentFrame{}, &sourceError{err: r.err, lied: lied, final: lied || errors.Is(r.err, ErrNotSpoken)}
	}
	f, err := proto.ParseContentFrame(r.b)
	if err != nil {
		return f, lie("%w", err)
	}
	return f, nil
}

func lie(format string, args ...any) error {
	return &sourceError{err: fmt.Errorf(format, args...), final: true, lied: true}
}

// keep verifies a block that is wanted, and stores it.
func (a *answer) keep(ctx context.Context, f proto.ContentFrame) error {
	if !f.CID.Verify(f.Block) {
		return lie("bytes are not block %s", f.CID)
	}
	if err := a.f.room(len(f.Block)); err != nil {
		return err
	}
	if err := a.f.store(ctx, a.src, f.CID, f.Block); err != nil {
		return err
	}
	a.got++
	return a.seq.took(f.Block)
}

// checkEnd tells whether the answer may end as it did; more says that blocks are
// still wanted.
func (a *answer) checkEnd(end proto.ContentEnd, more bool) error {
	switch end {
	case proto.ContentDone:
		if more {
			return lie("the answer ends before the content does")
		}
		return nil
	case proto.ContentMore:
		if a.req.Count == 0 || a.got != a.req.Count {
			return lie("the answer stops after %d blocks of %d", a.got, a.req.Count)
		}
		return nil
	case proto.ContentBusy, proto.ContentIncomplete: // other parts may be there
		return &sourceError{err: fmt.Errorf("source is %s", end)}
	}
	return &sourceError{err: fmt.Errorf("source says %s", end), final: true}
}

func (f *fetch) ask(ctx context.Context, src *source, req proto.ContentRequest) (*Stream, error) {
	openCtx, cancel := context.WithTimeout(ctx, f.h.pace.block)
	defer cancel()
	s, err := f.h.openStream(openCtx, src.peer, contentName, proto.MaxContentFrame)
	if err != nil {
		return nil, &sourceError{err: err, final: errors.Is(err, ErrNotSpoken)}
	}
	s.SetIdle(f.h.pace.block)
	if err := s.Send(req.Marshal()); err != nil {
		s.Reset()
		return nil, &sourceError{err: err}
	}
	if err := s.CloseWrite(); err != nil {
		s.Reset()
		return nil, &sourceError{err: err}
	}
	return s, nil
}
