package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect"

	"github.com/mustermesh/muster/node/api"
)

var errBroken = connect.NewError(connect.CodeUnavailable, errors.New("broken"))

// A scripted source gives one connection after the other.
type scripted struct {
	connections [][]step
	asked       []*api.JobLogsRequest
}

// A step is a chunk after a while, or the error that ends the connection.
type step struct {
	after time.Duration
	chunk *api.LogChunk
	err   error
}

func (s *scripted) open(ctx context.Context, req *api.JobLogsRequest) (logStream, error) {
	s.asked = append(s.asked, req)
	if len(s.connections) == 0 {
		return nil, errBroken
	}
	c := &scriptedStream{ctx: ctx, steps: s.connections[0]}
	s.connections = s.connections[1:]
	return c, nil
}

type scriptedStream struct {
	ctx   context.Context
	steps []step
	now   step
}

func (s *scriptedStream) Receive() bool {
	if len(s.steps) == 0 {
		s.now = step{}
		return false
	}
	s.now, s.steps = s.steps[0], s.steps[1:]
	select {
	case <-time.After(s.now.after):
	case <-s.ctx.Done():
		s.now = step{err: s.ctx.Err()}
	}
	return s.now.err == nil
}

func (s *scriptedStream) Msg() *api.LogChunk { return s.now.chunk }
func (s *scriptedStream) Err() error         { return s.now.err }
func (s *scriptedStream) Close() error       { return nil }

func said(task uint32, offset uint64, data string) *api.LogChunk {
	return &api.LogChunk{Task: task, Offset: offset, Data: []byte(data), Execution: "e1"}
}

// followed runs a follow in virtual time, and gives what it wrote and asked for.
func followed(t *testing.T, req *api.JobLogsRequest, prefix bool, connections ...[]step) (out, stderr string, asked []*api.JobLogsRequest, err error) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var o, e bytes.Buffer
		s := &scripted{connections: connections}
		f := &follow{source: s, out: &o, err: &e, req: req, prefix: prefix}
		err = f.run(t.Context(), retry{limit: time.Minute})
		out, stderr, asked = o.String(), e.String(), s.asked
	})
	return out, stderr, asked, err
}

func TestLogsWaitForAsLongAsNothingIsWritten(t *testing.T) {
	out, stderr, asked, err := followed(t, &api.JobLogsRequest{Follow: true}, false, []step{
		{0, said(0, 0, "before\n"), nil},
		{10 * time.Minute, said(0, 7, "after\n"), nil},
		{72 * time.Hour, said(0, 13, "much later\n"), nil},
	})
	if out != "before\nafter\nmuch later\n" || stderr != "" || len(asked) != 1 || err != nil {
		t.Errorf("got %q, %q, %d connections, %v", out, stderr, len(asked), err)
	}
}

func TestLogsGoOnWhereAConnectionBroke(t *testing.T) {
	for _, c := range []struct {
		name        string
		task        int64
		connections [][]step
		offsets     []uint64 // that were asked for
		out         string
	}{
		{"one task is asked for from its offset", 3, [][]step{
			{{0, said(3, 0, "one\n"), nil}, {time.Hour, nil, errBroken}},
			{{time.Second, said(3, 4, "two\n"), nil}},
		}, []uint64{0, 4}, "one\ntwo\n"},
		{"of several what is known is left out", allTasks, [][]step{
			{{0, said(0, 0, "a1\n"), nil}, {0, said(1, 0, "b1\n"), nil}, {0, nil, errBroken}},
			{{0, said(0, 0, "a1\na2\n"), nil}, {0, said(1, 0, "b"), nil}, {0, said(1, 1, "1\nb2\n"), nil}},
		}, []uint64{0, 0}, "a1\nb1\na2\nb2\n"},
		{"twice", 0, [][]step{
			{{0, said(0, 0, "1"), nil}, {0, nil, errBroken}}, {{0, nil, errBroken}}, {{0, said(0, 1, "2"), nil}, {0, nil, errBroken}}, {{0, said(0, 2, "3"), nil}},
		}, []uint64{0, 1, 1, 2}, "123"},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, stderr, asked, err := followed(t, &api.JobLogsRequest{Follow: true, Task: c.task}, false, c.connections...)
			if out != c.out || stderr != "" || err != nil {
				t.Errorf("got %q, %q, %v, want %q", out, stderr, err, c.out)
			}
			var offsets []uint64
			for _, r := range asked {
				offsets = append(offsets, r.Offset)
			}
			if fmt.Sprint(offsets) != fmt.Sprint(c.offsets) {
				t.Errorf("got offsets %v asked for, want %v", offsets, c.offsets)
			}
		})
	}
}

func TestLogsSayWhatIsMissingAndWhatIsNotVerified(t *testing.T) {
	live := func(c *api.LogChunk, execution string) *api.LogChunk {
		c.Live, c.Execution = true, execution
		return c
	}
	cut := func(c *api.LogChunk, n uint64) *api.LogChunk {
		c.Cut = n
		return c
	}
	const raw = "[what running tasks write is shown as their providers send it; it is not verified yet]\n"
	for _, c := range []struct {
		name        string
		steps       []step
		out, stderr string
	}{
		{"live output is said to be so once", []step{{0, live(said(0, 0, "a"), "e1"), nil}, {0, live(said(1, 0, "b"), "e1"), nil}}, "ab", raw},
		{"a beginning that was not kept", []step{{0, cut(said(3, 12_900_000, "end"), 12_900_000), nil}}, "end", "[task 3: 12 MiB not kept]\n"},
		{"a gap nobody mentioned", []step{{0, said(3, 0, "a"), nil}, {0, said(3, 1025, "b"), nil}}, "ab", "[task 3: 1.0 KiB not kept]\n"},
		{"nothing but a cut", []step{{0, cut(&api.LogChunk{Task: 3, Offset: 2048}, 2048), nil}}, "", "[task 3: 2.0 KiB not kept]\n"},
		{"a note", []step{{0, &api.LogChunk{Note: "task 2 begins again\x1b[2J"}, nil}}, "", "[task 2 begins again?[2J]\n"},
		{"another execution from its beginning", []step{{0, live(said(0, 0, "lies"), "e1"), nil}, {0, live(said(0, 2, "es!"), "e1"), nil}, {0, live(said(0, 0, "x"), "e2"), nil}}, "lies!x", raw +
			"[task 0: what was shown came from execution e1, which did not make the result; here is the output of execution e2]\n"},
		{"the verified one from its beginning", []step{{0, live(said(0, 0, "lies"), "e1"), nil}, {0, &api.LogChunk{Execution: "e2", Data: []byte("truth")}, nil}}, "liestruth", raw +
			"[task 0: what was shown came from execution e1, which did not make the result; here is the verified output]\n"},
		{"the verified one from where it was", []step{{0, live(said(0, 0, "tr"), "e1"), nil}, {0, &api.LogChunk{Execution: "e2", Offset: 2, Data: []byte("uth")}, nil}}, "truth", raw},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, stderr, _, err := followed(t, &api.JobLogsRequest{Follow: true, Task: allTasks}, false, c.steps)
			if out != c.out || stderr != c.stderr || err != nil {
				t.Errorf("got %q, %q, %v\nwant %q, %q", out, stderr, err, c.out, c.stderr)
			}
		})
	}
}

func TestPrefixesNeverTearALine(t *testing.T) {
	long := strings.Repeat("x", maxPartial+1)
	out, _, _, err := followed(t, &api.JobLogsRequest{Task: allTasks}, true, []step{
		{0, said(0, 0, "a1\na"), nil}, {0, said(12, 0, "b"), nil}, {0, said(0, 4, "2\n"), nil}, {0, said(1, 0, long), nil}, {0, said(0, 6, "end"), nil},
	})
	want := "   0 | a1\n   0 | a2\n   1 | " + long + "\n   0 | end\n  12 | b\n"
	if out != want || err != nil {
		t.Errorf("got %.60q…, %v, want %.60q…", out, err, want)
	}
}

func TestWhatIsNotALostConnectionEndsTheLogs(t *testing.T) {
	full := errors.New("no space left")
	s := &scripted{connections: [][]step{{{0, said(0, 0, "x"), nil}}}}
	f := &follow{source: s, out: failing{full}, err: &bytes.Buffer{}, req: &api.JobLogsRequest{}}
	if err := f.run(t.Context(), retry{limit: time.Minute}); !errors.Is(err, full) || len(s.asked) != 1 {
		t.Errorf("got %v after %d connections, want %v after one", err, len(s.asked), full)
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

func TestARetryIsPatientUpToItsLimit(t *testing.T) {
	refused := connect.NewError(connect.CodeNotFound, errors.New("no such job"))
	for _, c := range []struct {
		name  string
		limit time.Duration
		ask   func(n int, heard func()) error
		tries int
		took  time.Duration
		is    error
	}{
		{"nothing ever came", time.Minute, func(int, func()) error { return errBroken }, 1, 0, errBroken},
		{"no second try", 0, func(_ int, heard func()) error { heard(); return errBroken }, 1, 0, errBroken},
		{"another error", time.Minute, func(_ int, heard func()) error { heard(); return errors.New("x") }, 1, 0, nil},
		{"back after three tries", time.Minute, func(n int, heard func()) error {
			if heard(); n == 4 {
				return nil
			}
			return errBroken
		}, 4, 1750 * time.Millisecond, nil},
		{"away for good", time.Minute, func(n int, heard func()) error {
			if n == 1 {
				heard()
			}
			return errBroken
		}, 34, time.Minute, errBroken},
		{"up and down again all the time", time.Minute, func(n int, heard func()) error { heard(); return errBroken }, 34, time.Minute, errBroken},
		{"long connections in between", time.Minute, func(n int, heard func()) error {
			heard()
			time.Sleep(time.Minute) // of virtual time: how long the connection lasts
			if n == 5 {
				return refused
			}
			return errBroken
		}, 5, 5*time.Minute + 4*retryFirst, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begin, n, told := time.Now(), 0, 0
				err := retry{limit: c.limit, lost: func(time.Time) { told++ }}.do(t.Context(), func(_ context.Context, heard func()) error {
					n++
					return c.ask(n, heard)
				})
				if n != c.tries || time.Since(begin) != c.took || told != n-1 && told != n {
					t.Errorf("got %d tries in %v, told %d times; want %d in %v", n, time.Since(begin), told, c.tries, c.took)
				}
				if c.is != nil && !errors.Is(err, c.is) {
					t.Errorf("got %v, want %v", err, c.is)
				}
			})
		})
	}
}

func TestARetryEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		err := retry{limit: time.Hour}.do(ctx, func(_ context.Context, heard func()) error { heard(); return errBroken })
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want the end of ctx", err)
		}
	})
}

func TestATailTakesEachEventOnceAndSaysWhatIsMissing(t *testing.T) {
	for _, c := range []struct {
		name  string
		after uint64
		all   bool
		come  []*api.Event
		want  string
	}{
		{"one after the other", 0, true, []*api.Event{{Sequence: 1}, {Sequence: 2}}, "1 2"},
		{"those of one job have numbers in between", 0, false, []*api.Event{{Sequence: 1}, {Sequence: 9}}, "1 9"},
		{"known ones again", 2, true, []*api.Event{{Sequence: 2}, {Sequence: 3}, {Sequence: 3}}, "3"},
		{"a gap that is marked", 3, false, []*api.Event{{Sequence: 7, Gap: true}}, "gap 7"},
		{"a gap that is not", 3, true, []*api.Event{{Sequence: 5}}, "gap 5"},
		{"the oldest that is kept", 0, true, []*api.Event{{Sequence: 5}}, "5"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []string
			tail := &tail{after: c.after, all: c.all,
				take: func(e *api.Event) error { got = append(got, fmt.Sprint(e.Sequence)); return nil },
				gap:  func() { got = append(got, "gap") },
			}
			for _, e := range c.come {
				if err := tail.event(e); err != nil {
					t.Fatal(err)
				}
			}
			if s := strings.Join(got, " "); s != c.want {
				t.Errorf("got %q, want %q", s, c.want)
			}
		})
	}
}
