package hostinfo

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// terminals are where people type; ptmx is no terminal.
var terminals = []string{"dev/tty[0-9]*", "dev/pts/[0-9]*"}

// displays are what a graphical session leaves open.
var displays = []string{"tmp/.X11-unix/X*", "run/user/*/wayland-*"}

// trusted is up to which time since a terminal was used it says something of its
// user where there is a graphical session, too.
const trusted = 5 * time.Minute

// userIdle is the time since somebody last typed at a terminal, which the kernel
// keeps as its time of access, to some seconds. A graphical session tells nothing
// to others: where there is one, terminals that rest do not mean that nobody is
// there.
func (r *Reader) userIdle(now time.Time) Fact[time.Duration] {
	var last time.Time
	name := ""
	for _, pattern := range terminals {
		for _, path := range r.glob(pattern) {
			if t, ok := r.accessed(path); ok && t.After(last) {
				last, name = t, path
			}
		}
	}
	idle := max(now.Sub(last), 0)
	display := r.display()
	switch {
	case !last.IsZero() && (display == "" || idle < trusted):
		return known(idle, "/"+name)
	case display != "":
		return unknown[time.Duration](fmt.Sprintf("the graphical session at /%s does not tell when it was last used", display))
	}
	return unknown[time.Duration]("there is no terminal to tell when somebody last typed")
}

func (r *Reader) display() string {
	for _, pattern := range displays {
		if found := r.glob(pattern); len(found) > 0 {
			return found[0]
		}
	}
	return ""
}

func (r *Reader) accessed(path string) (time.Time, bool) {
	info, err := os.Stat(filepath.Join(r.root, path))
	if err != nil {
		return time.Time{}, false
	}
	s, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return time.Time{}, false
	}
	return time.Unix(s.Atim.Unix()), true
}
