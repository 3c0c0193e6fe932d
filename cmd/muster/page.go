package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// A page is where a person reads long answers: text that is folded between
// words where the screen ends.
type page struct {
	w     io.Writer
	width int // columns; 0 folds nothing
	color bool
}

// wide tells whether there is room for what is good to know but not needed.
func (p *page) wide() bool { return p.width == 0 || p.width >= 120 }

// page gives the page behind w. What is not a terminal is not folded, so that
// each line stays one for grep.
func (a *app) page(w io.Writer) *page {
	p := &page{w: w, color: a.color(w)}
	if a.isTerminal(w) {
		columns, _ := a.size()
		p.width = max(columns, 40)
	}
	return p
}

// say writes a paragraph: lead before the first line, as many spaces before the
// others.
func (p *page) say(lead, format string, args ...any) {
	indent := columnsOf(lead)
	s := clean(fmt.Sprintf(format, args...))
	for i, line := range fold(s, p.width, indent) {
		if i > 0 {
			lead = strings.Repeat(" ", indent)
		}
		fmt.Fprintf(p.w, "%s%s\n", lead, line)
	}
}

// facts writes aligned "name  value" lines, folded beside their names; empty
// values are left out.
func (p *page) facts(pairs ...any) {
	wide := 0
	for i := 0; i+1 < len(pairs); i += 2 {
		wide = max(wide, len(pairs[i].(string)))
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		if v := fmt.Sprint(pairs[i+1]); v != "" {
			p.say(fmt.Sprintf("%-*s  ", wide, pairs[i]), "%s", v)
		}
	}
}

// title writes a heading over a section.
func (p *page) title(format string, args ...any) {
	fmt.Fprintln(p.w)
	p.say("", format, args...)
}

// section writes a table under a title, nothing where it has no rows.
func (p *page) section(title string, g *grid, folded ...string) {
	if len(g.rows) > 0 {
		p.title("%s", title)
		p.table(g, folded...)
	}
}

// numbered writes a list that counts from 1.
func (p *page) numbered(items []string) {
	wide := len(fmt.Sprint(len(items)))
	for i, s := range items {
		p.say(fmt.Sprintf("  %*d. ", wide, i+1), "%s", s)
	}
}

// table writes a grid without the columns that hold nothing.
func (p *page) table(g *grid, folded ...string) {
	if len(g.rows) > 0 {
		p.grid(g.compact(), folded...)
	}
}

// grid writes a grid, and folds the columns of these names as the screen demands.
func (p *page) grid(g *grid, folded ...string) {
	widths := g.fit(p.width, folded)
	for _, row := range append([][]any{g.head}, g.rows...) {
		for i, w := range widths {
			if s, ok := row[i].(string); ok && w > 0 {
				row[i] = strings.Join(fold(s, w, 0), "\n")
			}
		}
	}
	g.write(p.w, p.color)
}

// compact gives the grid without empty columns.
func (g *grid) compact() *grid {
	c := &grid{rows: make([][]any, len(g.rows))}
	for i, name := range g.head {
		used := false
		for _, row := range g.rows {
			used = used || fmt.Sprint(row[i]) != ""
		}
		if !used {
			continue
		}
		c.head = append(c.head, name)
		for r, row := range g.rows {
			c.rows[r] = append(c.rows[r], row[i])
		}
	}
	return c
}

// fit gives the width of each column to fold to, 0 for those that are left as
// they are. What the others leave of the screen is shared evenly; what one column
// does not need goes to the rest, and none gets less than its longest word.
func (g *grid) fit(screen int, folded []string) []int {
	natural, least := g.natural()
	widths := make([]int, len(g.head))
	var open []int
	left := screen - 2*len(g.head) // the gaps, and one after the last
	for i, name := range g.head {
		if screen > 0 && slices.Contains(folded, fmt.Sprint(name)) {
			open = append(open, i)
		} else {
			left -= natural[i]
		}
	}
	for len(open) > 0 {
		share := left / len(open)
		fixed := slices.IndexFunc(open, func(i int) bool { return natural[i] <= share || least[i] >= share })
		if fixed < 0 {
			for _, i := range open {
				widths[i] = share
			}
			break
		}
		i := open[fixed]
		if natural[i] > share {
			widths[i] = least[i]
			left -= least[i]
		} else {
			left -= natural[i]
		}
		open = slices.Delete(open, fixed, fixed+1)
	}
	return widths
}

// natural gives how wide each column is unfolded, and its longest word.
func (g *grid) natural() (width, word []int) {
	width, word = make([]int, len(g.head)), make([]int, len(g.head))
	for _, row := range append([][]any{g.head}, g.rows...) {
		for i, cell := range row {
			s := fmt.Sprint(cell)
			width[i] = max(width[i], columnsOf(s))
			for _, w := range strings.Fields(s) {
				word[i] = max(word[i], columnsOf(w))
			}
		}
	}
	return width, word
}
