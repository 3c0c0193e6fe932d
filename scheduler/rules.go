package scheduler

import (
	"fmt"
	"strings"
	"time"
)

// How the rules about the machine's state behave.
const (
	DefaultMaxLoad = 0.25            // of a core, per core
	QuietFor       = 2 * time.Minute // nobody else must have used the machine for so long
	coolBy         = 5               // °C below the ceiling, until work starts again
	stopAbove      = 10              // °C above the ceiling, from where on running guests are stopped
	ceilingLowest  = 30              // °C
	ceilingHighest = 120             // °C
)

// Keys of the rules in a node's configuration.
const (
	keyHours          = "lend.hours"
	keyIdleOnly       = "lend.idle_only"
	keyOnBattery      = "lend.on_battery"
	keyMaxTemperature = "lend.max_temperature"
)

// Rules are what the owner of a machine says about when it is lent, and which
// programs run on it. The zero value lends always but on battery. A rule that
// holds back lets running guests finish, for they cannot be suspended, and
// nothing new starts; see [Gate] and [Rules.Stop].
type Rules struct {
	Hours          Hours
	IdleOnly       bool    // only while nobody else uses the machine
	OnBattery      bool    // also while it runs on battery
	MaxTemperature float64 // °C, of the hottest sensor; 0: no ceiling
	MaxLoad        float64 // cores' worth of others' work, per core, that IdleOnly bears; 0: [DefaultMaxLoad]
	AllowPrograms  []NamedProgram
	DenyPrograms   []NamedProgram
}

// Validate says which number is out of range.
func (r Rules) Validate() error {
	if !(r.MaxTemperature == 0 || r.MaxTemperature >= ceilingLowest && r.MaxTemperature <= ceilingHighest) { // NaN is neither
		return fmt.Errorf("max_temperature: %v °C; it is from %d to %d, or 0 for no ceiling", r.MaxTemperature, ceilingLowest, ceilingHighest)
	}
	if !(r.MaxLoad >= 0 && r.MaxLoad <= 1) {
		return fmt.Errorf("max_load: %v; it is the part of each core that others may use, from 0 to 1; 0 stands for %v", r.MaxLoad, DefaultMaxLoad)
	}
	return nil
}

// A Host is what a machine says of itself. What is not known is zero.
type Host struct {
	CPUs             int
	Temperature      float64 // °C, of the hottest sensor
	TemperatureKnown bool
	OnBattery        bool
	BatteryKnown     bool
	Load             float64 // cores' worth of work of others, over the last minute
	LoadKnown        bool
	Idle             time.Duration // since a person last touched the machine
	IdleKnown        bool
}

// Stop tells whether even running guests are to be stopped: the machine is far
// above its ceiling.
func (r Rules) Stop(h Host) bool {
	return r.MaxTemperature > 0 && h.TemperatureKnown && h.Temperature >= r.MaxTemperature+stopAbove
}

// Notes says which rules cannot work on such a host, and what follows.
func (r Rules) Notes(h Host) (notes []string) {
	if r.MaxTemperature > 0 && !h.TemperatureKnown {
		notes = append(notes, "this machine tells no temperature: "+keyMaxTemperature+" has no effect")
	}
	if !r.OnBattery && !h.BatteryKnown {
		notes = append(notes, "this machine does not tell whether it runs on battery: it counts as on mains")
	}
	if r.IdleOnly && !h.IdleKnown {
		notes = append(notes, "this machine does not tell when somebody last touched it: "+keyIdleOnly+" goes by the load of others alone")
	}
	return notes
}

// A Hold is a rule that keeps a machine from being lent now.
type Hold struct {
	Rule   string    // key of the configuration
	Detail string    // for the owner alone: strangers learn nothing of hours and habits
	Until  time.Time // zero: until the machine's state changes
}

// String gives "lend.hours: outside the hours sat,sun, until Sat 7 Mar 00:00".
func (h Hold) String() string {
	if h.Until.IsZero() {
		return h.Rule + ": " + h.Detail
	}
	return h.Rule + ": " + h.Detail + ", until " + h.Until.Format("Mon 2 Jan 15:04")
}

// A Gate applies rules to the state of a machine over time, so that a value near
// a limit does not open and close it all the time. The zero value is ready. It
// is not safe for concurrent use.
type Gate struct {
	hot  bool
	used time.Time // when somebody else was last seen to use the machine
}

// HeldBack gives the rules that hold back now; none: the machine is lent. Call
// it with every reading of the host, whatever the rules are. Hours are read in
// now's location.
func (g *Gate) HeldBack(now time.Time, r Rules, h Host) (holds []Hold) {
	if open, until := r.Hours.Open(now); !open {
		holds = append(holds, Hold{keyHours, "outside the hours " + strings.Join(r.Hours.Texts(), "; "), until})
	}
	if h.BatteryKnown && h.OnBattery && !r.OnBattery {
		holds = append(holds, Hold{keyOnBattery, "the machine runs on battery", time.Time{}})
	}
	if detail := g.tooHot(r, h); detail != "" {
		holds = append(holds, Hold{keyMaxTemperature, detail, time.Time{}})
	}
	if hold := g.inUse(now, r, h); r.IdleOnly && hold != nil {
		holds = append(holds, *hold)
	}
	return holds
}

// tooHot says how hot it is from the ceiling on, until it is well below. A
// sensor that fails while it is too hot changes nothing.
func (g *Gate) tooHot(r Rules, h Host) (detail string) {
	if r.MaxTemperature == 0 {
		g.hot = false
	} else if h.TemperatureKnown {
		g.hot = h.Temperature >= r.MaxTemperature || g.hot && h.Temperature > r.MaxTemperature-coolBy
	}
	switch {
	case !g.hot:
		return ""
	case !h.TemperatureKnown:
		return fmt.Sprintf("the machine was above %.0f °C, and tells no temperature any more", r.MaxTemperature)
	}
	return fmt.Sprintf("the hottest sensor shows %.0f °C; the ceiling is %.0f °C, and work starts again at %.0f °C",
		h.Temperature, r.MaxTemperature, r.MaxTemperature-coolBy)
}

// inUse says who uses the machine besides us, or did so a short while ago. It
// counts as used when the gate begins, and as long as nothing is known.
func (g *Gate) inUse(now time.Time, r Rules, h Host) *Hold {
	limit := r.MaxLoad
	if limit == 0 {
		limit = DefaultMaxLoad
	}
	detail := ""
	switch most := limit * float64(max(h.CPUs, 1)); {
	case !h.LoadKnown && !h.IdleKnown:
		detail = "it is not known whether somebody else uses the machine"
	case h.LoadKnown && h.Load > most:
		detail = fmt.Sprintf("others use %.1f of %d cores; at most %.1f are borne", h.Load, h.CPUs, most)
	}
	if detail != "" || g.used.IsZero() || g.used.After(now) {
		g.used = now
	}
	if touched := now.Add(-h.Idle); h.IdleKnown && touched.After(g.used) {
		g.used = touched
	}
	until := g.used.Add(QuietFor)
	switch {
	case detail != "":
		return &Hold{keyIdleOnly, detail, time.Time{}}
	case now.Before(until):
		return &Hold{keyIdleOnly, fmt.Sprintf("the machine has been left alone for %s; it must be for %s", now.Sub(g.used).Round(time.Second), QuietFor), until}
	}
	return nil
}
