package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mustermesh/muster/node/api"
)

const showBegin = 1_700_000_000_000

// golden compares what was drawn with testdata/frames; UPDATE_FRAMES=1 writes it
// there instead.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", "frames", name)
	if os.Getenv("UPDATE_FRAMES") != "" {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
	}
}

// shown is a jobScreen that has seen a show until a time.
func shown(s *show, ms int64, p pen) *jobScreen {
	g := &jobScreen{pen: p, chart: newChart()}
	for at := ms % 100; at <= ms; at += 100 {
		g.show(time.UnixMilli(s.begin+at), news{job: s.summary(at), changed: s.at(at), peers: 3})
	}
	return g
}

func TestFramesOfAJob(t *testing.T) {
	small, large := newShow(6, 2, showBegin), newShow(300, 12, showBegin)
	for _, c := range []struct {
		name          string
		show          *show
		ms            int64
		pen           pen
		columns, rows int
		change        func(g *jobScreen)
	}{
		{"job-bidding-80", small, 400, pen{}, 79, 24, nil},
		{"job-small-80", small, 8000, pen{}, 79, 24, nil},
		{"job-small-80-color", small, 8000, pen{color: true}, 79, 24, nil},
		{"job-small-80-ascii", small, 8000, pen{ascii: true}, 79, 24, nil},
		{"job-large-80", large, 40_000, pen{}, 79, 24, nil},
		{"job-large-160", large, 40_000, pen{}, 159, 45, nil},
		{"job-large-80-by-execution", large, 40_000, pen{}, 79, 24, func(g *jobScreen) { g.key('g'); g.key('g') }},
		{"job-away-80", small, 8000, pen{ascii: true}, 79, 24, func(g *jobScreen) {
			g.now.away = time.UnixMilli(showBegin - 4000)
			g.now.job.Waiting = "this is not said then"
		}},
		{"job-trouble-80", small, 8000, pen{}, 79, 24, func(g *jobScreen) {
			j := g.now.job
			j.Name, j.Dead, j.Failed = "größer\x1b[2J 名前", 1, 2
			j.Waiting = strings.Repeat("every provider that has a gpu asks more than 2 credits; ", 9)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := shown(c.show, c.ms, c.pen)
			if c.change != nil {
				c.change(g)
			}
			f := g.frame(time.UnixMilli(showBegin+c.ms), c.columns, c.rows)
			if len(f) > c.rows {
				t.Errorf("got %d rows, want at most %d", len(f), c.rows)
			}
			golden(t, c.name, f.text(c.columns, c.pen))
		})
	}
}

func TestTheLastFrameIsTheWholeJob(t *testing.T) {
	s := newShow(30, 3, showBegin)
	g := shown(s, s.end, pen{})
	golden(t, "job-ended-80", g.last(80, 30).text(80, pen{}))
	alone := &jobScreen{chart: newChart()}
	alone.show(time.Now(), news{job: s.summary(s.end), changed: s.at(s.end), ended: true})
	if got, want := alone.last(80, 30).text(80, pen{}), g.last(80, 30).text(80, pen{}); strings.Count(got, "\n") != strings.Count(want, "\n") {
		t.Errorf("seen only at its end the job looks like\n%s\nand seen all along like\n%s", got, want)
	}
}

func TestFramesOfANode(t *testing.T) {
	s := newShow(12, 3, showBegin)
	snap := &snapshot{
		at: time.UnixMilli(showBegin + 8000).UTC(), node: showStatus(showBegin), lends: showLends(showBegin),
		jobs: []*api.JobSummary{s.summary(8000)}, events: s.events(8000),
	}
	for i := range 30 {
		j := s.summary(300)
		j.Id, j.Dead = fmt.Sprintf("%08x", i), uint32(i%2)
		snap.jobs = append(snap.jobs, j)
	}
	for _, e := range snap.events {
		e.TimeMs -= e.TimeMs % 60_000 // the zone of this machine must not show
	}
	strip := func(text string) string {
		return strings.ReplaceAll(text, time.UnixMilli(showBegin-showBegin%60_000).Format(time.TimeOnly), "HH:MM:SS")
	}
	for name, columns := range map[string]int{"top-80": 80, "top-160": 160} {
		f := snap.frame(pen{}, columns-1, 30)
		if len(f) > 30 {
			t.Errorf("%s: got %d rows, want at most 30", name, len(f))
		}
		golden(t, name, strip(f.text(columns-1, pen{})))
	}
	snap.away = snap.at.Add(-12 * time.Second)
	golden(t, "top-80-away-ascii", strip(snap.frame(pen{ascii: true}, 79, 24).text(79, pen{ascii: true})))
}

// No frame may be taller or wider than its terminal, or hold what a terminal
// would obey, whatever its size and whatever strangers say.
func TestFramesFitEveryTerminal(t *testing.T) {
	s := newShow(60, 5, showBegin)
	g := shown(s, 12_000, pen{})
	g.now.job.Name, g.now.job.Waiting = "\x1b]0;名\a", strings.Repeat("名", 300)
	for columns := 20; columns < 200; columns += 13 {
		for rows := 5; rows < 60; rows += 5 {
			f := g.frame(time.UnixMilli(showBegin+12_000), columns, rows)
			if rows >= 24 && len(f) > rows {
				t.Errorf("%dx%d: got %d rows", columns, rows, len(f))
			}
			for _, l := range f {
				if n := l.clip(columns, '…').columns(); n > columns {
					t.Errorf("%dx%d: got %d columns", columns, rows, n)
				}
			}
			if text := f.text(columns, pen{}); strings.ContainsAny(text, "\x1b\a") {
				t.Errorf("%dx%d: a control character came through: %q", columns, rows, text)
			}
		}
	}
}

// A recorder keeps what was written, write by write.
type recorder struct{ writes []string }

func (r *recorder) Write(p []byte) (int, error) {
	r.writes = append(r.writes, string(p))
	return len(p), nil
}

func TestAScreenDrawsAFrameInOneWriteAndOnlyIfItIsNew(t *testing.T) {
	rec := &recorder{}
	rows := 3
	restored := false
	a := &app{in: &bytes.Buffer{}, size: func() (int, int) { return 11, rows }, raw: rawTerminal}
	sc := a.openScreen(rec, pen{})
	sc.restore = func() { restored = true }
	opened := len(rec.writes)
	content := frame{words(bold, "one"), nil, words(normal, "a longer line"), words(normal, "hidden")}
	give := func(columns, _ int) frame { return content }
	sc.draw(give)
	sc.draw(give)
	want := "\x1b[?2026h\x1b[Hone\x1b[K\r\n\x1b[K\r\na longer …\x1b[K\x1b[J\x1b[?2026l"
	if got := rec.writes[opened:]; len(got) != 1 || got[0] != want {
		t.Errorf("got %q, want one write of %q", got, want)
	}
	rows = 4
	sc.draw(give)
	if got := rec.writes[len(rec.writes)-1]; !strings.Contains(got, "hidden") {
		t.Errorf("got %q after the terminal grew, want the fourth row too", got)
	}
	sc.leave()
	if got := rec.writes[len(rec.writes)-1]; !restored || got != "\x1b[?25h\x1b[?1049l" {
		t.Errorf("got %q, restored %v, want the terminal given back", got, restored)
	}
}

func TestLinesAreClippedByColumnsNotBytes(t *testing.T) {
	for _, c := range []struct {
		in   string
		n    int
		want string
	}{
		{"abc", 3, "abc"}, {"abcd", 3, "ab…"}, {"名前名", 6, "名前名"}, {"名前名", 5, "名前…"}, {"名前名", 4, "名…"}, {"äöü", 2, "ä…"},
	} {
		var b strings.Builder
		words(normal, c.in).clip(c.n, '…').write(&b, false)
		if b.String() != c.want {
			t.Errorf("%q in %d columns: got %q, want %q", c.in, c.n, b.String(), c.want)
		}
	}
}

func TestColorNeverChangesTheWords(t *testing.T) {
	var with, without strings.Builder
	l := words(bad, "x")
	l.put(normal, " y ").put(dim, "z")
	l.write(&with, true)
	l.write(&without, false)
	if got, want := with.String(), "\x1b[0;1;31mx\x1b[0m y \x1b[0;2mz\x1b[0m"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := without.String(); got != "x y z" {
		t.Errorf("got %q, want %q", got, "x y z")
	}
}

func TestTheLocaleSaysWhetherToDrawInASCII(t *testing.T) {
	for _, c := range []struct {
		env  map[string]string
		want bool
	}{
		{map[string]string{"LANG": "de_DE.UTF-8"}, true},
		{map[string]string{"LANG": "C.utf8"}, true},
		{map[string]string{"LANG": "C"}, false},
		{map[string]string{"LANG": "en_US.UTF-8", "LC_ALL": "C"}, false},
		{map[string]string{"LC_CTYPE": "en_US.UTF-8", "LANG": "C"}, true},
		{nil, false},
	} {
		if got := utf8Locale(func(k string) string { return c.env[k] }); got != c.want {
			t.Errorf("%v: got %v, want %v", c.env, got, c.want)
		}
	}
}
