package node

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"sync"

	"github.com/mustermesh/muster/internal/store"
	"github.com/mustermesh/muster/proto"
)

// accountPrefix begins the keys of accounts. docs/storage.md.
const accountPrefix = "a/"

// An account is what passed between this node and one peer.
type account struct {
	Earned proto.Credits `json:"earned"` // the peer owes us for its tasks
	Spent  proto.Credits `json:"spent"`  // we owe the peer for ours
}

// accounts keeps a balance per peer, in the unit that receipts state. Safe for
// concurrent use. Only peers between whom something was priced have one.
type accounts struct {
	db *store.DB
	mu sync.Mutex // guards by
	by map[proto.PeerID]account
}

func openAccounts(db *store.DB) (*accounts, error) {
	a := &accounts{db: db, by: make(map[proto.PeerID]account)}
	err := db.Scan([]byte(accountPrefix), func(k, v []byte) error {
		id, err := proto.PeerIDFromBytes(k[len(accountPrefix):])
		if err != nil {
			return fmt.Errorf("account: %w", err)
		}
		var acc account
		if err := json.Unmarshal(v, &acc); err != nil {
			return fmt.Errorf("account of %s: %w", id, err)
		}
		a.by[id] = acc
		return nil
	})
	return a, err
}

// Owed is what the peer owes us, less what we owe it; at least zero.
func (a *accounts) Owed(id proto.PeerID) proto.Credits {
	a.mu.Lock()
	defer a.mu.Unlock()
	acc := a.by[id]
	return acc.Earned - min(acc.Earned, acc.Spent)
}

// earned is what all peers together were charged.
func (a *accounts) earned() (sum proto.Credits) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, acc := range a.by {
		sum += acc.Earned
	}
	return sum
}

// atMost adds, up to what can be counted: a receipt says what its signer likes.
func atMost(a, b proto.Credits) proto.Credits {
	return a + min(b, math.MaxUint64-a)
}

// Add notes what a peer was charged, and what it charged.
func (a *accounts) Add(ctx context.Context, id proto.PeerID, earned, spent proto.Credits) error {
	if earned == 0 && spent == 0 {
		return nil
	}
	a.mu.Lock()
	acc := a.by[id]
	acc.Earned = atMost(acc.Earned, earned)
	acc.Spent = atMost(acc.Spent, spent)
	a.by[id] = acc
	a.mu.Unlock()
	v, err := json.Marshal(acc)
	if err != nil {
		return err
	}
	var b store.Batch
	b.Put(append([]byte(accountPrefix), id[:]...), v)
	return a.db.Commit(ctx, &b, store.Lazy)
}
