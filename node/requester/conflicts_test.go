package requester

import (
	"log/slog"
	"slices"
	"testing"
	"time"

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
	now := time.UnixMilli(1_900_000_000_000)
	one, other := proto.RawCID([]byte("one")), proto.RawCID([]byte("other"))
	p1, p2 := proto.PeerID{1}, proto.PeerID{2}

	r := restart()
	var last []byte
	for _, peers := range [][]proto.PeerID{{p1}, {p1, p2}} {
		if last, err = r.conflicts.add(one, peers, now); err != nil {
			t.Fatal(err)
		}
	}
	var b store.Batch
	b.Put([]byte(conflictsKey), last)
	if err := db.Commit(t.Context(), &b, store.Lazy); err != nil {
		t.Fatal(err)
	}
	r = restart()
	if got, odd := r.conflicts.of(one, now); !slices.Equal(got, []proto.PeerID{p1, p2}) || len(odd) != 0 {
		t.Errorf("in one program differed %v, and elsewhere %v; want %v and %v, and nobody", got, odd, p1, p2)
	}
	if got, odd := r.conflicts.of(other, now); len(got) != 0 || odd[p1] != 1 {
		t.Errorf("in the other program differed %v, and elsewhere %v; want nobody, and both", got, odd)
	}
	if got, odd := r.conflicts.of(one, now.Add(doubtFor)); len(got) != 0 || len(odd) != 0 {
		t.Errorf("a day later differed %v and %v, want nobody", got, odd)
	}
}

func TestDoubtsAreForgottenTheOldestFirst(t *testing.T) {
	var c conflicts
	now := time.UnixMilli(1_900_000_000_000)
	program := func(n int) proto.CID { return proto.RawCID([]byte{byte(n), byte(n >> 8)}) }
	for n := range maxDoubted + 1 {
		if _, err := c.add(program(n), []proto.PeerID{{1}}, now); err != nil {
			t.Fatal(err)
		}
	}
	for n, want := range map[int]int{0: 0, 1: 1, maxDoubted: 1} {
		if got, _ := c.of(program(n), now); len(got) != want {
			t.Errorf("in program %d differed %d, want %d", n, len(got), want)
		}
	}
}

func TestARecordOfConflictsStaysSmall(t *testing.T) {
	var c conflicts
	var peers []proto.PeerID
	for n := range 1000 {
		peers = append(peers, proto.PeerID{1, byte(n), byte(n >> 8)})
	}
	var v []byte
	for n := range maxDoubted {
		var err error
		if v, err = c.add(proto.RawCID([]byte{byte(n)}), peers, time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	wantRecord(t, v, &doubts{})
}
