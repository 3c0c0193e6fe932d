package main

import (
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/mustermesh/muster/node/api"
)

// A hasty node plays a show step by step, a step for each message, and goes away
// in the middle of each of its first streams.
type hasty struct {
	*fakeNode
	show     *show
	breaks   int64
	streams  atomic.Int64
	describe atomic.Int64
}

func (h *hasty) WatchJob(_ context.Context, _ *connect.Request[api.WatchJobRequest], s *connect.ServerStream[api.WatchJobResponse]) error {
	n := h.streams.Add(1)
	from, to := h.show.end*(n-1)/(h.breaks+1), h.show.end*n/(h.breaks+1)
	for ms := from; ms < to; ms += 500 {
		if err := s.Send(&api.WatchJobResponse{Job: h.show.summary(ms), Changed: h.show.at(ms)}); err != nil {
			return err
		}
	}
	if n <= h.breaks {
		panic(http.ErrAbortHandler) // the connection is torn off
	}
	return s.Send(&api.WatchJobResponse{Job: h.show.summary(h.show.end), Changed: h.show.at(h.show.end), Ended: true})
}

func (h *hasty) DescribeJob(context.Context, *connect.Request[api.DescribeJobRequest]) (*connect.Response[api.DescribeJobResponse], error) {
	h.describe.Add(1)
	return connect.NewResponse(&api.DescribeJobResponse{Job: h.show.summary(0)}), nil
}

// onStage is a stage whose node is another handler.
func onStage(t *testing.T, h api.MusterHandler, stdin io.Reader, terminal bool) *stage {
	t.Helper()
	s := newStage(t, false, stdin, terminal)
	socket := filepath.Join(os.Getenv("MUSTER_HOME"), "h")
	t.Cleanup(serveOn(t, h, socket))
	t.Setenv("FAKE_API", socket)
	t.Setenv("NO_COLOR", "1")
	t.Setenv("LC_ALL", "C.UTF-8")
	s.app.size = func() (int, int) { return 80, 24 }
	return s
}

func TestAWatchSurvivesARestartOfTheDaemon(t *testing.T) {
	h := &hasty{fakeNode: newFakeNode(), show: newShow(12, 3, showBegin), breaks: 2}
	s := onStage(t, h, strings.NewReader(""), true)
	if got := await(t, s.run("job", "watch", "bb"), "the end"); got != exitOK {
		t.Fatalf("got exit code %d: %q", got, s.err.String())
	}
	if h.streams.Load() != 3 || h.describe.Load() != 3 {
		t.Errorf("got %d streams and %d descriptions, want 3 of each", h.streams.Load(), h.describe.Load())
	}
	screen, after, found := strings.Cut(s.err.String(), "\x1b[?25h\x1b[?1049l")
	if !found || !strings.HasPrefix(screen, "\x1b[?1049h\x1b[?25l") {
		t.Fatalf("got %q, want a screen that is opened and left", s.err.String())
	}
	for _, want := range []string{"completed", "100%  12 of 12 tasks done", "█ executor", "12 of 12 tasks verified"} {
		if strings.Count(after, want) != 1 {
			t.Errorf("got %q once left, want %q once in it", after, want)
		}
	}
	if strings.Contains(after, "\x1b") || s.out.String() != "" {
		t.Errorf("got %q and on standard output %q, want plain words and nothing", after, s.out.String())
	}
}

func TestAWatchGivesUpInTheEnd(t *testing.T) {
	h := &hasty{fakeNode: newFakeNode(), show: newShow(12, 3, showBegin), breaks: 1000}
	s := onStage(t, h, strings.NewReader(""), false)
	code := await(t, s.run("job", "watch", "bb", "--retry", "600ms"), "the end")
	if err := s.err.String(); code == exitOK || !strings.Contains(err, "gave up after") || h.streams.Load() < 2 {
		t.Errorf("got exit code %d after %d streams: %q", code, h.streams.Load(), err)
	}
}

func TestWatchesAreLeftByAKeyAndTheJobGoesOn(t *testing.T) {
	for _, key := range []string{"q", "\x03"} {
		n := &showNode{newFakeNode(), newShow(12, 3, time.Now().UnixMilli())}
		s := onStage(t, n, strings.NewReader(key), true)
		if got := await(t, s.run("job", "watch", "bb"), "the end"); got != exitOK {
			t.Errorf("got exit code %d", got)
		}
		if got := s.err.String(); !strings.Contains(got, "goes on; `muster job watch") || !strings.Contains(got, "\x1b[?1049l") {
			t.Errorf("got %q, want the screen left and the job going on", got)
		}
	}
}

func TestTopIsLeftByAKey(t *testing.T) {
	n := &showNode{newFakeNode(), newShow(12, 3, time.Now().UnixMilli())}
	in, typist := io.Pipe()
	s := onStage(t, n, in, true)
	code := s.run("top")
	deadline := time.Now().Add(30 * time.Second)
	for !strings.Contains(s.out.String(), "Running here for others") {
		if time.Now().After(deadline) {
			t.Fatalf("got %q, want a screen", s.out.String())
		}
		select {
		case got := <-code:
			t.Fatalf("got exit code %d before a key: %q", got, s.err.String())
		case <-time.After(20 * time.Millisecond):
		}
	}
	if _, err := typist.Write([]byte("xq")); err != nil {
		t.Fatal(err)
	}
	if got := await(t, code, "the end"); got != exitOK || !strings.HasSuffix(s.out.String(), "\x1b[?25h\x1b[?1049l") {
		t.Errorf("got exit code %d, and at last %.80q", got, s.out.String())
	}
}
