package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"connectrpc.com/connect"

	"github.com/mustermesh/muster/node/api"
)

// An oldNode knows nothing of newer questions.
type oldNode struct{ api.UnimplementedMusterHandler }

func TestDoctorWithoutAnAnswerSaysWhatIsMissing(t *testing.T) {
	for _, c := range []struct {
		name  string
		setup func(t *testing.T, s *stage)
		says  []string
	}{
		{"an old daemon", func(t *testing.T, s *stage) { s.serveInstead(t, oldNode{}) },
			[]string{"PROBLEM  the daemon is of an older version", "not examined: version, clock, disk,"}},
		{"nobody answers", func(t *testing.T, s *stage) { t.Setenv("FAKE_API", "") },
			[]string{"PROBLEM  nothing answers in", "(the node does not answer)"}},
		{"a config that cannot be read", func(t *testing.T, s *stage) {
			if err := os.WriteFile(filepath.Join(os.Getenv("MUSTER_HOME"), "config.yaml"), []byte("netwrok: x"), 0o600); err != nil {
				t.Fatal(err)
			}
		}, []string{"PROBLEM", "unknown key `netwrok`", "-> correct the file"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStage(t, false, strings.NewReader(""), false)
			c.setup(t, s)
			if got := await(t, s.run("doctor"), "the end"); got != exitError1 {
				t.Errorf("got exit code %d, want %d", got, exitError1)
			}
			for _, want := range c.says {
				if got := s.out.String(); !strings.Contains(got, want) {
					t.Errorf("got %q, want %q in it", got, want)
				}
			}
			if got := s.err.String(); !strings.Contains(got, "muster: 1 problem found") {
				t.Errorf("got %q, want the number of problems", got)
			}
		})
	}
}

func TestTheArchiveIsPrivateAndWhole(t *testing.T) {
	path := filepath.Join(t.TempDir(), "help.tar.gz")
	s := newStage(t, false, strings.NewReader(""), false)
	if got := await(t, s.run("doctor", "--bundle", path), "the end"); got != exitOK {
		t.Fatalf("got exit code %d: %s", got, s.err.String())
	}
	if got := s.err.String(); !strings.Contains(got, "it holds doctor.json, config.yaml\nno keys are in it") {
		t.Errorf("got %q, want what is in the archive", got)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
		t.Errorf("got mode %v, %v, want 0600", info.Mode(), err)
	}
	if got := await(t, s.run("doctor", "--bundle", path), "the end"); got != exitError1 || !strings.Contains(s.err.String(), "exists already") {
		t.Errorf("got exit code %d, want the file kept: %s", got, s.err.String())
	}
	if err := errors.Join(os.WriteFile(path, []byte("old"), 0o644), os.Chmod(path, 0o644)); err != nil {
		t.Fatal(err)
	}
	if got := await(t, s.run("doctor", "--bundle", path, "--force"), "the end"); got != exitOK {
		t.Errorf("got exit code %d with --force", got)
	}
	again, err := os.ReadFile(path)
	if info, serr := os.Stat(path); err != nil || serr != nil || !bytes.Equal(again, whole) || info.Mode() != 0o600 {
		t.Errorf("got %d bytes of mode %v, want the archive in place of the old file", len(again), info.Mode())
	}
}

// A brokenBundle breaks off.
type brokenBundle struct{ *fakeNode }

func (brokenBundle) Bundle(_ context.Context, _ *connect.Request[api.BundleRequest], s *connect.ServerStream[api.Chunk]) error {
	return errors.Join(s.Send(&api.Chunk{Data: []byte("half")}), connect.NewError(connect.CodeInternal, errors.New("disk full")))
}

func TestHalfAnArchiveIsNotLeftBehind(t *testing.T) {
	dir := t.TempDir()
	old := filepath.Join(dir, "old")
	if err := os.WriteFile(old, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := newStage(t, false, strings.NewReader(""), false)
	s.serveInstead(t, brokenBundle{s.node})
	for _, args := range [][]string{{"doctor", "--bundle", filepath.Join(dir, "new")}, {"doctor", "--force", "--bundle", old}} {
		if got := await(t, s.run(args...), "the end"); got != exitError1 {
			t.Errorf("%v: got exit code %d, want %d", args, got, exitError1)
		}
	}
	if got := s.err.String(); !strings.Contains(got, "disk full") {
		t.Errorf("got %q, want why", got)
	}
	left, err := filepath.Glob(filepath.Join(dir, "*"))
	hidden, _ := filepath.Glob(filepath.Join(dir, ".m*"))
	if b, rerr := os.ReadFile(old); err != nil || rerr != nil || string(b) != "old" || len(left) != 1 || len(hidden) != 0 {
		t.Errorf("got %q and %q in the folder, and %q in the old file; want that alone, unchanged", left, hidden, b)
	}
}

func TestAFileThatAppearsMeanwhileIsKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x")
	err := createPrivate(path, false, func(io.Writer) error {
		return os.WriteFile(path, []byte("theirs"), 0o600)
	})
	if b, rerr := os.ReadFile(path); err == nil || rerr != nil || string(b) != "theirs" {
		t.Errorf("got %v and %q in the file, want an error and theirs", err, b)
	}
}

func TestTheArchiveIsNotForAScreen(t *testing.T) {
	s := newStage(t, false, strings.NewReader(""), true)
	if got := await(t, s.run("doctor", "--bundle", "-"), "the end"); got != exitUsage {
		t.Errorf("got exit code %d, want %d", got, exitUsage)
	}
	if got := s.out.String(); got != "" {
		t.Errorf("got %q on the screen", got)
	}
}
