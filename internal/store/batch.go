package store

import (
	"bytes"
	"fmt"
)

// Limits of one batch. They leave room for what Badger adds, so that a batch is
// always one transaction: all of it happens, or none.
const (
	MaxBatchBytes = 512 << 10 // keys, values and opOverhead for each operation
	MaxBatchOps   = 4000      // puts and deletes
	MaxKeyBytes   = 4096
)

// opOverhead is what one operation costs beyond its key and value, in bytes.
const opOverhead = 32

// reserved begins the keys that Badger refuses; one of them must not spoil the
// batches of others in the same transaction.
var reserved = []byte("!badger!")

// A Batch collects puts and deletes that Commit applies together: all or
// nothing, in the order they were added, the last one of a key winning. The zero
// value is an empty batch. One that may be beyond the limits of a batch is for
// [DB.CommitAll]. A Batch is not safe for concurrent use, and keeps the
// slices that it is given: change neither until Commit returned.
type Batch struct {
	ops   []op
	bytes int
}

type op struct {
	key, value []byte
	remove     bool
}

// Put sets key to value. A nil value is stored as an empty one.
func (b *Batch) Put(key, value []byte) { b.add(op{key: key, value: value}) }

// Delete removes key; removing what is not there is no error.
func (b *Batch) Delete(key []byte) { b.add(op{key: key, remove: true}) }

// Len gives the number of operations.
func (b *Batch) Len() int { return len(b.ops) }

// Bytes gives what the batch counts against MaxBatchBytes.
func (b *Batch) Bytes() int { return b.bytes }

func (b *Batch) add(o op) {
	b.ops = append(b.ops, o)
	b.bytes += o.size()
}

func (o op) size() int { return len(o.key) + len(o.value) + opOverhead }

func (b *Batch) check() error {
	if len(b.ops) > MaxBatchOps || b.bytes > MaxBatchBytes {
		return fmt.Errorf("%w: %d operations and %d bytes; the limits are %d and %d",
			ErrTooBig, len(b.ops), b.bytes, MaxBatchOps, MaxBatchBytes)
	}
	for _, o := range b.ops {
		if len(o.key) == 0 || len(o.key) > MaxKeyBytes {
			return fmt.Errorf("%w: a key of %d bytes; keys have 1 to %d", ErrBadKey, len(o.key), MaxKeyBytes)
		}
		if bytes.HasPrefix(o.key, reserved) {
			return fmt.Errorf("%w: %.40q begins with what Badger keeps for itself", ErrBadKey, o.key)
		}
	}
	return nil
}
