package requester

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/mustermesh/muster/internal/store"
	"github.com/mustermesh/muster/node/sandbox"
	"github.com/mustermesh/muster/proto"
)

// sweepEvery is how often jobs that ended long ago are removed.
const sweepEvery = 10 * time.Minute

func (r *Requester) sweepAlways(ctx context.Context) error {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		switch err := r.Sweep(ctx); {
		case err == nil || ctx.Err() != nil:
		case errors.Is(err, store.ErrDiskFull):
			r.Log.Error("old jobs are not removed; tried again", "err", err)
		default:
			return fmt.Errorf("remove old jobs: %w", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// Sweep removes jobs that ended longer ago than they are kept, and the oldest of
// more than are kept, with their records and the pins of their content. It stops
// at ctx's end and at the first error; the next goes on.
func (r *Requester) Sweep(ctx context.Context) error {
	r.tidy.Lock()
	defer r.tidy.Unlock()
	for _, j := range r.outdated() {
		if err := r.removeJob(ctx, j); err != nil {
			return err
		}
	}
	return nil
}

// outdated gives the jobs to remove.
func (r *Requester) outdated() (js []*Job) {
	now, kept := r.Now(), 0
	for _, j := range r.List() {
		ended, at := j.endedAt()
		switch {
		case !ended:
		case r.keep > 0 && now.Sub(at) > r.keep, r.keepMost > 0 && kept >= r.keepMost:
			js = append(js, j)
		default:
			kept++
		}
	}
	return js
}

// endedAt tells whether, and when, the job ended.
func (j *Job) endedAt() (ended bool, at time.Time) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if n := len(j.progress.History); n > 0 {
		at = time.UnixMilli(j.progress.History[n-1].TimeMS)
	}
	return j.finished, at
}

// removeJob forgets a job: first its pins, then its records, of which the one
// that makes it a job is the last.
func (r *Requester) removeJob(ctx context.Context, j *Job) error {
	tag := sandbox.JobTag(r.Self, j.id)
	for _, t := range []string{tag, tag + outTag} {
		if err := r.content().Release(ctx, t); err != nil {
			return err
		}
	}
	keys, err := keysOf(r.db, jobKey(j.id, "/"))
	if err != nil {
		return err
	}
	job := string(jobKey(j.id, "/job"))
	keys = slices.DeleteFunc(keys, func(k []byte) bool { return string(k) == job })
	if err := r.remove(ctx, append(keys, []byte(job))); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.jobs, j.id)
	r.order = slices.DeleteFunc(r.order, func(id proto.JobID) bool { return id == j.id })
	return nil
}

// keysOf gives the keys of all records that begin so.
func keysOf(db *store.DB, prefix []byte) (keys [][]byte, err error) {
	err = db.Scan(prefix, func(k, _ []byte) error {
		keys = append(keys, slices.Clone(k))
		return nil
	})
	return keys, err
}

// remove removes records in order, in as many batches as it takes.
func (r *Requester) remove(ctx context.Context, keys [][]byte) error {
	var b store.Batch
	for _, k := range keys {
		b.Delete(k)
	}
	return r.db.CommitAll(ctx, &b, store.Lazy)
}
