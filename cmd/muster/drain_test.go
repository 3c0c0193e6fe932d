package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"connectrpc.com/connect"

	"github.com/mustermesh/muster/node/api"
)

// serveInstead puts another node behind the stage than its fakeNode.
func (s *stage) serveInstead(t *testing.T, h api.MusterHandler) {
	t.Helper()
	dir, err := os.MkdirTemp("", "m") // t.TempDir is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket := filepath.Join(dir, "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle(api.NewMusterHandler(h))
	srv, done := &http.Server{Handler: mux}, make(chan struct{})
	go func() { // ends with the server
		defer close(done)
		_ = srv.Serve(l)
	}()
	t.Cleanup(func() {
		srv.Close()
		<-done
	})
	t.Setenv("FAKE_API", socket)
}

// A slowDrain has as many executions running as answers say, one answer a call;
// the last stays.
type slowDrain struct {
	*fakeNode
	answers []uint32
	asked   []*api.DrainRequest
	expired bool // answers that the wait was too short with an error
}

func (d *slowDrain) Drain(_ context.Context, r *connect.Request[api.DrainRequest]) (*connect.Response[api.DrainResponse], error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked = append(d.asked, r.Msg)
	n := d.answers[0]
	if len(d.answers) > 1 {
		d.answers = d.answers[1:]
	}
	if d.expired && r.Msg.Wait && n > 0 {
		return nil, connect.NewError(connect.CodeDeadlineExceeded, errors.New("still running"))
	}
	return connect.NewResponse(&api.DrainResponse{Draining: true, Running: n}), nil
}

func TestDrainWaitsUntilNothingRuns(t *testing.T) {
	for _, expired := range []bool{false, true} {
		s := newStage(t, false, strings.NewReader(""), false)
		d := &slowDrain{fakeNode: s.node, answers: []uint32{2, 1, 0}, expired: expired}
		s.serveInstead(t, d)
		if got := await(t, s.run("node", "drain", "--wait"), "the end"); got != exitOK {
			t.Fatalf("got exit code %d: %s", got, s.err.String())
		}
		if got := s.err.String(); !strings.Contains(got, "draining: 2 executions run\n") {
			t.Errorf("got %q, want how many run", got)
		}
		if got := s.out.String(); !strings.HasPrefix(got, "drained: ") {
			t.Errorf("got %q, want that it is drained", got)
		}
		if first, last := d.asked[0], d.asked[len(d.asked)-1]; len(d.asked) != 3 || first.Wait || !last.Wait || !last.On || last.TimeoutMs != 1000 {
			t.Errorf("got requests %v", d.asked)
		}
	}
}

func TestDrainGivesUpWaitingInTime(t *testing.T) {
	s := newStage(t, false, strings.NewReader(""), false)
	d := &slowDrain{fakeNode: s.node, answers: []uint32{1}}
	s.serveInstead(t, d)
	if got := await(t, s.run("node", "drain", "--wait", "--timeout", "20ms"), "the end"); got != exitTimeout {
		t.Errorf("got exit code %d, want %d", got, exitTimeout)
	}
	if got := s.err.String(); !strings.Contains(got, "1 execution runs; the node takes nothing new") {
		t.Errorf("got %q, want what still runs", got)
	}
	if ms := d.asked[len(d.asked)-1].TimeoutMs; ms < 1 || ms > 20 {
		t.Errorf("the node was asked to wait %d ms, want at most what was left of 20", ms)
	}
}

func TestAnInterruptEndsTheWaitForADrain(t *testing.T) {
	s := newStage(t, false, strings.NewReader(""), false)
	s.serveInstead(t, &slowDrain{fakeNode: s.node, answers: []uint32{1}})
	code := s.run("node", "drain", "--wait")
	s.send(t)
	if got := await(t, code, "the end"); got != exitError1 {
		t.Errorf("got exit code %d, want %d", got, exitError1)
	}
	if got := s.err.String(); !strings.Contains(got, "stopped by interrupt") {
		t.Errorf("got %q, want why it ended", got)
	}
}
