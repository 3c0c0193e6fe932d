package content

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
)

func TestFilesRoundTrip(t *testing.T) {
	s := openStore(t)
	rng := rand.New(rand.NewPCG(1, 2))
	for range 40 {
		want := make([]byte, rng.IntN(5<<20))
		for i := 0; i < len(want); i += 1 + rng.IntN(100) {
			want[i] = byte(rng.Uint32())
		}
		n, err := s.AddReader(t.Context(), iotest.HalfReader(bytes.NewReader(want)))
		if err != nil || n.Size != int64(len(want)) {
			t.Fatalf("added %d of %d bytes, %v", n.Size, len(want), err)
		}
		f, err := s.OpenFile(t.Context(), n.CID)
		if err != nil {
			t.Fatal(err)
		}
		if f.Size() != n.Size {
			t.Errorf("Size: got %d, want %d", f.Size(), n.Size)
		}
		if err := iotest.TestReader(io.NewSectionReader(f, 0, min(f.Size(), 3000)), want[:min(len(want), 3000)]); err != nil {
			t.Error(err)
		}
		got, err := io.ReadAll(f)
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("read %d bytes of %d, %v", len(got), len(want), err)
		}
		for range 20 { // anywhere, over the edges of chunks and of the file
			off := rng.Int64N(f.Size() + 10)
			buf := make([]byte, rng.IntN(2<<20))
			got, err := f.ReadAt(buf, off)
			whole := max(0, min(int64(len(buf)), f.Size()-off))
			if int64(got) != whole || (err == io.EOF) != (whole < int64(len(buf))) || !bytes.Equal(buf[:got], want[min(off, f.Size()):][:got]) {
				t.Fatalf("ReadAt %d of %d bytes at %d: %d, %v", len(buf), f.Size(), off, got, err)
			}
		}
		f.Close()
	}
}

func TestAddReaderPassesErrorsOn(t *testing.T) {
	s := openStore(t)
	boom := errors.New("boom")
	in := io.MultiReader(bytes.NewReader(pattern(3<<20)), iotest.ErrReader(boom))
	if _, err := s.AddReader(t.Context(), in); !errors.Is(err, boom) {
		t.Errorf("got %v, want the reader's error", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.AddReader(ctx, zeros{}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
}

func TestARealSourceTreeRoundTrips(t *testing.T) {
	src := filepath.Join(goroot(t), "src", "cmd", "go")
	s := openStore(t)
	var seen int64
	n, err := s.AddPath(t.Context(), src, AddOptions{Progress: func(b int64, _ int) { seen = b }})
	if err != nil {
		t.Fatal(err)
	}
	if seen != n.Size || s.tree(t, n.CID).Size() != n.Size {
		t.Errorf("progress says %d, the tree %d, the node %d", seen, s.tree(t, n.CID).Size(), n.Size)
	}
	if got, err := s.Lookup(t.Context(), n.CID); err != nil || got != n {
		t.Errorf("Lookup: got %+v, %v; want %+v", got, err, n)
	}
	dst := filepath.Join(t.TempDir(), "out")
	if err := s.Export(t.Context(), n.CID, dst, ExportOptions{}); err != nil {
		t.Fatal(err)
	}
	want, got := hostTree(t, src), hostTree(t, dst)
	if !slices.Equal(got, want) || len(want) < 500 {
		t.Errorf("%d files came out, %d went in", len(got), len(want))
	}
	again, err := openStore(t).AddPath(t.Context(), dst, AddOptions{})
	if err != nil || again != n {
		t.Errorf("added again: %+v, %v; want %+v", again, err, n)
	}
}

func goroot(t testing.TB) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// hostTree lists a folder with each file's bytes.
func hostTree(t testing.TB, dir string) (out []string) {
	t.Helper()
	err := fs.WalkDir(os.DirFS(dir), ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			out = append(out, p+"/")
			return err
		}
		b, err := os.ReadFile(filepath.Join(dir, p))
		out = append(out, p+"\x00"+string(b))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestAddPathTakes(t *testing.T) {
	dir := t.TempDir()
	for p, text := range map[string]string{".hidden": "h", "a b/ü": "x", "empty/.": "", "exe": "#!"} {
		if p == "empty/." {
			os.Mkdir(filepath.Join(dir, "empty"), 0o700)
			continue
		}
		os.MkdirAll(filepath.Dir(filepath.Join(dir, p)), 0o700)
		if err := os.WriteFile(filepath.Join(dir, p), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	s := openStore(t)
	n, err := s.AddPath(t.Context(), dir, AddOptions{})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{".hidden", "a b/", "a b/ü", "empty/", "exe"}
	if got := paths(s.tree(t, n.CID).Entries()); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	if viaLink, err := s.AddPath(t.Context(), link, AddOptions{}); err != nil || viaLink != n {
		t.Errorf("by a link to it: %+v, %v", viaLink, err)
	}
	file, err := s.AddPath(t.Context(), filepath.Join(dir, "exe"), AddOptions{})
	if err != nil || file != s.add(t, "#!") {
		t.Errorf("a single file: %+v, %v", file, err)
	}
}

func TestAddPathRefuses(t *testing.T) {
	long := strings.Repeat("x", 100)
	cases := []struct {
		name string
		make func(t *testing.T, dir string)
		want error
		says string
	}{
		{"a link to a file outside", func(t *testing.T, dir string) { symlink(t, "/etc/passwd", dir+"/sub/link") }, ErrRefused, "sub/link"},
		{"a link to a folder inside", func(t *testing.T, dir string) { symlink(t, ".", dir+"/sub/loop") }, ErrRefused, "sub/loop"},
		{"a named pipe", func(t *testing.T, dir string) { mkfifo(t, dir+"/sub/pipe") }, ErrRefused, "sub/pipe"},
		{"a socket", func(t *testing.T, dir string) { socket(t, dir+"/sub/s") }, ErrRefused, "sub/s"},
		{"a name that is not UTF-8", func(t *testing.T, dir string) { touch(t, dir+"/sub/\xff") }, ErrRefused, `\xff`},
		{"too many entries", func(t *testing.T, dir string) {
			for i := range 20 {
				touch(t, fmt.Sprintf("%s/sub/%d", dir, i))
			}
		}, ErrTooMany, "20"},
		{"too deep", func(t *testing.T, dir string) {
			if err := os.MkdirAll(dir+strings.Repeat("/d", maxLevel+2), 0o700); err != nil {
				t.Fatal(err)
			}
		}, ErrTooMany, "64"},
		{"a path that is too long", func(t *testing.T, dir string) {
			root, err := os.OpenRoot(dir)
			for range 45 {
				if err == nil {
					err = root.Mkdir(long, 0o700)
				}
				if err == nil {
					root, err = root.OpenRoot(long)
				}
			}
			if err != nil {
				t.Fatal(err)
			}
		}, ErrRefused, "4"},
		{"nothing there", func(t *testing.T, dir string) { os.RemoveAll(dir) }, fs.ErrNotExist, ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir() + "/in"
			if err := os.MkdirAll(dir+"/sub", 0o700); err != nil {
				t.Fatal(err)
			}
			c.make(t, dir)
			opts := AddOptions{MaxEntries: 200}
			if c.name == "too many entries" {
				opts.MaxEntries = 20
			}
			_, err := openStore(t).AddPath(t.Context(), dir, opts)
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want %v naming %q", err, c.want, c.says)
			}
		})
	}
	pipe := t.TempDir() + "/pipe"
	mkfifo(t, pipe)
	if _, err := openStore(t).AddPath(t.Context(), pipe, AddOptions{}); !errors.Is(err, ErrRefused) {
		t.Errorf("a pipe itself: got %v, want ErrRefused", err)
	}
}

// TestAFileThatChangesItsNatureIsRefused: what was looked at and what was opened
// must be the same thing.
func TestAFileThatChangesItsNatureIsRefused(t *testing.T) {
	dir := t.TempDir()
	touch(t, dir+"/seen")
	touch(t, dir+"/opened")
	os.Mkdir(dir+"/sub", 0o700)
	seen, err := os.Lstat(dir + "/seen")
	if err != nil {
		t.Fatal(err)
	}
	a := &pathAdder{adder: openStore(t).newAdder(t.Context(), nil), left: 10, limit: 10}
	f, err := os.Open(dir + "/opened")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.regular(f, seen, "opened"); !errors.Is(err, ErrRefused) {
		t.Errorf("a file: got %v, want ErrRefused", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.subdirectory(root, seen, entryAt{path: "sub"}); !errors.Is(err, ErrRefused) {
		t.Errorf("a directory: got %v, want ErrRefused", err)
	}
}

func symlink(t *testing.T, to, at string) {
	t.Helper()
	if err := os.Symlink(to, at); err != nil {
		t.Fatal(err)
	}
}

func mkfifo(t *testing.T, at string) {
	t.Helper()
	if err := syscall.Mkfifo(at, 0o600); err != nil {
		t.Fatal(err)
	}
}

func socket(t *testing.T, at string) {
	t.Helper()
	l, err := net.Listen("unix", at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
}

func touch(t *testing.T, at string) {
	t.Helper()
	if err := os.WriteFile(at, nil, 0o600); err != nil {
		if runtime.GOOS != "linux" {
			t.Skip("NOT CHECKED: this file system refuses such a name")
		}
		t.Fatal(err)
	}
}

// BenchmarkAddLarge adds 100 MB that were not there before.
func BenchmarkAddLarge(b *testing.B) {
	data := make([]byte, 100_000_000)
	rand.NewChaCha8([32]byte{}).Read(data)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		for j := 0; j < len(data); j += 1 << 20 {
			data[j] = byte(i)
		}
		s := openStore(b)
		if _, err := s.AddReader(b.Context(), bytes.NewReader(data)); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		os.RemoveAll(s.dir)
		b.StartTimer()
	}
}

// BenchmarkAddManySmall adds the Go source tree, about 11,000 files.
func BenchmarkAddManySmall(b *testing.B) {
	src := filepath.Join(goroot(b), "src")
	b.ReportAllocs()
	for b.Loop() {
		s := openStore(b)
		n, err := s.AddPath(b.Context(), src, AddOptions{})
		if err != nil {
			b.Fatal(err)
		}
		b.SetBytes(n.Size)
		b.StopTimer()
		os.RemoveAll(s.dir)
		b.StartTimer()
	}
}

// BenchmarkRead reads 64 MiB in order, 1 MiB at a time.
func BenchmarkRead(b *testing.B) {
	s := openStore(b)
	data := random(64 << 20)
	n := s.addBytes(b, data)
	tree := s.tree(b, n.CID)
	buf := make([]byte, 1<<20)
	b.SetBytes(n.Size)
	for b.Loop() {
		for off := int64(0); off < n.Size; off += int64(len(buf)) {
			if _, err := tree.ReadAt(b.Context(), "", buf, off); err != nil {
				b.Fatal(err)
			}
		}
	}
}
