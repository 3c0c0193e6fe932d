package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/mustermesh/muster/e2e/mesh"
	"github.com/mustermesh/muster/p2p"
	"github.com/mustermesh/muster/proto"
)

const crowdSize = 60

// The names under which nodes meet. docs/wire.md §1.
var topics = []string{"jobs/wasm/1", "adverts/1"}

// crowd surrounds a fresh provider with peers that do nothing but be there, all
// in this process, and watches it.
func (b *bench) crowd(ctx context.Context) (err error) {
	m, err := mesh.Open(b.binary)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	n, err := m.Start(ctx, "provider")
	if err != nil {
		return err
	}
	running, cancel := context.WithCancel(ctx)
	defer cancel()
	g, running := errgroup.WithContext(running)
	var hosts []*p2p.Host
	err = func() error {
		for range b.some(crowdSize, 10) {
			h, err := openHost(m.Network)
			if err != nil {
				return err
			}
			hosts = append(hosts, h)
			bystand(h)
			g.Go(func() error { return h.Run(running) })
			if _, err := h.Connect(running, n.Addrs[0]); err != nil {
				return err
			}
		}
		return b.settle(ctx, n, len(hosts))
	}()
	cancel()
	errs := []error{err, g.Wait()}
	for _, h := range hosts {
		errs = append(errs, h.Close())
	}
	return errors.Join(errs...)
}

// settle lets the greetings of new peers pass, and then measures.
func (b *bench) settle(ctx context.Context, n *mesh.Node, peers int) error {
	select {
	case <-time.After(time.Duration(b.some(10, 1)) * time.Second):
	case <-ctx.Done():
		return ctx.Err()
	}
	return b.rest(ctx, fmt.Sprintf("%d peers", peers), n)
}

// bystand makes a host take part in what every node takes part in.
func bystand(h *p2p.Host) {
	for _, name := range topics {
		h.Join(p2p.Topic{Name: name, MaxMessage: proto.MaxGossip, Validate: func(proto.PeerID, []byte) p2p.Verdict { return p2p.Accept }})
	}
	h.Serve(p2p.Service{Name: "hello/1.0.0", MaxMessage: 64, Deadline: 10 * time.Second, MaxStreamsPerPeer: 4, Handle: func(_ context.Context, s *p2p.Stream) error {
		if _, err := s.Recv(); err != nil {
			return err
		}
		return s.Send(proto.Hello{}.Marshal())
	}})
}
