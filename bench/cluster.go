package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"connectrpc.com/connect"
	"golang.org/x/sync/errgroup"

	"github.com/mustermesh/muster/e2e/mesh"
	"github.com/mustermesh/muster/node/api"
)

const providerCount = 3

// startMesh starts three providers and a requester and gives the requester.
func startMesh(ctx context.Context, m *mesh.Mesh) (*mesh.Node, error) {
	if _, err := m.Start(ctx, "provider-1"); err != nil {
		return nil, err
	}
	var requester *mesh.Node
	g, gctx := errgroup.WithContext(ctx)
	for i := 2; i <= providerCount; i++ {
		g.Go(func() error { _, err := m.Start(gctx, fmt.Sprintf("provider-%d", i)); return err })
	}
	g.Go(func() (err error) {
		requester, err = m.Start(gctx, "requester", "--role", "requester")
		return err
	})
	return requester, g.Wait()
}

// A snapshot is what all nodes of a mesh counted and took until a moment.
type snapshot struct {
	at       time.Time
	cpu      time.Duration
	nodes    []mesh.Usage
	names    []string
	counters []map[string]uint64 // by node
}

func takeSnapshot(ctx context.Context, m *mesh.Mesh) (s snapshot, err error) {
	for _, n := range m.Nodes() {
		r, err := n.API(1).Status(ctx, connect.NewRequest(&api.StatusRequest{}))
		if err != nil {
			return s, err
		}
		u, err := n.Usage()
		if err != nil {
			return s, err
		}
		s.nodes, s.names, s.counters = append(s.nodes, u), append(s.names, n.Name), append(s.counters, r.Msg.Counters)
		s.cpu += u.CPU
	}
	s.at = time.Now()
	return s, nil
}

// since gives how much the counters that match grew over all nodes.
func (s snapshot) since(before snapshot, match func(node, counter string) bool) (sum float64) {
	for i, counters := range s.counters {
		for name, v := range counters {
			if match(s.names[i], name) {
				sum += float64(v - before.counters[i][name])
			}
		}
	}
	return sum
}

// Which counters to add up.
func named(counter string) func(node, name string) bool {
	return func(_, name string) bool { return name == counter }
}

func ending(suffix string) func(node, name string) bool {
	return func(_, name string) bool { return strings.HasPrefix(name, "proto.") && strings.HasSuffix(name, suffix) }
}

func at(node, counter string) func(node, name string) bool {
	return func(n, name string) bool { return name == counter && strings.HasPrefix(n, node) }
}

// topicJobs is the counter of the announcements that a node published.
const topicJobs = "proto.jobs/wasm/1.messages_out"
