package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// TestConcurrentCommitsShareSyncs holds the lead back until all others wait: then
// they are one group.
func TestConcurrentCommitsShareSyncs(t *testing.T) {
	const callers = 50
	db := open(t, t.TempDir())
	put(t, db, "first", "", Durable)
	db.mu.Lock()
	db.leading = true // as if a commit were in progress
	before := db.stats
	db.mu.Unlock()
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() { put(t, db, fmt.Sprint("k", i), "v", Durable) })
	}
	waitForQueue(db, callers)
	db.finish(nil, nil) // that commit is done
	wg.Wait()
	s := db.Stats()
	if commits, groups, syncs := s.Commits-before.Commits, s.Groups-before.Groups, s.Syncs-before.Syncs; commits != callers || groups != 1 || syncs != 1 {
		t.Errorf("%d commits in %d groups and %d syncs, want %d in 1 and 1", commits, groups, syncs, callers)
	}
}

// waitForQueue returns once n requests wait for the lead.
func waitForQueue(db *DB, n int) {
	for {
		db.mu.Lock()
		have := len(db.queue)
		db.mu.Unlock()
		if have >= n {
			return
		}
	}
}

func TestManyCallersAllCommit(t *testing.T) {
	const callers, each = 32, 40
	home := t.TempDir()
	db := open(t, home)
	var wg sync.WaitGroup
	for c := range callers {
		wg.Go(func() {
			for i := range each {
				put(t, db, fmt.Sprintf("%02d/%02d", c, i), strings.Repeat("x", 3000), Durability(i%2))
			}
		})
	}
	wg.Wait()
	s := db.Stats()
	if s.Commits != callers*each || s.Puts != callers*each || s.Groups > s.Commits || s.Syncs >= s.Commits/2 {
		t.Errorf("stats %+v for %d commits, half of them durable, by %d callers", s, callers*each, callers)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	n := 0
	if err := open(t, home).Scan(nil, func(_, _ []byte) error { n++; return nil }); err != nil || n != callers*each {
		t.Errorf("%d keys, %v; want %d", n, err, callers*each)
	}
}

func TestAGroupIsSplitBetweenBatches(t *testing.T) {
	db := open(t, t.TempDir())
	db.mu.Lock()
	db.leading = true
	db.mu.Unlock()
	var wg sync.WaitGroup
	for i := range 5 { // 5 × 200 KiB: two of them fit into one transaction
		wg.Go(func() { put(t, db, fmt.Sprint(i), strings.Repeat("x", 200<<10), Lazy) })
	}
	waitForQueue(db, 5)
	db.finish(nil, nil)
	wg.Wait()
	if s := db.Stats(); s.Commits != 5 || s.Groups != 3 {
		t.Errorf("%+v, want 5 commits in 3 groups", s)
	}
}

func TestALazyCommitDoesNotSync(t *testing.T) {
	db := open(t, t.TempDir())
	put(t, db, "k", "v", Lazy)
	if s := db.Stats(); s.Syncs != 0 {
		t.Errorf("%d syncs", s.Syncs)
	}
	if err := db.Commit(t.Context(), &Batch{}, Durable); err != nil {
		t.Fatal(err)
	}
	if s := db.Stats(); s.Syncs == 0 {
		t.Error("an empty durable batch did not sync")
	}
}

func TestACallerThatGivesUpIsNotCommitted(t *testing.T) {
	db := open(t, t.TempDir())
	db.mu.Lock()
	db.leading = true
	db.mu.Unlock()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		var b Batch
		b.Put([]byte("k"), nil)
		done <- db.Commit(ctx, &b, Durable)
	}()
	waitForQueue(db, 1)
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	db.finish(nil, nil)
	put(t, db, "other", "", Durable) // the lead is free again
	if _, err := db.Get([]byte("k")); !errors.Is(err, ErrNotFound) {
		t.Errorf("the batch was committed all the same: %v", err)
	}
}

func TestALostWriteIsRemembered(t *testing.T) {
	db := open(t, t.TempDir())
	put(t, db, "k", "v", Durable)
	db.wal.active.Close() // stands for a disk that fails
	var b Batch
	b.Put([]byte("l"), nil)
	for i := range 2 {
		if err := db.Commit(t.Context(), &b, Durable); err == nil {
			t.Errorf("commit %d is believed", i)
		}
	}
	if err := db.Commit(t.Context(), &b, Lazy); err == nil {
		t.Error("a lazy commit is believed")
	}
}

// TestSyncReachesFullLogs fills memtables with lazy commits and expects that a
// durable one flushes every log there is.
func TestSyncReachesFullLogs(t *testing.T) {
	db := open(t, t.TempDir())
	put(t, db, "first", "", Durable)
	for i := range 45 { // 9 MB: two memtables and more
		put(t, db, fmt.Sprint("k", i), strings.Repeat("x", 200<<10), Lazy)
	}
	put(t, db, "last", "", Durable)
	logs, err := filepath.Glob(filepath.Join(db.dir, "*"+walSuffix))
	if err != nil || len(logs) == 0 {
		t.Fatalf("Badger keeps its log elsewhere now: %v, %v", logs, err)
	}
	newest := db.wal.active.Name()
	if info, err := os.Stat(newest); err != nil || info.Size() == 0 {
		t.Fatalf("the current log %s: %v", newest, err)
	}
	for _, path := range logs { // the flusher may remove some meanwhile
		if name := filepath.Base(path); path != newest && !db.wal.sealed[name] {
			t.Errorf("%s was not flushed", name)
		}
	}
	b, err := os.ReadFile(newest)
	if err != nil || !strings.Contains(string(b), "last") {
		t.Errorf("the last commit is not in %s: %v", newest, err)
	}
}

func BenchmarkCommit(b *testing.B) {
	for _, d := range []Durability{Lazy, Durable} {
		for _, callers := range []int{1, 16} {
			b.Run(fmt.Sprintf("%s/callers=%d", map[Durability]string{Lazy: "lazy", Durable: "durable"}[d], callers), func(b *testing.B) {
				db := open(b, b.TempDir())
				value := strings.Repeat("x", 300)
				next := make(chan int, 1)
				next <- 0
				var wg sync.WaitGroup
				b.ResetTimer()
				for range callers {
					wg.Go(func() {
						for {
							i := <-next
							next <- i + 1
							if i >= b.N {
								return
							}
							put(b, db, fmt.Sprintf("%09d", i), value, d)
						}
					})
				}
				wg.Wait()
				s := db.Stats()
				b.ReportMetric(float64(s.Syncs)/float64(b.N), "syncs/op")
			})
		}
	}
}

func BenchmarkGet(b *testing.B) {
	db := open(b, b.TempDir())
	for i := range 1000 {
		put(b, db, fmt.Sprintf("%04d", i), strings.Repeat("x", 300), Lazy)
	}
	for i := 0; b.Loop(); i++ {
		if _, err := db.Get(fmt.Appendf(nil, "%04d", i%1000)); err != nil {
			b.Fatal(err)
		}
	}
}
