package executor

import (
	"bytes"
	"context"
	"io"
	"math"
	"strconv"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"github.com/mustermesh/muster/proto"
)

// maxProgressLine is how much of a line counts, in bytes; the rest is passed
// over.
const maxProgressLine = 1024

// progressUnknown stands for a fraction that a guest does not know.
const progressUnknown = math.MaxUint32

// A progressReader reads what a guest writes to descriptor 1000, and keeps the
// latest line that is well-formed.
type progressReader struct {
	line     []byte // that has begun; at most maxProgressLine bytes
	news     bool   // the following has not been taken
	fraction uint32 // in proto.ProgressUnit, or progressUnknown
	text     []byte // as the guest wrote it
}

func (r *progressReader) write(p []byte) {
	for {
		end := bytes.IndexByte(p, '\n')
		rest := p
		if end >= 0 {
			rest = p[:end]
		}
		r.line = append(r.line, rest[:min(len(rest), maxProgressLine-len(r.line))]...)
		if end < 0 {
			return
		}
		p = p[end+1:]
		if fraction, text, ok := parseProgress(r.line); ok {
			r.news, r.fraction, r.text = true, fraction, append(r.text[:0], text...)
		}
		r.line = r.line[:0]
	}
}

// take gives the body of a frameProgress, if there is something new.
func (r *progressReader) take() (body []byte, ok bool) {
	if !r.news {
		return nil, false
	}
	r.news = false
	return append(appendU32(nil, r.fraction), r.text...), true
}

// parseProgress reads a line "FRACTION [TEXT]" or "- [TEXT]".
func parseProgress(line []byte) (fraction uint32, text []byte, ok bool) {
	word, text, _ := bytes.Cut(bytes.TrimSuffix(line, []byte{'\r'}), []byte{' '})
	if string(word) == "-" {
		return progressUnknown, text, true
	}
	if len(word) == 0 || len(bytes.Trim(word, "0123456789.e-")) > 0 {
		return 0, nil, false // strconv knows more spellings
	}
	f, err := strconv.ParseFloat(string(word), 64)
	if err != nil || !(f >= 0 && f <= 1) {
		return 0, nil, false
	}
	return uint32(math.Round(f * proto.ProgressUnit)), text, true
}

// cleanText makes of a guest's words what may stand in a message, and before a
// person: a line of UTF-8, without what could mislead a terminal or a reader.
func cleanText(b []byte) string {
	s := strings.TrimSpace(strings.Map(func(r rune) rune {
		switch {
		case r == '\t':
			return ' '
		case unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r):
			return -1
		case r == '\u2028' || r == '\u2029' || r == utf8.RuneError:
			return -1
		}
		return r
	}, string(b)))
	n := min(len(s), proto.MaxProgress)
	for n < len(s) && !utf8.RuneStart(s[n]) {
		n--
	}
	return strings.TrimSpace(s[:n])
}

// Frame is p as it is told of execution e.
func (p Progress) Frame(e proto.ExecutionID) proto.Progress {
	fraction := uint32(progressUnknown)
	if p.Fraction >= 0 {
		fraction = uint32(math.Round(min(p.Fraction, 1) * proto.ProgressUnit))
	}
	return proto.Progress{Execution: e, Fraction: fraction, Text: p.Text}
}

// A progressCell holds the latest word of a guest.
type progressCell struct {
	mu     sync.Mutex
	latest Progress
	closed bool
	change change
}

// set takes a fraction in proto.ProgressUnit; more than that is unknown.
func (c *progressCell) set(fraction uint32, text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.latest = Progress{c.latest.Number + 1, float64(fraction) / proto.ProgressUnit, text}
	if fraction > proto.ProgressUnit {
		c.latest.Fraction = -1
	}
	c.change.wake()
}

func (c *progressCell) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	c.change.wake()
}

// read is Execution.Progress.
func (c *progressCell) read(ctx context.Context, after uint64) (Progress, error) {
	for {
		c.mu.Lock()
		latest, closed, changed := c.latest, c.closed, c.change.wait()
		c.mu.Unlock()
		switch {
		case latest.Number > after:
			return latest, nil
		case closed:
			return Progress{}, io.EOF
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return Progress{}, ctx.Err()
		}
	}
}
