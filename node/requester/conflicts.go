package requester

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"sync"

	"github.com/mustermesh/muster/internal/store"
	"github.com/mustermesh/muster/proto"
)

// conflictsKey holds the programs in which peers differed from this node with
// nothing proven. docs/storage.md.
const (
	conflictsKey = "s/conflicts"
	maxDoubted   = 256 // programs; the oldest are forgotten first
)

// A doubted is a program in which peers differed, and who they were.
type doubted struct {
	Program proto.CID      `json:"program"`
	Peers   []proto.PeerID `json:"peers"`
}

// conflicts remembers them from one job to the next. Safe for concurrent use.
type conflicts struct {
	mu    sync.Mutex // guards all below
	list  []doubted  // the oldest first
	dirty bool
}

// of gives the peers that differed in a program.
func (c *conflicts) of(program proto.CID) []proto.PeerID {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, d := range c.list {
		if d.Program == program {
			return slices.Clone(d.Peers)
		}
	}
	return nil
}

// add notes peers that differed in a program.
func (c *conflicts) add(program proto.CID, peers []proto.PeerID) {
	if len(peers) == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	i := slices.IndexFunc(c.list, func(d doubted) bool { return d.Program == program })
	if i < 0 {
		if len(c.list) >= maxDoubted {
			c.list = slices.Delete(c.list, 0, 1)
		}
		i = len(c.list)
		c.list = append(c.list, doubted{Program: program})
	}
	for _, p := range peers {
		if d := &c.list[i]; !slices.Contains(d.Peers, p) {
			d.Peers = append(d.Peers, p)
		}
	}
	c.dirty = true
}

// loadConflicts reads what earlier runs noted; what cannot be read is forgotten.
func (r *Requester) loadConflicts() {
	v, err := r.db.Get([]byte(conflictsKey))
	if err == nil {
		err = json.Unmarshal(v, &r.conflicts.list)
	}
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		r.Log.Warn("in which programs peers differed is forgotten", "err", err)
	}
}

// saveConflicts writes what was noted. That the disk is full ends nothing: it is
// tried again.
func (r *Requester) saveConflicts(ctx context.Context) error {
	r.conflicts.mu.Lock()
	dirty := r.conflicts.dirty
	v, err := json.Marshal(r.conflicts.list)
	r.conflicts.dirty = false
	r.conflicts.mu.Unlock()
	if err != nil || !dirty {
		return err
	}
	var b store.Batch
	b.Put([]byte(conflictsKey), v)
	if err = r.db.Commit(ctx, &b, store.Lazy); errors.Is(err, store.ErrDiskFull) {
		r.Log.Error("in which programs peers differed is not saved; tried again", "err", err)
		r.conflicts.mu.Lock()
		r.conflicts.dirty = true
		r.conflicts.mu.Unlock()
		return nil
	}
	return err
}
