package content

import (
	"bytes"
	"testing"

	"github.com/mustermesh/muster/proto"
)

// lines gives n bytes of lines of 100 bytes, no two alike.
func lines(n int) []byte {
	b := random(n)
	for i := range b {
		if b[i] = 'a' + b[i]%26; i%100 == 99 {
			b[i] = '\n'
		}
	}
	return b
}

// The benchmarks split 100 MB, each time into a store that has the file alone.
func benchmarkSplit(b *testing.B, pieces int, split func(*testStore, proto.CID) ([]Node, error)) {
	data := lines(100_000_000)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		s := openStore(b)
		n, err := s.AddReader(b.Context(), bytes.NewReader(data))
		if err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		if got, err := split(s, n.CID); err != nil || len(got) != pieces {
			b.Fatalf("%d pieces, %v; want %d", len(got), err, pieces)
		}
	}
}

func BenchmarkSplitLines(b *testing.B) {
	benchmarkSplit(b, 10_000, func(s *testStore, c proto.CID) ([]Node, error) { return s.SplitLines(b.Context(), c, 100) })
}

func BenchmarkSplitLinesLarge(b *testing.B) {
	benchmarkSplit(b, 10, func(s *testStore, c proto.CID) ([]Node, error) { return s.SplitLines(b.Context(), c, 100_000) })
}

func BenchmarkSplitBytes(b *testing.B) {
	benchmarkSplit(b, 10_000, func(s *testStore, c proto.CID) ([]Node, error) { return s.SplitBytes(b.Context(), c, 10_000) })
}

func BenchmarkSplitBytesByChunks(b *testing.B) {
	benchmarkSplit(b, 24, func(s *testStore, c proto.CID) ([]Node, error) { return s.SplitBytes(b.Context(), c, 4<<20) })
}

func BenchmarkSplitBytesBesideChunks(b *testing.B) {
	benchmarkSplit(b, 24, func(s *testStore, c proto.CID) ([]Node, error) { return s.SplitBytes(b.Context(), c, 4<<20+1) })
}

// BenchmarkSplitLinesTooMany is the time until a split of 1,000,000 lines, one
// each, is refused.
func BenchmarkSplitLinesTooMany(b *testing.B) {
	benchmarkSplit(b, 0, func(s *testStore, c proto.CID) ([]Node, error) {
		if _, err := s.SplitLines(b.Context(), c, 1); err == nil {
			b.Fatal("not refused")
		}
		return nil, nil
	})
}
