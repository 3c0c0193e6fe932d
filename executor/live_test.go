package executor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mustermesh/muster/proto"
)

// follow reads an execution's output to its end. Where something is cut, what
// is kept of the stream begins anew.

func follow(t *testing.T, e Execution) (stdout, stderr string, cut uint64) {
	t.Helper()
	var kept [2]strings.Builder
	var ends [2]uint64
	for next := int64(0); ; {
		pieces, n, err := e.(Tailer).Tail(t.Context(), next)
		if err == io.EOF {
			return kept[0].String(), kept[1].String(), cut
		}
		if err != nil {
			t.Fatalf("tail: %v", err)
		}
		next = n
		for _, p := range pieces {
			i := 0
			if p.Stderr {
				i = 1
			}
			if p.Offset < ends[i] || len(p.Data) == 0 || len(p.Data) > proto.MaxLogChunk {
				t.Fatalf("a piece of %d bytes at %d after %d", len(p.Data), p.Offset, ends[i])
			}
			if gap := p.Offset - ends[i]; gap > 0 {
				cut += gap
				kept[i].Reset()
			}
			kept[i].Write(p.Data)
			ends[i] = p.Offset + uint64(len(p.Data))
		}
	}
}

func testTail(t *testing.T, x Executor) {
	k := task(goGuest(t, buildProgress))
	k.Args = []string{"-steps=8", "-stderr", "-bytes=400000", "-work=0"}
	e, sink := start(t, x, k)
	stdout, stderr, cut := follow(t, e)
	res, err := e.Wait(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if all := sink.stdout.String(); !strings.HasSuffix(all, stdout) || len(stdout) < MaxLog/2 || uint64(len(all)) != res.StdoutBytes || cut == 0 && stdout != all {
		t.Errorf("followed %d bytes of stdout, %d cut; there are %d", len(stdout), cut, len(all))
	}
	if all := sink.stderr.String(); !strings.HasSuffix(all, stderr) || stderr == "" {
		t.Errorf("followed stderr %q, there is %q", stderr, all)
	}
	stdout, stderr, cut = follow(t, e) // all is over: what is kept, and what is not
	if got := len(stdout) + len(stderr); got != MaxLog || cut+MaxLog != res.StdoutBytes+res.StderrBytes {
		t.Errorf("kept %d bytes and cut %d of %d", got, cut, res.StdoutBytes+res.StderrBytes)
	}
}

// FuzzProgress has a guest write anything, in two pieces: the parent takes what
// the child sends, and what comes of it may be put into a message.

// TestLogBufferKeepsTheEnd compares a log with all that was written to it.

func TestLogBufferKeepsTheEnd(t *testing.T) {
	for name, longest := range map[string]int{"single bytes": 1, "lines": 200, "large pieces": 200_000} {
		t.Run(name, func(t *testing.T) {
			var l logBuffer
			r := rand.New(rand.NewPCG(1, uint64(longest)))
			var whole []bool // for each byte of the log, whether it went to stderr
			var data []byte
			for range 100_000 {
				p, stderr := make([]byte, 1+r.IntN(longest)), r.IntN(2) == 0
				for i := range p {
					p[i] = byte(len(data) + i)
					whole = append(whole, stderr)
				}
				data = append(data, p...)
				if l.write(stderr, p); len(data) > 5*MaxLog {
					break
				}
			}
			l.close()
			if len(l.kept) > 2*MaxLog || len(l.runs) > 2*MaxRuns {
				t.Errorf("%d bytes and %d runs are kept", len(l.kept), len(l.runs))
			}
			checkLog(t, &l, data, whole)
		})
	}
}

func checkLog(t *testing.T, l *logBuffer, data []byte, stderr []bool) {
	t.Helper()
	at := l.oldest()
	if kept := int64(len(data)) - at; kept < MaxLog && len(l.runs) < MaxRuns {
		t.Errorf("only %d bytes and %d runs are left", kept, len(l.runs))
	}
	var offset [2]uint64 // at which each stream is
	for _, e := range stderr[:at] {
		offset[b2i(e)]++
	}
	next := int64(0)
	for {
		pieces, n, err := l.read(t.Context(), next)
		if err != nil {
			break
		}
		for _, p := range pieces {
			i := b2i(p.Stderr)
			if p.Offset != offset[i] {
				t.Fatalf("a piece at %d of its stream, want %d", p.Offset, offset[i])
			}
			for _, b := range p.Data {
				if data[at] != b || stderr[at] != p.Stderr {
					t.Fatalf("byte %d of the log is another", at)
				}
				at++
			}
			offset[i] += uint64(len(p.Data))
		}
		if next = n; next != at {
			t.Fatalf("next is %d after %d", next, at)
		}
	}
	if at != int64(len(data)) {
		t.Errorf("the log ends at %d, want %d", at, len(data))
	}
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// TestAGigabyteOfOutput: what a guest prints without end costs what its disk
// allows, in the sink, and no more memory than the log; and it can be said.

func TestAGigabyteOfOutput(t *testing.T) {
	if testing.Short() {
		t.Skip("NOT CHECKED in short mode: a guest that prints a gigabyte")
	}
	w := openTest(t, func(c *Config) { c.MaxDisk = 1 << 30 })
	k := task(wat(t, "flood"))
	k.Limits.Disk, k.Sink = 1<<30, discard{}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	e, _ := start(t, w, k)
	res, err := e.Wait(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if res.Outcome != Exited || res.StdoutBytes != 1<<30 || !res.DiskFull || res.ExitCode != uint32(eNoSpc) {
		t.Errorf("got %+v", res)
	}
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 8<<20 {
		t.Errorf("it left %d bytes of memory in use", grown)
	}
	if stdout, _, cut := follow(t, e); len(stdout) != MaxLog || cut != 1<<30-MaxLog {
		t.Errorf("%d bytes are kept and %d cut", len(stdout), cut)
	}
}

func TestOutputThatDoesNotFitIsSaid(t *testing.T) {
	w := openTest(t, quickChild(t))
	k := task(goGuest(t, buildProgress))
	k.Args, k.Limits.Disk = []string{"-steps=100", "-work=0", "-stderr"}, 1000
	res, _ := mustRun(t, w, k)
	if !res.DiskFull || res.StdoutBytes+res.StderrBytes > 1000 || res.StdoutBytes+res.StderrBytes < 900 || res.ExitCode != 1 {
		t.Errorf("with too little disk: %+v", res)
	}
	k.Limits.Disk = 10_000
	if res, _ = mustRun(t, w, k); res.DiskFull || res.ExitCode != 0 {
		t.Errorf("with enough disk: %+v", res)
	}
}

func TestTailEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l logBuffer
		e := &execution{}
		l.write(true, []byte("x"))
		_, next, _ := l.read(t.Context(), 0)
		ctx, cancel := context.WithCancel(t.Context())
		errs := make(chan error, 2)
		go func() {
			_, _, err := l.read(ctx, next)
			errs <- err
		}()
		go func() {
			_, err := e.Progress(ctx, 0)
			errs <- err
		}()
		synctest.Wait()
		cancel()
		for range 2 {
			if err := <-errs; !errors.Is(err, ctx.Err()) || err == nil {
				t.Errorf("got %v, want %v", err, ctx.Err())
			}
		}
	})
}

// A wire is what a child writes to.

type wire struct {
	mu sync.Mutex
	bytes.Buffer
}

func (w *wire) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.Buffer.Write(p)
}

// frames gives what came since the last time.

func (w *wire) frames(t *testing.T) (list []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	c := newFrameConn(script{bytes.NewReader(bytes.Clone(w.Bytes()))})
	w.Reset()
	for {
		kind, body, err := c.next()
		if err != nil {
			return list
		}
		if kind == frameProgress {
			body = body[4:]
		}
		list = append(list, string(body))
	}
}

func TestOutputIsSentSoonAndNotTooOften(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wire{}
		o := newOutput(newFrameConn(w))
		for i := range 100 {
			o.write(frameStdout, fmt.Append(nil, i, ";"))
			o.write(frameProgress, fmt.Append(nil, "0 step ", i, "\n"))
		}
		if got, want := w.frames(t), []string{"0;", "step 0", "1;", "step 1"}; !slices.Equal(got, want) {
			t.Errorf("at once: %q, want %q", got, want)
		}
		time.Sleep(outputDelay)
		synctest.Wait()
		if got := w.frames(t); len(got) != 2 || !strings.HasSuffix(got[0], ";98;99;") || got[1] != "step 99" {
			t.Errorf("after %v: %q", outputDelay, got)
		}
		begun, sent := time.Now(), 0
		for time.Since(begun) < 100*outputDelay {
			o.write(frameProgress, []byte("- busy\n"))
			sent += len(w.frames(t))
			time.Sleep(time.Millisecond)
		}
		if sent < 99 || sent > 101+outputBurst {
			t.Errorf("%d words in 100 times %v", sent, outputDelay)
		}
		time.Sleep(time.Second)
		o.write(frameStdout, []byte("last"))
		o.end()
		o.conn.flush()
		time.Sleep(time.Second)
		if got := w.frames(t); len(got) == 0 || got[len(got)-1] != "last" {
			t.Errorf("in the end: %q, want what was written last", got)
		}
	})
}
