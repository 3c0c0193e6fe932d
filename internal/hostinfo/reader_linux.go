package hostinfo

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A Reader reads the facts of this machine. It remembers the reading before, for
// a load is a difference of two. It is not safe for concurrent use.
type Reader struct {
	root string // of the file system
	self int    // process id of ours
	cpus int
	load load
}

// New makes a reader of this machine. The load that is not ours is known from
// the second reading on.
func New() *Reader { return &Reader{root: "/", self: os.Getpid(), cpus: runtime.NumCPU()} }

// Read gives the facts of now. It reads some hundred small files: every few
// seconds is often enough.
func (r *Reader) Read(now time.Time) Facts {
	return Facts{
		CPUs: r.cpus, Temperature: r.temperature(), OnBattery: r.onBattery(), Load: r.othersLoad(now),
		UserIdle: r.userIdle(now), MemoryAvailable: r.memoryAvailable(),
	}
}

// FreeDisk gives the bytes that this user can still write to the file system
// that holds path.
func FreeDisk(path string) Fact[uint64] {
	var s unix.Statfs_t
	if err := unix.Statfs(path, &s); err != nil {
		return unknown[uint64](fmt.Sprintf("%s: %v", path, err))
	}
	return known(s.Bavail*uint64(s.Bsize), path)
}

// maxFile is how much of a file is read, in bytes.
const maxFile = 64 << 10

// text gives a small file without the space around it.
func (r *Reader) text(path string) (string, error) {
	f, err := os.Open(filepath.Join(r.root, path))
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile))
	return string(bytes.TrimSpace(b)), err
}

// word gives a small file's text; nothing where it cannot be read.
func (r *Reader) word(path string) string {
	s, _ := r.text(path)
	return s
}

// glob gives the paths, from the root, that match.
func (r *Reader) glob(pattern string) (paths []string) {
	found, _ := filepath.Glob(filepath.Join(r.root, pattern)) // a constant pattern is never bad
	for _, p := range found {
		rel, err := filepath.Rel(r.root, p)
		if err == nil {
			paths = append(paths, rel)
		}
	}
	return paths
}

// temperature reads the sensors of thermal zones and of hardware monitors.
func (r *Reader) temperature() Fact[float64] {
	best := unknown[float64]("no sensor under /sys/class/thermal or /sys/class/hwmon tells a temperature")
	for _, path := range r.glob("sys/class/thermal/thermal_zone*/temp") {
		zone := filepath.Dir(path)
		if r.word(filepath.Join(zone, "mode")) != "disabled" {
			best = r.hotter(best, path, r.word(filepath.Join(zone, "type")))
		}
	}
	for _, path := range r.glob("sys/class/hwmon/hwmon*/temp*_input") {
		sensor := strings.TrimSuffix(path, "_input")
		if r.word(sensor+"_fault") != "1" {
			name := r.word(filepath.Join(filepath.Dir(path), "name")) + " " + r.word(sensor+"_label")
			best = r.hotter(best, path, strings.TrimSpace(name))
		}
	}
	return best
}

// hotter gives the warmer of two: the one so far, and what a file says in
// thousandths of a degree.
func (r *Reader) hotter(best Fact[float64], path, name string) Fact[float64] {
	n, err := strconv.ParseInt(r.word(path), 10, 64)
	t := float64(n) / 1000
	if err != nil || t < coldest || t > hottest || best.Known && t <= best.Value {
		return best
	}
	return known(t, name)
}

// onBattery tells whether a battery of the machine, not of a mouse, discharges
// while no mains supply is online.
func (r *Reader) onBattery() Fact[bool] {
	const folder = "sys/class/power_supply"
	if _, err := os.Stat(filepath.Join(r.root, folder)); err != nil {
		return unknown[bool]("there is no /" + folder)
	}
	discharging := ""
	for _, path := range r.glob(folder + "/*/type") {
		supply := filepath.Dir(path)
		battery := r.word(path) == "Battery" || r.word(path) == "UPS"
		switch {
		case r.word(filepath.Join(supply, "scope")) == "Device":
		case !battery && r.word(filepath.Join(supply, "online")) == "1":
			return known(false, filepath.Base(supply))
		case battery && r.word(filepath.Join(supply, "status")) == "Discharging":
			discharging = filepath.Base(supply)
		}
	}
	return known(discharging != "", discharging)
}

// memoryAvailable reads MemAvailable of /proc/meminfo.
func (r *Reader) memoryAvailable() Fact[uint64] {
	for line := range strings.Lines(r.word("proc/meminfo")) {
		rest, ok := strings.CutPrefix(line, "MemAvailable:")
		if !ok {
			continue
		}
		kib, err := strconv.ParseUint(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 50)
		if err != nil {
			return unknown[uint64]("/proc/meminfo: MemAvailable is no number of kB")
		}
		return known(kib<<10, "")
	}
	return unknown[uint64]("/proc/meminfo does not tell MemAvailable")
}
