package main

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// labelColumns is the width of what stands before a row of a chart.
const (
	labelColumns = 20
	minRows      = 3
)

// A grouping is what the rows of a chart are.
type grouping uint8

const (
	byItself    grouping = iota // executions if they fit, else providers
	byProvider                  // one row per slot of a provider
	byExecution                 // one row per execution, the latest
)

// A row is what one row of a chart shows.
type row struct {
	label line
	spans []*span
	alone bool // the row is one execution, named in its label
}

// draw gives the chart in at most so many rows, the axis among them, as it is at
// now (Unix milliseconds).
func (c *chart) draw(p pen, g grouping, columns, rows int, now int64) []line {
	if len(c.spans) == 0 || rows < minRows {
		return nil
	}
	rows -= 1 // the axis
	all, hidden := c.rows(p, g, rows)
	if hidden != "" {
		all = all[:min(len(all), rows-1)]
	}
	sc := newScale(c.since(all), now, max(columns-labelColumns, 10))
	var out []line
	for _, r := range all {
		l := slices.Clone(r.label).clip(labelColumns-1, p.more())
		l.pad(labelColumns)
		out = append(out, append(l, p.row(r.spans, sc, now, r.alone)...))
	}
	if hidden != "" {
		var l line
		l.put(dim, hidden)
		out = append(out, l)
	}
	return append(out, p.axis(sc, c.begin))
}

// since is where the axis begins: with the job, or with the first execution where
// only some are shown.
func (c *chart) since(all []row) int64 {
	first := int64(0)
	for _, r := range all {
		if !r.alone {
			return c.begin
		}
		if at := r.spans[0].created; first == 0 || at < first {
			first = at
		}
	}
	return max(c.begin, first-(first-c.begin)%1000) // whole seconds after it
}

// rows chooses what to show in so many rows, and says what is left out.
func (c *chart) rows(p pen, g grouping, n int) (out []row, hidden string) {
	if g == byExecution || (g == byItself && len(c.spans) <= n && c.unkept == 0) {
		return c.executionRows(p, n)
	}
	shown := slices.Clone(c.lanes)
	if len(shown) > n {
		slices.SortStableFunc(shown, func(a, b *lane) int { return cmp.Compare(b.last().to(1<<62), a.last().to(1<<62)) })
		rest := shown[n-1:]
		busy := 0
		for _, l := range rest {
			if l.last().live() {
				busy++
			}
		}
		hidden = fmt.Sprintf("and %s of providers, %d running", plural(len(rest), "more slot"), busy)
		shown = shown[:n-1]
	}
	slices.SortStableFunc(shown, func(a, b *lane) int {
		return cmp.Or(cmp.Compare(c.order(a.who), c.order(b.who)), cmp.Compare(a.slot, b.slot))
	})
	several := map[string]bool{}
	for _, l := range c.lanes {
		several[l.who] = several[l.who] || l.slot > 1
	}
	for i, l := range shown {
		var label line
		name := p.who(l.who)
		if i > 0 && shown[i-1].who == l.who {
			name = strings.Repeat(" ", len([]rune(name)))
		}
		label.put(normal, name)
		if several[l.who] {
			label.put(dim, fmt.Sprintf(" slot %d", l.slot))
		}
		out = append(out, row{label, l.spans, false})
	}
	return out, hidden
}

// order tells where a provider stands: in the order of their first executions.
func (c *chart) order(who string) int {
	return slices.IndexFunc(c.lanes, func(l *lane) bool { return l.who == who })
}

// who marks the ending of an id as one.
func (p pen) who(ending string) string {
	if ending == "" || ending == "here" {
		return ending
	}
	return string(p.of('…', '*')) + ending
}

func (c *chart) executionRows(p pen, n int) (out []row, hidden string) {
	all := make([]*span, 0, len(c.spans))
	for _, s := range c.spans {
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b *span) int {
		return cmp.Or(cmp.Compare(b.from(), a.from()), cmp.Compare(a.task, b.task), cmp.Compare(a.id, b.id))
	})
	if len(all) > n {
		hidden = fmt.Sprintf("and %s before", plural(len(all)-n+1+c.unkept, "execution"))
		all = all[:n-1]
	}
	slices.SortFunc(all, func(a, b *span) int {
		return cmp.Or(cmp.Compare(a.task, b.task), cmp.Compare(a.from(), b.from()), cmp.Compare(a.id, b.id))
	})
	for i, s := range all {
		var label line
		number := fmt.Sprintf("%4d ", s.task)
		if i > 0 && all[i-1].task == s.task {
			number = "     "
		}
		label.put(bold, number).put(normal, p.who(s.who))
		if f := s.fraction(); f >= 0 {
			label.put(dim, fmt.Sprintf(" %3.0f%%", 100*f))
		}
		out = append(out, row{label, []*span{s}, true})
	}
	return out, hidden
}

// row draws executions that follow each other; or one alone, of which the time
// that it waited to begin is drawn too.
func (p pen) row(spans []*span, sc scale, now int64, alone bool) line {
	cells := make(line, sc.cells)
	for i := range cells {
		cells[i].r = ' '
	}
	end, kept := -1, -1 // of the one before; the last mark that must stay
	for _, s := range spans {
		from, to := sc.cell(s.from()), sc.cell(s.to(now))
		if alone && s.created > 0 {
			for i := sc.cell(s.created); i < from; i++ {
				cells[i] = cell{p.of('·', '.'), dim}
			}
		}
		mark, failed := p.mark(s)
		from = max(from, kept+1)
		if (to <= end && !failed) || to <= kept {
			continue // too short to be seen beside the one before
		}
		fill := p.fill(s)
		for i := from; i <= to; i++ {
			cells[i] = fill
		}
		if end >= 0 && from <= end+1 && to > from {
			cells[from].r = p.of('▐', '|')
		}
		if number := strconv.Itoa(int(s.task)); to-from-1 > len(number) && !alone {
			for i, r := range number {
				cells[from+1+i].r = r
			}
		}
		if mark.r != 0 {
			cells[to] = mark
		}
		end = to
		if failed {
			kept = to
		}
	}
	return cells
}

// fill is how the time of an execution looks.
func (p pen) fill(s *span) cell {
	c := cell{p.of('█', '='), good}
	switch s.kind {
	case checker:
		c = cell{p.of('▓', '%'), checking}
	case own:
		c = cell{p.of('▒', '#'), ownRun}
	case hedge:
		c = cell{p.of('░', '+'), good}
	}
	switch {
	case s.state == "assigned":
		return cell{p.of('·', '.'), dim}
	case s.away:
		c.s = warn
	case s.state == "cancelled" || s.state == "declined":
		c.s = dim
	case s.state == "failed" || s.state == "wrong" || s.state == "lost":
		c.s = bad
	}
	return c
}

// mark is how the end of an execution looks, and whether it ended badly; the mark
// of a good end is none.
func (p pen) mark(s *span) (mark cell, failed bool) {
	switch s.state {
	case "assigned":
		return cell{p.of('·', '.'), dim}, false
	case "running":
		if s.away {
			return cell{'?', warn}, true
		}
		return cell{p.of('▶', '>'), bold}, false
	case "failed":
		return cell{p.of('✗', 'x'), bad}, true
	case "lost":
		return cell{'?', bad}, true
	case "wrong":
		return cell{'!', bad}, true
	case "cancelled", "declined":
		return cell{p.of('┤', '-'), dim}, false
	}
	return cell{}, false
}
