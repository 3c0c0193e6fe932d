package content

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/mustermesh/muster/proto"
)

// record adds a file of n bytes, different for each id, and records it.
func (s *testStore) record100k(t *testing.T, id int) Node {
	t.Helper()
	n := s.addBytes(t, append(random(100_000), byte(id)))
	if err := s.Record(t.Context(), n, Use{Job, fmt.Sprint("job", id)}); err != nil {
		t.Fatal(err)
	}
	return n
}

func (s *testStore) whole(t *testing.T, c proto.CID) bool {
	t.Helper()
	missing, err := s.Missing(t.Context(), c, 1)
	if err != nil {
		t.Fatal(err)
	}
	return len(missing) == 0
}

func TestGCDropsTheLeastRecentlyUsed(t *testing.T) {
	s := openStore(t)
	var nodes []Node
	for i := range 5 {
		nodes = append(nodes, s.record100k(t, i))
	}
	orphan := s.addBytes(t, random(50_000))
	s.tree(t, nodes[0].CID) // opened: used
	if err := s.Pin(t.Context(), nodes[1].CID, "keep"); err != nil {
		t.Fatal(err)
	}
	got, err := s.GC(t.Context(), 310_000)
	if err != nil {
		t.Fatal(err)
	}
	// 1 is pinned, 0 was used last, then 4; 3 and 2 do not fit.
	want := Collection{Before: 550_005, After: 300_003, Blocks: 3, Roots: 2}
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	for i, stays := range []bool{true, true, false, false, true} {
		if s.whole(t, nodes[i].CID) != stays {
			t.Errorf("root %d: stays is %v, want %v", i, !stays, stays)
		}
		_, err := s.Stat(nodes[i].CID)
		if (err == nil) != stays || err != nil && !errors.Is(err, ErrNotFound) {
			t.Errorf("root %d: record: %v", i, err)
		}
	}
	if s.whole(t, orphan.CID) {
		t.Error("a block that nothing reaches is still there")
	}
	if usage, err := s.Usage(t.Context()); err != nil || usage != 300_003 {
		t.Errorf("usage: got %d, %v", usage, err)
	}
	if again, err := s.GC(t.Context(), 310_000); err != nil || again.Blocks != 0 {
		t.Errorf("under the limit: got %+v, %v", again, err)
	}
}

func TestGCKeepsWhatIsPinnedWhateverTheLimit(t *testing.T) {
	s := openStore(t)
	root := s.build(t, map[string]string{"a": string(random(2 << 20)), "b/c": "small"})
	other := s.build(t, map[string]string{"x": "small", "y": "more"})
	if err := s.Pin(t.Context(), root.CID, "job1"); err != nil {
		t.Fatal(err)
	}
	if err := s.Pin(t.Context(), other.CID, "job1"); err != nil {
		t.Fatal(err)
	}
	if err := s.Pin(t.Context(), other.CID, "job2"); err != nil {
		t.Fatal(err)
	}
	if err := s.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	s = reopen(t, s) // pins survive
	if got, err := s.GC(t.Context(), 0); err != nil || got.Blocks != 0 {
		t.Errorf("got %+v, %v; want nothing removed", got, err)
	}
	if err := s.Unpin(t.Context(), "job1"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.GC(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	if s.whole(t, root.CID) || !s.whole(t, other.CID) {
		t.Errorf("unpinned root stays: %v; root pinned by another job stays: %v", s.whole(t, root.CID), s.whole(t, other.CID))
	}
	if pins, err := s.Pins(); err != nil || !slices.Equal(pins, []Pin{{"job2", other.CID}}) {
		t.Errorf("pins: %v, %v", pins, err)
	}
}

func TestGCKeepsWhatIsHeld(t *testing.T) {
	s := openStore(t)
	before := s.addBytes(t, random(10_000))
	release := s.Hold()
	held := s.addBytes(t, random(20_000))
	again := s.addBytes(t, random(10_000)) // there before the Hold, and wanted under it
	if _, err := s.GC(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	if !s.whole(t, held.CID) || !s.whole(t, again.CID) || before != again {
		t.Error("a held block was removed")
	}
	release()
	release() // twice is once
	if _, err := s.GC(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	if s.whole(t, held.CID) {
		t.Error("a block stays after its Hold")
	}
	if len(s.held) != 0 || s.holds != 0 {
		t.Errorf("%d holds, %d blocks held", s.holds, len(s.held))
	}
}

// TestGCWhileAdding: whatever GC does meanwhile, what was added under a Hold is
// whole.
func TestGCWhileAdding(t *testing.T) {
	s := openStore(t)
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		for ctx.Err() == nil {
			if _, err := s.GC(ctx, 0); err != nil && ctx.Err() == nil {
				t.Error(err)
			}
		}
	})
	var adders sync.WaitGroup
	for a := range 2 {
		adders.Go(func() {
			for i := range 60 {
				release := s.Hold()
				n := s.addBytes(t, random(20_000+i%3)) // the same again and again
				dir, err := s.BuildTree(t.Context(), []Part{{fmt.Sprint(a, i%4), n}})
				if err != nil {
					t.Error(err)
				} else if missing, err := s.Missing(t.Context(), dir.CID, 1); err != nil || len(missing) > 0 {
					t.Errorf("adder %d, round %d: missing %v, %v", a, i, missing, err)
				}
				release()
			}
		})
	}
	adders.Wait()
	stop()
	wg.Wait()
}

// TestABadRootDoesNotExposeAnother: a root that cannot be followed to its end
// must not stand for blocks that it shares with a pinned one.
func TestABadRootDoesNotExposeAnother(t *testing.T) {
	f := forger{t, openStore(t)}
	good := f.build(t, map[string]string{"d/x": string(random(10_000))})
	bad := toCid(good.CID)
	for range maxDepth - 2 { // reaches good's root, but not its file
		bad = f.dir(to("d", bad))
	}
	badRoot, err := fromCid(bad)
	if err != nil {
		t.Fatal(err)
	}
	for tag, root := range map[string]proto.CID{"a": badRoot, "b": good.CID} { // a's pins are followed first
		if err := f.Pin(t.Context(), root, tag); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := f.GC(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	if !f.whole(t, good.CID) {
		t.Error("blocks of a pinned root are gone")
	}
}

func TestRootsAreRemembered(t *testing.T) {
	s := openStore(t)
	n := s.add(t, "input")
	for _, u := range []Use{{Job, "job1"}, {Public, ""}, {Result, "job2"}, {Job, "job2"}} {
		if err := s.Record(t.Context(), n, u); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Pin(t.Context(), n.CID, "job1"); err != nil {
		t.Fatal(err)
	}
	first, err := s.Stat(n.CID)
	if err != nil {
		t.Fatal(err)
	}
	s.Touch(n.CID)
	if err := s.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	s = reopen(t, s)
	r, err := s.Stat(n.CID)
	if err != nil {
		t.Fatal(err)
	}
	if r.Node != n || !slices.Equal(r.Uses, []Use{{Public, ""}, {Job, "job1"}, {Job, "job2"}}) || !slices.Equal(r.Pins, []string{"job1"}) {
		t.Errorf("got %+v", r)
	}
	if !r.Added.Equal(first.Added) || !r.Used.After(first.Used) {
		t.Errorf("added %v then %v, used %v then %v", first.Added, r.Added, first.Used, r.Used)
	}
	if err := s.Forget(t.Context(), n.CID, "job1"); err != nil {
		t.Fatal(err)
	}
	if r, err := s.Stat(n.CID); err != nil || len(r.Uses) != 2 {
		t.Errorf("after Forget: %+v, %v", r, err)
	}
	if err := s.Delete(t.Context(), n.CID); err == nil {
		t.Error("a pinned root was deleted")
	}
	if err := s.Unpin(t.Context(), "job1"); err != nil {
		t.Fatal(err)
	}
	if err := s.Delete(t.Context(), n.CID); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Stat(n.CID); !errors.Is(err, ErrNotFound) {
		t.Errorf("after Delete: %v", err)
	}
	if roots, err := s.Roots(); err != nil || len(roots) != 0 {
		t.Errorf("roots: %v, %v", roots, err)
	}
	for _, tag := range []string{"a\x00b", string(random(maxTag + 1))} {
		if err := s.Record(t.Context(), n, Use{Job, tag}); err == nil {
			t.Errorf("the tag %.10q was taken", tag)
		}
		if err := s.Pin(t.Context(), n.CID, tag); err == nil {
			t.Errorf("the tag %.10q was taken by Pin", tag)
		}
	}
}

func TestATagIsNotAPrefix(t *testing.T) {
	s := openStore(t)
	n := s.add(t, "x")
	for _, tag := range []string{"job1", "job10"} {
		if err := s.Pin(t.Context(), n.CID, tag); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Unpin(t.Context(), "job1"); err != nil {
		t.Fatal(err)
	}
	if pins, err := s.Pins(); err != nil || !slices.Equal(pins, []Pin{{"job10", n.CID}}) {
		t.Errorf("got %v, %v", pins, err)
	}
}

func TestClassNames(t *testing.T) {
	for c, want := range map[Class]string{Public: "public", Job: "job", Result: "result", 9: "class(9)"} {
		if got := c.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestReleaseLeavesNeitherPinNorUse(t *testing.T) {
	s, ctx := openStore(t), t.Context()
	n := s.add(t, "kept for a while")
	for _, tag := range []string{"mine", "other"} {
		if err := errors.Join(s.Record(ctx, n, Use{Class: Result, Tag: tag}), s.Pin(ctx, n.CID, tag)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Release(ctx, "mine"); err != nil {
		t.Fatal(err)
	}
	root, err := s.Stat(n.CID)
	if err != nil || len(root.Uses) != 1 || root.Uses[0].Tag != "other" || len(root.Pins) != 1 || root.Pins[0] != "other" {
		t.Errorf("root %+v, %v; want the other's use and pin alone", root, err)
	}
}
