package sandbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/mustermesh/muster/internal/content"
	"github.com/mustermesh/muster/proto"
)

// memKV keeps records in memory.
type memKV struct {
	mu sync.Mutex // guards m
	m  map[string][]byte
}

func (k *memKV) Get(key []byte) ([]byte, bool, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	v, ok := k.m[string(key)]
	return bytes.Clone(v), ok, nil
}

func (k *memKV) Apply(_ context.Context, puts []content.Pair, deletes [][]byte) error {
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
	defer k.mu.Unlock()
	for _, key := range slices.Sorted(maps.Keys(k.m)) {
		if strings.HasPrefix(key, string(prefix)) {
			if err := fn([]byte(key), k.m[key]); err != nil {
				return err
			}
		}
	}
	return nil
}

func (k *memKV) Sync(context.Context) error { return nil }

func newStore(t *testing.T) *content.Store {
	t.Helper()
	c, err := content.Open(t.TempDir(), &memKV{m: make(map[string][]byte)}, content.DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// newTestOutput makes an output over a store of its own.
func newTestOutput(t *testing.T) (*output, *content.Store, string) {
	t.Helper()
	c, temp := newStore(t), t.TempDir()
	return newOutput(t.Context(), c, temp), c, temp
}

func list(t *testing.T, c *content.Store, root proto.CID) (paths []string) {
	t.Helper()
	tree, err := c.OpenTree(t.Context(), root)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range tree.Entries() {
		p := fmt.Sprintf("%s=%d", e.Path, e.Size)
		if e.Dir {
			p = e.Path + "/"
		}
		paths = append(paths, p)
	}
	return paths
}

func TestAnOutputRootHasItsPlaceForEverything(t *testing.T) {
	o, c, _ := newTestOutput(t)
	o.Stdout([]byte("hello"))
	for _, d := range []string{"out", "out/a", "out/a/b", "out/empty", "out/full"} {
		o.Dir(d)
	}
	if err := o.File("out/full/x", 1, strings.NewReader("x")); err != nil {
		t.Fatal(err)
	}
	n, err := o.root(t.Context(), "exited 0\n")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"out/", "out/out/", "out/out/a/", "out/out/a/b/", "out/out/empty/", "out/out/full/", "out/out/full/x=1", "status=9", "stderr=0", "stdout=5"}
	if got := list(t, c, n.CID); !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestAnOutputOfNothingHasAllFourEntries(t *testing.T) {
	o, c, _ := newTestOutput(t)
	n, err := o.root(t.Context(), "exited 0\n")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := list(t, c, n.CID), []string{"out/", "status=9", "stderr=0", "stdout=0"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestALargeStreamIsSpooledAndTheSpoolRemoved(t *testing.T) {
	o, c, temp := newTestOutput(t)
	chunk := bytes.Repeat([]byte("0123456789abcdef"), 4096)
	for range 80 { // 5 MiB
		if err := o.Stdout(chunk); err != nil {
			t.Fatal(err)
		}
	}
	if o.stdout.mem.Len() > spoolMemory {
		t.Errorf("%d bytes in memory, want at most %d", o.stdout.mem.Len(), spoolMemory)
	}
	n, err := o.root(t.Context(), "exited 0\n")
	if err != nil {
		t.Fatal(err)
	}
	sub, err := c.Sub(t.Context(), n.CID, PathStdout)
	if err != nil {
		t.Fatal(err)
	}
	f, err := c.OpenFile(t.Context(), sub.CID)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(f); err != nil || !bytes.Equal(b, bytes.Repeat(chunk, 80)) {
		t.Errorf("%d bytes read back (%v), want the same %d", len(b), err, 80*len(chunk))
	}
	o.discard()
	if left, err := filepath.Glob(temp + "/*"); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

func TestOutputsThatConflictAreAFailureNotACrash(t *testing.T) {
	o, _, _ := newTestOutput(t)
	for _, p := range []string{"out/a", "out/a/b"} { // the executor never makes such
		if err := o.File(p, 1, strings.NewReader("x")); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := o.root(t.Context(), "exited 0\n"); !errors.Is(err, content.ErrPath) {
		t.Errorf("%v, want %v", err, content.ErrPath)
	}
}
