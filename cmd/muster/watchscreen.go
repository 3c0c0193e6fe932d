package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"
)

// A jobScreen shows a job on a screen: where it stands, its executions as a Gantt
// chart, and what the guests say of themselves.
type jobScreen struct {
	screen *screen // nil: not open
	pen    pen
	chart  *chart
	pace   pace
	now    news
	group  grouping
}

// live watches the job on a screen of its own. At the end the last frame stays
// on the terminal, with the verdict.
func (w *watch) live(ctx context.Context, p pen) error {
	g := &jobScreen{pen: p, chart: newChart(), screen: w.a.openScreen(w.a.err, p)}
	w.show, w.all, w.keys = g, true, keys(w.a.in)
	last, err := w.run(ctx)
	g.screen.leave()
	switch {
	case errors.Is(err, errDetached) || (err != nil && ctx.Err() != nil && w.last != nil && !w.c.own):
		w.a.goesOn(w.c, cmp.Or(w.last.GetId(), w.job))
		return nil
	case err != nil:
		return err
	}
	columns, rows := w.a.size()
	fmt.Fprint(w.a.err, g.last(columns, max(rows-3, 12)).text(columns, p))
	w.a.sayVerdict(last)
	return jobError(last)
}

func (g *jobScreen) show(now time.Time, n news) {
	g.now = n
	g.chart.take(n.changed)
	g.pace.add(now, settled(n.job))
}

func (g *jobScreen) tick(now time.Time) {
	if g.now.job != nil {
		g.screen.draw(func(columns, rows int) frame { return g.frame(now, columns, rows) })
	}
}

func (g *jobScreen) done(time.Time) {}

// key takes a key that does not leave the screen.
func (g *jobScreen) key(k byte) {
	if k == 'g' {
		g.group = (g.group + 1) % 3
	}
}

// frame is the whole screen while the job goes on.
func (g *jobScreen) frame(now time.Time, columns, rows int) frame {
	head := g.head(now, columns)
	tail := frame{nil, *new(line).put(dim, "q leaves, the job goes on   g rows: "+[...]string{"automatic", "by provider", "by execution"}[g.group])}
	said := g.said(columns, max(rows/8, 2))
	f := append(head, line{})
	if room := rows - len(f) - len(said) - len(tail); room >= minRows {
		f = append(f, g.drawn(columns, room, now.UnixMilli())...)
	}
	return append(append(f, said...), tail...)
}

// last is what stays when the job has ended.
func (g *jobScreen) last(columns, rows int) frame {
	end := time.UnixMilli(g.now.job.EndedMs)
	if g.now.job.EndedMs == 0 {
		end = time.Now()
	}
	f := append(g.head(end, columns), line{})
	return append(f, g.drawn(columns, max(rows-len(f), minRows+2), end.UnixMilli())...)
}

func (g *jobScreen) drawn(columns, rows int, now int64) []line {
	legend := g.chart.legend(g.pen, columns)
	out := g.chart.draw(g.pen, g.group, columns, rows-len(legend), now)
	if len(out) == 0 {
		return nil
	}
	return append(out, legend...)
}

// head says where the job stands.
func (g *jobScreen) head(now time.Time, columns int) frame {
	j, p := g.now.job, g.pen
	var title line
	title.put(bold, "job "+short(j.Id)).put(normal, " "+j.Name)
	right := age(now.Sub(time.UnixMilli(j.SubmittedMs)).Truncate(time.Second))
	title = title.clip(columns-len(j.State)-len(right)-4, p.more())
	title.pad(columns-len(j.State)-len(right)-2).put(stateStyle(j.State), j.State).put(normal, "  "+right)
	f := frame{title}

	var how line
	p.gauge(&how, max(columns/4, 10), fraction(j))
	how.put(bold, fmt.Sprintf(" %3.0f%%  ", 100*fraction(j))).put(normal, g.now.sentence()[len(clean(j.State))+2:])
	if j.Running > 0 {
		how.put(normal, fmt.Sprintf(", %d running", j.Running))
	}
	if j.Running > 0 && g.now.peers > 0 {
		how.put(normal, " on "+plural(g.now.peers, "peer"))
	}
	f = append(f, how)
	f = append(f, p.joined(columns, g.figures(now))...)
	switch {
	case !g.now.away.IsZero():
		f = append(f, p.wrapped(bad, noAnswer(g.now.away, now), columns, 2)...)
	case j.Waiting != "":
		f = append(f, p.wrapped(warn, "waiting: "+j.Waiting, columns, 3)...)
	}
	if j.Reason != "" && ended(j.State) && j.State != "completed" {
		f = append(f, p.wrapped(bad, j.Reason, columns, 3)...)
	}
	return f
}

func (g *jobScreen) figures(now time.Time) (out []styled) {
	j := g.now.job
	add := func(s style, n uint32, format string) {
		if n > 0 {
			out = append(out, styled{s, fmt.Sprintf(format, n)})
		}
	}
	out = append(out, styled{normal, fmt.Sprintf("confidence %s of %s", numberText(j.ConfidenceReached), numberText(j.ConfidenceWanted))})
	if rate, ok := g.pace.rate(now); ok && !ended(j.State) {
		out = append(out, styled{normal, fmt.Sprintf("%.2g tasks/s", rate)})
	}
	if left, ok := g.pace.left(j, now); ok && !ended(j.State) {
		out = append(out, styled{bold, "about " + age(left.Round(time.Second)) + " left"})
	}
	if j.Executions > 0 {
		out = append(out, styled{normal, plural(int(j.Executions), "execution")})
	}
	if j.Hedges > 0 {
		out = append(out, styled{normal, plural(int(j.Hedges), "hedge")})
	}
	add(bad, j.Failed, "%d failed")
	add(bad, j.Disputed, "%d disputed")
	if j.Dead > 0 {
		out = append(out, styled{bad, plural(int(j.Dead), "dead task")})
	}
	return out
}

// said is what the guests tell of themselves, at most so many rows.
func (g *jobScreen) said(columns, rows int) (out frame) {
	var all []*span
	for _, s := range g.chart.running() {
		if s.progress != nil {
			all = append(all, s)
		}
	}
	if len(all) == 0 {
		return nil
	}
	out = frame{nil, *new(line).put(dim, "as the running programs tell, unverified:")}
	for _, s := range all[:min(len(all), rows)] {
		var l line
		l.put(bold, fmt.Sprintf("%4d ", s.task)).put(normal, g.pen.who(s.who)).pad(15)
		if f := s.fraction(); f >= 0 {
			g.pen.gauge(&l, 10, f).put(normal, fmt.Sprintf(" %3.0f%%", 100*f))
		}
		l.pad(33).put(normal, s.progress.Text)
		out = append(out, l)
	}
	if n := len(all) - rows; n > 0 {
		out = append(out, *new(line).put(dim, fmt.Sprintf("     and %d more", n)))
	}
	return out
}
