package requester

import (
	"log/slog"
	"slices"
	"testing"

	"github.com/mustermesh/muster/internal/store"
	"github.com/mustermesh/muster/node/overlay"
	"github.com/mustermesh/muster/proto"
)

func TestWhoDifferedInAProgramIsKnownAfterARestart(t *testing.T) {
	db, err := store.Open(t.TempDir(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	restart := func() *Requester {
		r := &Requester{Local: &overlay.Local{Log: slog.New(slog.DiscardHandler)}, db: db}
		r.loadConflicts()
		return r
	}
	one, other := proto.RawCID([]byte("one")), proto.RawCID([]byte("other"))
	p1, p2 := proto.PeerID{1}, proto.PeerID{2}

	r := restart()
	r.conflicts.add(one, []proto.PeerID{p1})
	r.conflicts.add(other, nil)
	r.conflicts.add(one, []proto.PeerID{p1, p2})
	if err := r.saveConflicts(t.Context()); err != nil {
		t.Fatal(err)
	}
	r = restart()
	if got := r.conflicts.of(one); !slices.Equal(got, []proto.PeerID{p1, p2}) {
		t.Errorf("in one program differed %v, want %v and %v", got, p1, p2)
	}
	if got := r.conflicts.of(other); len(got) != 0 {
		t.Errorf("in the other program differed %v, want nobody", got)
	}
}

func TestDoubtsAreForgottenTheOldestFirst(t *testing.T) {
	var c conflicts
	program := func(n int) proto.CID { return proto.RawCID([]byte{byte(n), byte(n >> 8)}) }
	for n := range maxDoubted + 1 {
		c.add(program(n), []proto.PeerID{{1}})
	}
	if len(c.of(program(0))) != 0 || len(c.of(program(1))) != 1 || len(c.of(program(maxDoubted))) != 1 {
		t.Errorf("of %d programs not the oldest is forgotten", maxDoubted+1)
	}
}
