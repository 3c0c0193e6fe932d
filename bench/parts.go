package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/mustermesh/muster/e2e/mesh"
)

const mega = 1 << 20

func (b *bench) binarySize(context.Context) error {
	info, err := os.Stat(b.binary)
	if err != nil {
		return err
	}
	b.figures.add(figure{What: "stripped binary", Value: float64(info.Size()) / mega, Unit: "MiB", Goal: 40, AtMost: true, Peer: "Bacalhau 78"})
	return nil
}

// start starts the mesh that the later parts use, and its first verified job.
func (b *bench) start(ctx context.Context) (err error) {
	if b.mesh, err = mesh.Open(b.binary); err != nil {
		return err
	}
	began := time.Now()
	n, err := startMesh(ctx, b.mesh)
	if err != nil {
		return err
	}
	ready := time.Since(began)
	if b.requester, err = newClient(n, b.noop); err != nil {
		return err
	}
	if _, err := b.requester.job(ctx, 1, verifyTwo); err != nil {
		return err
	}
	b.figures.add(figure{What: "4 daemons ready", Value: ready.Seconds(), Unit: "s", Note: "the first, then three at once"})
	b.figures.add(figure{What: "start of 4 daemons → first verified job", Value: time.Since(began).Seconds(), Unit: "s", Goal: 1.5, AtMost: true, Peer: "Bacalhau 1.4–62"})
	return n.AwaitProviders(ctx, providerCount)
}

// idle watches daemons that have nothing to do.
func (b *bench) idle(ctx context.Context) error {
	return b.rest(ctx, "3 peers", b.mesh.Nodes()[0])
}

// rest measures one node while nothing happens.
func (b *bench) rest(ctx context.Context, what string, n *mesh.Node) error {
	before, err := n.Usage()
	if err != nil {
		return err
	}
	wait := time.Duration(b.some(20, 2)) * time.Second
	select {
	case <-time.After(wait):
	case <-ctx.Done():
		return ctx.Err()
	}
	after, err := n.Usage()
	if err != nil {
		return err
	}
	b.figures.add(figure{What: "idle provider and its children, " + what, Value: float64(after.Resident) / mega, Unit: "MiB", Goal: 45, AtMost: true, Peer: "Bacalhau 53–96"})
	b.figures.add(figure{What: "  its CPU", Value: 100 * (after.CPU - before.CPU).Seconds() / wait.Seconds(), Unit: "% of a core", Goal: 2, AtMost: true})
	return nil
}

// A level is how sure a job is to be.
type level struct {
	name       string
	confidence float64
	p50, cpu   float64 // goals
	rate, task float64
	latencyOf  string // peers
	rateOf     string
	cpuOf      string
}

var levels = []level{
	{"k=1 accepted", acceptOnly, 4, 2, 500, 4000, "Bacalhau 14 and 32–38; skeleton 0.75", "Bacalhau 89 and 42; Nomad 16; skeleton 646", "Bacalhau 17–29"},
	{"k=3 verified", verifyTwo, 8, 6, 200, 1200, "Bacalhau, unverified, 32 and 68; skeleton 3.7", "skeleton 246–570", "Bacalhau 61–77"},
}

// latency runs one job after the other, and counts what each costs.
func (b *bench) latency(ctx context.Context) error {
	for _, l := range levels {
		if _, err := b.requester.jobs(ctx, b.some(50, 10), 1, l.confidence); err != nil {
			return err
		}
		count := b.some(500, 20)
		before, err := takeSnapshot(ctx, b.mesh)
		if err != nil {
			return err
		}
		took, err := b.requester.jobs(ctx, count, 1, l.confidence)
		if err != nil {
			return err
		}
		after, err := takeSnapshot(ctx, b.mesh)
		if err != nil {
			return err
		}
		name := "no-op job, " + l.name
		b.figures.add(figure{What: name + ", p50", Value: percentile(took, settled, 50), Unit: "ms", Goal: l.p50, AtMost: true, Peer: l.latencyOf})
		b.figures.add(figure{What: "  p99", Value: percentile(took, settled, 99), Unit: "ms"})
		b.figures.add(figure{What: "  of it until submitted, p50", Value: percentile(took, submitted, 50), Unit: "ms", Note: "the job is on disk"})
		b.figures.add(figure{What: "  CPU per job, all nodes", Value: milliseconds(after.cpu-before.cpu) / float64(count), Unit: "ms", Goal: l.cpu, AtMost: true, Peer: l.cpuOf})
		b.perJob(before, after, count)
	}
	return nil
}

// perJob adds what the nodes counted.
func (b *bench) perJob(before, after snapshot, count int) {
	for _, c := range []struct {
		what, note string
		match      func(node, name string) bool
	}{
		{"gossip messages published", "announcements of jobs", named(topicJobs)},
		{"streams opened", "all protocols of muster", ending(".streams_out")},
		{"messages sent on them", "gossip included", ending(".messages_out")},
		{"signatures made", "gossip adds one for each message", named("signatures.made")},
		{"signatures checked", "gossip adds one for each receiver", named("signatures.checked")},
		{"syncs of the requester's log", "", at("requester", "store.syncs")},
		{"syncs of the providers' logs", "all three together", at("provider", "store.syncs")},
		{"bytes between nodes", "before encryption", named("net.bytes_out")},
		{"sandboxes started", "", named("sandbox.started")},
	} {
		b.figures.add(figure{What: "  " + c.what, Value: after.since(before, c.match) / float64(count), Unit: "per job", Note: c.note})
	}
}

// throughput runs jobs of sixteen clients at once.
func (b *bench) throughput(ctx context.Context) error {
	for _, l := range levels {
		count := b.some(1000, 64)
		before, err := takeSnapshot(ctx, b.mesh)
		if err != nil {
			return err
		}
		took, err := b.requester.jobs(ctx, count, 16, l.confidence)
		if err != nil {
			return err
		}
		after, err := takeSnapshot(ctx, b.mesh)
		if err != nil {
			return err
		}
		b.figures.add(figure{What: "16 clients, " + l.name, Value: float64(count) / after.at.Sub(before.at).Seconds(), Unit: "jobs/s", Goal: l.rate, Peer: l.rateOf})
		b.figures.add(figure{What: "  p50", Value: percentile(took, settled, 50), Unit: "ms"})
		b.figures.add(figure{What: "  CPU per job, all nodes", Value: milliseconds(after.cpu-before.cpu) / float64(count), Unit: "ms"})
	}
	return nil
}

// tasks runs jobs of many tasks.
func (b *bench) tasks(ctx context.Context) error {
	for _, l := range levels {
		count := b.some(5000, 200)
		before, err := takeSnapshot(ctx, b.mesh)
		if err != nil {
			return err
		}
		took, err := b.requester.job(ctx, count, l.confidence)
		if err != nil {
			return err
		}
		after, err := takeSnapshot(ctx, b.mesh)
		if err != nil {
			return err
		}
		b.figures.add(figure{What: "tasks of one job, " + l.name, Value: float64(count) / took.settled.Seconds(), Unit: "tasks/s", Goal: l.task, Peer: "wazero alone 37000"})
		b.figures.add(figure{What: "  CPU per task, all nodes", Value: milliseconds(after.cpu-before.cpu) / float64(count), Unit: "ms"})
	}
	return nil
}

// memory looks at the nodes once about a thousand jobs went through them, and
// again after as many more.
func (b *bench) memory(ctx context.Context) error {
	before, err := takeSnapshot(ctx, b.mesh)
	if err != nil {
		return err
	}
	jobs := b.some(1000, 20)
	if _, err := b.requester.jobs(ctx, jobs, 4, acceptOnly); err != nil {
		return err
	}
	after, err := takeSnapshot(ctx, b.mesh)
	if err != nil {
		return err
	}
	for i, name := range before.names {
		if name == "provider-2" || name == "provider-3" {
			continue // one of them speaks for all
		}
		was, is := before.nodes[i].Resident, after.nodes[i].Resident
		b.figures.add(figure{What: name + " and its children after the jobs above", Value: float64(was) / mega, Unit: "MiB", Goal: 90, AtMost: true, Peer: "Bacalhau 211–435"})
		b.figures.add(figure{What: fmt.Sprintf("  and %d jobs later, more for each", jobs), Value: float64(is-was) / float64(jobs) / 1024, Unit: "KiB"})
	}
	return nil
}

func median(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}
