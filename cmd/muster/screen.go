package main

import (
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"
)

// frameEvery is how often a screen may be drawn again.
const frameEvery = 200 * time.Millisecond

// A frame is what a screen shows at a time.
type frame []line

// text gives the frame as it is written into a file or left on a terminal.
func (f frame) text(columns int, p pen) string {
	var b strings.Builder
	for _, l := range f {
		l.clip(columns, p.more()).write(&b, p.color)
		b.WriteByte('\n')
	}
	return b.String()
}

// A screen draws frames over each other on a terminal of its own, so that what
// was there before comes back when it is left. One goroutine uses it.
type screen struct {
	w       io.Writer
	pen     pen
	size    func() (columns, rows int)
	restore func()
	last    string
}

// openScreen takes over the terminal; leave gives it back.
func (a *app) openScreen(w io.Writer, p pen) *screen {
	s := &screen{w: w, pen: p, size: a.size, restore: a.raw(a.in)}
	_, _ = io.WriteString(w, "\x1b[?1049h\x1b[?25l\x1b[2J")
	return s
}

// draw shows what make gives for the terminal's present size, in one write, and
// nothing if that is on the screen already.
func (s *screen) draw(make func(columns, rows int) frame) {
	columns, rows := s.size()
	columns-- // in the last column terminals differ
	f := make(columns, rows)
	var b strings.Builder
	for i, l := range f[:min(len(f), rows)] {
		if i > 0 {
			b.WriteString("\r\n")
		}
		l.clip(columns, s.pen.more()).write(&b, s.pen.color)
		b.WriteString("\x1b[K")
	}
	if b.String() == s.last {
		return
	}
	s.last = b.String()
	// 2026 is synchronized output: terminals that know it show the frame at once.
	_, _ = io.WriteString(s.w, "\x1b[?2026h\x1b[H"+s.last+"\x1b[J\x1b[?2026l")
}

func (s *screen) leave() {
	_, _ = io.WriteString(s.w, "\x1b[?25h\x1b[?1049l")
	s.restore()
}

// keyLeave is Ctrl-C, which a terminal in raw mode gives as a key.
const keyLeave = 3

// leaves tells whether a key means to leave a screen.
func leaves(key byte) bool { return key == 'q' || key == 'Q' || key == keyLeave }

// keys gives what is typed. The reader ends with its input, or with the process:
// a read cannot be given up.
func keys(in io.Reader) <-chan byte {
	c := make(chan byte, 16) // keys typed ahead; more are dropped
	go func() {
		b := make([]byte, 1)
		for {
			if _, err := in.Read(b); err != nil {
				return
			}
			select {
			case c <- b[0]:
			default:
			}
		}
	}()
	return c
}

// rawTerminal has in give every key at once and unseen, if it is a terminal.
func rawTerminal(in io.Reader) (restore func()) {
	f, ok := in.(*os.File)
	if !ok {
		return func() {}
	}
	before, err := term.MakeRaw(int(f.Fd()))
	if err != nil {
		return func() {}
	}
	return func() { _ = term.Restore(int(f.Fd()), before) }
}

// terminalSize gives the columns and rows of the terminal, 80 by 24 if unknown.
func terminalSize() (columns, rows int) {
	for _, f := range []*os.File{os.Stderr, os.Stdout} {
		if w, h, err := term.GetSize(int(f.Fd())); err == nil && w >= 20 && h >= 5 {
			return w, h
		}
	}
	return 80, 24
}
