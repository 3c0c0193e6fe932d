package sandbox

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mustermesh/muster/executor"
)

// A talker is an execution that keeps the last bytes of what it printed.
type talker struct {
	mute
	clock func() int64 // bytes printed so far
	keeps int64
	end   int64
}

// Tail gives a piece of what is there: every byte is the low byte of its offset.
func (t *talker) Tail(ctx context.Context, from int64) ([]executor.Piece, int64, error) {
	printed := min(t.clock(), t.end)
	for ; printed <= from; printed = min(t.clock(), t.end) {
		if from >= t.end {
			return nil, from, io.EOF
		}
		if err := Pause(ctx, time.Second); err != nil {
			return nil, from, err
		}
	}
	from = max(from, printed-t.keeps)
	p := make([]byte, min(printed-from, 64<<10))
	for i := range p {
		p[i] = byte(from + int64(i))
	}
	return []executor.Piece{{Offset: uint64(from), Data: p}}, from + int64(len(p)), nil
}

// Progress is a new word every millisecond.
func (t *talker) Progress(ctx context.Context, after uint64) (executor.Progress, error) {
	if err := Pause(ctx, time.Millisecond); err != nil {
		return executor.Progress{}, err
	}
	n := uint64(t.clock()) / 1000
	if t.clock() >= t.end {
		return executor.Progress{}, io.EOF
	}
	return executor.Progress{Number: n, Text: fmt.Sprint(n)}, nil
}

// A mute execution says nothing.
type mute struct{}

func (mute) Wait(context.Context) (executor.Result, error) { return executor.Result{}, nil }
func (mute) Stop()                                         {}

// TestAGuestThatPrintsTooMuchIsSkippedNotQueued: what is passed on is bounded,
// in order, and right where it says it is.
func TestAGuestThatPrintsTooMuchIsSkippedNotQueued(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		const seconds, rate = 20, 10 << 20
		x := &talker{keeps: 1 << 20, end: seconds * rate, clock: func() int64 { return int64(time.Since(begin).Seconds() * rate) }}
		next, heard, words := uint64(0), 0, 0
		Talk(t.Context(), x, Listener{
			Log: func(_ context.Context, p executor.Piece) error {
				if p.Offset < next || len(p.Data) > TalkPiece || len(p.Data) == 0 || p.Data[0] != byte(p.Offset) {
					t.Fatalf("%d bytes at %d, after %d", len(p.Data), p.Offset, next)
				}
				next = p.Offset + uint64(len(p.Data))
				heard += len(p.Data)
				return nil
			},
			Progress: func(context.Context, executor.Progress) error { words++; return nil },
		})
		took := time.Since(begin)
		if most := int(took.Seconds()+1) * TalkRate; heard > most || heard < most/2 {
			t.Errorf("%d bytes in %v, want at most %d and not much less", heard, took, most)
		}
		if next != seconds*rate {
			t.Errorf("the last byte is %d, want %d", next, seconds*rate)
		}
		if most := int(seconds/ProgressEvery.Seconds()) + 1; words > most || words < most/2 {
			t.Errorf("%d words, want at most %d and not much less", words, most)
		}
	})
}

func TestATalkEndsWithItsContextItsListenerOrItsGuest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		silent := &talker{keeps: 1, end: 1, clock: func() int64 { return 0 }}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		Talk(ctx, silent, Listener{Log: func(context.Context, executor.Piece) error { t.Error("a piece"); return nil }})
		if took := time.Since(begin); took != time.Hour {
			t.Errorf("it ended after %v, want an hour", took)
		}
		Talk(t.Context(), mute{}, Listener{Log: func(context.Context, executor.Piece) error { return nil }})
		short := &talker{keeps: 1 << 20, end: 100 << 10, clock: func() int64 { return 100 << 10 }}
		var b bytes.Buffer
		Talk(t.Context(), short, Listener{Log: func(_ context.Context, p executor.Piece) error { b.Write(p.Data); return nil }})
		if b.Len() != 100<<10 {
			t.Errorf("%d bytes of a short guest", b.Len())
		}
		calls := 0
		Talk(t.Context(), short, Listener{Log: func(context.Context, executor.Piece) error { calls++; return io.ErrClosedPipe }})
		if calls != 1 {
			t.Errorf("%d calls to who wants no more", calls)
		}
	})
}
