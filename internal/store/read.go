package store

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/dgraph-io/badger/v4"
)

// Get gives the value of key, which the caller owns. It returns ErrNotFound for
// a key that holds nothing.
func (db *DB) Get(key []byte) (value []byte, err error) {
	if err := db.enter(); err != nil {
		return nil, err
	}
	defer db.leave()
	err = db.bdg.View(func(txn *badger.Txn) error {
		item, err := txn.Get(key)
		if err != nil {
			return err
		}
		value, err = item.ValueCopy(nil)
		return err
	})
	if errors.Is(err, badger.ErrKeyNotFound) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("get %q: %w", key, err)
	}
	return value, nil
}

// A Range says which keys ScanRange visits.
type Range struct {
	Prefix   []byte // only keys that begin with it; nil: all
	From     []byte // first key to visit, itself included; nil: the first (in reverse, the last) of Prefix
	Reverse  bool   // from the greatest key to the smallest
	Limit    int    // keys visited at most; 0: no limit
	KeysOnly bool   // value is nil
}

// Scan calls fn for each key that begins with prefix, in bytewise order; the
// caller owns key and value. It sees one moment: what is committed while it runs
// does not show. An error of fn ends the scan and is returned, ErrStop as nil.
func (db *DB) Scan(prefix []byte, fn func(key, value []byte) error) error {
	return db.ScanRange(Range{Prefix: prefix}, fn)
}

// ScanRange is Scan over a Range.
func (db *DB) ScanRange(r Range, fn func(key, value []byte) error) error {
	if err := db.enter(); err != nil {
		return err
	}
	defer db.leave()
	err := db.bdg.View(func(txn *badger.Txn) error { return scan(txn, r, fn) })
	if errors.Is(err, ErrStop) {
		return nil
	}
	return err
}

func scan(txn *badger.Txn, r Range, fn func(key, value []byte) error) error {
	opts := badger.DefaultIteratorOptions
	opts.Reverse, opts.PrefetchValues, opts.PrefetchSize = r.Reverse, !r.KeysOnly, 16
	if !r.Reverse {
		opts.Prefix = r.Prefix // lets Badger skip whole tables; in reverse it would skip the start
	}
	it := txn.NewIterator(opts)
	defer it.Close()
	seek(it, r)
	for n := 0; it.Valid() && (r.Limit == 0 || n < r.Limit); it.Next() {
		item := it.Item()
		if !bytes.HasPrefix(item.Key(), r.Prefix) {
			if r.Reverse && bytes.Compare(item.Key(), r.Prefix) > 0 {
				continue // still above the prefix
			}
			return nil
		}
		if err := visit(item, r, fn); err != nil {
			return err
		}
		n++
	}
	return nil
}

func seek(it *badger.Iterator, r Range) {
	from := r.From
	if from == nil && r.Reverse {
		from = successor(r.Prefix)
	} else if !r.Reverse && bytes.Compare(from, r.Prefix) < 0 {
		from = r.Prefix
	}
	if len(from) == 0 {
		it.Rewind()
		return
	}
	it.Seek(from)
}

func visit(item *badger.Item, r Range, fn func(key, value []byte) error) (err error) {
	var value []byte
	if !r.KeysOnly {
		if value, err = item.ValueCopy(nil); err != nil {
			return fmt.Errorf("read %q: %w", item.Key(), err)
		}
	}
	return fn(item.KeyCopy(nil), value)
}

// successor is the smallest key above all that begin with prefix; nil: there is
// none.
func successor(prefix []byte) []byte {
	for i := len(prefix) - 1; i >= 0; i-- {
		if prefix[i] != 0xff {
			next := bytes.Clone(prefix[:i+1])
			next[i]++
			return next
		}
	}
	return nil
}
