package store

import (
	"context"
	"fmt"
	"slices"

	"github.com/dgraph-io/badger/v4"
)

// minFree is the room on the disk, in bytes, below which commits are refused.
// Badger writes through memory maps of files with holes: a disk that fills up
// under it kills the process.
const minFree = 64 << 20

// A Durability says when Commit returns.
type Durability int

const (
	// Lazy: when every reader sees the batch. A crash of the process loses
	// nothing; a crash of the machine may lose it, but never half of it.
	Lazy Durability = iota
	// Durable: when a crash of the machine cannot lose it, nor any batch that was
	// committed before it.
	Durable
)

// A request is one batch waiting for its turn.
type request struct {
	batch   *Batch
	durable bool
	wake    chan struct{} // closed when err is set, or when lead is
	lead    bool          // its caller is to commit the next group
	err     error
}

// Commit applies b, all of it or nothing, and returns as d says. An empty
// durable batch waits for the disk alone. Concurrent callers share one
// transaction and one sync: the first to come leads, the others follow.
//
// When ctx ends while b waits for its turn, b is not applied and the error wraps
// ctx's; once its turn has come Commit waits for the outcome. After an error of
// the disk every later Commit fails: what was lost is not known.
func (db *DB) Commit(ctx context.Context, b *Batch, d Durability) error {
	if err := b.check(); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	if err := db.enter(); err != nil {
		return err
	}
	defer db.leave()
	r := &request{batch: b, durable: d == Durable, wake: make(chan struct{})}
	if !db.enqueue(r) {
		if err := db.await(ctx, r); err != nil {
			return fmt.Errorf("commit: %w", err)
		}
	}
	if r.lead {
		db.leadGroup()
	}
	return r.err
}

// enqueue tells whether r leads at once.
func (db *DB) enqueue(r *request) bool {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.queue = append(db.queue, r)
	if db.leading {
		return false
	}
	db.leading, r.lead = true, true
	return true
}

// await returns once r is done or leads, or with ctx's error after taking r out
// of the queue.
func (db *DB) await(ctx context.Context, r *request) error {
	select {
	case <-r.wake:
		return nil
	case <-ctx.Done():
	}
	if db.withdraw(r) {
		return ctx.Err()
	}
	<-r.wake
	return nil
}

func (db *DB) withdraw(r *request) bool {
	db.mu.Lock()
	defer db.mu.Unlock()
	i := slices.Index(db.queue, r)
	if i < 0 || r.lead {
		return false
	}
	db.queue = slices.Delete(db.queue, i, i+1)
	return true
}

// leadGroup commits the group at the head of the queue, which holds the caller's
// own request, and then hands the lead to the next one waiting.
func (db *DB) leadGroup() {
	group := db.takeGroup()
	err := db.apply(group)
	sync := false
	for _, r := range group {
		sync = sync || r.durable
	}
	if !sync || err != nil {
		db.finish(group, err)
		return
	}
	// Who did not ask for the disk need not wait for it.
	lazy := slices.DeleteFunc(slices.Clone(group), func(r *request) bool { return r.durable })
	durable := slices.DeleteFunc(group, func(r *request) bool { return !r.durable })
	wake(lazy, nil)
	db.finish(durable, db.sync())
}

// takeGroup takes as many requests as fit into one transaction, in order.
func (db *DB) takeGroup() []*request {
	db.mu.Lock()
	defer db.mu.Unlock()
	n, ops, bytes := 0, 0, 0
	for _, r := range db.queue {
		ops, bytes = ops+r.batch.Len(), bytes+r.batch.Bytes()
		if n > 0 && (ops > MaxBatchOps || bytes > MaxBatchBytes) {
			break
		}
		n++
	}
	group := slices.Clone(db.queue[:n])
	db.queue = slices.Delete(db.queue, 0, n)
	return group
}

// apply writes the group's operations as one transaction.
func (db *DB) apply(group []*request) error {
	db.mu.Lock()
	err := db.failed
	db.mu.Unlock()
	if err != nil {
		return err
	}
	if err := checkFree(db.dir); err != nil {
		return err
	}
	txn := db.bdg.NewTransaction(true)
	defer txn.Discard()
	var puts, deletes int64
	for _, r := range group {
		for _, o := range r.batch.ops {
			if o.remove {
				deletes++
				err = txn.Delete(o.key)
			} else {
				puts++
				err = txn.SetEntry(badger.NewEntry(o.key, o.value))
			}
			if err != nil {
				return fmt.Errorf("commit: %w", err)
			}
		}
	}
	if err := txn.Commit(); err != nil {
		return db.fail(err)
	}
	db.count(int64(len(group)), puts, deletes)
	return nil
}

func checkFree(dir string) error {
	free, err := freeRoom(dir)
	if err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	if free < minFree {
		return fmt.Errorf("commit: %w: %d bytes are left on the disk of %s, and %d must be", ErrDiskFull, free, dir, minFree)
	}
	return nil
}

func (db *DB) count(commits, puts, deletes int64) {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.stats.Commits += commits
	db.stats.Groups++
	db.stats.Puts += puts
	db.stats.Deletes += deletes
}

func (db *DB) sync() error {
	err := db.wal.Sync()
	db.mu.Lock()
	db.stats.Syncs = db.wal.syncs
	db.mu.Unlock()
	if err != nil {
		return db.fail(err)
	}
	return nil
}

// fail remembers a lost write: the kernel reports it once, and a second sync of
// the same file would look like success.
func (db *DB) fail(cause error) error {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.failed = fmt.Errorf("commit: the disk lost a write, restart muster: %w", cause)
	return db.failed
}

// finish wakes the group and passes the lead on.
func (db *DB) finish(group []*request, err error) {
	wake(group, err)
	db.mu.Lock()
	defer db.mu.Unlock()
	if len(db.queue) == 0 {
		db.leading = false
		return
	}
	next := db.queue[0]
	next.lead = true
	close(next.wake)
}

func wake(group []*request, err error) {
	for _, r := range group {
		r.err = err
		if !r.lead { // the leader is not waiting, and its wake may be closed
			close(r.wake)
		}
	}
}
