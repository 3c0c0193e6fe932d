package main

import (
	"context"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/mustermesh/muster/e2e/mesh"
)

// A job that does nothing costs what muster itself costs. Time depends on the
// machine; what is counted here does not. One job now and then may cost more, a
// second announcement where the machine is busy for a second, so the bounds are
// for the median job.
func TestWhatANoOpJobCosts(t *testing.T) {
	if testing.Short() || runtime.GOOS != "linux" {
		t.Skip("NOT CHECKED: what a job costs in messages, streams, syncs and processes (it takes real processes, on Linux)")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	m, c := warmMesh(ctx, t)
	for _, l := range []struct {
		level
		copies float64
	}{{levels[0], 1}, {levels[1], 3}} {
		t.Run(l.name, func(t *testing.T) {
			costs := measure(ctx, t, m, c, l.confidence)
			for _, b := range []struct {
				what  string
				match func(node, counter string) bool
				most  float64
			}{
				{"messages of gossip", named(topicJobs), 1},
				// One for the bid of each provider, one for each lease.
				{"streams", ending(".streams_out"), providerCount + l.copies},
				// The specification, the announcement, and the bids; for each execution
				// the award, the answer and the receipt.
				{"signatures", named("signatures.made"), 2 + providerCount + 3*l.copies},
				// That the job was taken, and that it was settled.
				{"syncs of the requester", at("requester", "store.syncs"), 2},
				{"syncs of the providers together", at("provider", "store.syncs"), 2 * l.copies},
			} {
				got := costs.median(b.match)
				t.Logf("%s: %v for a job, at most %v", b.what, got, b.most)
				if got > b.most {
					t.Errorf("%s: got %v for a job, want at most %v", b.what, got, b.most)
				}
			}
			if got := costs.sum(named("sandbox.started")); got != 0 {
				t.Errorf("got %v sandboxes started for %d jobs, want none: they were warm", got, len(costs)-1)
			}
			costs.sameProcesses(t)
		})
	}
}

// warmMesh gives a mesh in which each provider has run the program.
func warmMesh(ctx context.Context, t *testing.T) (*mesh.Mesh, *client) {
	binary := filepath.Join(t.TempDir(), "muster")
	build := exec.CommandContext(ctx, "go", "build", "-o", binary, "github.com/mustermesh/muster/cmd/muster")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	m, err := mesh.Open(binary)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	requester, err := startMesh(ctx, m)
	if err != nil {
		t.Fatal(err)
	}
	if err := requester.AwaitProviders(ctx, providerCount); err != nil {
		t.Fatal(err)
	}
	c, err := newClient(requester, "../e2e/guests/noop.wasm")
	if err != nil {
		t.Fatal(err)
	}
	for range 5 { // three executions of each reach every provider
		if _, err := c.job(ctx, 1, verifyTwo); err != nil {
			t.Fatal(err)
		}
	}
	return m, c
}

// A history is what the nodes had counted before a row of jobs, between them and
// after.
type history []snapshot

func measure(ctx context.Context, t *testing.T, m *mesh.Mesh, c *client, confidence float64) (h history) {
	t.Helper()
	for i := range 21 {
		if i > 0 {
			if _, err := c.job(ctx, 1, confidence); err != nil {
				t.Fatal(err)
			}
		}
		s, err := takeSnapshot(ctx, m)
		if err != nil {
			t.Fatal(err)
		}
		h = append(h, s)
	}
	return h
}

func (h history) median(match func(node, counter string) bool) float64 {
	var each []float64
	for i := range h[1:] {
		each = append(each, h[i+1].since(h[i], match))
	}
	return median(each)
}

func (h history) sum(match func(node, counter string) bool) float64 {
	return h[len(h)-1].since(h[0], match)
}

// sameProcesses wants nobody to have started a process on the way.
func (h history) sameProcesses(t *testing.T) {
	t.Helper()
	for i, u := range h[len(h)-1].nodes {
		for _, pid := range u.Pids {
			if !slices.Contains(h[0].nodes[i].Pids, pid) {
				t.Errorf("%s: process %d is new", h[0].names[i], pid)
			}
		}
	}
}
