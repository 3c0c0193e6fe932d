package main

import (
	"os"
	"strings"

	"github.com/jedib0t/go-pretty/v6/text"
)

// A style is how a cell of a screen looks. It only adds to what the characters
// say already: a screen without color reads the same. Words take only those of the
// eight base colors that stand out on a dark and on a light background alike; yellow
// and cyan, which do not, are for the bars of charts.
type style uint8

const (
	normal style = iota
	bold
	dim
	good
	bad
	warn
	checking
	ownRun
)

// sgr gives the numbers that begin a style on a terminal.
func (s style) sgr() string {
	switch s {
	case bold:
		return "1"
	case dim:
		return "2"
	case good:
		return "32"
	case bad:
		return "1;31"
	case warn:
		return "35"
	case checking:
		return "36"
	case ownRun:
		return "33"
	}
	return ""
}

type cell struct {
	r rune
	s style
}

// A line is one row of a screen.
type line []cell

// put adds words in one style; what a stranger wrote is made harmless.
func (l *line) put(s style, words string) *line {
	for _, r := range clean(words) {
		*l = append(*l, cell{r, s})
	}
	return l
}

// words gives a line of words in one style.
func words(s style, w string) line { return *new(line).put(s, w) }

// columns is how wide the line is on a terminal.
func (l line) columns() int {
	n := 0
	for _, c := range l {
		n += text.StringWidth(string(c.r))
	}
	return n
}

// pad widens the line to n columns.
func (l *line) pad(n int) *line {
	if gap := n - l.columns(); gap > 0 {
		l.put(normal, strings.Repeat(" ", gap))
	}
	return l
}

// clip gives the part of the line that fits into n columns, ending in more where
// something is missing.
func (l line) clip(n int, more rune) line {
	if l.columns() <= n {
		return l
	}
	used := 0
	for i, c := range l {
		if used += text.StringWidth(string(c.r)); used > n-1 {
			return append(l[:i:i], cell{more, c.s})
		}
	}
	return l
}

// write adds the line to b, without spaces at its end.
func (l line) write(b *strings.Builder, color bool) {
	for len(l) > 0 && l[len(l)-1].r == ' ' {
		l = l[:len(l)-1]
	}
	now := normal
	turn := func(s style) {
		if color && s != now {
			b.WriteString("\x1b[0")
			if n := s.sgr(); n != "" {
				b.WriteString(";" + n)
			}
			b.WriteByte('m')
		}
		now = s
	}
	for _, c := range l {
		turn(c.s)
		b.WriteRune(c.r)
	}
	turn(normal)
}

// A pen is what can be drawn with on a terminal.
type pen struct {
	color bool
	ascii bool
}

// pen gives what stream can show; ascii is what the user asked for.
func (a *app) pen(stream any, ascii bool) pen {
	return pen{color: a.color(stream), ascii: ascii || !utf8Locale(os.Getenv)}
}

// utf8Locale tells whether the locale, as POSIX finds it, writes UTF-8.
func utf8Locale(env func(string) string) bool {
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if v := strings.ToLower(env(name)); v != "" {
			return strings.Contains(v, "utf-8") || strings.Contains(v, "utf8")
		}
	}
	return false
}

// Characters that are not in ASCII, and what stands for them.
func (p pen) of(fine, plain rune) rune {
	if p.ascii {
		return plain
	}
	return fine
}

func (p pen) more() rune { return p.of('…', '~') }

// gauge draws a fraction from 0 to 1 as a bar.
func (p pen) gauge(l *line, columns int, fraction float64) *line {
	full := min(max(int(fraction*float64(columns)+0.001), 0), columns)
	l.put(dim, "[").put(good, strings.Repeat(string(p.of('█', '#')), full))
	return l.put(dim, strings.Repeat(string(p.of('░', '.')), columns-full)+"]")
}

// joined sets words one after the other, with a mark between them, and begins a
// new line where one is full.
func (p pen) joined(columns int, parts []styled) (out []line) {
	var l line
	for _, part := range parts {
		next := line{}
		next.put(part.s, part.words)
		switch {
		case len(l) == 0:
		case l.columns()+3+next.columns() > columns:
			out, l = append(out, l), nil
		default:
			l.put(dim, " "+string(p.of('·', '|'))+" ")
		}
		l = append(l, next...)
	}
	if len(l) > 0 {
		out = append(out, l)
	}
	return out
}

// styled are words in one style.
type styled struct {
	s     style
	words string
}

// wrapped folds words into at most so many lines; what is left over is cut off.
func (p pen) wrapped(s style, words string, columns, lines int) (out []line) {
	rows := fold(clean(words), max(columns, 10), 0)
	for i, row := range rows[:min(len(rows), lines)] {
		var l line
		l.put(s, row)
		if i == lines-1 && len(rows) > lines {
			l = append(l.clip(columns-1, p.more()), cell{p.more(), s})
		}
		out = append(out, l)
	}
	return out
}
