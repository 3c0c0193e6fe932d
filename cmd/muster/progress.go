package main

import (
	"fmt"
	"io"
	"strings"
	"time"

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
		return &bar{w: a.err, pen: a.pen(a.err, false), size: a.size}
	}
	return &lines{w: a.err}
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
	pen   pen
	size  func() (columns, rows int)
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
	columns, _ := b.size()
	var s strings.Builder
	b.line(now).clip(columns-1, b.pen.more()).write(&s, b.pen.color)
	fmt.Fprintf(b.w, "\r%s\x1b[K", s.String())
	b.drawn = true
}

func (b *bar) done(now time.Time) {
	if b.drawn {
		b.tick(now)
		fmt.Fprintln(b.w)
	}
}

const barCells = 20

func (b *bar) line(now time.Time) (l line) {
	if b.now.job != nil {
		b.pen.gauge(&l, barCells, fraction(b.now.job)).put(normal, " "+b.now.sentence()+b.now.activity(now))
	} else {
		l.put(normal, b.now.sentence())
	}
	return l
}
