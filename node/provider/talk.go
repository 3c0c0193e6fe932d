package provider

import (
	"context"
	"sync"
	"time"

	"github.com/mustermesh/muster/executor"
	"github.com/mustermesh/muster/node/sandbox"
	"github.com/mustermesh/muster/p2p"
	"github.com/mustermesh/muster/proto"
)

const (
	// quietFor is how long an execution runs before it is heard: what a short one
	// says comes with its answer.
	quietFor = time.Second
	// voiceRate bounds the logs of one lease, in bytes a second.
	voiceRate = 1 << 20
	// voiceRest is how long logs keep silent for each moment that one took to be
	// sent: of a stream that is slow they take but a small share.
	voiceRest = 8
)

// A voice sends what the guests of one lease say, one piece at a time, so that an
// answer finds at most one piece before it.
type voice struct {
	turn chan time.Time // holds one value: when the next piece may be sent
}

func newVoice() voice {
	v := voice{turn: make(chan time.Time, 1)}
	v.turn <- time.Time{}
	return v
}

// say calls send with a piece of so many bytes when it is its turn, and gives
// its error, or that of ctx.
func (v voice) say(ctx context.Context, bytes int, send func() error) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case next := <-v.turn:
		defer func() { v.turn <- next }()
		if err := sandbox.Pause(ctx, time.Until(next)); err != nil {
			return err
		}
		begin := time.Now()
		err := send()
		end := time.Now()
		next = end.Add(max(time.Duration(bytes)*time.Second/voiceRate, voiceRest*end.Sub(begin)))
		return err
	}
}

// talk passes on to the requester what a guest says, until ctx ends. Over each
// stream it begins with the oldest that the executor keeps: who took up a lease
// again has missed some.
func (p *Provider) talk(ctx context.Context, l *lent, e proto.ExecutionID, x executor.Execution) {
	quiet, cancel := context.WithTimeout(ctx, quietFor)
	p.talkTo(quiet, nil, l, e, x)
	<-quiet.Done()
	cancel()
	for ctx.Err() == nil {
		p.mu.Lock()
		s, moved := l.stream, l.moved
		p.mu.Unlock()
		here, cancel := context.WithCancel(ctx)
		var g sync.WaitGroup
		g.Go(func() { p.talkTo(here, s, l, e, x) })
		select {
		case <-moved:
		case <-ctx.Done():
		}
		cancel()
		g.Wait()
	}
}

// talkTo passes on what a guest says over a stream; without one, its progress is
// noted.
func (p *Provider) talkTo(ctx context.Context, s *p2p.Stream, l *lent, e proto.ExecutionID, x executor.Execution) {
	to := sandbox.Listener{Progress: func(_ context.Context, w executor.Progress) error {
		f := w.Frame(e)
		f.Text = proto.ClipProgress(f.Text)
		p.noteProgress(l, f)
		if s == nil {
			return nil
		}
		return sendOn(s, proto.Frame{Progress: &f})
	}}
	if s != nil {
		to.Log = func(ctx context.Context, piece executor.Piece) error {
			return l.voice.say(ctx, len(piece.Data), func() error {
				return sendOn(s, proto.Frame{Log: &proto.Log{Execution: e, Stderr: piece.Stderr, Offset: piece.Offset, Data: piece.Data}})
			})
		}
	}
	sandbox.Talk(ctx, x, to)
}

func (p *Provider) noteProgress(l *lent, w proto.Progress) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if g := l.running[w.Execution]; g != nil {
		g.progress = w
	}
}

func sendOn(s *p2p.Stream, f proto.Frame) error {
	err := s.Send(f.Marshal())
	if err != nil {
		s.Reset()
	}
	return err
}
