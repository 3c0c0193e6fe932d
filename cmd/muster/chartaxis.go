package main

import (
	"fmt"
	"strconv"
	"time"
)

// A scale maps time to the cells of a row. It changes in steps, so that what is
// drawn stands still from one frame to the next.
type scale struct {
	begin   int64 // Unix milliseconds
	perCell int64 // milliseconds
	cells   int
}

// newScale fits the time from begin to end into a row of cells.
func newScale(begin, end int64, cells int) scale {
	unit := int64(50)
	for steps := []int64{2, 3, 4, 5, 6, 8, 10}; ; unit *= 10 {
		for _, step := range steps {
			if per := unit * step; per*int64(cells) >= end-begin || unit > int64(10000*time.Hour/time.Millisecond) {
				return scale{begin, per, cells}
			}
		}
	}
}

func (s scale) cell(at int64) int {
	return int(min(max((at-s.begin)/s.perCell, 0), int64(s.cells-1)))
}

// axis names points in time under the rows, counted from the job's beginning.
func (p pen) axis(sc scale, begin int64) line {
	var l line
	l.put(dim, "time").pad(labelColumns)
	for at := 0; at < sc.cells; at += 10 {
		word := span10(time.Duration(sc.begin-begin+int64(at)*sc.perCell) * time.Millisecond)
		if at+len(word)+1 > sc.cells {
			break
		}
		l.pad(labelColumns+at).put(dim, string(p.of('╵', '\''))+word)
	}
	return l
}

// span10 gives a time on the axis in as few characters as it can.
func span10(d time.Duration) string {
	switch {
	case d == 0:
		return "0"
	case d < time.Minute:
		return strconv.FormatFloat(d.Seconds(), 'f', -1, 64) + "s"
	case d < time.Hour:
		return fmt.Sprintf("%d:%02d", int(d.Minutes()), int(d.Seconds())%60)
	}
	return fmt.Sprintf("%dh%02d", int(d.Hours()), int(d.Minutes())%60)
}

// legend explains what stands in the chart, and nothing else.
func (c *chart) legend(p pen, columns int) []line {
	kinds, marks := map[kind]bool{}, map[string]*span{}
	for _, s := range c.spans {
		if s.state != "assigned" {
			kinds[s.kind] = true
		}
		switch {
		case s.state == "running" && s.away:
			marks["out of touch"] = s
		case s.state != "answered":
			marks[s.state] = s
		}
	}
	var out []line
	var l line
	add := func(sign cell, name string) {
		part := append(line{sign}, words(dim, " "+name)...)
		if len(l) > 0 && l.columns()+3+part.columns() > columns {
			out, l = append(out, l), nil
		}
		if len(l) > 0 {
			l.put(normal, "   ")
		}
		l = append(l, part...)
	}
	for k := primary; k <= hedge; k++ {
		if kinds[k] {
			add(p.fill(&span{kind: k, state: "answered"}), k.String())
		}
	}
	for _, name := range sortedKeys(marks) {
		if m, _ := p.mark(marks[name]); m.r != 0 {
			add(m, name)
		}
	}
	return append(out, l)
}
