package provider

import (
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/mustermesh/muster/internal/store"
	"github.com/mustermesh/muster/proto"
)

// TestALeaseOfAnotherVersionsRulesIsDropped: it does not keep a node from starting.
func TestALeaseOfAnotherVersionsRulesIsDropped(t *testing.T) {
	db, err := store.Open(t.TempDir(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	from := proto.PeerID{1}
	sound := proto.Award{Job: proto.JobID{1}, Lease: proto.LeaseID{2}, Slots: 1, Program: proto.Program{
		Executor: proto.ExecutorWASM, Profile: proto.ProfileWASM, Code: proto.RawCID([]byte("x")), Fuel: 1, Timeout: time.Second,
	}}
	old := sound
	old.Lease, old.Program.Fuel = proto.LeaseID{1}, 0
	var b store.Batch
	for _, a := range []proto.Award{old, sound} {
		b.Put(leaseKey(from, a.Lease), leaseValue(a))
		b.Put(workKey(from, a.Lease, proto.ExecutionID{3}), []byte{recordVersion, workResult, 0xff})
	}
	if err := db.Commit(t.Context(), &b, store.Lazy); err != nil {
		t.Fatal(err)
	}
	leases, useless, err := loadLeases(db)
	if err != nil || len(leases) != 1 || leases[0].Award.Lease != sound.Lease || len(leases[0].Works) != 1 {
		t.Errorf("got %+v and %v, want the one lease that is sound", leases, err)
	}
	if want := [][]byte{leaseKey(from, old.Lease), workKey(from, old.Lease, proto.ExecutionID{3})}; !slices.EqualFunc(useless, want, slices.Equal) {
		t.Errorf("of no use: %x, want %x", useless, want)
	}
}

func TestARestoredResultCountsWithItsSize(t *testing.T) {
	e := proto.ExecutionID{7}
	a := proto.Answer{
		Execution: e, Lease: proto.LeaseID{1}, Epoch: 1, Output: proto.RawCID([]byte("output")), OutputSize: 12_345,
		Outcome: proto.OutcomeExited, Engine: proto.Engine{Name: "e", Version: "1", Arch: "amd64"},
	}
	w, err := parseWork(e, resultValue(a))
	if err != nil || !w.Result || w.Bytes != a.OutputSize || w.Assignment.Execution != e {
		t.Errorf("got %+v and %v", w, err)
	}
	if w, err := parseWork(e, []byte{recordVersion, workResult, 0xff}); err != nil || !w.Result || w.Bytes != 0 {
		t.Errorf("of an answer that cannot be read: %+v and %v; want a result, of no size", w, err)
	}
}
