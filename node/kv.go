package node

import (
	"context"
	"errors"

	"github.com/mustermesh/muster/internal/content"
	"github.com/mustermesh/muster/internal/store"
	"github.com/mustermesh/muster/trust"
)

// A kv shows the database to those who keep their records in it.
type kv struct{ db *store.DB }

func (k kv) Get(key []byte) ([]byte, bool, error) {
	v, err := k.db.Get(key)
	if errors.Is(err, store.ErrNotFound) {
		return nil, false, nil
	}
	return v, err == nil, err
}

func (k kv) Scan(prefix []byte, fn func(key, value []byte) error) error {
	return k.db.Scan(prefix, fn)
}

// contentKV is the database as the content store wants it.
type contentKV struct{ kv }

func (k contentKV) Apply(ctx context.Context, puts []content.Pair, deletes [][]byte) error {
	var b store.Batch
	for _, p := range puts {
		b.Put(p.Key, p.Value)
	}
	for _, d := range deletes {
		b.Delete(d)
	}
	return k.db.Commit(ctx, &b, store.Lazy)
}

func (k contentKV) Sync(ctx context.Context) error {
	return k.db.Commit(ctx, &store.Batch{}, store.Durable)
}

// trustKV is the database as the trust ledger wants it.
type trustKV struct{ kv }

func (k trustKV) Commit(ctx context.Context, writes []trust.Write, durable bool) error {
	var b store.Batch
	for _, w := range writes {
		if w.Value == nil {
			b.Delete(w.Key)
		} else {
			b.Put(w.Key, w.Value)
		}
	}
	d := store.Lazy
	if durable {
		d = store.Durable
	}
	return k.db.Commit(ctx, &b, d)
}
