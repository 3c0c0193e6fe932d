package content

import (
	"bytes"
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mustermesh/muster/proto"
)

// memKV is a KV in memory.
type memKV struct {
	mu    sync.Mutex
	m     map[string][]byte
	syncs int
}

func newMemKV() *memKV { return &memKV{m: map[string][]byte{}} }

func (k *memKV) Get(key []byte) ([]byte, bool, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	v, ok := k.m[string(key)]
	return bytes.Clone(v), ok, nil
}

func (k *memKV) Apply(_ context.Context, puts []Pair, deletes [][]byte) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, p := range puts {
		k.m[string(p.Key)] = bytes.Clone(p.Value)
	}
	for _, d := range deletes {
		delete(k.m, string(d))
	}
	return nil
}

func (k *memKV) Scan(prefix []byte, fn func(key, value []byte) error) error {
	k.mu.Lock()
	m := maps.Clone(k.m)
	k.mu.Unlock()
	for _, key := range slices.Sorted(maps.Keys(m)) {
		if strings.HasPrefix(key, string(prefix)) {
			if err := fn([]byte(key), m[key]); err != nil {
				return err
			}
		}
	}
	return nil
}

func (k *memKV) Sync(context.Context) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.syncs++
	return nil
}

// A testStore is a Store with its parts in reach and a clock that goes on by a
// second whenever it is asked.
type testStore struct {
	*Store
	kv  *memKV
	dir string
}

func openStore(t testing.TB) *testStore {
	t.Helper()
	return reopen(t, &testStore{kv: newMemKV(), dir: t.TempDir()})
}

func reopen(t testing.TB, old *testStore) *testStore {
	t.Helper()
	cfg := DefaultConfig()
	cfg.Now = ticking()
	s, err := Open(old.dir, old.kv, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return &testStore{s, old.kv, old.dir}
}

var started = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

func ticking() func() time.Time {
	var mu sync.Mutex
	return func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		started = started.Add(time.Second)
		return started
	}
}

func (s *testStore) add(t testing.TB, text string) Node {
	t.Helper()
	return s.addBytes(t, []byte(text))
}

func (s *testStore) addBytes(t testing.TB, b []byte) Node {
	t.Helper()
	n, err := s.AddReader(t.Context(), bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// build makes a tree of texts by path.
func (s *testStore) build(t testing.TB, texts map[string]string) Node {
	t.Helper()
	var parts []Part
	for _, p := range slices.Sorted(maps.Keys(texts)) {
		parts = append(parts, Part{p, s.add(t, texts[p])})
	}
	n, err := s.BuildTree(t.Context(), parts)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func (s *testStore) tree(t testing.TB, c proto.CID) *Tree {
	t.Helper()
	tree, err := s.OpenTree(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

// text reads a whole file of a tree.
func text(t testing.TB, tree *Tree, path string) string {
	t.Helper()
	e, ok := tree.Find(path)
	if !ok {
		t.Fatalf("no %q in the tree", path)
	}
	buf := make([]byte, e.Size)
	if n, err := tree.ReadAt(t.Context(), path, buf, 0); err != nil || int64(n) != e.Size {
		t.Fatalf("read %q: %d of %d bytes, %v", path, n, e.Size, err)
	}
	return string(buf)
}

// random gives n bytes, always the same, no two chunks alike.
func random(n int) []byte {
	b := make([]byte, n)
	newChacha("random").Read(b)
	return b
}

// pattern gives the n bytes of vectors.json; its chunks are all alike.
func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*31 + i>>10)
	}
	return b
}

func paths(entries []Entry) []string {
	var out []string
	for _, e := range entries {
		p := e.Path
		if e.Dir {
			p += "/"
		}
		out = append(out, p)
	}
	return out
}
