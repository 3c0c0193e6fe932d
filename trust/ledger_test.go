package trust

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mustermesh/muster/proto"
)

// memory is a KV that outlives the ledgers opened on it.
type memory struct {
	t       *testing.T
	mu      sync.Mutex
	records map[string][]byte
	durable int   // durable commits
	err     error // of the next commits
}

func newMemory(t *testing.T) *memory { return &memory{t: t, records: map[string][]byte{}} }

func (m *memory) Get(key []byte) ([]byte, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	v, ok := m.records[string(key)]
	return bytes.Clone(v), ok, nil
}

func (m *memory) Scan(prefix []byte, fn func(key, value []byte) error) error {
	for _, k := range m.keys(string(prefix)) {
		v, ok, _ := m.Get([]byte(k))
		if !ok {
			continue
		}
		if err := fn([]byte(k), v); err != nil {
			return err
		}
	}
	return nil
}

func (m *memory) keys(prefix string) (keys []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for k := range m.records {
		if strings.HasPrefix(k, prefix) {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	return keys
}

func (m *memory) Commit(ctx context.Context, writes []Write, durable bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := errors.Join(ctx.Err(), m.err); err != nil {
		return err
	}
	size := 0
	for _, w := range writes {
		size += len(w.Key) + len(w.Value)
		if !strings.HasPrefix(string(w.Key), "t/") {
			m.t.Errorf("key %q", w.Key)
		}
		if w.Value == nil {
			delete(m.records, string(w.Key))
		} else {
			m.records[string(w.Key)] = bytes.Clone(w.Value)
		}
	}
	if len(writes) == 0 || len(writes) > MaxWrites || size > MaxWriteBytes {
		m.t.Errorf("a commit of %d writes and %d bytes", len(writes), size)
	}
	if durable {
		m.durable++
	}
	return nil
}

var small = Config{MaxPeers: 64, KeepPerPeer: 32, KeepFor: 180 * day}

func open(t *testing.T, kv KV, cfg Config) *Ledger {
	t.Helper()
	l, err := Open(kv, cfg)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	return l
}

func record(t *testing.T, l *Ledger, now time.Time, list ...Evidence) {
	t.Helper()
	if err := l.Record(t.Context(), now, list); err != nil {
		t.Fatalf("record: %v", err)
	}
}

func about(p proto.PeerID, e Evidence) Evidence {
	e.Peer = p
	return e
}

func TestRecordedEvidenceCanBeReadBack(t *testing.T) {
	l := open(t, newMemory(t), small)
	lie := seen(WrongProven, start)
	lie.Task, lie.Detail = 3, strings.Repeat("ä", MaxDetail)
	ok := seen(OKChecked, start.Add(time.Second+time.Nanosecond))
	ok.Weight, ok.Answer = 1000, []byte("not kept")
	future := seen(Refused, start.Add(day))
	future.Execution = proto.ExecutionID{}
	record(t, l, start.Add(time.Minute), ok, future, lie)

	lie.Detail = strings.Repeat("ä", MaxDetail/2)
	ok.Time, ok.Weight, ok.Answer = start.Add(time.Second), MaxWeight, nil
	future.Time = start.Add(time.Minute)
	want := []Evidence{future, ok, lie}
	got, err := l.Evidence(peer(1), 0)
	if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %+v, %v\nwant %+v", got, err, want)
	}
	if got, err := l.Evidence(peer(1), 2); err != nil || len(got) != 2 || got[0].Kind != Refused {
		t.Errorf("the newest two: got %+v, %v", got, err)
	}
	if got, err := l.Evidence(peer(2), 0); err != nil || len(got) != 0 {
		t.Errorf("about a stranger: got %+v, %v", got, err)
	}
}

func TestListOrdersByStanding(t *testing.T) {
	l := open(t, newMemory(t), small)
	heavy := about(peer(3), seen(OKChecked, start))
	heavy.Weight = 5
	record(t, l, start, about(peer(1), seen(WrongProven, start)), about(peer(2), seen(OKChecked, start)), heavy, about(peer(4), seen(Lost, start)))
	var got []proto.PeerID
	for _, s := range l.List(start) {
		if s != l.Standing(start, s.Peer) {
			t.Errorf("List and Standing differ: %+v", s)
		}
		got = append(got, s.Peer)
	}
	if want := peers(3, 2, 4, 1); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if !l.Distrusted(peer(1)) || l.Distrusted(peer(2)) || l.Distrusted(peer(5)) {
		t.Error("only peer 1 is distrusted")
	}
	if l.Weight(start, peer(1)) != 0 || l.Weight(start, peer(5)) != 1 {
		t.Errorf("weights of a liar and a stranger: %v, %v", l.Weight(start, peer(1)), l.Weight(start, peer(5)))
	}
	if !l.AlwaysCheck(start, peer(4)) || l.AlwaysCheck(start, peer(2)) {
		t.Error("only peer 4 owes checks")
	}
}

func TestOnlyALieWaitsForTheDisk(t *testing.T) {
	kv := newMemory(t)
	l := open(t, kv, small)
	record(t, l, start, seen(OKChecked, start), seen(Failed, start), seen(Disputed, start))
	if kv.durable != 0 {
		t.Errorf("%d durable commits for harmless evidence", kv.durable)
	}
	record(t, l, start, seen(OKChecked, start), seen(WrongProven, start))
	if kv.durable != 1 {
		t.Errorf("%d durable commits for a lie, want 1", kv.durable)
	}
}

func TestEvidenceCountsOnce(t *testing.T) {
	kv := newMemory(t)
	l := open(t, kv, small)
	list := []Evidence{seen(OKChecked, start), about(peer(2), seen(WrongProven, start)), about(peer(3), seen(Failed, start))}
	list = append(list, list...)
	record(t, l, start, list...)
	want := l.List(start)
	for i := range list {
		list[i].Time = time.Time{} // after a crash the caller may not know when
	}
	l = open(t, kv, small)
	record(t, l, start.Add(time.Hour), list...)
	if got := l.List(start); !slices.Equal(got, want) || got[0].N != 1 || got[2].Lies != 1 {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestRecordRefusesMalformedEvidenceWhole(t *testing.T) {
	kv := newMemory(t)
	l := open(t, kv, small)
	for name, spoil := range map[string]func(*Evidence){
		"nobody":               func(e *Evidence) { e.Peer = proto.PeerID{} },
		"no kind":              func(e *Evidence) { e.Kind = 0 },
		"an unknown kind":      func(e *Evidence) { e.Kind = Kind(kinds) },
		"a negative task":      func(e *Evidence) { e.Task = -1 },
		"a task beyond all":    func(e *Evidence) { e.Task = proto.MaxTasks },
		"a negative weight":    func(e *Evidence) { e.Weight = -1 },
		"no execution":         func(e *Evidence) { e.Execution = proto.ExecutionID{} },
		"a lie without answer": func(e *Evidence) { e.Answer = nil },
		"a lie without output": func(e *Evidence) { e.Output = proto.CID{} },
		"a lie without truth":  func(e *Evidence) { e.Right = proto.CID{} },
	} {
		bad := seen(WrongProven, start)
		spoil(&bad)
		err := l.Record(t.Context(), start, []Evidence{seen(OKChecked, start), bad})
		if !errors.Is(err, ErrEvidence) {
			t.Errorf("%s: got %v, want ErrEvidence", name, err)
		}
	}
	if err := l.Record(t.Context(), time.Time{}, []Evidence{seen(OKChecked, start)}); !errors.Is(err, ErrEvidence) {
		t.Errorf("no time: got %v, want ErrEvidence", err)
	}
	if len(kv.records) != 0 || len(l.List(start)) != 0 {
		t.Errorf("%d records and %d standings of refused evidence", len(kv.records), len(l.List(start)))
	}
}

func TestAFailedCommitChangesNothing(t *testing.T) {
	kv := newMemory(t)
	l := open(t, kv, small)
	record(t, l, start, seen(OKChecked, start))
	want := l.List(start)
	kv.err = errors.New("disk full")
	lie := seen(WrongProven, start)
	if err := l.Record(t.Context(), start, []Evidence{lie}); !errors.Is(err, kv.err) {
		t.Errorf("got %v, want %v", err, kv.err)
	}
	if got := l.List(start); !slices.Equal(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	kv.err = nil
	record(t, l, start, lie)
	if !l.Distrusted(peer(1)) {
		t.Error("the same lie, recorded again, does not count")
	}
}

// Two ledgers see the same evidence; one is closed and opened again all the
// time. They must never decide differently, down to the last bit.
func TestARestartChangesNoDecision(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	cfg := Config{MaxPeers: 16, KeepPerPeer: 8, KeepFor: 60 * day}
	kv := newMemory(t)
	steady, now := open(t, newMemory(t), cfg), start
	evicted := false
	for step := range 400 {
		now = now.Add(time.Duration(r.Int64N(int64(day))))
		if step == 200 {
			now = now.Add(61 * day)
		}
		list := history(r, 1+r.IntN(4), 0)
		for i := range list {
			list[i].Peer, list[i].Time = peer(byte(1+r.IntN(24))), now.Add(-time.Duration(r.Int64N(int64(day)))).Truncate(time.Microsecond)
		}
		record(t, steady, now, list...)
		record(t, open(t, kv, cfg), now, list...)
		fresh := open(t, kv, cfg)
		if got, want := fresh.List(now), steady.List(now); !slices.Equal(got, want) {
			t.Fatalf("step %d: after a restart %+v\nwithout %+v", step, got, want)
		}
		evicted = evicted || step < 200 && len(steady.List(now)) == cfg.MaxPeers
	}
	if !evicted {
		t.Error("the ledger was never full: the test misses what it is for")
	}
}

func TestEvidencePerPeerIsBounded(t *testing.T) {
	kv := newMemory(t)
	l := open(t, kv, small)
	var last Evidence
	for i := range 20 * small.KeepPerPeer {
		last = seen(OKChecked, start.Add(time.Duration(i)*time.Minute))
		record(t, l, last.Time, last)
		if n := len(kv.keys(prefixEvidence)); n > small.KeepPerPeer+l.slack() {
			t.Fatalf("%d pieces of evidence after %d", n, i+1)
		}
	}
	got, err := l.Evidence(peer(1), 0)
	if err != nil || len(got) < small.KeepPerPeer || got[0].Execution != last.Execution {
		t.Errorf("%d pieces are left, %v; want the newest %d", len(got), err, small.KeepPerPeer)
	}
	if oldest := got[len(got)-1].Time; last.Time.Sub(oldest) != time.Duration(len(got)-1)*time.Minute {
		t.Errorf("the %d pieces left are not the newest: they go back to %s", len(got), oldest)
	}
	if n := l.Standing(last.Time, peer(1)).N; n < 600 {
		t.Errorf("N = %v: standing was lost with the evidence", n)
	}
}

func TestAHugeBatchIsBoundedToo(t *testing.T) {
	kv := newMemory(t)
	l := open(t, kv, small)
	list := history(rand.New(rand.NewPCG(9, 9)), 5000, day)
	proofs := 0
	for i := range list {
		if list[i].Kind == WrongProven {
			proofs++
			list[i].Answer = make([]byte, MaxProof+i%2) // every other one is too long to keep
		}
	}
	record(t, l, start.Add(day), list...)
	if n := len(kv.keys(prefixEvidence)); n > small.KeepPerPeer+l.slack() {
		t.Errorf("%d pieces of evidence", n)
	}
	if n := len(kv.keys(prefixProof)); n != maxProofs {
		t.Errorf("%d proofs, want %d", n, maxProofs)
	}
	if s := l.Standing(start.Add(day), peer(1)); s.Lies != proofs {
		t.Errorf("%d lies, want %d", s.Lies, proofs)
	}
	for _, e := range mustEvidence(t, l, peer(1)) {
		if e.Kind == WrongProven && len(e.Answer) == 0 && len(kv.keys(string(evidenceKey(prefixProof, e)))) == 1 && !strings.Contains(e.Detail, "not kept") {
			t.Errorf("a proof is gone without a word: %+v", e)
		}
	}
}

func mustEvidence(t *testing.T, l *Ledger, p proto.PeerID) []Evidence {
	t.Helper()
	list, err := l.Evidence(p, 0)
	if err != nil {
		t.Fatalf("evidence: %v", err)
	}
	return list
}

func TestOldEvidenceGoesAndProofsStay(t *testing.T) {
	kv := newMemory(t)
	l := open(t, kv, small)
	record(t, l, start, about(peer(1), seen(OKChecked, start)), about(peer(2), seen(OKChecked, start)),
		about(peer(2), seen(WrongProven, start)), about(peer(3), seen(OKChecked, start)))
	now := start.Add(small.KeepFor - time.Hour)
	record(t, l, now, about(peer(3), seen(OKChecked, now)))
	if n := len(kv.keys("t/")); n != 3+5 {
		t.Fatalf("%d records before their time is over, want 8", n)
	}
	now = start.Add(small.KeepFor + time.Hour)
	record(t, l, now, about(peer(4), seen(Lost, now)))
	for p, want := range map[byte]int{1: 0, 2: 1, 3: 1, 4: 1} {
		if got := mustEvidence(t, l, peer(p)); len(got) != want {
			t.Errorf("peer %d: %d pieces of evidence, want %d", p, len(got), want)
		}
	}
	if !l.Distrusted(peer(2)) {
		t.Error("a liar is trusted again because time went by")
	}
	if n := len(kv.keys(prefixStanding)); n != 3 {
		t.Errorf("%d standings on disk, want those of 2, 3 and 4", n)
	}
}

func TestASilentPeerIsANewcomerOnTheDot(t *testing.T) {
	l := open(t, newMemory(t), small)
	record(t, l, start, seen(OKChecked, start))
	if s := l.Standing(start.Add(small.KeepFor), peer(1)); !near(s.N, 0.25) {
		t.Errorf("after two half-lives N = %v, want 0.25", s.N)
	}
	now := start.Add(small.KeepFor + 1)
	if got, want := l.Standing(now, peer(1)), l.Standing(now, peer(2)); got.N != 0 || got.Why() != want.Why() {
		t.Errorf("got %+v, want a newcomer's %+v", got, want)
	}
}

func TestAPeerThatReturnsAfterLongSilenceStartsAnew(t *testing.T) {
	l := open(t, newMemory(t), small)
	record(t, l, start, seen(OKChecked, start), seen(Lost, start))
	now := start.Add(small.KeepFor + time.Hour)
	record(t, l, now, seen(OKChecked, now.Add(-2*time.Hour))) // from when it was not silent yet
	if s := l.Standing(now, peer(1)); s.N > 1 || s.Debt != 0 || s.Executions != 1 {
		t.Errorf("its past still counts: %+v", s)
	}
}

func TestEvidenceThatCameOutOfOrderGoesInTime(t *testing.T) {
	kv := newMemory(t)
	l := open(t, kv, small)
	record(t, l, start.Add(30*day), seen(OKChecked, start.Add(30*day)))
	record(t, l, start.Add(30*day), seen(OKChecked, start))
	now := start.Add(small.KeepFor + 2*time.Hour)
	record(t, l, now, seen(OKChecked, now))
	if got := mustEvidence(t, l, peer(1)); len(got) != 2 {
		t.Errorf("%d pieces of evidence, want the two younger", len(got))
	}
}

func TestAFloodOfNewcomersPushesOutNewcomers(t *testing.T) {
	kv := newMemory(t)
	l := open(t, kv, small)
	record(t, l, start, about(peer(1), seen(WrongProven, start)), about(peer(2), seen(OKChecked, start)))
	for i := range 50 * small.MaxPeers {
		var p proto.PeerID
		be.PutUint32(p[8:], uint32(i+1))
		now := start.Add(time.Duration(i) * time.Second)
		record(t, l, now, about(p, seen(Lost, now)))
		if n := len(l.List(start)); n > small.MaxPeers || len(kv.keys("t/")) > 2*n+1 {
			t.Fatalf("%d peers and %d records after %d", n, len(kv.keys("t/")), i+1)
		}
	}
	if !l.Distrusted(peer(1)) || l.Standing(start, peer(2)).N != 1 {
		t.Errorf("the flood pushed out a liar or a worker: %+v, %+v", l.Standing(start, peer(1)), l.Standing(start, peer(2)))
	}
}

func TestRecordsOfAnotherMakeAreTold(t *testing.T) {
	kv := newMemory(t)
	l := open(t, kv, small)
	first, second := seen(OKChecked, start), seen(Lost, start)
	record(t, l, start, first, second)
	kv.records[string(evidenceKey(prefixEvidence, first))][0] = recordVersion + 1
	if got, err := l.Evidence(peer(1), 0); !errors.Is(err, ErrNewer) || len(got) != 1 || got[0].Kind != Lost {
		t.Errorf("evidence of a newer version: got %+v, %v; want the rest and ErrNewer", got, err)
	}
	key := string(peerKey(prefixStanding, peer(1)))
	for version, want := range map[byte]error{recordVersion + 1: ErrNewer, 0: ErrDamaged} {
		kv.records[key][0] = version
		if _, err := Open(kv, small); !errors.Is(err, want) || !strings.Contains(err.Error(), peer(1).String()) {
			t.Errorf("a standing of version %d: got %v, want %v that names the peer", version, err, want)
		}
	}
	kv.records[key][0] = recordVersion
	kv.records[prefixStanding+"short"] = kv.records[key]
	if _, err := Open(kv, small); !errors.Is(err, ErrDamaged) {
		t.Errorf("a key that names no peer: got %v, want ErrDamaged", err)
	}
}

func TestConfigIsChecked(t *testing.T) {
	for _, cfg := range []Config{
		{MaxPeers: 15, KeepPerPeer: 8, KeepFor: time.Hour},
		{MaxPeers: 16, KeepPerPeer: 7, KeepFor: time.Hour},
		{MaxPeers: 16, KeepPerPeer: 8, KeepFor: time.Hour - 1},
	} {
		if _, err := Open(newMemory(t), cfg); err == nil {
			t.Errorf("%+v is taken", cfg)
		}
	}
}

func TestReadersAndWritersTogether(t *testing.T) {
	l := open(t, newMemory(t), small)
	const writers, each = 4, 50
	lists := make([][]Evidence, writers)
	for i := range lists {
		lists[i] = make([]Evidence, each)
		for j := range each {
			lists[i][j] = seen(OKChecked, start)
		}
	}
	var wg sync.WaitGroup
	for _, list := range lists {
		wg.Go(func() {
			for _, e := range list {
				if err := l.Record(t.Context(), start, []Evidence{e}); err != nil {
					t.Errorf("record: %v", err)
				}
			}
		})
		wg.Go(func() {
			for range each {
				l.List(start)
				if _, err := l.Evidence(peer(1), 3); err != nil {
					t.Errorf("evidence: %v", err)
				}
			}
		})
	}
	wg.Wait()
	if n := l.Standing(start, peer(1)).N; n != writers*each {
		t.Errorf("N = %v, want %d", n, writers*each)
	}
}
