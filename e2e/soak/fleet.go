package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/mustermesh/muster/e2e/mesh"
	"github.com/mustermesh/muster/node/api"
)

// A fleet is the daemons, some of which may be down at any moment. The first is
// the requester.
type fleet struct {
	mesh *mesh.Mesh
	rand *rand.Rand // of the one that kills
	say  func(string, ...any)

	mu    sync.Mutex // guards all below
	nodes []*mesh.Node
	kills int
	asked int // of them, the requester's
}

func (f *fleet) start(ctx context.Context, count int) error {
	first, err := f.mesh.Start(ctx, "requester", "--role", "requester")
	if err != nil {
		return err
	}
	f.nodes = make([]*mesh.Node, count)
	f.nodes[0] = first
	g, gctx := errgroup.WithContext(ctx)
	for i := 1; i < count; i++ {
		g.Go(func() (err error) {
			f.nodes[i], err = f.mesh.Start(gctx, fmt.Sprintf("provider-%d", i), "--role", "provider", "--slots", "2", "--cpu", "2", "--memory", "1GiB")
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return first.AwaitProviders(ctx, count-1)
}

// node gives a daemon as it is now.
func (f *fleet) node(i int) *mesh.Node {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.nodes[i]
}

// requester gives a client of the requester, which outlives its restarts.
func (f *fleet) requester() api.MusterClient { return f.node(0).API(4) }

// harass kills daemons and starts them again until ctx ends; then all are up.
func (f *fleet) harass(ctx context.Context, pause time.Duration) error {
	for {
		wait := time.NewTimer(pause/2 + time.Duration(f.rand.Int64N(int64(pause)+1)))
		select {
		case <-ctx.Done():
			wait.Stop()
			return nil
		case <-wait.C:
		}
		if err := f.strike(ctx, f.victims(), time.Duration(f.rand.Int64N(int64(pause)/2+1))); err != nil {
			return err
		}
	}
}

// victims draws one daemon, and now and then the requester or one more with it.
func (f *fleet) victims() []int {
	v := []int{f.rand.IntN(len(f.nodes))}
	if f.rand.IntN(6) == 0 {
		if other := f.rand.IntN(len(f.nodes)); other != v[0] {
			v = append(v, other)
		}
	}
	return v
}

// strike kills daemons, and starts them again after a while.
func (f *fleet) strike(ctx context.Context, victims []int, down time.Duration) error {
	for _, i := range victims {
		f.node(i).Kill()
		f.mu.Lock()
		f.kills++
		if i == 0 {
			f.asked++
		}
		f.mu.Unlock()
	}
	wait := time.NewTimer(down)
	defer wait.Stop()
	select {
	case <-ctx.Done(): // all the sooner
	case <-wait.C:
	}
	g, gctx := errgroup.WithContext(context.WithoutCancel(ctx)) // Again has a limit of its own
	for _, i := range victims {
		g.Go(func() error {
			n, err := f.mesh.Again(gctx, f.node(i))
			if err != nil {
				return err
			}
			f.mu.Lock()
			defer f.mu.Unlock()
			f.nodes[i] = n
			return nil
		})
	}
	return g.Wait()
}

func (f *fleet) killed() (all, requester int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.kills, f.asked
}
