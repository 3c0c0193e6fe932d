package main

import (
	"fmt"
	"io"
	"strconv"
	"text/tabwriter"
)

// A figure is one thing that was measured.
type figure struct {
	What  string  `json:"what"`
	Value float64 `json:"value"`
	Unit  string  `json:"unit"`
	// Goal is what the project wants to reach; 0: nothing in particular.
	Goal   float64 `json:"goal,omitempty"`
	AtMost bool    `json:"at_most,omitempty"` // Goal is an upper bound, not a lower one
	Peer   string  `json:"peer,omitempty"`    // others, or floors, that were measured elsewhere
	Note   string  `json:"note,omitempty"`
}

type figures []figure

func (fs *figures) add(f figure) { *fs = append(*fs, f) }

// verdict compares the value with the goal.
func (f figure) verdict() string {
	switch {
	case f.Goal == 0:
		return ""
	case f.AtMost && f.Value <= f.Goal, !f.AtMost && f.Value >= f.Goal:
		return fmt.Sprintf("reached (%.2f×)", f.Value/f.Goal)
	}
	return fmt.Sprintf("MISSED (%.2f×)", f.Value/f.Goal)
}

func (f figure) goal() string {
	if f.Goal == 0 {
		return ""
	}
	sign := "≥"
	if f.AtMost {
		sign = "≤"
	}
	return sign + " " + number(f.Goal)
}

func number(v float64) string {
	if v >= 100 {
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return strconv.FormatFloat(v, 'g', 3, 64)
}

func (fs figures) write(w io.Writer) {
	tab := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tab, "what\tmeasured\tunit\tgoal\t\tpeers and floors, elsewhere\tnote")
	for _, f := range fs {
		fmt.Fprintf(tab, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", f.What, number(f.Value), f.Unit, f.goal(), f.verdict(), f.Peer, f.Note)
	}
	tab.Flush()
}
