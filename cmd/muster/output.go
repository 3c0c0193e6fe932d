package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

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

// printLine writes v as one line of JSON.
func (a *app) printLine(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = a.out.Write(append(b, '\n'))
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
func (a *app) show(w io.Writer, g *grid, none string, folded ...string) {
	if len(g.rows) == 0 {
		fmt.Fprintln(a.err, none)
		return
	}
	a.page(w).grid(g, folded...)
}

func (a *app) color(stream any) bool { return os.Getenv("NO_COLOR") == "" && a.isTerminal(stream) }
