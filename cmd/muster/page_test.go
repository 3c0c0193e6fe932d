package main

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestFoldBreaksBetweenWordsAlone(t *testing.T) {
	for _, c := range []struct {
		name, in      string
		width, indent int
		want          []string
	}{
		{"what fits is left as it is", "a  b", 4, 0, []string{"a  b"}},
		{"no width folds nothing", strings.Repeat("a ", 100), 0, 0, []string{strings.Repeat("a ", 100)}},
		{"to the last column", "aa bb cc", 5, 0, []string{"aa bb", "cc"}},
		{"one column less", "aa bb cc", 4, 0, []string{"aa", "bb", "cc"}},
		{"the indent counts", "aa bb cc", 7, 2, []string{"aa bb", "cc"}},
		{"a long word is not broken", "a 1234567890 b", 6, 0, []string{"a", "1234567890", "b"}},
		{"wide letters count twice", "世界 世界 ab", 8, 0, []string{"世界", "世界 ab"}},
		{"nothing", "", 5, 5, []string{""}},
	} {
		if got := fold(c.in, c.width, c.indent); !slices.Equal(got, c.want) {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

func TestATableKeepsToTheScreenAndLosesNoWord(t *testing.T) {
	words := strings.Fields("the provider that was asked has refused because its owner lends only at night and price above cap")
	for screen := 60; screen <= 200; screen++ {
		g := columns("id", "nothing", "why", "fits with")
		var want []string
		for i := range 5 {
			why, change := strings.Join(words[:3*i+1], " "), strings.Join(words[i:], " ")
			g.add(fmt.Sprintf("id%06d", i), "", why, change)
			want = append(want, strings.Fields(why)...)
			want = append(want, strings.Fields(change)...)
		}
		var b bytes.Buffer
		(&page{w: &b, width: screen}).table(g, "why", "fits with")
		got := strings.Fields(b.String())
		for _, w := range want {
			if !slices.Contains(got, w) {
				t.Fatalf("screen of %d: the word %q is lost or broken in\n%s", screen, w, &b)
			}
		}
		for line := range strings.Lines(b.String()) {
			if n := columnsOf(strings.TrimSuffix(line, "\n")); n > screen {
				t.Fatalf("screen of %d: a line has %d columns: %q", screen, n, line)
			}
		}
		if strings.Contains(b.String(), "NOTHING") {
			t.Fatal("the empty column is shown")
		}
	}
}

func TestColumnsShareWhatThereIs(t *testing.T) {
	text := func(n int) string { return strings.TrimSpace(strings.Repeat("ab ", n)) }
	for _, c := range []struct {
		name   string
		screen int
		cells  []any
		want   []int
	}{
		{"no screen folds nothing", 0, []any{"12345678", text(30), text(30)}, []int{0, 0, 0}},
		{"what has room is left", 100, []any{"12345678", text(5), text(5)}, []int{0, 0, 0}},
		{"two long ones get the same", 74, []any{"12345678", text(30), text(30)}, []int{0, 30, 30}},
		{"a short one leaves the rest to the long", 74, []any{"12345678", text(5), text(30)}, []int{0, 0, 46}},
		{"a long word gets its room", 74, []any{"12345678", strings.Repeat("x", 40) + " y", text(30)}, []int{0, 40, 20}},
	} {
		g := columns("id", "a", "b")
		g.add(c.cells...)
		if got := g.fit(c.screen, []string{"a", "b"}); !slices.Equal(got, c.want) {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
}
