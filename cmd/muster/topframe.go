package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// frame draws a snapshot in so many rows; 0 is as many as it takes.
func (s *snapshot) frame(p pen, columns, rows int) frame {
	f := s.head(p, columns)
	screen := rows > 0
	room := func(share int) int {
		if !screen {
			return 1 << 20
		}
		return max(share, 3)
	}
	spare := rows - len(f) - 2
	jobs := s.jobTable(p, columns)
	f = append(f, jobs.draw(p, room(spare*2/5))...)
	f = append(f, s.guestTable(p).draw(p, room(spare*2/5-1))...)
	return append(f, s.happened(p, rows-len(f), screen)...)
}

// head says how the node is.
func (s *snapshot) head(p pen, columns int) frame {
	n, l := s.node, s.lends
	var title line
	title.put(bold, "muster top").put(normal, "  node ").put(bold, p.who(ending(n.Id))).put(normal, "  "+strings.Join(n.Roles, ", ")+"  network "+n.Network)
	at := s.at.Format(time.TimeOnly)
	title = title.clip(columns-len(at)-2, p.more())
	title.pad(columns-len(at)).put(dim, at)
	state := "up for " + ago(n.StartedMs, s.at.Truncate(time.Second))
	if n.Offline {
		state = "offline: no daemon runs in this home"
	}
	parts := []styled{{normal, state}, {normal, plural(int(n.Peers), "peer")}}
	if l.Enabled || l.Slots > 0 {
		parts = append(parts, styled{normal, fmt.Sprintf("%d of %s busy", l.SlotsBusy, plural(int(l.Slots), "slot"))})
	}
	if l.Queued > 0 {
		parts = append(parts, styled{normal, fmt.Sprintf("%d queued", l.Queued)})
	}
	if l.TasksDone+l.TasksFailed > 0 {
		parts = append(parts, styled{normal, fmt.Sprintf("%s done for others, %d failed", plural(int(l.TasksDone), "task"), l.TasksFailed)})
	}
	if l.Kept > 0 {
		parts = append(parts, styled{normal, plural(int(l.Kept), "result") + " kept for requesters"})
	}
	f := append(frame{title}, p.joined(columns, parts)...)
	if !s.away.IsZero() {
		f = append(f, p.wrapped(bad, noAnswer(s.away, s.at), columns, 2)...)
	}
	for _, w := range s.warnings() {
		f = append(f, p.wrapped(warn, w, columns, 2)...)
	}
	return f
}

// warnings say what keeps the node from being useful.
func (s *snapshot) warnings() (out []string) {
	switch l := s.lends; {
	case l.Draining:
		out = append(out, "draining: takes no new work; what runs here is finished")
	case l.HeldBack != "":
		out = append(out, "held back: "+l.HeldBack)
	case !l.Enabled && l.WhyNot != "":
		out = append(out, "lends nothing: "+l.WhyNot)
	}
	return append(out, s.node.Warnings[:min(len(s.node.Warnings), 3)]...)
}

// noteIndent is how far what is said below a row stands from the left.
const noteIndent = 10

// A listing is a table of a screen: a title, a heading, rows of cells.
type listing struct {
	title string
	head  []string
	rows  []listed
	none  string
}

// listed is one row, and what there is to say below it.
type listed struct {
	cells []line
	notes []line
}

func (l listed) height() int { return 1 + len(l.notes) }

// draw gives the table in at most so many rows, an empty line first. Cells get
// the width of the widest, the last one the rest.
func (t *listing) draw(p pen, rows int) (out frame) {
	out = frame{nil, words(bold, t.title)}
	if len(t.rows) == 0 {
		return append(out[:1], words(dim, t.none))
	}
	shown := t.fitting(rows - 3)
	wide := make([]int, len(t.head))
	for i, h := range t.head {
		wide[i] = len(h)
		for _, r := range shown {
			wide[i] = max(wide[i], r.cells[i].columns())
		}
	}
	var head line
	at := 0
	for i, h := range t.head {
		head.pad(at).put(dim, h)
		at += wide[i] + 2
	}
	out = append(out, head)
	for _, r := range shown {
		var l line
		at := 0
		for i, c := range r.cells {
			l.pad(at)
			l = append(l, c...)
			at += wide[i] + 2
		}
		out = append(append(out, l), r.notes...)
	}
	if n := len(t.rows) - len(shown); n > 0 {
		out = append(out, words(dim, fmt.Sprintf("and %d more", n)))
	}
	return out
}

// fitting gives the rows that so many rows of the screen hold, one of them kept
// for saying how many do not.
func (t *listing) fitting(room int) []listed {
	used := 0
	for i, r := range t.rows {
		used += r.height()
		if used > room || (used == room && i < len(t.rows)-1) {
			return t.rows[:i]
		}
	}
	return t.rows
}

func (s *snapshot) jobTable(p pen, columns int) *listing {
	t := &listing{title: "Open jobs", head: []string{"job", "name", "state", "done", "runs", "dead", "age"}, none: "no open jobs"}
	for _, j := range s.jobs {
		var done line
		p.gauge(&done, 12, fraction(j)).put(normal, fmt.Sprintf(" %d of %d", settled(j), j.Tasks))
		name := words(normal, j.Name).clip(16, p.more())
		var dead line
		if j.Dead > 0 {
			dead = words(bad, fmt.Sprint(j.Dead))
		}
		var notes []line
		if j.Waiting != "" {
			for _, l := range p.wrapped(warn, "waiting: "+j.Waiting, columns-noteIndent, 2) {
				notes = append(notes, append(words(normal, strings.Repeat(" ", noteIndent)), l...))
			}
		}
		t.rows = append(t.rows, listed{notes: notes, cells: []line{
			words(bold, short(j.Id)), name, words(stateStyle(j.State), j.State), done, words(normal, fmt.Sprint(j.Running)), dead,
			words(normal, ago(j.SubmittedMs, s.at.Truncate(time.Second))),
		}})
	}
	return t
}

func (s *snapshot) guestTable(p pen) *listing {
	t := &listing{title: "Running here for others", head: []string{"execution", "job", "for", "since", "progress"}, none: "nothing runs here for others"}
	for _, g := range s.lends.Guests {
		var how line
		if f := g.Progress; f != nil {
			if f.Fraction >= 0 {
				p.gauge(&how, 12, f.Fraction).put(normal, fmt.Sprintf(" %3.0f%% ", 100*min(f.Fraction, 1)))
			}
			how.put(normal, f.Text)
		}
		if g.Orphan {
			how = append(words(warn, "its requester is out of touch  "), how...)
		}
		t.rows = append(t.rows, listed{cells: []line{
			words(bold, short(g.Execution)), words(normal, short(g.Job)), words(normal, p.who(ending(g.Requester))),
			words(normal, ago(g.StartedMs, s.at.Truncate(time.Second))), how,
		}})
	}
	return t
}

// happened lists the latest events, the newest last, and how to leave.
func (s *snapshot) happened(p pen, rows int, screen bool) frame {
	f := frame{nil, words(bold, "Latest events")}
	n := 10
	if screen {
		n = max(rows-4, 1)
	}
	if len(s.events) == 0 {
		f = frame{nil, words(dim, "nothing has happened yet")}
	}
	for _, e := range s.events[max(len(s.events)-n, 0):] {
		f = append(f, *new(line).put(dim, time.UnixMilli(e.TimeMs).Format(time.TimeOnly)+"  ").put(normal, what(e, false)))
	}
	if screen {
		f = append(f, nil, words(dim, "q leaves"))
	}
	return f
}

// document is the snapshot for scripts.
func (s *snapshot) document() object {
	return object{
		{"time_ms", s.at.UnixMilli()}, {"node", plain(s.node)}, {"provider", plain(s.lends)},
		{"jobs", plainList(s.jobs)}, {"events", plainList(slices.Clip(s.events))},
	}
}
