package store

import (
	"context"
	"errors"
	"fmt"
	"testing"
)

// many gives a batch of so many values of so many bytes, each under a key of its
// own; the last operation overwrites the first.
func many(n, size int) *Batch {
	var b Batch
	for i := range n {
		b.Put(fmt.Appendf(nil, "k/%06d", i), make([]byte, size))
	}
	b.Put([]byte("k/000000"), []byte("last"))
	return &b
}

func TestCommitAllSplitsWhatIsTooLarge(t *testing.T) {
	for name, c := range map[string]struct {
		batch   *Batch
		commits int64
	}{
		"nothing":                       {new(Batch), 1},
		"as many as one batch holds":    {many(MaxBatchOps-1, 0), 1},
		"one more":                      {many(MaxBatchOps, 0), 2},
		"three batches of operations":   {many(2*MaxBatchOps+1, 0), 3},
		"values of a third of a batch":  {many(7, MaxBatchBytes/3), 4},
		"values that fill a batch each": {many(3, MaxBatchBytes-opOverhead-8), 4},
	} {
		t.Run(name, func(t *testing.T) {
			db := open(t, t.TempDir())
			put(t, db, "first", "", Durable) // which syncs the new folder, too
			before, n := db.Stats(), c.batch.Len()
			if err := db.CommitAll(t.Context(), c.batch, Durable); err != nil {
				t.Fatal(err)
			}
			s := db.Stats()
			if commits, syncs := int64(s.Commits-before.Commits), s.Syncs-before.Syncs; commits != c.commits || syncs != 1 {
				t.Errorf("%d commits and %d syncs, want %d and 1", commits, syncs, c.commits)
			}
			if c.batch.Len() != 0 || c.batch.Bytes() != 0 {
				t.Errorf("%d operations of %d bytes are left", c.batch.Len(), c.batch.Bytes())
			}
			found := 0
			if err := db.Scan([]byte("k/"), func(_, _ []byte) error { found++; return nil }); err != nil || found != max(0, n-1) {
				t.Errorf("found %d keys of %d, %v", found, n-1, err)
			}
			if v, err := db.Get([]byte("k/000000")); n > 0 && (err != nil || string(v) != "last") {
				t.Errorf("the first key has %.20q, %v; the last operation is to win", v, err)
			}
		})
	}
}

func TestCommitAllWithoutNeedSyncsNothing(t *testing.T) {
	db := open(t, t.TempDir())
	before := db.Stats().Syncs
	if err := db.CommitAll(t.Context(), many(3*MaxBatchOps, 0), Lazy); err != nil || db.Stats().Syncs != before {
		t.Errorf("%d syncs, %v; want none", db.Stats().Syncs-before, err)
	}
}

// What one batch refuses is left, with all that comes after it.
func TestCommitAllLeavesWhatItDidNotApply(t *testing.T) {
	db := open(t, t.TempDir())
	b := many(MaxBatchOps-1, 0)
	b.Put([]byte("large"), make([]byte, MaxBatchBytes))
	b.Put([]byte("after"), nil)
	if err := db.CommitAll(t.Context(), b, Durable); !errors.Is(err, ErrTooBig) {
		t.Errorf("got %v, want %v", err, ErrTooBig)
	}
	if b.Len() != 2 {
		t.Errorf("%d operations are left, want the one that is too large and the one after it", b.Len())
	}
	if v, err := db.Get([]byte("k/000000")); err != nil || string(v) != "last" {
		t.Errorf("what came before has %.20q, %v", v, err)
	}
	if _, err := db.Get([]byte("after")); !errors.Is(err, ErrNotFound) {
		t.Errorf("what came after: %v, want %v", err, ErrNotFound)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if b = many(1, 0); !errors.Is(db.CommitAll(ended, b, Lazy), context.Canceled) || b.Len() != 2 {
		t.Errorf("%d operations are left of 2 that were never to be applied", b.Len())
	}
}
