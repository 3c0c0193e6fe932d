package requester

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/mustermesh/muster/internal/store"
	"github.com/mustermesh/muster/proto"
	"github.com/mustermesh/muster/scheduler"
)

// conflictsKey holds the programs in which peers differed from this node lately.
// docs/storage.md.
const (
	conflictsKey     = "s/conflicts"
	conflictsVersion = 1
	maxDoubted       = 256            // programs; the oldest are forgotten first
	doubtFor         = 24 * time.Hour // since the last of them differed
)

// doubts is the record of them.
type doubts struct {
	Version  int       `json:"version"`
	Programs []doubted `json:"programs"` // the oldest first
}

// A doubted is a program in which peers differed, who they were, and when the
// last of them did.
type doubted struct {
	Program proto.CID      `json:"program"`
	Peers   []proto.PeerID `json:"peers"`
	Ms      int64          `json:"time_ms"`
}

func (d doubted) fresh(now time.Time) bool { return now.Before(time.UnixMilli(d.Ms).Add(doubtFor)) }

// conflicts remembers them from one job to the next. Safe for concurrent use.
type conflicts struct {
	mu   sync.Mutex // guards all below
	list []doubted  // the oldest first
}

// of gives the peers that differed in a program, and in how many other programs
// each peer did.
func (c *conflicts) of(program proto.CID, now time.Time) (peers []proto.PeerID, odd map[proto.PeerID]int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	odd = make(map[proto.PeerID]int)
	for _, d := range c.list {
		switch {
		case !d.fresh(now):
		case d.Program == program:
			peers = slices.Clone(d.Peers)
		default:
			for _, p := range d.Peers {
				odd[p]++
			}
		}
	}
	return peers, odd
}

// add notes peers that differed in a program, and gives the record to be written.
func (c *conflicts) add(program proto.CID, peers []proto.PeerID, now time.Time) (record []byte, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	next := doubted{Program: program}
	c.list = slices.DeleteFunc(c.list, func(d doubted) bool {
		if d.Program == program && d.fresh(now) {
			next.Peers = d.Peers
		}
		return d.Program == program || !d.fresh(now)
	})
	for _, p := range peers {
		if !slices.Contains(next.Peers, p) && len(next.Peers) < scheduler.MaxConflicts {
			next.Peers = append(next.Peers, p)
		}
	}
	next.Ms = now.UnixMilli()
	if c.list = append(c.list, next); len(c.list) > maxDoubted {
		c.list = slices.Delete(c.list, 0, 1)
	}
	return json.Marshal(doubts{conflictsVersion, c.list})
}

// loadConflicts reads what earlier runs noted; what cannot be read is forgotten.
func (r *Requester) loadConflicts() {
	v, err := r.db.Get([]byte(conflictsKey))
	if errors.Is(err, store.ErrNotFound) {
		return
	}
	var d doubts
	if err == nil {
		err = json.Unmarshal(v, &d)
	}
	if err == nil && d.Version != conflictsVersion {
		err = fmt.Errorf("version %d, not %d", d.Version, conflictsVersion)
	}
	if err != nil {
		r.Log.Warn("in which programs peers differed is forgotten", "err", err)
		return
	}
	r.conflicts.list = d.Programs
}
