package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/text"

	"github.com/mustermesh/muster/node/api"
)

// A progress shows people how a job goes. Its methods are called by one
// goroutine.
type progress interface {
	// show takes the newest news; tick gives time to draw it.
	show(now time.Time, n news)
	tick(now time.Time)
	// done shows what is still unshown and leaves the cursor on a fresh line.
	done(now time.Time)
}

// news is what a progress knows of a job.
type news struct {
	files, bytes uint64          // read so far, while the job is being submitted
	job          *api.JobSummary // nil until it is accepted
	changed      []*api.Task     // what is new about tasks
	peers        int             // that run something now
	since        time.Time       // when the job was accepted
	away         time.Time       // since when the daemon does not answer; zero: it does
	ended        bool
}

func (a *app) progress() progress {
	if a.isTerminal(a.err) {
		return &bar{w: a.err, width: a.width}
	}
	return &lines{w: a.err}
}

// settled counts the tasks that nothing more happens to. A task whose program
// failed, which others confirmed, counts as failed and as verified.
func settled(j *api.JobSummary) uint32 {
	return min(max(j.Accepted+j.Verified+j.Disputed, j.Failed), j.Tasks)
}

// sentence says where a job stands.
func (n news) sentence() string {
	j := n.job
	if j == nil {
		return fmt.Sprintf("reading inputs: %d files, %s", n.files, bytesText(n.bytes))
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s done", clean(j.State), ofTasks(settled(j), j.Tasks))
	if j.ReduceState != "" {
		b.WriteString(", reduction " + clean(j.ReduceState))
	}
	return b.String()
}

// waiting says why nothing moves, "" if something does.
func (n news) waiting() string {
	if !n.away.IsZero() {
		return "the daemon does not answer; trying again"
	}
	if n.job.GetWaiting() == "" {
		return ""
	}
	return "waiting: " + clean(n.job.Waiting)
}

// activity says what goes on right now, which changes all the time.
func (n news) activity(now time.Time) (s string) {
	j, took := n.job, now.Sub(n.since)
	if !n.away.IsZero() {
		return "; " + noAnswer(n.away, now)
	}
	if j.Running > 0 {
		s += fmt.Sprintf(", %d running", j.Running)
	}
	if j.Running > 0 && n.peers > 0 {
		s += " on " + plural(n.peers, "peer")
	}
	if done := settled(j); done > 0 && took > 0 {
		s += fmt.Sprintf(", %.3g tasks/s", float64(done)/took.Seconds())
	}
	return s + ", " + age(took.Truncate(time.Second))
}

func ofTasks(n, all uint32) string { return fmt.Sprintf("%d of %s", n, plural(int(all), "task")) }

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// lines writes a line whenever something new is to be said, at most one a
// second, and none in the first: what is over by then needs no telling. The end
// is told by the command itself.
type lines struct {
	w       io.Writer
	last    string
	lastAt  time.Time
	pending string
}

func (l *lines) show(now time.Time, n news) {
	if l.lastAt.IsZero() {
		l.lastAt = now
	}
	if n.ended {
		return
	}
	l.pending = n.sentence()
	if w := n.waiting(); w != "" {
		l.pending += "; " + w
	}
	l.tick(now)
}

func (l *lines) tick(now time.Time) {
	if now.Sub(l.lastAt) >= time.Second && l.pending != l.last {
		fmt.Fprintln(l.w, l.pending)
		l.last, l.lastAt = l.pending, now
	}
}

func (l *lines) done(time.Time) {}

// bar draws one line over and over. Above it stays, in full, why nothing moved.
type bar struct {
	w     io.Writer
	width func() int
	now   news
	drawn bool
	told  string // the last reason for waiting
}

func (b *bar) show(now time.Time, n news) {
	b.now = n
	if !b.drawn {
		b.tick(now)
	}
}

func (b *bar) tick(now time.Time) {
	if w := b.now.waiting(); w != b.told && w != "" && now.Sub(b.now.since) >= time.Second {
		fmt.Fprintf(b.w, "\r\x1b[K%s\n", w)
		b.told = w
	}
	fmt.Fprintf(b.w, "\r%s\x1b[K", cut(b.line(now), b.width()-1))
	b.drawn = true
}

func (b *bar) done(now time.Time) {
	if b.drawn {
		b.tick(now)
		fmt.Fprintln(b.w)
	}
}

const barCells = 20

func (b *bar) line(now time.Time) string {
	j := b.now.job
	if j == nil {
		return b.now.sentence()
	}
	full := 0
	if j.Tasks > 0 {
		full = int(barCells * uint64(settled(j)) / uint64(j.Tasks))
	}
	return fmt.Sprintf("[%s%s] %s%s", strings.Repeat("#", full), strings.Repeat("·", barCells-full), b.now.sentence(), b.now.activity(now))
}

// cut shortens a line to a number of columns.
func cut(s string, columns int) string { return text.Snip(s, max(columns, 1), "…") }
