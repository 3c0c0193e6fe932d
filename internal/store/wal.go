package store

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const (
	walSuffix = ".mem"
	// stampAge is how old a folder's time must be before it proves that nothing
	// was added since it was read; file systems count in steps of up to 10 ms,
	// some of 2 s.
	stampAge = 3 * time.Second
)

// A walSyncer makes what was committed so far safe from a crash of the machine.
//
// Badger appends each transaction, values included, to the write-ahead log of
// its current memtable (NNNNN.mem, written through a memory map) and starts a
// new one when it is full. Badger's own Sync flushes the current log and the
// value log, which is always empty here: two flushes of the device instead of
// one; and it misses what lies in a log that was full a moment ago. So we flush
// the logs ourselves: the current one each time, each older one once, and the
// folder when it changed.
type walSyncer struct {
	dir    string
	stamp  time.Time       // of the folder when it was last read; zero: read it again
	active *os.File        // the current log
	names  []string        // of the logs when the folder was last flushed
	sealed map[string]bool // older logs that are safe already
	syncs  int64
}

func newWALSyncer(dir string) *walSyncer {
	return &walSyncer{dir: dir, sealed: map[string]bool{}}
}

// Sync returns once everything committed before is on the disk.
func (w *walSyncer) Sync() error {
	renamed := false
	changed, err := w.changed()
	if err == nil && changed {
		renamed, err = w.reload()
	}
	if err == nil {
		err = w.flush(w.active)
	}
	if err != nil || !renamed {
		return err
	}
	w.syncs++
	return syncDir(w.dir)
}

// changed tells whether logs may have come or gone since the last reload.
func (w *walSyncer) changed() (bool, error) {
	info, err := os.Stat(w.dir)
	if err != nil {
		return false, err
	}
	if w.active != nil && info.ModTime().Equal(w.stamp) {
		return false, nil
	}
	w.stamp = info.ModTime()
	if time.Since(w.stamp) < stampAge {
		w.stamp = time.Time{}
	}
	return true, nil
}

// reload finds the current log, flushes the older ones, and tells whether logs
// came or went.
func (w *walSyncer) reload() (renamed bool, err error) {
	names, err := w.logs()
	if err != nil || slices.Equal(names, w.names) {
		return false, err
	}
	if len(names) == 0 {
		return false, errors.New("the database has no write-ahead log")
	}
	last := len(names) - 1
	sealed := map[string]bool{}
	for _, name := range names[:last] {
		if !w.sealed[name] {
			if err := w.flushOld(name); err != nil {
				return false, err
			}
		}
		sealed[name] = true
	}
	w.names, w.sealed = names, sealed
	return true, w.open(names[last])
}

// logs gives the names of the logs there are, the current one last.
func (w *walSyncer) logs() ([]string, error) {
	entries, err := os.ReadDir(w.dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), walSuffix) {
			names = append(names, e.Name())
		}
	}
	slices.SortFunc(names, func(a, b string) int { // 99999.mem comes before 100000.mem
		return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b))
	})
	return names, nil
}

func (w *walSyncer) open(name string) error {
	path := filepath.Join(w.dir, name)
	if w.active != nil && w.active.Name() == path {
		return nil
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	if w.active != nil {
		w.active.Close()
	}
	w.active = f
	return nil
}

// flushOld flushes a full log. If it is gone, Badger has synced a table with the
// same content before it removed the log.
func (w *walSyncer) flushOld(name string) error {
	f, err := os.OpenFile(filepath.Join(w.dir, name), os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	return w.flush(f)
}

// flush also writes what was changed through Badger's memory map of the file:
// both are the same pages.
func (w *walSyncer) flush(f *os.File) error {
	w.syncs++
	return syncData(f)
}

// Close closes the file that the syncer has open.
func (w *walSyncer) Close() error {
	if w.active == nil {
		return nil
	}
	return w.active.Close()
}
