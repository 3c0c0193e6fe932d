package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/mustermesh/muster/node/api"
)

// moment is one event of a job's progress; a nil job is a tick.
type moment struct {
	ms  int
	job *api.JobSummary
}

func play(p progress, begin time.Time, moments []moment) {
	last := begin
	for _, m := range moments {
		last = begin.Add(time.Duration(m.ms) * time.Millisecond)
		if m.job == nil {
			p.tick(last)
			continue
		}
		p.show(last, news{job: m.job, peers: int(m.job.Running), since: begin, ended: m.job.State == "completed"})
	}
	p.done(last)
}

func TestLinesSayWhatChangedAtMostOnceASecond(t *testing.T) {
	var out bytes.Buffer
	play(&lines{w: &out}, time.Unix(1_700_000_000, 0), []moment{
		{0, &api.JobSummary{State: "bidding", Tasks: 4}},
		{100, &api.JobSummary{State: "running", Tasks: 4, Running: 1}},
		{900, nil},
		{1000, nil},
		{1100, &api.JobSummary{State: "running", Tasks: 4, Running: 2, Verified: 1}},
		{1900, nil},
		{2000, nil},
		{5000, &api.JobSummary{State: "running", Tasks: 4, Running: 1, Verified: 1}},
		{6000, &api.JobSummary{State: "running", Tasks: 4, Verified: 1, Accepted: 1, Waiting: "no provider offers\ngpu"}},
		{8000, &api.JobSummary{State: "running", Tasks: 4, Verified: 3, Accepted: 1, ReduceState: "running"}},
		{9900, &api.JobSummary{State: "completed", Tasks: 4, Verified: 3, Accepted: 1, ReduceState: "completed"}},
	})
	want := `running: 0 of 4 tasks done
running: 1 of 4 tasks done
running: 2 of 4 tasks done; waiting: no provider offers gpu
running: 4 of 4 tasks done, reduction running
`
	if got := out.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestLinesAreSilentAboutAQuickSubmission(t *testing.T) {
	var out bytes.Buffer
	l, now := &lines{w: &out}, time.Unix(1_700_000_000, 0)
	l.show(now, news{files: 1, bytes: 10})
	if out.Len() > 0 {
		t.Errorf("got %q, want nothing", out.String())
	}
	l.show(now.Add(1500*time.Millisecond), news{files: 20, bytes: 3 << 20})
	if got, want := out.String(), "reading inputs: 20 files, 3.0 MiB\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestBarDrawsOneLine(t *testing.T) {
	var out bytes.Buffer
	play(&bar{w: &out, size: func() (int, int) { return 200, 24 }}, time.Unix(1_700_000_000, 0), []moment{
		{0, &api.JobSummary{State: "bidding", Tasks: 4}},
		{2000, &api.JobSummary{State: "running", Tasks: 4, Running: 2, Verified: 1}},
		{2000, nil},
		{2500, &api.JobSummary{State: "running", Tasks: 4, Verified: 1, Waiting: "no gpu"}},
		{2500, nil},
		{2600, nil},
	})
	want := "\r[░░░░░░░░░░░░░░░░░░░░] bidding: 0 of 4 tasks done, 0s\x1b[K" +
		"\r[█████░░░░░░░░░░░░░░░] running: 1 of 4 tasks done, 2 running on 2 peers, 0.5 tasks/s, 2s\x1b[K" +
		"\r\x1b[Kwaiting: no gpu\n" +
		"\r[█████░░░░░░░░░░░░░░░] running: 1 of 4 tasks done, 0.4 tasks/s, 2s\x1b[K" +
		"\r[█████░░░░░░░░░░░░░░░] running: 1 of 4 tasks done, 0.385 tasks/s, 2s\x1b[K" +
		"\r[█████░░░░░░░░░░░░░░░] running: 1 of 4 tasks done, 0.385 tasks/s, 2s\x1b[K\n"
	if got := out.String(); got != want {
		t.Errorf("got\n%q\nwant\n%q", got, want)
	}
}

func TestBarFitsTheTerminal(t *testing.T) {
	var out bytes.Buffer
	b := &bar{w: &out, size: func() (int, int) { return 30, 24 }}
	b.show(time.Unix(1, 0), news{job: &api.JobSummary{State: "running", Tasks: 1, Name: "x", ReduceState: strings.Repeat("ü", 100)}})
	line := strings.TrimSuffix(strings.TrimPrefix(out.String(), "\r"), "\x1b[K")
	if n := len([]rune(line)); n > 29 {
		t.Errorf("got %d columns, want at most 29: %q", n, line)
	}
}
