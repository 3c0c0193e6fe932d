package mesh

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// A Usage is what a daemon and the sandboxes below it took so far.
type Usage struct {
	CPU      time.Duration // user and system, of processes that ended too; in steps of 10 ms
	Resident int64         // bytes; pages that two processes share count twice
	Pids     []int         // the daemon's and those of all below it
}

// ticks is how many units of processor time /proc counts a second: USER_HZ,
// which is 100 on every architecture that Go knows.
const ticks = 100

// A process is a line of /proc/PID/stat.
type process struct {
	parent   int
	cpu      int64 // ticks, of itself and of children that it waited for
	resident int64 // bytes
}

// Usage reads /proc, so it works on Linux alone.
func (n *Node) Usage() (u Usage, err error) {
	all, err := processes()
	if err != nil {
		return u, err
	}
	if _, ok := all[n.Pid()]; !ok {
		return u, fmt.Errorf("node %s is not running", n.Name)
	}
	for pid, p := range all {
		if !below(all, pid, n.Pid()) {
			continue
		}
		u.CPU += time.Duration(p.cpu) * time.Second / ticks
		u.Resident += p.resident
		u.Pids = append(u.Pids, pid)
	}
	return u, nil
}

func below(all map[int]process, pid, top int) bool {
	for range 16 { // deeper than any of our trees
		if pid == top {
			return true
		}
		p, ok := all[pid]
		if !ok {
			return false
		}
		pid = p.parent
	}
	return false
}

func processes() (map[int]process, error) {
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil || len(files) == 0 {
		return nil, fmt.Errorf("there is no /proc to read: %v", err)
	}
	all := make(map[int]process, len(files))
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			continue // it ended meanwhile
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(f)))
		if p, ok := parseStat(string(b)); ok && err == nil {
			all[pid] = p
		}
	}
	return all, nil
}

// parseStat reads a line of /proc/PID/stat, whose second field is a name in
// parentheses with anything in it. proc(5).
func parseStat(line string) (p process, ok bool) {
	fields := strings.Fields(line[strings.LastIndexByte(line, ')')+1:])
	if len(fields) < 22 {
		return p, false
	}
	number := func(field int) int64 { // as proc(5) counts, from 1
		n, err := strconv.ParseInt(fields[field-3], 10, 64)
		ok = ok && err == nil
		return n
	}
	ok = true
	p.parent = int(number(4))
	p.cpu = number(14) + number(15) + number(16) + number(17)
	p.resident = number(24) * int64(os.Getpagesize())
	return p, ok
}
