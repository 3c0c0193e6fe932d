package content

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func TestSplitFiles(t *testing.T) {
	entries := func(sizes ...int64) (out []Entry) {
		for i, size := range sizes {
			out = append(out, Entry{Path: fmt.Sprintf("f%d", i), Size: size})
		}
		return append(out, Entry{Path: "dir", Dir: true})
	}
	cases := []struct {
		name    string
		entries []Entry
		n       int
		want    string
	}{
		{"one per file", entries(5, 0, 7), 0, "f0|f1|f2"},
		{"one group", entries(5, 0, 7), 1, "f0 f1 f2"},
		{"equal files", entries(1, 1, 1, 1), 2, "f0 f2|f1 f3"},
		{"one large file", entries(1, 100, 1, 1), 2, "f0 f2 f3|f1"},
		{"more groups than files", entries(3, 3), 9, "f0|f1"},
		{"empty files spread", entries(0, 0, 0, 0), 2, "f0 f2|f1 f3"},
		{"no files", entries(), 3, ""},
		{"about equal", entries(9, 8, 7, 6, 5, 4), 3, "f0 f5|f1 f4|f2 f3"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var groups []string
			for _, g := range SplitFiles(c.entries, c.n) {
				var names []string
				for _, e := range g {
					names = append(names, e.Path)
				}
				groups = append(groups, strings.Join(names, " "))
			}
			if got := strings.Join(groups, "|"); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

// TestSplitFilesIsFair checks what it promises, on random sizes.
func TestSplitFilesIsFair(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 300 {
		var entries []Entry
		var total, largest int64
		for i := range 1 + rng.IntN(200) {
			e := Entry{Path: fmt.Sprintf("%03d", i), Size: 1 + rng.Int64N(1000)}
			total, largest = total+e.Size, max(largest, e.Size)
			entries = append(entries, e)
		}
		n := 1 + rng.IntN(20)
		groups := SplitFiles(entries, n)
		seen, most := 0, int64(0)
		for _, g := range groups {
			var sum int64
			for _, e := range g {
				sum += e.Size
			}
			seen, most = seen+len(g), max(most, sum)
			if len(g) == 0 || !slices.IsSortedFunc(g, func(a, b Entry) int { return strings.Compare(a.Path, b.Path) }) {
				t.Errorf("a group is empty or out of order: %v", g)
			}
		}
		if best := max(total/int64(n), largest); seen != len(entries) || len(groups) != min(n, len(entries)) || most > best+largest {
			t.Errorf("%d of %d files in %d of %d groups, the largest %d, at best %d", seen, len(entries), len(groups), n, most, best)
		}
		rng.Shuffle(len(entries), func(i, j int) { entries[i], entries[j] = entries[j], entries[i] })
		if again := SplitFiles(entries, n); fmt.Sprint(again) != fmt.Sprint(groups) {
			t.Error("another order of entries gives other groups")
		}
	}
}

func TestSplitLines(t *testing.T) {
	s := openStore(t)
	long := strings.Repeat("l", 3<<20)
	cases := []struct {
		name, in string
		per      int
		want     []string
	}{
		{"even", "a\nb\nc\nd\n", 2, []string{"a\nb\n", "c\nd\n"}},
		{"a short last piece", "a\nb\nc\n", 2, []string{"a\nb\n", "c\n"}},
		{"no newline at the end", "a\nb\nc", 2, []string{"a\nb\n", "c"}},
		{"no newline at all", "abc", 5, []string{"abc"}},
		{"one a piece", "a\n\n\nb", 1, []string{"a\n", "\n", "\n", "b"}},
		{"empty", "", 3, nil},
		{"more lines than there are", "a\nb\n", 100, []string{"a\nb\n"}},
		{"a newline alone", "\n", 1, []string{"\n"}},
		{"long lines", long + "\nx\n" + long, 1, []string{long + "\n", "x\n", long}},
		{"carriage returns stay", "a\r\nb\r\n", 1, []string{"a\r\n", "b\r\n"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			pieces, err := s.SplitLines(t.Context(), s.add(t, c.in).CID, c.per)
			if err != nil || len(pieces) != len(c.want) {
				t.Fatalf("%d pieces, %v; want %d", len(pieces), err, len(c.want))
			}
			for i, p := range pieces {
				if want := s.add(t, c.want[i]); p != want {
					t.Errorf("piece %d: got %+v, want %+v", i, p, want)
				}
			}
		})
	}
	if _, err := s.SplitLines(t.Context(), s.add(t, "a").CID, 0); err == nil {
		t.Error("pieces of no lines")
	}
	if _, err := s.SplitLines(t.Context(), s.build(t, map[string]string{"a": ""}).CID, 1); !errors.Is(err, ErrMalformed) {
		t.Errorf("a directory: got %v, want ErrMalformed", err)
	}
	few := s.cfg
	few.MaxEntries = 2
	small, err := Open(s.dir, s.kv, few)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := small.SplitLines(t.Context(), s.add(t, "1\n2\n3\n").CID, 1); !errors.Is(err, ErrTooMany) {
		t.Errorf("three pieces of two: got %v, want ErrTooMany", err)
	}
}

// TestSplitLinesLosesNothing joins the pieces of random text again.
func TestSplitLinesLosesNothing(t *testing.T) {
	s := openStore(t)
	rng := rand.New(rand.NewPCG(5, 6))
	for range 20 {
		in := make([]byte, rng.IntN(200_000))
		for i := range in {
			in[i] = "abcdefg\n"[rng.IntN(8)]
		}
		per := 1 + rng.IntN(3000)
		pieces, err := s.SplitLines(t.Context(), s.addBytes(t, in).CID, per)
		if err != nil {
			t.Fatal(err)
		}
		var joined []byte
		for i, p := range pieces {
			f, err := s.OpenFile(t.Context(), p.CID)
			if err != nil {
				t.Fatal(err)
			}
			piece, err := io.ReadAll(f)
			if err != nil {
				t.Fatal(err)
			}
			if lines := bytes.Count(piece, []byte("\n")); i < len(pieces)-1 && (lines != per || piece[len(piece)-1] != '\n') {
				t.Errorf("piece %d has %d lines, want %d", i, lines, per)
			}
			joined = append(joined, piece...)
		}
		if !bytes.Equal(joined, in) {
			t.Errorf("%d bytes in, %d out", len(in), len(joined))
		}
	}
}
