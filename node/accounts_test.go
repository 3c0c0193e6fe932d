package node

import (
	"math"
	"testing"

	"github.com/mustermesh/muster/internal/store"
	"github.com/mustermesh/muster/proto"
)

func TestAccountsAreKeptAndBalanced(t *testing.T) {
	dir := shortDir(t)
	db, err := store.Open(dir, testLog(t))
	if err != nil {
		t.Fatal(err)
	}
	a, err := openAccounts(db)
	if err != nil {
		t.Fatal(err)
	}
	x, y, z := peerOf(1), peerOf(2), peerOf(3)
	for _, s := range []struct {
		id            proto.PeerID
		earned, spent proto.Credits
	}{{x, 100, 0}, {x, 50, 30}, {y, 10, 100}, {z, 0, 0}} {
		if err := a.Add(t.Context(), s.id, s.earned, s.spent); err != nil {
			t.Fatal(err)
		}
	}
	check := func(a *accounts) {
		t.Helper()
		if a.Owed(x) != 120 || a.Owed(y) != 0 || a.earned() != 160 || len(a.by) != 2 {
			t.Errorf("owed %d and %d, earned %d, %d accounts; want 120, 0, 160, 2", a.Owed(x), a.Owed(y), a.earned(), len(a.by))
		}
	}
	check(a)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if db, err = store.Open(dir, testLog(t)); err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if a, err = openAccounts(db); err != nil {
		t.Fatal(err)
	}
	check(a)
	for range 2 {
		if err := a.Add(t.Context(), x, math.MaxUint64, 0); err != nil {
			t.Fatal(err)
		}
	}
	if a.Owed(x) != math.MaxUint64-30 {
		t.Errorf("owed %d, want all that can be counted: it must not wrap around", a.Owed(x))
	}
}
