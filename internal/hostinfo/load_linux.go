package hostinfo

import (
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of processor times under /proc: USER_HZ, which is 100 on
// every architecture that Go runs on (proc(5)).
const tick = time.Second / 100

// smoothing is the time constant of the load, as of the kernel's first load
// average.
const smoothing = time.Minute

// A load is what others use, in cores, from the reading before to now.
type load struct {
	at     time.Time
	total  time.Duration // processor time of the machine
	ours   time.Duration
	others float64
	known  bool
}

// othersLoad is the part of the machine's processor time that our process and
// its children did not use, smoothed as the kernel smooths its load averages: by
// exp(-Δt/1min). The kernel's own averages will not do: they count our tasks that
// wait for a core, which no count of our processor time could take off again.
func (r *Reader) othersLoad(now time.Time) Fact[float64] {
	total, err := r.machineTime()
	if err != nil {
		r.load = load{}
		return unknown[float64](err.Error())
	}
	ours, err := r.ourTime()
	if err != nil {
		r.load = load{}
		return unknown[float64](err.Error())
	}
	last := r.load
	passed := now.Sub(last.at)
	r.load.at, r.load.total, r.load.ours = now, total, ours
	if last.at.IsZero() || passed <= 0 || total < last.total {
		r.load.known = false
		return unknown[float64]("known from the next reading on")
	}
	used := (total - last.total) - max(ours-last.ours, 0)
	current := min(max(used.Seconds()/passed.Seconds(), 0), float64(r.cpus))
	if !last.known {
		r.load.others = current
	} else {
		keep := math.Exp(-passed.Seconds() / smoothing.Seconds())
		r.load.others = last.others*keep + current*(1-keep)
	}
	r.load.known = true
	return known(r.load.others, "/proc/stat")
}

// machineTime is the time that all cores worked for programs or the kernel:
// user, nice, system, irq and softirq of /proc/stat. Guests count as user.
func (r *Reader) machineTime() (time.Duration, error) {
	line, _, _ := strings.Cut(r.word("proc/stat"), "\n")
	fields := strings.Fields(line)
	if len(fields) < 8 || fields[0] != "cpu" {
		return 0, errors.New("/proc/stat does not tell how busy the machine is")
	}
	return ticks(fields[1], fields[2], fields[3], fields[6], fields[7])
}

func ticks(fields ...string) (sum time.Duration, err error) {
	for _, f := range fields {
		n, err := strconv.ParseUint(f, 10, 48)
		if err != nil {
			return 0, fmt.Errorf("%.20q is no processor time", f)
		}
		sum += time.Duration(n) * tick
	}
	return sum, nil
}

// A process as /proc/PID/stat tells of it.
type process struct {
	parent int
	used   time.Duration // by itself and the children that it waited for
}

// ourTime is what our process and all below it used. It never falls when one of
// them ends, for its parent inherits its time.
func (r *Reader) ourTime() (sum time.Duration, err error) {
	all := make(map[int]process)
	for _, path := range r.glob("proc/[0-9]*") {
		pid, err := strconv.Atoi(filepath.Base(path))
		if err != nil {
			continue
		}
		if p, ok := parseProcess(r.word(path + "/stat")); ok { // else it ended just now
			all[pid] = p
		}
	}
	if _, ok := all[r.self]; !ok {
		return 0, errors.New("/proc does not tell of our own process")
	}
	for pid, p := range all {
		if r.isOurs(all, pid) {
			sum += p.used
		}
	}
	return sum, nil
}

// deepest is how many generations of children are followed.
const deepest = 32

func (r *Reader) isOurs(all map[int]process, pid int) bool {
	for range deepest {
		if pid == r.self {
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

// parseProcess reads /proc/PID/stat, where the name, in parentheses, may hold
// anything.
func parseProcess(stat string) (p process, ok bool) {
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	if len(fields) < 15 {
		return p, false
	}
	parent, err := strconv.Atoi(fields[1])
	if err != nil {
		return p, false
	}
	used, err := ticks(fields[11], fields[12])
	if err != nil {
		return p, false
	}
	inherited, err := ticks(fields[13], fields[14])
	return process{parent, used + inherited}, err == nil
}
