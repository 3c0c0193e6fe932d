package executor

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// tour builds the guest testdata/guests/tour, once.
var buildTour = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "tour")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	out := filepath.Join(dir, "tour.wasm")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", out, "./testdata/guests/tour")
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0")
	if b, err := cmd.CombinedOutput(); err != nil {
		return b, err
	}
	return os.ReadFile(out)
})

func tour(t testing.TB) Program {
	t.Helper()
	b, err := buildTour()
	if err != nil {
		t.Fatalf("build the Go guest: %v\n%s", err, b)
	}
	return program(b)
}

// TestGuestsMatchTheirSources rebuilds the committed guests.
func TestGuestsMatchTheirSources(t *testing.T) {
	const dir = "testdata/guests"
	sources, err := filepath.Glob(dir + "/*.[cw]*")
	if err != nil || len(sources) == 0 {
		t.Fatalf("no guests: %v", err)
	}
	for _, src := range sources {
		out := filepath.Join(t.TempDir(), "out.wasm")
		var cmd *exec.Cmd
		switch filepath.Ext(src) {
		case ".wat":
			cmd = exec.Command("wat2wasm", src, "-o", out)
		case ".c":
			cmd = exec.Command("clang", "--target=wasm32-wasi", "-Os", "-s", "-o", out, src)
		default:
			continue
		}
		t.Run(filepath.Base(src), func(t *testing.T) {
			if _, err := exec.LookPath(cmd.Args[0]); err != nil {
				t.Skipf("NOT CHECKED that %s is what its source says: no %s here", src, cmd.Args[0])
			}
			if b, err := cmd.CombinedOutput(); err != nil {
				t.Skipf("NOT CHECKED that %s is what its source says: %v: %s", src, err, b)
			}
			got, _ := os.ReadFile(out)
			want, err := os.ReadFile(strings.TrimSuffix(src, filepath.Ext(src)) + ".wasm")
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("the committed module differs from its source (%v): run %s", err, strings.Join(cmd.Args, " "))
			}
		})
	}
}
