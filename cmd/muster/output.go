package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/dustin/go-humanize"
	"github.com/goccy/go-yaml"
	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
)

var formats = []string{"table", "json", "yaml"}

func checkFormat(f string) error {
	if f != "" && !slices.Contains(formats, f) {
		return usagef("output format %q; there are %s", f, strings.Join(formats, ", "))
	}
	return nil
}

// asTable tells whether a person reads the output.
func (a *app) asTable() bool { return a.global.output == "" || a.global.output == "table" }

// print writes v as JSON or YAML, or calls people for a table.
func (a *app) print(v any, people func(w io.Writer)) error {
	if a.asTable() {
		people(a.out)
		return nil
	}
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	if a.global.output == "yaml" {
		b, err = yaml.JSONToYAML(b)
		if err != nil {
			return err
		}
	}
	_, err = fmt.Fprintf(a.out, "%s\n", strings.TrimRight(string(b), "\n"))
	return err
}

// A grid is a table for people.
type grid struct {
	head []any
	rows [][]any
}

func columns(names ...any) *grid { return &grid{head: names} }

func (g *grid) add(cells ...any) {
	for i, c := range cells {
		if s, ok := c.(string); ok {
			cells[i] = clean(s)
		}
	}
	g.rows = append(g.rows, cells)
}

// write renders the grid without lines; the heading is bold where color is.
func (g *grid) write(w io.Writer, color bool) {
	t := table.NewWriter()
	style := table.StyleDefault
	style.Options = table.OptionsNoBordersAndSeparators
	style.Box.PaddingLeft, style.Box.PaddingRight = "", "  "
	style.Format.Header = text.FormatUpper
	if color {
		style.Color.Header = text.Colors{text.Bold}
	}
	t.SetStyle(style)
	t.SuppressTrailingSpaces()
	t.AppendHeader(g.head)
	for _, r := range g.rows {
		t.AppendRow(r)
	}
	fmt.Fprintln(w, t.Render())
}

// show writes the grid, or a sentence where it has no rows.
func (a *app) show(w io.Writer, g *grid, none string) {
	if len(g.rows) == 0 {
		fmt.Fprintln(a.err, none)
		return
	}
	g.write(w, a.color(w))
}

func (a *app) color(stream any) bool { return os.Getenv("NO_COLOR") == "" && a.isTerminal(stream) }

// facts writes aligned "name  value" lines; empty values are left out.
func facts(w io.Writer, pairs ...any) {
	wide := 0
	for i := 0; i+1 < len(pairs); i += 2 {
		wide = max(wide, len(pairs[i].(string)))
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		if v := clean(fmt.Sprint(pairs[i+1])); v != "" {
			fmt.Fprintf(w, "%-*s  %s\n", wide, pairs[i], v)
		}
	}
}

// clean makes a stranger's words safe for a terminal: one line, no control
// characters, no tricks with the direction of writing.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == unicode.ReplacementChar:
			return '?'
		}
		return r
	}, s)
}

func bytesText(n uint64) string { return humanize.IBytes(n) }

func numberText(f float64) string { return fmt.Sprintf("%.6g", f) }

// ago gives how long ago a time in Unix milliseconds was, "" for none.
func ago(ms int64, now time.Time) string {
	if ms == 0 {
		return ""
	}
	return age(now.Sub(time.UnixMilli(ms)))
}

// age gives a duration in its one or two largest units.
func age(d time.Duration) string {
	d = max(d, 0)
	s := int(d.Seconds())
	switch {
	case d < time.Minute:
		return d.Round(100 * time.Millisecond).String()
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", s/60, s%60)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh%02dm", s/3600, s/60%60)
	}
	return fmt.Sprintf("%dd", s/86400)
}

func clock(ms int64) string {
	if ms == 0 {
		return ""
	}
	return time.UnixMilli(ms).Format("2006-01-02 15:04:05.000")
}
