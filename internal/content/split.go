package content

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/mustermesh/muster/proto"
)

// SplitFiles deals the files among entries, directories left out, into n groups
// of about equal bytes, or one group per file if n is 0. There are never more
// groups than files, and no empty ones. The same entries give the same groups;
// inside a group the files keep their order, and the groups are ordered by
// their first file.
func SplitFiles(entries []Entry, n int) [][]Entry {
	var files []Entry
	for _, e := range entries {
		if !e.Dir {
			files = append(files, e)
		}
	}
	if n <= 0 || n > len(files) {
		n = len(files)
	}
	// The longest first, each to the group that has least: within 4/3 of the best
	// (Graham, 1969). Empty files count a byte, so that they spread too.
	slices.SortStableFunc(files, func(a, b Entry) int {
		return cmp.Or(cmp.Compare(b.Size, a.Size), cmp.Compare(a.Path, b.Path))
	})
	groups, loads := make([][]Entry, n), make([]int64, n)
	for _, f := range files {
		i := slices.Index(loads, slices.Min(loads))
		groups[i] = append(groups[i], f)
		loads[i] += max(f.Size, 1)
	}
	byPath := func(a, b Entry) int { return cmp.Compare(a.Path, b.Path) }
	for _, g := range groups {
		slices.SortFunc(g, byPath)
	}
	slices.SortFunc(groups, func(a, b []Entry) int { return byPath(a[0], b[0]) })
	return groups
}

// SplitLines adds the pieces of linesPer lines, in order, of the file that c
// names; the last piece may be shorter. A line ends after its "\n"; a last one
// without is kept as it is. An empty file has no pieces. Memory is constant,
// whatever the length of a line. Errors wrap those of OpenFile, and ErrTooMany
// beyond proto.MaxTasks or Config.MaxEntries pieces: the file is then not read
// any further.
func (s *Store) SplitLines(ctx context.Context, c proto.CID, linesPer int) ([]Node, error) {
	if linesPer < 1 {
		return nil, errors.New("split lines: a piece has at least one line")
	}
	f, err := s.OpenFile(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("split lines: %w", err)
	}
	a := s.newAdder(ctx, nil)
	defer a.release()
	in := &lineReader{in: bufio.NewReaderSize(f, 64<<10)}
	var pieces []Node
	for {
		more, err := in.next(linesPer)
		if most := s.maxPieces(); err == nil && more && int64(len(pieces)) == most {
			err = fmt.Errorf("%w: pieces of %d lines make more than %d: take more lines a piece", ErrTooMany, linesPer, most)
		}
		if err == nil && !more {
			err = a.out.flush()
			return pieces, err
		}
		var n Node
		if err == nil {
			n, err = a.file(in)
		}
		if err != nil {
			return nil, fmt.Errorf("split lines of %s: %w", c, err)
		}
		pieces = append(pieces, n)
	}
}

// A lineReader reads a number of lines and then says io.EOF, until next.
type lineReader struct {
	in   *bufio.Reader
	left int // lines
}

// next begins the next piece and tells whether there is one.
func (l *lineReader) next(lines int) (bool, error) {
	l.left = lines
	_, err := l.in.Peek(1)
	if errors.Is(err, io.EOF) {
		return false, nil
	}
	return err == nil, err
}

func (l *lineReader) Read(p []byte) (int, error) {
	if l.left == 0 {
		return 0, io.EOF
	}
	if _, err := l.in.Peek(1); err != nil {
		return 0, err
	}
	have, _ := l.in.Peek(min(len(p), l.in.Buffered()))
	end := 0
	for end < len(have) && l.left > 0 {
		i := bytes.IndexByte(have[end:], '\n')
		if i < 0 {
			end = len(have)
			break
		}
		end += i + 1
		l.left--
	}
	return l.in.Read(p[:end])
}
