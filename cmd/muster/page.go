package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/text"
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
		p.width = max(a.width(), 40)
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
func (p *page) facts(pairs ...string) {
	wide := 0
	for i := 0; i+1 < len(pairs); i += 2 {
		wide = max(wide, len(pairs[i]))
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			p.say(fmt.Sprintf("%-*s  ", wide, pairs[i]), "%s", pairs[i+1])
		}
	}
}

// title writes a heading over a section.
func (p *page) title(format string, args ...any) {
	fmt.Fprintln(p.w)
	p.say("", format, args...)
}

// numbered writes a list that counts from 1.
func (p *page) numbered(items []string) {
	wide := len(fmt.Sprint(len(items)))
	for i, s := range items {
		p.say(fmt.Sprintf("  %*d. ", wide, i+1), "%s", s)
	}
}

// table writes a grid, without the columns that hold nothing, and folds the
// columns of these names as the screen demands.
func (p *page) table(g *grid, folded ...string) {
	g = g.compact()
	if len(g.rows) == 0 {
		return
	}
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

// columnsOf is how many columns of a screen s takes.
func columnsOf(s string) int { return text.StringWidthWithoutEscSequences(s) }

// fold breaks s between words into lines that, with indent before them, take at
// most width columns; 0 folds nothing. A longer word has a line of its own, and
// is not broken: it may be an id that somebody wants to copy.
func fold(s string, width, indent int) []string {
	if width <= 0 || indent+columnsOf(s) <= width {
		return []string{s}
	}
	var lines []string
	line, used := "", 0
	for _, word := range strings.Fields(s) {
		n := columnsOf(word)
		switch {
		case line == "":
			line, used = word, n
		case indent+used+1+n <= width:
			line, used = line+" "+word, used+1+n
		default:
			lines = append(lines, line)
			line, used = word, n
		}
	}
	return append(lines, line)
}

// counted gives "1 thing" or "3 things", "" for none.
func counted(n uint64, noun string) string {
	if n == 0 {
		return ""
	}
	return plural(int(n), noun)
}
