package executor

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"unicode/utf8"

	"github.com/mustermesh/muster/proto"
)

func testProgress(t *testing.T, x Executor) {
	k := task(goGuest(t, buildProgress))
	k.Args, k.Limits.Disk = []string{"-steps=200000", "-work=0"}, 8<<20
	e, _ := start(t, x, k)
	last, words := Progress{}, 0
	for {
		p, err := e.(Progresser).Progress(t.Context(), last.Number)
		if err == io.EOF {
			break
		}
		if err != nil || p.Number <= last.Number || p.Fraction < last.Fraction || p.Fraction > 1 {
			t.Fatalf("%+v after %+v, %v", p, last, err)
		}
		last, words = p, words+1
	}
	res, err := e.Wait(t.Context())
	if err != nil || res.ExitCode != 0 {
		t.Fatalf("%+v, %v", res, err)
	}
	if want := "step 200000 of 200000"; last.Fraction != 1 || last.Text != want {
		t.Errorf("in the end it is %+v, want 1 %q", last, want)
	}
	if most := 16 + int(2*res.Wall/outputDelay); words > most {
		t.Errorf("%d words in %v, want at most %d", words, res.Wall, most)
	}
}

const wantCProgress = `character device: 1 
terminal: 1 
read: -1 Bad file descriptor
seek: -1 Invalid seek
cut: -1 Invalid seek
line: 21 
close: 0 
still there: 16 
`

// testSilence has a program speak and then compute without ever calling again.

func testSilence(t *testing.T, x Executor) {
	k := task(wat(t, "progress"))
	_, sink := mustRun(t, x, k)
	if got := sink.stdout.String(); got != wantCProgress {
		t.Errorf("stdout:\n%s\nwant:\n%s", got, wantCProgress)
	}
	k.Args = []string{"for ever"}
	e, _ := start(t, x, k)
	defer e.Stop()
	p, err := e.(Progresser).Progress(t.Context(), 0)
	if want := (Progress{1, 0.25, "a line of stdio"}); err != nil || p != want {
		t.Errorf("got %+v, %v; want %+v", p, err, want)
	}
}

func TestParseProgress(t *testing.T) {
	for line, want := range map[string]string{
		"0.25 reading":   "250000 reading",
		"0":              "0 ",
		"1 ":             "1000000 ",
		".5 x":           "500000 x",
		"1e-6 a  b":      "1 a  b",
		"0.3333333333 x": "333333 x",
		"0.5 x\r":        "500000 x",
		"- no idea":      "4294967295 no idea",
		"-":              "4294967295 ",
		"":               "no", "reading": "no", "1.1": "no", "-0.1": "no", "25 %": "no", "25%": "no", "-x": "no",
		"NaN": "no", "Inf": "no", "0x1p-1": "no", "0_1": "no", "+1": "no", " 0.5": "no", "0.5\treading": "no", "1e": "no",
	} {
		got := "no"
		if f, text, ok := parseProgress([]byte(line)); ok {
			got = fmt.Sprint(f, " ", string(text))
		}
		if got != want {
			t.Errorf("%q: got %q, want %q", line, got, want)
		}
	}
}

func TestOnlyTheLatestWholeLineCounts(t *testing.T) {
	var r progressReader
	if _, ok := r.take(); ok {
		t.Error("there is progress before a word")
	}
	r.write([]byte("0.1 a\n0.2 b\nnonsense\n0.3 not yet"))
	if got, ok := r.take(); string(got) != "\x40\x0d\x03\x00b" || !ok {
		t.Errorf("got %q, %v", got, ok)
	}
	if got, ok := r.take(); ok {
		t.Errorf("got %q again", got)
	}
	r.write([]byte{'\n'})
	if got, _ := r.take(); string(got[4:]) != "not yet" {
		t.Errorf("a line in two pieces is %q", got)
	}
	for range 1000 {
		r.write([]byte("- " + strings.Repeat("x", 5000)))
	}
	r.write([]byte{'\n'})
	if got, _ := r.take(); len(got) != 4+maxProgressLine-2 || cap(r.line) > 4*maxProgressLine {
		t.Errorf("a long line gives %d bytes and keeps %d", len(got), cap(r.line))
	}
}

func FuzzProgress(f *testing.F) {
	f.Add([]byte("0.5 half\n- wei\xc3\x9f nicht\n"), 12)
	f.Add([]byte("1 \x1b[31m\u202edone\u2028\t\xff\ufffd\n"), 0)
	f.Add([]byte("1 "+strings.Repeat("€", 400)+"\n"), 3)
	f.Fuzz(func(t *testing.T, b []byte, at int) {
		var r, whole progressReader
		at = min(max(at, 0), len(b))
		r.write(b[:at])
		r.write(b[at:])
		body, ok := r.take()
		whole.write(b)
		if want, _ := whole.take(); string(body) != string(want) {
			t.Fatalf("in two pieces %q, at once %q", body, want)
		}
		if !ok {
			return
		}
		if int64(len(body)) > bodyLimit(frameProgress) {
			t.Fatalf("a frame of %d bytes", len(body))
		}
		e := &execution{}
		if err := (&receiver{e: e}).take(frameProgress, body); err != nil {
			t.Fatal(err)
		}
		p := e.progress.latest
		frame := proto.Frame{Progress: new(p.Frame(proto.ExecutionID{1}))}
		got, err := proto.ParseFrame(frame.Marshal())
		if err != nil || *got.Progress != *frame.Progress || !utf8.ValidString(p.Text) {
			t.Fatalf("%+v: %v", frame.Progress, err)
		}
		if p.Fraction > 1 || p.Fraction < 0 && got.Progress.Fraction <= proto.ProgressUnit {
			t.Fatalf("fraction %v goes as %d", p.Fraction, got.Progress.Fraction)
		}
	})
}

func TestProgressWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c progressCell
		got := make(chan Progress)
		go func() {
			for n := uint64(0); ; {
				p, err := c.read(t.Context(), n)
				if err != nil {
					close(got)
					return
				}
				n = p.Number
				got <- p
			}
		}()
		synctest.Wait()
		c.set(proto.ProgressUnit+1, "a")
		if p, want := <-got, (Progress{1, -1, "a"}); p != want {
			t.Errorf("got %+v, want %+v", p, want)
		}
		synctest.Wait() // it waits again; the following two come at once
		c.mu.Lock()
		c.latest.Number = 6
		c.mu.Unlock()
		c.set(290_000, "b")
		c.close()
		if p, want := <-got, (Progress{7, 0.29, "b"}); p != want {
			t.Errorf("got %+v, want %+v", p, want)
		}
		if p, ok := <-got; ok {
			t.Errorf("after the end: %+v", p)
		}
	})
}
