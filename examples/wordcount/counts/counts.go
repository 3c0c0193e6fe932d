// Package counts is the arithmetic of the word count example: what a word is,
// how tallies are kept, written, read back and added up.
//
// A word is a maximal run of the bytes A-Z, a-z, 0-9 and _, with A-Z lowered.
// Every other byte, so every byte of a character outside ASCII, ends a word.
// The rule looks at bytes alone, so every machine counts the same words.
package counts

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
)

// FileName is the name of the file that a task leaves its tally in.
const FileName = "counts.tsv"

// An Entry is one word and how often it was seen.
type Entry struct {
	Word  string
	Count int64
}

// A Tally counts words. The zero Tally is empty and ready for use; it must
// not be used by two goroutines at once.
type Tally struct {
	entries []Entry
	index   map[string]int // word to its place in entries
	total   int64
	piece   []byte // what Scan reads into, kept from file to file
}

// Total says how many words were counted, repetitions included.
func (t *Tally) Total() int64 { return t.total }

// Distinct says how many different words were counted.
func (t *Tally) Distinct() int { return len(t.entries) }

// Scan counts the words of r, up to its end. It holds a piece of the text in
// memory, not all of it. The error is the one from r; what was read before it
// is counted.
func (t *Tally) Scan(r io.Reader) error {
	if t.piece == nil {
		t.piece = make([]byte, 64<<10)
	}
	var word []byte
	for {
		n, err := r.Read(t.piece)
		word = t.scanPiece(word, t.piece[:n])
		if err == nil {
			continue
		}
		if len(word) > 0 {
			t.add(word, 1)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		return err
	}
}

// scanPiece counts the words that end in piece. It takes the word that the
// piece before left open and returns the one that this piece leaves open.
func (t *Tally) scanPiece(word, piece []byte) []byte {
	for _, b := range piece {
		if letter := letters[b]; letter != 0 {
			word = append(word, letter)
		} else if len(word) > 0 {
			t.add(word, 1)
			word = word[:0]
		}
	}
	return word
}

// add counts word n times; it keeps no reference to word.
func (t *Tally) add(word []byte, n int64) {
	t.total += n
	if i, ok := t.index[string(word)]; ok {
		t.entries[i].Count += n
		return
	}
	if t.index == nil {
		t.index = make(map[string]int)
	}
	e := Entry{Word: string(word), Count: n}
	t.index[e.Word] = len(t.entries)
	t.entries = append(t.entries, e)
}

// Write writes one line "word<TAB>count" for each word, in byte order of the
// words.
func (t *Tally) Write(w io.Writer) error {
	sorted := slices.Clone(t.entries)
	slices.SortFunc(sorted, func(a, b Entry) int { return strings.Compare(a.Word, b.Word) })
	bw := bufio.NewWriter(w)
	var line []byte
	for _, e := range sorted {
		line = append(append(line[:0], e.Word...), '\t')
		line = append(strconv.AppendInt(line, e.Count, 10), '\n')
		if _, err := bw.Write(line); err != nil {
			return err
		}
	}
	return bw.Flush()
}

// Read adds what Write wrote to t. A line that Write could not have written
// is an error that names it; the lines before it are counted.
func (t *Tally) Read(r io.Reader) error {
	br := bufio.NewReader(r)
	for n := 1; ; n++ {
		line, err := br.ReadString('\n')
		if errors.Is(err, io.EOF) && line == "" {
			return nil
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		e, err := parseLine(strings.TrimSuffix(line, "\n"))
		if err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
		if e.Count > math.MaxInt64-t.total {
			return fmt.Errorf("line %d: the counts add up to more than 64 bits hold", n)
		}
		t.add([]byte(e.Word), e.Count)
	}
}

func parseLine(line string) (Entry, error) {
	word, count, ok := strings.Cut(line, "\t")
	if !ok {
		return Entry{}, errors.New("want word<TAB>count")
	}
	if !isWord(word) {
		return Entry{}, fmt.Errorf("not a word: %q", word)
	}
	n, err := strconv.ParseInt(count, 10, 64)
	if err != nil || n < 1 {
		return Entry{}, fmt.Errorf("not a count of at least 1: %q", count)
	}
	return Entry{Word: word, Count: n}, nil
}

// Top returns the n most frequent words, the most frequent first, and words of
// equal count in byte order. It returns fewer if there are fewer.
func (t *Tally) Top(n int) []Entry {
	sorted := slices.Clone(t.entries)
	slices.SortFunc(sorted, func(a, b Entry) int {
		if a.Count != b.Count {
			return cmp.Compare(b.Count, a.Count)
		}
		return strings.Compare(a.Word, b.Word)
	})
	return sorted[:min(max(n, 0), len(sorted))]
}

// isWord says whether Write could have written the word.
func isWord(word string) bool {
	for i := range len(word) {
		if letters[word[i]] != word[i] || word[i] == 0 {
			return false
		}
	}
	return word != ""
}

// letters maps each byte that belongs to words to itself or, A to Z, to its
// lower case, and every other byte to 0.
var letters = func() (table [256]byte) {
	for _, b := range []byte("abcdefghijklmnopqrstuvwxyz0123456789_") {
		table[b] = b
	}
	for b := byte('A'); b <= 'Z'; b++ {
		table[b] = b + ('a' - 'A')
	}
	return table
}()
