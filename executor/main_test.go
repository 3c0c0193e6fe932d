package executor

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mustermesh/muster/proto"
)

func TestMain(m *testing.M) {
	guestHook = probe
	ChildMain()
	if len(os.Args) > 1 && os.Args[1] == doomedParentArg {
		doomedParent()
	}
	code := m.Run()
	if childDir != "" {
		os.RemoveAll(childDir)
	}
	os.Exit(code)
}

func testConfig() Config {
	return Config{
		MaxModule: 64 << 20, MaxMemory: 512 << 20, MaxDisk: 256 << 20, MaxChildren: 4,
		IdleTimeout: 30 * time.Second, PrepareTimeout: 5 * time.Minute,
	}
}

func openTest(t testing.TB, change func(*Config)) *WASM {
	t.Helper()
	cfg := testConfig()
	if change != nil {
		change(&cfg)
	}
	w, err := OpenWASM(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	return w
}

func peer(b byte) (p proto.PeerID) {
	p[0] = b
	return p
}

// program makes a Program of bytes.
func program(module []byte) Program {
	return Program{CID: proto.RawCID(module), Open: func(context.Context) ([]byte, error) { return module, nil }}
}

// wat gives a committed guest, testdata/guests/name.wasm.
func wat(t testing.TB, name string) Program {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "guests", name+".wasm"))
	if err != nil {
		t.Fatal(err)
	}
	return program(b)
}

func task(p Program) Task {
	return Task{
		Owner: peer(1), Program: p,
		Limits: Limits{Memory: 64 << 20, Disk: 16 << 20, Timeout: time.Minute},
	}
}

// A memTree is a Tree in memory: by path, the bytes of files; nil is a
// directory.
type memTree map[string][]byte

func (m memTree) Entries(context.Context) ([]Entry, error) {
	var list []Entry
	for _, p := range slices.Sorted(maps.Keys(m)) {
		list = append(list, Entry{Path: p, Size: int64(len(m[p])), Dir: m[p] == nil})
	}
	return list, nil
}

func (m memTree) ReadAt(_ context.Context, path string, p []byte, off int64) (int, error) {
	return bytes.NewReader(m[path]).ReadAt(p, off)
}

// A memSink keeps everything.
type memSink struct {
	stdout, stderr bytes.Buffer
	order          []string // of outputs; directories end in "/"
	files          map[string]string
}

func (s *memSink) Stdout(p []byte) error { s.stdout.Write(p); return nil }
func (s *memSink) Stderr(p []byte) error { s.stderr.Write(p); return nil }
func (s *memSink) Dir(p string) error    { s.order = append(s.order, p+"/"); return nil }

func (s *memSink) File(p string, size int64, r io.Reader) error {
	b, err := io.ReadAll(r)
	if s.files == nil {
		s.files = map[string]string{}
	}
	s.order = append(s.order, p)
	s.files[p] = string(b)
	return err
}

// dump is everything in one string, for comparing.
func (s *memSink) dump() string {
	var b strings.Builder
	b.WriteString(s.stdout.String() + "\x00" + s.stderr.String() + "\x00")
	for _, p := range s.order {
		b.WriteString(p + "\x00" + s.files[p] + "\x00")
	}
	return b.String()
}

// start begins t, keeping what it produces.
func start(t testing.TB, x Executor, task Task) (Execution, *memSink) {
	t.Helper()
	sink := &memSink{}
	if task.Sink == nil {
		task.Sink = sink
	}
	e, err := x.Start(t.Context(), task)
	if err != nil {
		t.Fatalf("start: %v", err)
	}
	return e, sink
}

// mustRun runs t to its end.
func mustRun(t testing.TB, x Executor, task Task) (Result, *memSink) {
	t.Helper()
	e, sink := start(t, x, task)
	res, err := e.Wait(t.Context())
	if err != nil {
		t.Fatalf("wait: %v", err)
	}
	return res, sink
}
