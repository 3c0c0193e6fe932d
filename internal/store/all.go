package store

import "context"

// CommitAll applies b in order, in as many batches as its size takes, whatever
// that is: all but the last are lazy, the last is as d says, so that all of b is
// as durable once CommitAll returned. A crash, or an error, may come between two
// of them: what was added to b earlier is applied then, what was added later is
// not. b is left with what was not applied, which is nothing where the error is
// nil. Errors are those of [DB.Commit].
func (db *DB) CommitAll(ctx context.Context, b *Batch, d Durability) error {
	for {
		n := b.fitting()
		part, rest := b.part(0, n), b.part(n, len(b.ops))
		as := d
		if rest.Len() > 0 {
			as = Lazy
		}
		if err := db.Commit(ctx, part, as); err != nil {
			return err
		}
		if *b = *rest; b.Len() == 0 {
			return nil
		}
	}
}

// fitting gives how many of the first operations one batch holds: at least one,
// where there is one, so that one that is too large is refused as such.
func (b *Batch) fitting() int {
	bytes := 0
	for i, o := range b.ops {
		bytes += o.size()
		if i > 0 && (i == MaxBatchOps || bytes > MaxBatchBytes) {
			return i
		}
	}
	return len(b.ops)
}

func (b *Batch) part(from, to int) *Batch {
	p := &Batch{ops: b.ops[from:to:to]}
	for _, o := range p.ops {
		p.bytes += o.size()
	}
	return p
}
