package main

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/dustin/go-humanize"
	"github.com/jedib0t/go-pretty/v6/text"
)

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

// fuelText gives units of fuel to a digit after the point: 1.2 G.
func fuelText(n uint64) string {
	for _, u := range []struct {
		name string
		size float64
	}{{"P", 1e15}, {"T", 1e12}, {"G", 1e9}, {"M", 1e6}, {"k", 1e3}} {
		if v := float64(n) / u.size; v >= 0.99995 {
			return strconv.FormatFloat(math.Round(v*10)/10, 'f', -1, 64) + " " + u.name
		}
	}
	return strconv.FormatUint(n, 10)
}

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

// clock gives a time in Unix milliseconds as it is here, "" for none.
func clock(ms int64) string {
	if ms == 0 {
		return ""
	}
	return time.UnixMilli(ms).Format("2006-01-02 15:04:05.000")
}

// ofTasks gives "3 of 10 tasks".
func ofTasks(n, all uint32) string { return fmt.Sprintf("%d of %s", n, plural(int(all), "task")) }

// plural gives "1 thing" or "3 things".
func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
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

// short gives the first eight characters of the id of a job, an execution or a
// lease, which name it where there are not very many.
func short(id string) string { return id[:min(8, len(id))] }

// ending gives the last eight characters of an id: the first ones of peer ids and
// CIDs are all the same.
func ending(id string) string { return id[max(0, len(id)-8):] }

func credits(c float64) string {
	if c == 0 {
		return ""
	}
	return numberText(c) + " credits"
}

func labelText(m map[string]string) string {
	words := make([]string, 0, len(m))
	for _, k := range sortedKeys(m) {
		words = append(words, k+"="+m[k])
	}
	return strings.Join(words, " ")
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// agree gives the form of a verb that goes with n things.
func agree(n uint32, one, more string) string {
	if n == 1 {
		return one
	}
	return more
}

// counts gives "3 running", "" for none.
func counts(n uint32, what string) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("%d %s", n, what)
}
