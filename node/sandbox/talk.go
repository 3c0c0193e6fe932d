package sandbox

import (
	"context"
	"sync"
	"time"

	"github.com/mustermesh/muster/executor"
)

// How much of what guests say while they run is passed on.
const (
	TalkPiece     = 16 << 10               // bytes of a piece of a log, at most
	TalkRate      = 256 << 10              // bytes a second of one execution's logs
	ProgressEvery = 500 * time.Millisecond // of one execution, at most so often
)

// A Listener takes what a guest says while it runs. Its functions are called
// from two goroutines, each from one; what is nil is not asked for. An error
// ends that half of the talk.
type Listener struct {
	// Log takes a piece of at most [TalkPiece] bytes. Pieces come in the order in
	// which they were written. While Log does not return, the guest goes on, and
	// what the executor does not keep any more is skipped: the next piece's offset
	// tells.
	Log func(ctx context.Context, p executor.Piece) error
	// Progress takes the guest's latest word.
	Progress func(ctx context.Context, p executor.Progress) error
}

// Talk passes on what a guest says, from the oldest that its executor keeps, at
// no more than [TalkRate] and [ProgressEvery]. It returns when ctx ends, or the
// guest has ended and everything was passed on. An execution that is neither a
// [executor.Tailer] nor a [executor.Progresser] says nothing.
func Talk(ctx context.Context, x executor.Execution, to Listener) {
	var g sync.WaitGroup
	if t, ok := x.(executor.Tailer); ok && to.Log != nil {
		g.Go(func() { talkLogs(ctx, t, to.Log) })
	}
	if p, ok := x.(executor.Progresser); ok && to.Progress != nil {
		g.Go(func() { talkProgress(ctx, p, to.Progress) })
	}
	g.Wait()
}

func talkLogs(ctx context.Context, t executor.Tailer, log func(context.Context, executor.Piece) error) {
	for from := int64(0); ; {
		pieces, next, err := t.Tail(ctx, from)
		if err != nil {
			return
		}
		for _, p := range pieces {
			for len(p.Data) > 0 {
				n := min(len(p.Data), TalkPiece)
				if log(ctx, executor.Piece{Stderr: p.Stderr, Offset: p.Offset, Data: p.Data[:n]}) != nil {
					return
				}
				if Pause(ctx, time.Duration(n)*time.Second/TalkRate) != nil {
					return
				}
				p.Offset, p.Data = p.Offset+uint64(n), p.Data[n:]
			}
		}
		from = next
	}
}

func talkProgress(ctx context.Context, p executor.Progresser, tell func(context.Context, executor.Progress) error) {
	for after := uint64(0); ; {
		word, err := p.Progress(ctx, after)
		if err != nil {
			return
		}
		if tell(ctx, word) != nil {
			return
		}
		after = word.Number
		if Pause(ctx, ProgressEvery) != nil {
			return
		}
	}
}

// Pause waits for d, or until ctx ends, whose error it then gives.
func Pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
