package doctor

import (
	"fmt"
	"slices"
)

// A Level says how bad a finding is.
type Level uint8

// Levels, the worse the greater.
const (
	OK      Level = iota // nothing to do
	Note                 // worth knowing
	Warning              // works, but worse than it could
	Problem              // something that was asked for does not work
)

// String gives ok, note, warning or problem.
func (l Level) String() string {
	if l > Problem {
		return fmt.Sprintf("level %d", uint8(l))
	}
	return [...]string{"ok", "note", "warning", "problem"}[l]
}

// Areas of findings.
const (
	AreaReachability = "reachability"
	AreaPorts        = "ports"
	AreaClock        = "clock"
	AreaDisk         = "disk"
	AreaSandbox      = "sandbox"
	AreaBootstrap    = "bootstrap"
	AreaVersion      = "version"
	AreaProvider     = "provider"
	AreaLimits       = "limits"
	AreaHome         = "home"
)

// A Finding is one thing that was looked at.
type Finding struct {
	Area   string
	Level  Level
	Detail string // what is, in one sentence without a full stop
	Fix    string // what to do, in one sentence; empty: nothing
}

// Worst gives the worst level among findings.
func Worst(findings []Finding) (worst Level) {
	for _, f := range findings {
		worst = max(worst, f.Level)
	}
	return worst
}

// Sorted gives findings with the worst first, and otherwise in their order.
func Sorted(findings []Finding) []Finding {
	return slices.SortedStableFunc(slices.Values(findings), func(a, b Finding) int { return int(b.Level) - int(a.Level) })
}

// Facts are all that is looked at. A part that is nil was not measured, and
// nothing is said about it.
type Facts struct {
	Reach     *Reach
	Ports     *Ports
	Clock     *Clock
	Disk      *Disk
	Sandbox   *Sandbox
	Bootstrap *Bootstrap
	Versions  *Versions
	Provider  *Provider
	Limits    *Limits
	Home      *Home
}

// Check gives what there is to say about facts, area by area.
func Check(f Facts) []Finding {
	var all []Finding
	for _, part := range []interface{ check() []Finding }{
		f.Reach, f.Ports, f.Bootstrap, f.Clock, f.Versions, f.Provider, f.Sandbox, f.Disk, f.Limits, f.Home,
	} {
		all = append(all, part.check()...)
	}
	return all
}

func one(area string, level Level, detail, fix string) []Finding {
	return []Finding{{area, level, detail, fix}}
}

// count gives "1 peer", "2 peers".
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// size gives bytes in binary units, for people.
func size(n uint64) string {
	const units = "KMGTPE"
	if n < 1024 {
		return fmt.Sprintf("%d bytes", n)
	}
	value, unit := float64(n)/1024, 0
	for value >= 1024 && unit < len(units)-1 {
		value, unit = value/1024, unit+1
	}
	if value >= 10 || value == float64(int(value)) {
		return fmt.Sprintf("%.0f %ciB", value, units[unit])
	}
	return fmt.Sprintf("%.1f %ciB", value, units[unit])
}
