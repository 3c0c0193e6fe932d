package executor

import (
	"testing"
	"time"
)

// BenchmarkReady measures how long a requester waits until a sandbox can run a
// Go program: compiled anew, from the cache, and from the cache in a sandbox that
// was shut in before.
func BenchmarkReady(b *testing.B) {
	for _, c := range []struct {
		name  string
		bytes int64
		spare int
	}{{"cold", 0, 0}, {"cached", 1 << 30, 0}, {"spare", 1 << 30, 1}} {
		b.Run(c.name, func(b *testing.B) { benchmarkReady(b, c.bytes, c.spare) })
	}
}

func benchmarkReady(b *testing.B, bytes int64, spare int) {
	w := openTest(b, func(c *Config) { c.CacheBytes, c.CacheDir, c.Spare = bytes, b.TempDir(), spare })
	p := goGuest(b, buildProgress)
	if err := w.Prepare(b.Context(), peer(1), p); err != nil {
		b.Fatal(err)
	}
	best := time.Hour
	for b.Loop() {
		b.StopTimer()
		w.Release(peer(1), p.CID)
		w.pool.makers.Wait()
		begun := time.Now()
		b.StartTimer()
		if err := w.Prepare(b.Context(), peer(1), p); err != nil {
			b.Fatal(err)
		}
		best = min(best, time.Since(begun))
	}
	b.ReportMetric(float64(best.Microseconds())/1000, "ms-best")
}
