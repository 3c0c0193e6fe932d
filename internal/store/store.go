package store

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
)

// dbName is the folder of the database inside the home.
const dbName = "db"

// A DB is the database of one home. All methods are safe for concurrent use.
type DB struct {
	log  *slog.Logger
	lock *os.File
	bdg  *badger.DB
	dir  string
	wal  *walSyncer // used by the leader alone

	mu      sync.Mutex // guards everything below
	queue   []*request
	leading bool
	failed  error // a lost write: no commit is believed after it
	stats   Stats
	closed  bool
	users   int           // calls inside Badger
	idle    chan struct{} // closed when closed && users == 0
}

// Stats counts since Open.
type Stats struct {
	Commits int64 // batches committed
	Groups  int64 // transactions that they were combined into
	Syncs   int64 // files and directories flushed to the disk for them
	Puts    int64
	Deletes int64
}

// Open opens, or creates with mode 0700, the home dir and the database in it. It
// fails with a *LockedError when another process has the home, and with errors
// that wrap ErrNewer or ErrDamaged. The caller closes the DB.
//
// Badger starts a few goroutines of its own here; Close ends them.
func Open(dir string, log *slog.Logger) (*DB, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("create home: %w", err)
	}
	lock, err := lockHome(dir)
	if err != nil {
		return nil, err
	}
	db := &DB{log: log, lock: lock, dir: filepath.Join(dir, dbName), idle: make(chan struct{})}
	if err := db.open(); err != nil {
		lock.Close()
		return nil, fmt.Errorf("open store: %w", err)
	}
	return db, nil
}

func (db *DB) open() error {
	if err := os.MkdirAll(db.dir, 0o700); err != nil {
		return err
	}
	if err := checkFormat(db.dir); err != nil {
		return err
	}
	if err := removeUnbegun(db.dir); err != nil {
		return err
	}
	if err := db.openBadger(); err != nil {
		var errno syscall.Errno
		if errors.As(err, &errno) && errno != syscall.ENOENT {
			return err // the disk is full, no permission, …: the database may be fine
		}
		return damaged(db.dir, err)
	}
	db.wal = newWALSyncer(db.dir)
	return nil
}

// openBadger turns a panic over a corrupt table into an error.
func (db *DB) openBadger() (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("badger: %v", r)
		}
	}()
	opts := badgerOptions(db.dir, db.log)
	if err := checkTables(db.dir, opts); err != nil {
		return err
	}
	db.bdg, err = badger.Open(opts)
	return err
}

// removeUnbegun removes the logs that hold nothing. Badger makes one, then gives it
// a size; it does not open again where it was killed in between.
func removeUnbegun(dir string) error {
	files, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, f := range files {
		if ext := filepath.Ext(f.Name()); ext != ".mem" && ext != ".vlog" {
			continue
		}
		info, err := f.Info()
		if err == nil && info.Size() == 0 {
			err = os.Remove(filepath.Join(dir, f.Name()))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// badgerOptions keeps an idle database small. Values are never moved to Badger's
// value log: a log written apart from the index can be behind it after a crash
// of the machine, and would then lose the older, acknowledged value too.
func badgerOptions(dir string, log *slog.Logger) badger.Options {
	opts := badger.DefaultOptions(dir).
		WithLogger(badgerLog{log}).
		WithSyncWrites(false). // walSyncer decides when
		WithMetricsEnabled(false).
		WithDetectConflicts(false). // writes are blind and serial
		WithNumVersionsToKeep(1).
		WithChecksumVerificationMode(options.OnBlockRead).
		WithMemTableSize(4 << 20).
		WithNumMemtables(2).
		WithValueThreshold(MaxBatchBytes). // above every value
		WithValueLogFileSize(2 << 20).     // stays empty
		WithCompression(options.Snappy).
		WithBlockCacheSize(4 << 20).
		WithIndexCacheSize(2 << 20).
		WithBaseTableSize(1 << 20).
		WithNumCompactors(2).
		WithNumGoroutines(2)
	// Badger keeps eight buffers as large as the largest tables that it wrote.
	// With the usual factor of 2 per level those come to 500 MB.
	opts.TableSizeMultiplier = 1
	return opts
}

// Close waits for the calls in progress, writes what is pending, and gives the
// home back. Later calls of any method return ErrClosed.
func (db *DB) Close() error {
	db.mu.Lock()
	if db.closed {
		db.mu.Unlock()
		return ErrClosed
	}
	db.closed = true
	if db.users == 0 {
		close(db.idle)
	}
	db.mu.Unlock()
	<-db.idle
	return errors.Join(db.bdg.Close(), db.wal.Close(), db.lock.Close())
}

// enter must be called, and leave after it, around every use of Badger.
func (db *DB) enter() error {
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.closed {
		return ErrClosed
	}
	db.users++
	return nil
}

func (db *DB) leave() {
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.users--; db.closed && db.users == 0 {
		close(db.idle)
	}
}

// Stats gives the counts since Open.
func (db *DB) Stats() Stats {
	db.mu.Lock()
	defer db.mu.Unlock()
	return db.stats
}
