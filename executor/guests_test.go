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
var buildTour = sync.OnceValues(func() ([]byte, error) { return buildGo("./testdata/guests/tour") })

// buildGo gives the module of a Go program, or what the compiler says.
func buildGo(pkg string) ([]byte, error) {
	dir, err := os.MkdirTemp("", "guest")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	out := filepath.Join(dir, "guest.wasm")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", out, pkg)
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0")
	if b, err := cmd.CombinedOutput(); err != nil {
		return b, err
	}
	return os.ReadFile(out)
}

func tour(t testing.TB) Program { return goGuest(t, buildTour) }

func goGuest(t testing.TB, build func() ([]byte, error)) Program {
	t.Helper()
	b, err := build()
	if err != nil {
		t.Fatalf("build the Go guest: %v\n%s", err, b)
	}
	return program(b)
}

// buildProgress builds the guest e2e/guests/progress, once.
var buildProgress = sync.OnceValues(func() ([]byte, error) { return buildGo("../e2e/guests/progress") })

// childDir holds the binary that is nothing but a sandbox; TestMain removes it.
var childDir string

var buildChild = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "child")
	if err != nil {
		return nil, err
	}
	childDir = dir
	if err := os.Chmod(dir, 0o755); err != nil { // sandboxes of root run as nobody
		return nil, err
	}
	cmd := exec.Command("go", "build", "-o", filepath.Join(dir, "child"), "./testdata/child")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	return cmd.CombinedOutput()
})

// plainChild has sandboxes be another binary than this one.
func plainChild(t testing.TB) func(*Config) {
	t.Helper()
	if b, err := buildChild(); err != nil {
		t.Fatalf("build the child: %v\n%s", err, b)
	}
	return func(c *Config) { c.ChildPath = filepath.Join(childDir, "child") }
}

// quickChild is for tests with guests written in Go: they are large, and take a
// minute to compile in a child that looks for races.
func quickChild(t testing.TB) func(*Config) {
	if raceEnabled {
		return plainChild(t)
	}
	return nil
}

func TestSandboxesOfAnotherBinary(t *testing.T) {
	hooked.Store(false) // then it need not be in this one
	defer hooked.Store(true)
	if res, _ := mustRun(t, openTest(t, plainChild(t)), task(wat(t, "noop"))); res.Outcome != Exited {
		t.Errorf("got %+v", res)
	}
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
