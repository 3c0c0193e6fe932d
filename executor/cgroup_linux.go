package executor

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

const (
	groupPrefix = "muster-" // of the names of control groups: muster-PID-NUMBER
	maxThreads  = 64        // of a child; the Go runtime takes about ten
)

// groupFiles names what the two versions of control groups differ in.
type groupFiles struct{ limit, swap, events string }

var (
	groupFiles1 = groupFiles{"memory.limit_in_bytes", "memory.swappiness", "memory.oom_control"}
	groupFiles2 = groupFiles{"memory.max", "memory.swap.max", "memory.events"}
)

// groups makes a control group for each child, below the daemon's own: what is
// set for the daemon from outside holds for its children, too.
type groups struct {
	mu    sync.Mutex
	found bool
	base  groupBase
	err   error // why there are none
	next  int
	left  []string // could not be removed yet
}

// make encloses a process in a group of its own.
func (g *groups) make(pid int) (*group, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.found {
		g.found = true
		if g.base, g.err = findGroups("/proc/self"); g.err == nil {
			g.base.sweep("/proc")
		}
	}
	if g.err != nil {
		return nil, g.err
	}
	g.tidy()
	name, err := g.fresh()
	if err != nil {
		return nil, err
	}
	c := &group{groups: g, files: g.base.files}
	for _, dir := range g.base.dirs {
		c.dirs = append(c.dirs, filepath.Join(dir, name))
	}
	if err := c.enclose(pid); err != nil {
		g.left = append(g.left, c.dirs...)
		g.tidy()
		return nil, err
	}
	return c, nil
}

// close removes what is left.
func (g *groups) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.tidy()
}

// fresh makes a directory of a new name in each hierarchy.
func (g *groups) fresh() (string, error) {
	for {
		g.next++
		name := fmt.Sprintf("%s%d-%d", groupPrefix, os.Getpid(), g.next)
		var made []string
		var err error
		for _, dir := range g.base.dirs {
			if err = os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
				break
			}
			made = append(made, filepath.Join(dir, name))
		}
		if err == nil {
			return name, nil
		}
		g.left = append(g.left, made...)
		g.tidy()
		if !errors.Is(err, os.ErrExist) { // of another executor in this process
			return "", fmt.Errorf("make a control group: %w", err)
		}
	}
}

// tidy removes what could not be removed before. The mutex is held.
func (g *groups) tidy() {
	left := g.left[:0]
	for _, dir := range g.left {
		if err := unix.Rmdir(dir); err == unix.EBUSY {
			left = append(left, dir)
		}
	}
	g.left = left
}

// A groupBase is where groups are made: one directory, or for version 1 one
// with the memory and one with the threads.
type groupBase struct {
	dirs  []string
	files groupFiles
}

// sweep removes the groups of daemons that are gone. Those with a process in
// them the kernel keeps.
func (b groupBase) sweep(proc string) {
	for _, dir := range b.dirs {
		list, _ := filepath.Glob(filepath.Join(dir, groupPrefix+"*-*"))
		for _, stale := range list {
			id, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(stale), groupPrefix), "-")
			if pid, err := strconv.Atoi(id); err != nil || pid <= 0 {
				continue
			}
			if _, err := os.Stat(filepath.Join(proc, id)); errors.Is(err, os.ErrNotExist) {
				unix.Rmdir(stale)
			}
		}
	}
}

// A group is the control group of one child. A nil one does nothing.
type group struct {
	groups *groups
	files  groupFiles
	dirs   []string

	mu    sync.Mutex
	limit uint64 // bytes, once set
}

func (c *group) enclose(pid int) error {
	last := c.dirs[len(c.dirs)-1]
	if err := setFile(last, "pids.max", strconv.Itoa(maxThreads)); err != nil {
		return err
	}
	if err := setFile(c.dirs[0], c.files.swap, "0"); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err // where there is no such file there is no swapping
	}
	for _, dir := range c.dirs {
		if err := setFile(dir, "cgroup.procs", strconv.Itoa(pid)); err != nil {
			return err
		}
	}
	return nil
}

func setFile(dir, name, value string) error {
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return fmt.Errorf("set up a control group: %w", err)
	}
	defer f.Close()
	if _, err = f.WriteString(value); err != nil {
		return fmt.Errorf("set up a control group: %w", err)
	}
	return nil
}

// bound has the kernel kill the child when it needs more memory than limit. That
// it has more already is left to who looks at it from outside.
func (c *group) bound(limit uint64) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.limit != limit && setFile(c.dirs[0], c.files.limit, strconv.FormatUint(limit, 10)) == nil {
		c.limit = limit
	}
}

// remove ends the group of a dead child, and says what it died of if that was
// the group's limit.
func (c *group) remove() (words string) {
	if c == nil {
		return ""
	}
	words = c.overgrown()
	c.groups.mu.Lock()
	defer c.groups.mu.Unlock()
	c.groups.left = append(c.groups.left, c.dirs...)
	c.groups.tidy()
	return words
}

// overgrown says that the kernel killed something here for its memory, if so.
func (c *group) overgrown() string {
	b, err := os.ReadFile(filepath.Join(c.dirs[0], c.files.events))
	if err != nil {
		return ""
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for line := range bytes.Lines(b) {
		if n, ok := bytes.CutPrefix(bytes.TrimSpace(line), []byte("oom_kill ")); ok && string(n) != "0" {
			return fmt.Sprintf("it grew over %d bytes", c.limit)
		}
	}
	return ""
}
