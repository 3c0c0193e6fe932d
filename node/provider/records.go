package provider

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/mustermesh/muster/internal/store"
	"github.com/mustermesh/muster/proto"
	"github.com/mustermesh/muster/scheduler"
)

// Keys of leases: "e/", requester, lease, then what. docs/storage.md.
const (
	leasePrefix   = "e/"
	leaseKeyBytes = len(leasePrefix) + len(proto.PeerID{}) + len(proto.LeaseID{})
	recordVersion = 1
)

// Kinds of work records.
const (
	workOpen   = 0 // waits or runs: deaths, then the frame that assigned it
	workResult = 1 // is over: the body of its answer
)

func leaseKey(from proto.PeerID, lease proto.LeaseID) []byte {
	return append(append([]byte(leasePrefix), from[:]...), lease[:]...)
}

func workKey(from proto.PeerID, lease proto.LeaseID, e proto.ExecutionID) []byte {
	return append(leaseKey(from, lease), e[:]...)
}

func leaseValue(a proto.Award) []byte { return append([]byte{recordVersion}, a.Marshal()...) }

func openValue(deaths int, a proto.Assignment) []byte {
	return append([]byte{recordVersion, workOpen, byte(deaths)}, proto.Frame{Task: &a}.Marshal()...)
}

func resultValue(a proto.Answer) []byte {
	return append([]byte{recordVersion, workResult}, a.Marshal()...)
}

// ErrNewer says that a newer muster wrote a record.
var ErrNewer = errors.New("written by a newer muster; use that version, or another --home")

func parseWork(e proto.ExecutionID, v []byte) (w scheduler.LentWork, err error) {
	switch {
	case len(v) > 0 && v[0] > recordVersion:
		return w, ErrNewer
	case len(v) > 1 && v[1] == workResult:
		w.Assignment.Execution, w.Result = e, true
		if a, err := proto.ParseAnswer(v[2:]); err == nil { // else its requester hears that it is malformed
			w.Bytes = a.OutputSize
		}
		return w, nil
	case len(v) < 3:
		return w, proto.ErrMalformed
	}
	f, err := proto.ParseFrame(v[3:])
	if err == nil && (f.Task == nil || f.Task.Execution != e) {
		err = proto.ErrMalformed
	}
	if err != nil {
		return w, err
	}
	return scheduler.LentWork{Assignment: *f.Task, Deaths: int(v[2])}, nil
}

// loadLeases reads the leases on disk, and for each its executions. Those whose
// lease is gone are of no use.
func loadLeases(db *store.DB) (ls []scheduler.LentLease, useless [][]byte, err error) {
	err = db.Scan([]byte(leasePrefix), func(k, v []byte) error {
		if len(k) < leaseKeyBytes {
			return fmt.Errorf("lease record: malformed key %x", k)
		}
		from := proto.PeerID(k[len(leasePrefix):])
		if len(k) == leaseKeyBytes { // sorts before its executions
			if len(v) == 0 || v[0] > recordVersion {
				return fmt.Errorf("record of a lease of %s: %w", from, ErrNewer)
			}
			award, err := proto.ParseAward(v[1:])
			if errors.Is(err, proto.ErrMalformed) { // by a version with other rules; its requester asks elsewhere
				useless = append(useless, bytes.Clone(k))
				return nil
			}
			if err != nil {
				return fmt.Errorf("record of a lease of %s: %w", from, err)
			}
			ls = append(ls, scheduler.LentLease{From: from, Award: award})
			return nil
		}
		lease := proto.LeaseID(k[leaseKeyBytes-len(proto.LeaseID{}) : leaseKeyBytes])
		if len(ls) == 0 || ls[len(ls)-1].Award.Lease != lease || len(k) != leaseKeyBytes+len(proto.ExecutionID{}) {
			useless = append(useless, bytes.Clone(k)) // a crash came between the two
			return nil
		}
		w, err := parseWork(proto.ExecutionID(k[leaseKeyBytes:]), v)
		if err != nil {
			return fmt.Errorf("record of an execution for %s: %w", from, err)
		}
		ls[len(ls)-1].Works = append(ls[len(ls)-1].Works, w)
		return nil
	})
	return ls, useless, err
}

// restore takes up the leases of an earlier run. What was under way counts one
// death more.
func (p *Provider) restore(ctx context.Context) error {
	leases, useless, err := loadLeases(p.db)
	if err != nil {
		return err
	}
	p.trash = append(p.trash, useless...)
	var b store.Batch
	for _, l := range leases {
		p.book.Restore(p.Now(), l)
		p.leases[l.Award.Lease] = newLent(l.From, l.Award)
		for _, w := range l.Works {
			switch {
			case w.Result:
				p.kept[resultTag(l.From, w.Assignment.Execution)] = true
			default:
				b.Put(workKey(l.From, l.Award.Lease, w.Assignment.Execution), openValue(min(w.Deaths+1, 255), w.Assignment))
			}
		}
	}
	if b.Len() == 0 {
		return nil
	}
	return p.db.CommitAll(ctx, &b, store.Lazy)
}

// record writes what a lease's requester was promised, before it hears of it.
func (p *Provider) record(ctx context.Context, l *lent, award bool, tasks ...proto.Assignment) error {
	var b store.Batch
	if award {
		b.Put(leaseKey(l.from, l.award.Lease), leaseValue(l.award))
	}
	for _, t := range tasks {
		b.Put(workKey(l.from, l.award.Lease, t.Execution), openValue(0, t))
	}
	return p.db.Commit(ctx, &b, store.Lazy)
}

// recordResult writes an answer before it is sent.
func (p *Provider) recordResult(ctx context.Context, l *lent, a proto.Answer) error {
	var b store.Batch
	b.Put(workKey(l.from, l.award.Lease, a.Execution), resultValue(a))
	return p.db.Commit(ctx, &b, store.Lazy)
}

// result reads an answer that is kept.
func (p *Provider) result(l *lent, e proto.ExecutionID) (proto.Answer, error) {
	v, err := p.db.Get(workKey(l.from, l.award.Lease, e))
	if err != nil {
		return proto.Answer{}, err
	}
	if len(v) < 2 || v[1] != workResult {
		return proto.Answer{}, proto.ErrMalformed
	}
	return proto.ParseAnswer(v[2:])
}

// discard has a record removed soon. Call it with the lock.
func (p *Provider) discard(key []byte) { p.trash = append(p.trash, key) }

func (p *Provider) discardAll(keys [][]byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.trash = append(p.trash, keys...)
}

// remains gives the keys of what is on record below a lease's: itself, and
// executions that were given up before they began.
func (p *Provider) remains(lease []byte) (keys [][]byte, err error) {
	err = p.db.Scan(lease, func(k, _ []byte) error {
		keys = append(keys, bytes.Clone(k))
		return nil
	})
	if err != nil {
		err = fmt.Errorf("find records of executions: %w", err)
	}
	return keys, err
}

// erase removes all that is on record of a lease.
func (p *Provider) erase(ctx context.Context, from proto.PeerID, lease proto.LeaseID) error {
	keys, err := p.remains(leaseKey(from, lease))
	if err != nil || len(keys) == 0 {
		return err
	}
	var b store.Batch
	for _, key := range keys {
		b.Delete(key)
	}
	return p.db.CommitAll(ctx, &b, store.Lazy)
}

// empty removes the records that are of no use any more. One that a crash leaves
// is found again, and given up when its requester says so or its time is over.
func (p *Provider) empty(ctx context.Context) {
	p.mu.Lock()
	trash := p.trash
	p.trash = nil
	p.mu.Unlock()
	if len(trash) == 0 {
		return
	}
	var b store.Batch
	for _, key := range trash {
		b.Delete(key)
	}
	if err := p.db.CommitAll(ctx, &b, store.Lazy); err != nil {
		p.Log.Error("remove records of executions; tried again", "err", err)
		p.mu.Lock()
		p.trash = append(p.trash, trash[len(trash)-b.Len():]...)
		p.mu.Unlock()
	}
}
