package node

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/mustermesh/muster/internal/content"
	"github.com/mustermesh/muster/proto"
)

// newTestOutput makes an output over the store of a node that does not run.
func newTestOutput(t *testing.T) (*output, *content.Store, string) {
	t.Helper()
	cfg := testConfig(t, randomNetwork())
	n, closeNode, err := open(t.Context(), cfg, testLog(t), Parts{}, false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(closeNode)
	return newOutput(t.Context(), n.content, cfg.tempPath()), n.content, cfg.tempPath()
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
	sub, err := c.Sub(t.Context(), n.CID, pathStdout)
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
