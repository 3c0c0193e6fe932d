package proto

import (
	"fmt"
	"testing"
)

func BenchmarkSeal(b *testing.B) {
	key, _ := testKey(1)
	for _, n := range []int{1, 16, 256, MaxBatch} {
		b.Run(fmt.Sprintf("batch=%d", n), func(b *testing.B) {
			batch := testBatch(n)
			b.ReportAllocs()
			for b.Loop() {
				SealBatch(key, batch)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/envelope")
		})
	}
}

func BenchmarkOpenEnvelope(b *testing.B) {
	key, _ := testKey(1)
	for _, n := range []int{1, 16, 256} {
		b.Run(fmt.Sprintf("batch=%d", n), func(b *testing.B) {
			sealed, want := SealBatch(key, testBatch(n))[n/2], testExpect()
			b.ReportAllocs()
			for b.Loop() {
				if _, err := OpenEnvelope(sealed, want); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkParseFrame(b *testing.B) {
	m := newMaker(1)
	first := Frame{Award: &AwardFrame{Award: make([]byte, 600)}}
	for range maxTasks {
		first.Award.Tasks = append(first.Award.Tasks, fullestAssignment(m))
	}
	for name, f := range map[string]Frame{"task": m.frame(2), "answer": m.frame(3), "award of 1024 tasks": first} {
		b.Run(name, func(b *testing.B) {
			frame := f.Marshal()
			b.SetBytes(int64(len(frame)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := ParseFrame(frame); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkTaskDigest(b *testing.B) {
	p, t := make1[Program](newMaker(1)), make1[Task](newMaker(1))
	b.ReportAllocs()
	for b.Loop() {
		TaskDigest(p, t)
	}
}
