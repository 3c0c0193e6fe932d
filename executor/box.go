package executor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/mustermesh/muster/proto"
)

// A boxKey says whom and what a sandbox serves: one program of one owner, in
// one engine. The zero key is that of a spare: shut in, and without a program yet.
type boxKey struct {
	owner     proto.PeerID
	program   proto.CID
	interpret bool
}

// A box is a child as its parent sees it: a process and the talk with it.
type box struct {
	*process
	key    boxKey
	conn   *frameConn
	layers []Layer

	ended sync.Once
	words string // what it said on stderr, once ended

	// These belong to the pool.
	idle  bool
	since time.Time   // idle since
	timer *time.Timer // ends it when it has been idle for too long
}

// kill ends the process, and returns when it is dead. It may be called again.
func (b *box) kill() { b.ended.Do(func() { b.words = b.end() }) }

// died describes the death of a child that nobody killed.
func (b *box) died(err error) error {
	b.kill()
	if b.words != "" {
		return fmt.Errorf("%w: %w: %s", ErrKilled, err, b.words)
	}
	return fmt.Errorf("%w: %w", ErrKilled, err)
}

// A starter starts boxes in the best way that this host allows, which it finds
// out with the first one.
type starter struct {
	cfg     Config
	path    string
	omit    layerSet // switched off in tests
	spawner spawner

	mu    sync.Mutex
	ways  []way // still to be tried, or the one
	known bool
	level Level
}

// shut starts a child and has it shut itself in.
func (s *starter) shut(ctx context.Context) (*box, error) {
	s.mu.Lock()
	if !s.known {
		defer s.mu.Unlock() // others wait for what is found out here
		return s.explore(ctx)
	}
	w, level := s.ways[0], s.level
	s.mu.Unlock()
	b, err := s.try(ctx, w)
	if err != nil {
		return nil, err
	}
	if got := levelOf(b.layers); got < level {
		b.kill()
		return nil, fmt.Errorf("%w: sandbox at level %s, but this host offers %s", ErrHost, got, level)
	}
	return b, nil
}

// explore tries one way after the other, and keeps to the first that works.
func (s *starter) explore(ctx context.Context) (*box, error) {
	var errs []error
	for i, w := range s.ways {
		b, err := s.try(ctx, w)
		if err == nil {
			s.ways, s.known, s.level = s.ways[i:i+1], true, levelOf(b.layers)
			if !w.spaces && i > 0 {
				b.layers[0].Detail = clip(errors.Join(errs...).Error()) // why there are no namespaces
			}
			return b, nil
		}
		errs = append(errs, err)
		if ctx.Err() != nil || errors.Is(err, ErrTimeout) || temporary(err) {
			break // this says nothing about the way: do not settle for less
		}
	}
	return nil, errors.Join(errs...)
}

func (s *starter) try(ctx context.Context, w way) (*box, error) {
	p, err := s.spawner.start(s.path, w, s.omit)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrHost, err)
	}
	p.group.bound(maxRSS(s.cfg.MaxMemory, s.cfg.MaxDisk))
	b := &box{process: p, conn: newFrameConn(p.sock)}
	err = b.within(ctx, s.cfg.PrepareTimeout, func() error {
		spaces := w.spaces && !s.omit.has(layerSpaces)
		setup := setup{spaces: spaces, omit: s.omit, maxMemory: s.cfg.MaxMemory, maxDisk: s.cfg.MaxDisk}
		if err := b.conn.send(frameSetup, setup.encode()); err != nil {
			return b.died(err)
		}
		body, err := expect(b.conn, frameHello)
		if err != nil {
			return b.died(err)
		}
		b.layers, err = decodeHello(body)
		b.layers = p.know(b.layers)
		return err
	})
	if err != nil {
		b.kill()
		return nil, err
	}
	return b, nil
}

// compile has b compile l.program, and gives what came of it, if that has at most
// l.keep bytes.
func (s *starter) compile(ctx context.Context, b *box, l loadOrder) (code *compiled, err error) {
	err = b.within(ctx, s.cfg.PrepareTimeout, func() error {
		if err := b.conn.send(frameModule, l.header(), l.program); err != nil {
			return b.died(err)
		}
		got := loading{limit: l.keep}
		for {
			t, body, err := b.conn.next()
			if err != nil {
				return b.died(err)
			}
			if ready, err := got.take(t, body); ready || err != nil {
				code = got.code
				return err
			}
		}
	})
	return code, err
}

// restore has b take up code that another child compiled.
func (s *starter) restore(ctx context.Context, b *box, code *codeStream) error {
	return b.within(ctx, s.cfg.PrepareTimeout, func() error {
		if err := b.conn.send(frameKept, code.skeleton); err != nil {
			return b.died(err)
		}
		if err := copyCode(b.conn, code); err != nil {
			return b.died(err)
		}
		if err := code.check(); err != nil {
			return err
		}
		if _, err := expect(b.conn, frameReady); err != nil {
			return b.died(err)
		}
		return nil
	})
}

// within runs f, whose reads and writes fail when limit has passed or ctx ends.
func (b *box) within(ctx context.Context, limit time.Duration, f func() error) error {
	b.sock.SetDeadline(time.Now().Add(limit))
	stop := context.AfterFunc(ctx, func() { b.sock.SetDeadline(time.Unix(1, 0)) })
	err := f()
	if !stop() && err == nil || ctx.Err() != nil {
		b.kill()
		return ctx.Err()
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("sandbox not ready after %v: %w", limit, ErrTimeout)
	}
	b.sock.SetDeadline(time.Time{})
	return err
}
