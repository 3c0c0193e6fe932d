package counts

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

func TestScan(t *testing.T) {
	long := strings.Repeat("x", 200<<10)
	tests := []struct {
		name, text string
		want       []Entry // in order of first appearance
	}{
		{"an empty text has no words", "", nil},
		{"separators alone are no words", " \n\t.,;-", nil},
		{"letters are lowered", "Go GO go", []Entry{{"go", 3}}},
		{"digits and the underscore belong to words", "a_1 b2", []Entry{{"a_1", 1}, {"b2", 1}}},
		{"a word at the end needs no separator", "one two", []Entry{{"one", 1}, {"two", 1}}},
		{"a character outside ASCII ends a word", "naïve", []Entry{{"na", 1}, {"ve", 1}}},
		{"the Kelvin sign is not the letter k", "\u212a k", []Entry{{"k", 1}}},
		{"a byte that is not UTF-8 ends a word", "a\xffb", []Entry{{"a", 1}, {"b", 1}}},
		{"a word longer than the buffer is one word", long, []Entry{{long, 1}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var tally Tally
			if err := tally.Scan(iotest.HalfReader(strings.NewReader(tt.text))); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(tally.entries, tt.want) {
				t.Errorf("got %v, want %v", tally.entries, tt.want)
			}
		})
	}
}

func TestScanReportsTheReadersError(t *testing.T) {
	broken := errors.New("broken")
	var tally Tally
	if err := tally.Scan(iotest.ErrReader(broken)); !errors.Is(err, broken) {
		t.Errorf("got %v, want %v", err, broken)
	}
}

func TestTop(t *testing.T) {
	var tally Tally
	if err := tally.Scan(strings.NewReader("c b a b c d c")); err != nil {
		t.Fatal(err)
	}
	all := []Entry{{"c", 3}, {"b", 2}, {"a", 1}, {"d", 1}}
	for n, want := range map[int][]Entry{-1: {}, 0: {}, 3: all[:3], 4: all, 9: all} {
		if got := tally.Top(n); !slices.Equal(got, want) {
			t.Errorf("Top(%d): got %v, want %v", n, got, want)
		}
	}
}

func TestWriteSortsByWord(t *testing.T) {
	var tally Tally
	if err := tally.Scan(strings.NewReader("b a b _ 1")); err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	if err := tally.Write(&got); err != nil {
		t.Fatal(err)
	}
	if want := "1\t1\n_\t1\na\t1\nb\t2\n"; got.String() != want {
		t.Errorf("got %q, want %q", got.String(), want)
	}
}

func TestReadAddsUp(t *testing.T) {
	var tally Tally
	for _, part := range []string{"a\t1\nb\t2\n", "", "b\t3\nc\t4"} {
		if err := tally.Read(strings.NewReader(part)); err != nil {
			t.Fatal(err)
		}
	}
	if want := []Entry{{"a", 1}, {"b", 5}, {"c", 4}}; !slices.Equal(tally.entries, want) {
		t.Errorf("got %v, want %v", tally.entries, want)
	}
	if tally.Total() != 10 || tally.Distinct() != 3 {
		t.Errorf("got total %d, distinct %d; want 10, 3", tally.Total(), tally.Distinct())
	}
}

func TestReadRefuses(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"a line without a tab", "a\t1\nb 2\n", "line 2"},
		{"an empty line", "\n", "line 1"},
		{"a zero byte", "\x00\t1\n", "not a word"},
		{"an empty word", "\t1\n", "not a word"},
		{"a capital letter", "A\t1\n", "not a word"},
		{"a letter outside ASCII", "é\t1\n", "not a word"},
		{"a count of nothing", "a\t0\n", "not a count"},
		{"a negative count", "a\t-1\n", "not a count"},
		{"a count beyond 64 bits", "a\t9223372036854775808\n", "not a count"},
		{"a sum beyond 64 bits", "a\t1\nb\t9223372036854775807\n", "line 2: the counts"},
		{"a third column", "a\t1\t2\n", "not a count"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var tally Tally
			err := tally.Read(strings.NewReader(tt.text))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got error %v, want one with %q", err, tt.want)
			}
		})
	}
}

// FuzzRead checks that whatever Read accepts survives being written and read
// again.
func FuzzRead(f *testing.F) {
	for _, s := range []string{"", "a\t1\n", "a\t1\nb\t2", "a\t1\na\t9223372036854775807\n", "\t\n", "é\t1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var first, second Tally
		if first.Read(strings.NewReader(text)) != nil {
			return
		}
		var once, twice bytes.Buffer
		if err := first.Write(&once); err != nil {
			t.Fatal(err)
		}
		if err := second.Read(bytes.NewReader(once.Bytes())); err != nil {
			t.Fatalf("read back %q: %v", once.String(), err)
		}
		if err := second.Write(&twice); err != nil {
			t.Fatal(err)
		}
		if once.String() != twice.String() {
			t.Errorf("got %q, want %q", twice.String(), once.String())
		}
	})
}
