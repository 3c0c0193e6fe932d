package content

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/mustermesh/muster/proto"
)

func TestBlocksOfEverySizeComeBack(t *testing.T) {
	s := openStore(t)
	threshold := s.cfg.FileThreshold
	for _, size := range []int{0, 1, threshold - 1, threshold, threshold + 1, 1 << 20, MaxBlock} {
		block := pattern(size)
		c := proto.RawCID(block)
		if has, err := s.Has(t.Context(), c); has || err != nil {
			t.Fatalf("%d bytes: there before Put: %v, %v", size, has, err)
		}
		if _, err := s.Get(t.Context(), c); !errors.Is(err, ErrNotFound) {
			t.Fatalf("%d bytes: got %v before Put, want ErrNotFound", size, err)
		}
		for range 2 { // the second time it is there already
			if err := s.Put(t.Context(), c, block); err != nil {
				t.Fatal(err)
			}
		}
		again := reopen(t, s)
		if got, err := again.Get(t.Context(), c); err != nil || !bytes.Equal(got, block) {
			t.Errorf("%d bytes: got %d, %v", size, len(got), err)
		}
		_, err := os.Stat(s.path(c))
		if onDisk := err == nil; onDisk != (size >= threshold) {
			t.Errorf("%d bytes: as a file: %v", size, onDisk)
		}
	}
}

func TestPutRefuses(t *testing.T) {
	s := openStore(t)
	good := []byte("good")
	err := s.PutMany(t.Context(), []Block{{proto.RawCID(good), good}, {proto.RawCID(good), []byte("evil")}})
	if !errors.Is(err, ErrMismatch) {
		t.Errorf("wrong bytes: got %v, want ErrMismatch", err)
	}
	if has, _ := s.Has(t.Context(), proto.RawCID(good)); has {
		t.Error("a part of the refused blocks was kept")
	}
	large := make([]byte, MaxBlock+1)
	if err := s.Put(t.Context(), proto.RawCID(large), large); !errors.Is(err, ErrTooLarge) {
		t.Errorf("large block: got %v, want ErrTooLarge", err)
	}
	if err := s.Put(t.Context(), proto.CID{}, nil); !errors.Is(err, ErrMismatch) {
		t.Errorf("no id: got %v, want ErrMismatch", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Put(ctx, proto.RawCID(good), good); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
}

func TestACorruptBlockIsReportedAndRemoved(t *testing.T) {
	s := openStore(t)
	for _, size := range []int{100, 100_000} {
		block := pattern(size)
		c := proto.RawCID(block)
		if err := s.Put(t.Context(), c, block); err != nil {
			t.Fatal(err)
		}
		if size < s.cfg.FileThreshold {
			s.kv.m[string(blockKey(c))][7] ^= 1
		} else if err := os.Truncate(s.path(c), 5); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Get(t.Context(), c); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%d bytes: got %v, want ErrCorrupt", size, err)
		}
		if _, err := s.Get(t.Context(), c); !errors.Is(err, ErrNotFound) {
			t.Errorf("%d bytes: it was not removed: %v", size, err)
		}
		if err := s.Put(t.Context(), c, block); err != nil {
			t.Fatal(err)
		}
		if got, err := s.Get(t.Context(), c); err != nil || !bytes.Equal(got, block) {
			t.Errorf("%d bytes: not healed: %v", size, err)
		}
	}
}

func TestFlushSyncsFilesAndRecords(t *testing.T) {
	s := openStore(t)
	for _, files := range []int{0, 1, maxFsync + 5} {
		for i := range files {
			s.addBytes(t, append(pattern(20_000), byte(i), byte(files)))
		}
		before := s.kv.syncs
		if err := s.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		if s.kv.syncs != before+1 || len(s.unsynced) != 0 {
			t.Errorf("%d files: %d syncs of the KV, %d files left", files, s.kv.syncs-before, len(s.unsynced))
		}
	}
	n := s.addBytes(t, pattern(50_000))
	if err := s.remove(t.Context(), n.CID); err != nil { // collected before the Flush
		t.Fatal(err)
	}
	if err := s.Flush(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestOpenCleansUpAndRefuses(t *testing.T) {
	s := openStore(t)
	left := filepath.Join(s.tmpDir(), "block-123")
	if err := os.WriteFile(left, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	reopen(t, s)
	if _, err := os.Stat(left); err == nil {
		t.Error("what a crash left behind is still there")
	}
	if err := os.WriteFile(filepath.Join(s.dir, formatName), []byte("muster-content 2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(s.dir, s.kv, DefaultConfig()); !errors.Is(err, ErrNewer) {
		t.Errorf("got %v, want ErrNewer", err)
	}
	if err := os.WriteFile(filepath.Join(s.dir, formatName), []byte("what?"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(s.dir, s.kv, DefaultConfig()); err == nil || errors.Is(err, ErrNewer) {
		t.Errorf("got %v, want an error about the format", err)
	}
	bad := DefaultConfig()
	bad.Now = nil
	if _, err := Open(t.TempDir(), s.kv, bad); err == nil {
		t.Error("a Config without a clock was taken")
	}
}

func TestBlocksAreWalkedDepthFirstAndOnce(t *testing.T) {
	s := openStore(t)
	file := s.addBytes(t, random(3<<20))
	small := s.add(t, "small")
	dir, err := s.BuildTree(t.Context(), []Part{{"a/x", file}, {"b/x", file}, {"c", small}})
	if err != nil {
		t.Fatal(err)
	}
	var got []proto.CID
	for c, err := range s.Blocks(t.Context(), dir.CID) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, c)
	}
	a, err := s.Sub(t.Context(), dir.CID, "a")
	if err != nil {
		t.Fatal(err)
	}
	want := []proto.CID{dir.CID, a.CID, file.CID} // b is the same directory as a
	for i := range 3 {
		want = append(want, proto.RawCID(random(3 << 20)[i<<20:(i+1)<<20]))
	}
	want = append(want, small.CID)
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	for range s.Blocks(t.Context(), dir.CID) {
		break // leaving early must not panic
	}
}

func TestMissingTellsWhatToFetchNext(t *testing.T) {
	full, s := openStore(t), openStore(t)
	root := full.build(t, map[string]string{"a/x": string(random(3 << 20)), "b": "bb", "c": "cc"})
	rounds := 0
	for ; ; rounds++ {
		missing, err := s.Missing(t.Context(), root.CID, 2)
		if err != nil {
			t.Fatal(err)
		}
		if len(missing) == 0 {
			break
		}
		if len(missing) > 2 {
			t.Fatalf("%d missing, over the limit", len(missing))
		}
		for _, c := range missing {
			block, err := full.Get(t.Context(), c)
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Put(t.Context(), c, block); err != nil {
				t.Fatal(err)
			}
		}
	}
	if rounds < 4 {
		t.Errorf("whole after %d rounds of 2; there are 8 blocks", rounds)
	}
	if got := text(t, s.tree(t, root.CID), "a/x"); got != string(random(3<<20)) {
		t.Error("the copy differs")
	}
	for _, err := range openStore(t).Blocks(t.Context(), root.CID) {
		if err != nil && !errors.Is(err, ErrNotFound) {
			t.Errorf("got %v, want ErrNotFound", err)
		}
	}
}

func TestLinksAreInOrder(t *testing.T) {
	s := openStore(t)
	n := s.addBytes(t, pattern(2<<20+5))
	block, err := s.Get(t.Context(), n.CID)
	if err != nil {
		t.Fatal(err)
	}
	edges, err := Edges(n.CID, block)
	if err != nil || len(edges) != 3 || edges[0].Size != 1<<20 || edges[2].Size != 5 {
		t.Errorf("got %v, %v", edges, err)
	}
	if links, err := Links(edges[0].CID, pattern(1<<20)); err != nil || len(links) != 0 {
		t.Errorf("a raw block: got %v, %v", links, err)
	}
}
