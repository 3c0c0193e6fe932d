package requester

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/mustermesh/muster/internal/store"
	"github.com/mustermesh/muster/node/overlay"
	"github.com/mustermesh/muster/p2p"
	"github.com/mustermesh/muster/proto"
	"github.com/mustermesh/muster/scheduler"
)

// Timing of partings.
const (
	partEvery   = time.Second
	partSlowest = 10 * time.Second
	partTimeout = 15 * time.Second // of one attempt
	maxPartings = 4096             // the oldest are given up first: their providers forget them after the grace
	freshFor    = overlay.AnswerLife - 5*time.Minute
)

// parseLeaseKey reads what follows the job's id in the key of a lease record.
func parseLeaseKey(rest string) (phase int, lease proto.LeaseID, ok bool) {
	const at = len("/l/0/")
	if len(rest) != at+len(lease) || rest[:3] != "/l/" || rest[3] < '0' || rest[3] > '1' || rest[4] != '/' {
		return 0, lease, false
	}
	return int(rest[3] - '0'), proto.LeaseID([]byte(rest[at:])), true
}

// A partingKey names a lease on disk.
type partingKey struct {
	job   proto.JobID
	phase int
	lease proto.LeaseID
}

// A parting is a lease that this node needs no longer and whose provider does not
// know that: the stream broke before it could be told, or this node was restarted.
type parting struct {
	since, next time.Time
	gap         time.Duration
	busy        bool
}

// partings are told to their providers, with the receipts that are due, so that
// those need not keep leases and results for the grace. Safe for concurrent use.
type partings struct {
	mu    sync.Mutex // guards all below
	open  map[partingKey]*parting
	trash [][]byte // records of leases that are over
}

// begins notes that a stream of the lease is being opened, or that it is not.
func (l *taken) begins(yes bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = !yes
}

// asked notes that its provider hears of the lease from now on.
func (l *taken) asked() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ignorant, l.told = true, false
}

// bye has the lease forgotten where its provider knows that it is over, and else
// sees to it that it learns it. Call it with the lock.
func (l *taken) bye() {
	key := partingKey{l.j.id, l.phase, l.id}
	if l.ignorant {
		l.j.r.part(key)
	} else {
		l.j.r.parted(key)
	}
}

// part has a lease that the job needs no longer told to its provider, once its
// stream is over.
func (j *Job) part(id proto.LeaseID) {
	l := j.leases[id]
	if l == nil {
		return // it is done already
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.parting {
		return
	}
	if l.parting = true; l.ended {
		l.bye()
	}
}

// part has a lease told that it is over.
func (r *Requester) part(key partingKey) {
	r.parts.mu.Lock()
	defer r.parts.mu.Unlock()
	if r.parts.open[key] != nil {
		return
	}
	if len(r.parts.open) >= maxPartings {
		r.parts.giveUpOldest()
	}
	r.parts.open[key] = &parting{since: r.Now(), gap: partEvery}
}

func (p *partings) giveUpOldest() {
	var oldest partingKey
	var since time.Time
	for key, o := range p.open {
		if since.IsZero() || o.since.Before(since) {
			oldest, since = key, o.since
		}
	}
	p.over(oldest)
}

// over forgets a lease. Call it with the lock.
func (p *partings) over(key partingKey) {
	delete(p.open, key)
	p.trash = append(p.trash, leaseKey(key.job, key.phase, key.lease))
}

// Partings gives the number of leases that are over and still on record.
func (r *Requester) Partings() int {
	r.parts.mu.Lock()
	defer r.parts.mu.Unlock()
	return len(r.parts.open) + len(r.parts.trash)
}

// parted notes that the provider of a lease knows that it is over.
func (r *Requester) parted(key partingKey) {
	r.parts.mu.Lock()
	defer r.parts.mu.Unlock()
	r.parts.over(key)
}

// partAlways tells providers of partings until ctx ends.
func (r *Requester) partAlways(ctx context.Context) error {
	tick := time.NewTicker(partEvery)
	defer tick.Stop()
	for {
		if err := r.emptyParted(context.WithoutCancel(ctx)); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return r.emptyParted(context.WithoutCancel(ctx))
		case <-tick.C:
		}
		for _, key := range r.parts.due(r.Now(), r.grace) {
			if !r.Workers.Try(func(ctx context.Context) { r.tellParting(ctx, key) }) {
				r.parts.again(key, r.Now())
			}
		}
	}
}

// emptyParted removes the records of leases that are over. One that a crash
// leaves is told to its provider once more.
func (r *Requester) emptyParted(ctx context.Context) error {
	r.parts.mu.Lock()
	trash := r.parts.trash
	r.parts.trash = nil
	r.parts.mu.Unlock()
	if len(trash) == 0 {
		return nil
	}
	var b store.Batch
	for _, key := range trash {
		b.Delete(key)
	}
	err := r.db.CommitAll(ctx, &b, store.Lazy)
	if errors.Is(err, store.ErrDiskFull) {
		r.Log.Error("records of leases that are over are not removed; tried again", "err", err)
		r.parts.mu.Lock()
		r.parts.trash = append(r.parts.trash, trash[len(trash)-b.Len():]...)
		r.parts.mu.Unlock()
		return nil
	}
	return err
}

// due gives the partings to try now, and gives up those whose grace is over.
func (p *partings) due(now time.Time, grace time.Duration) (keys []partingKey) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for key, o := range p.open {
		switch {
		case o.busy || now.Before(o.next):
		case now.Sub(o.since) > grace:
			p.over(key)
		default:
			o.busy = true
			keys = append(keys, key)
		}
	}
	return keys
}

// again has a parting tried once more, later.
func (p *partings) again(key partingKey, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if o := p.open[key]; o != nil {
		o.busy, o.next = false, now.Add(o.gap)
		o.gap = min(2*o.gap, partSlowest)
	}
}

func (r *Requester) tellParting(ctx context.Context, key partingKey) {
	ctx, cancel := context.WithTimeout(ctx, partTimeout)
	defer cancel()
	if err := r.takeLeave(ctx, key); err != nil {
		r.Log.Debug("a provider does not know yet that a lease is over", "job", key.job, "err", err)
		r.parts.again(key, r.Now())
		return
	}
	r.parted(key)
}

// takeLeave takes up a lease once more, hands over the receipts for what is kept
// under it, and lets it go. A provider that does not know the lease is content.
func (r *Requester) takeLeave(ctx context.Context, key partingKey) error {
	v, err := r.db.Get(leaseKey(key.job, key.phase, key.lease))
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	var rec scheduler.LeaseRecord
	if err == nil {
		err = json.Unmarshal(v, &rec)
	}
	if err != nil {
		return fmt.Errorf("lease record: %w", err)
	}
	receipts, err := r.receiptsFor(key.job, rec.Peer)
	if err != nil {
		return err
	}
	known, _ := r.Directory.AdvertOf(rec.Peer)
	if err := r.Reach(ctx, rec.Peer, known.Advert.Addrs); err != nil {
		return err
	}
	s, err := r.Net.OpenStream(ctx, rec.Peer, overlay.ProtoLease, proto.MaxLeaseFrame)
	if err != nil {
		return err
	}
	defer s.Reset()
	stop := context.AfterFunc(ctx, s.Reset)
	defer stop()
	s.SetIdle(overlay.BidTimeout)
	return r.sayFarewell(s, rec, receipts)
}

func (r *Requester) sayFarewell(s *p2p.Stream, rec scheduler.LeaseRecord, receipts map[proto.ExecutionID][]byte) error {
	attach := &proto.Attach{Lease: rec.Lease, Epoch: rec.Epoch}
	for e := range receipts {
		attach.Executions = append(attach.Executions, e)
	}
	if err := s.Send(proto.Frame{Attach: attach}.Marshal()); err != nil {
		return err
	}
	reply, err := overlay.RecvFrame(s)
	switch {
	case err != nil:
		return err
	case reply.Reply == nil:
		return r.Strike(s, "lease stream without reply")
	case nothingLeft(reply):
		return nil
	case !reply.Reply.Accepted:
		return fmt.Errorf("declined: %s: %s", reply.Reply.Reason, reply.Reply.Detail)
	}
	var batch [][]byte
	for range attach.Executions { // of each the provider says once how it stands
		f, err := overlay.RecvFrame(s)
		if err != nil {
			return err
		}
		if f.Answer == nil {
			continue
		}
		if e, ok := r.executionOf(f.Answer.Answer); ok && receipts[e] != nil {
			batch = append(batch, proto.Frame{Ack: &proto.Ack{Execution: e, Receipt: receipts[e]}}.Marshal())
		}
	}
	if err := s.Send(append(batch, proto.Frame{Release: true}.Marshal())...); err != nil {
		return err
	}
	if err := s.CloseWrite(); err != nil {
		return err
	}
	for {
		f, err := overlay.RecvFrame(s)
		if err != nil || nothingLeft(f) {
			return err
		}
	}
}

// executionOf gives the execution that an answer names.
func (r *Requester) executionOf(envelope []byte) (proto.ExecutionID, bool) {
	env, err := r.Open(envelope, proto.PurposeAnswer)
	if err != nil {
		return proto.ExecutionID{}, false
	}
	a, err := proto.ParseAnswer(env.Body)
	return a.Execution, err == nil
}

// receiptsFor gives the receipts on record for a peer's work on a job, as far as
// they can still be read by it, and as many as one attach can name.
func (r *Requester) receiptsFor(job proto.JobID, peer proto.PeerID) (map[proto.ExecutionID][]byte, error) {
	out := make(map[proto.ExecutionID][]byte)
	oldest := r.Now().Add(-freshFor).UnixMilli()
	err := r.db.Scan(jobKey(job, "/r/"), func(k, v []byte) error {
		var kept keptReceipt
		if err := json.Unmarshal(v, &kept); err != nil {
			return fmt.Errorf("receipt of job %s: %w", job, err)
		}
		if kept.Peer != peer || kept.TimeMS < oldest || len(k) < len(proto.ExecutionID{}) {
			return nil
		}
		if len(out) >= proto.MaxAttach {
			return store.ErrStop
		}
		out[proto.ExecutionID(k[len(k)-len(proto.ExecutionID{}):])] = kept.Envelope
		return nil
	})
	return out, err
}
