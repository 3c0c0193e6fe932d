package scheduler

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/mustermesh/muster/proto"
)

// BenchmarkMesh gives what one no-op task costs in the requester's and the
// providers' decisions together, with the simulated mesh around them.
func BenchmarkMesh(b *testing.B) {
	benchmark(b, func(tasks, checkers int) *Job {
		m := newMesh(rand.New(rand.NewPCG(1, 1)), JobConfig{Tasks: tasks, Checkers: checkers, Timeout: time.Minute})
		for range 6 {
			m.add(honest, 2, 0).wall = 50 * time.Microsecond
		}
		m.run(time.Hour)
		return m.job
	})
}

// BenchmarkJob gives what one no-op task costs in the requester's decisions:
// six providers answer in order, and every answer is a step.
func BenchmarkJob(b *testing.B) {
	benchmark(b, func(tasks, checkers int) *Job {
		j := NewJob(meshStart, JobConfig{Self: self, Tasks: tasks, Checkers: checkers, Timeout: time.Minute, Rand: rand.New(rand.NewPCG(1, 1))})
		now := meshStart
		for i := range byte(6) {
			j.Bid(Candidate{ID: peerN(i + 1), Weight: 1}, proto.Bid{Slots: 2})
		}
		o := says("x")
		o.Engine, o.Wall = proto.Engine{}, 50*time.Microsecond
		var flight []Assign
		for s, _ := j.State(); !s.Ended(); s, _ = j.State() {
			now = now.Add(time.Millisecond)
			out := j.Step(now)
			for _, l := range out.Open {
				j.LeaseAccepted(l.Peer, l.Lease)
				flight = append(flight, l.Tasks...)
			}
			if flight = append(flight, out.Assign...); len(flight) > 0 {
				j.Answered(now, flight[0].Execution, o)
				j.Held(now, flight[0].Task, o.Output)
				flight = flight[1:]
			}
		}
		return j
	})
}

func benchmark(b *testing.B, run func(tasks, checkers int) *Job) {
	for _, tasks := range []int{1000, 10_000, 100_000} {
		for _, checkers := range []int{0, 2} {
			b.Run(fmt.Sprintf("tasks=%d/k=%d", tasks, 1+checkers), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if s, why := run(tasks, checkers).State(); s != Completed {
						b.Fatalf("%s: %s", s, why)
					}
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(tasks), "ns/task")
			})
		}
	}
}
