package scheduler

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"
)

// calm is a machine on mains, cool, that nobody else uses.
func calm(change ...func(*Host)) Host {
	h := Host{CPUs: 4, Temperature: 50, TemperatureKnown: true, BatteryKnown: true, Load: 0.1, LoadKnown: true, Idle: time.Hour, IdleKnown: true}
	for _, f := range change {
		f(&h)
	}
	return h
}

// A watchman has a gate, rules, and a clock.
type watchman struct {
	*testing.T
	Gate
	rules Rules
	now   time.Time
}

func newWatchman(t *testing.T, r Rules) *watchman {
	return &watchman{T: t, rules: r, now: meshStart}
}

// want reads the host some time later and says which rules must hold back.
func (w *watchman) want(what string, later time.Duration, h Host, rules ...string) (holds []Hold) {
	w.Helper()
	w.now = w.now.Add(later)
	holds = w.HeldBack(w.now, w.rules, h)
	var got []string
	for _, hold := range holds {
		got = append(got, hold.Rule)
		if hold.Detail == "" || !hold.Until.IsZero() && !hold.Until.After(w.now) {
			w.Errorf("%s: %+v, want a reason and no time that is past", what, hold)
		}
	}
	if !slices.Equal(got, rules) {
		w.Errorf("%s: held back by %q, want %q", what, got, rules)
	}
	return holds
}

func hot(celsius float64) Host { return calm(func(h *Host) { h.Temperature = celsius }) }

func TestACeilingDoesNotFlap(t *testing.T) {
	w := newWatchman(t, Rules{MaxTemperature: 80})
	unread := calm(func(h *Host) { h.TemperatureKnown, h.Temperature = false, 0 })
	w.want("cool", 0, hot(79.9))
	w.want("at the ceiling", 0, hot(80), keyMaxTemperature)
	w.want("just below it", 0, hot(75.1), keyMaxTemperature)
	w.want("a sensor that fails while hot", 0, unread, keyMaxTemperature)
	w.want("5 below", 0, hot(75))
	w.want("between the two, from below", 0, hot(79))
	w.want("a sensor that fails while cool", 0, unread)
	w.want("hot again", 0, hot(90), keyMaxTemperature)
	w.rules.MaxTemperature = 0
	w.want("without a ceiling", 0, hot(200))
	w.rules.MaxTemperature = 80
	w.want("it forgot that it was hot", 0, hot(79))
}

func TestRunningGuestsStopOnlyFarAboveTheCeiling(t *testing.T) {
	r := Rules{MaxTemperature: 80}
	for name, c := range map[string]struct {
		rules Rules
		host  Host
		want  bool
	}{
		"at the ceiling":   {r, hot(80), false},
		"9 above":          {r, hot(89.9), false},
		"10 above":         {r, hot(90), true},
		"no ceiling":       {Rules{}, hot(200), false},
		"an unread sensor": {r, calm(func(h *Host) { h.Temperature, h.TemperatureKnown = 200, false }), false},
	} {
		if got := c.rules.Stop(c.host); got != c.want {
			t.Errorf("%s: stop %t, want %t", name, got, c.want)
		}
	}
}

func TestABatteryHoldsBackUnlessAllowed(t *testing.T) {
	battery := calm(func(h *Host) { h.OnBattery = true })
	unknown := calm(func(h *Host) { h.OnBattery, h.BatteryKnown = true, false })
	w := newWatchman(t, Rules{})
	w.want("on mains", 0, calm())
	w.want("on battery", 0, battery, keyOnBattery)
	w.want("not known", 0, unknown)
	w.rules.OnBattery = true
	w.want("allowed", 0, battery)
}

func busyHost(load float64) Host { return calm(func(h *Host) { h.Load = load }) }

func TestAMachineMustBeQuietForAWhile(t *testing.T) {
	w := newWatchman(t, Rules{IdleOnly: true})
	holds := w.want("at first", 0, calm(), keyIdleOnly)
	if until := meshStart.Add(QuietFor); !holds[0].Until.Equal(until) {
		t.Errorf("until %v, want %v", holds[0].Until, until)
	}
	w.want("a little later", QuietFor-time.Second, calm(), keyIdleOnly)
	w.want("after the while", time.Second, calm())
	w.want("others at the limit", time.Second, busyHost(1))
	w.want("others above it", time.Second, busyHost(1.01), keyIdleOnly)
	w.want("quiet again", time.Minute, calm(), keyIdleOnly)
	w.want("a burst", time.Minute, busyHost(3), keyIdleOnly)
	w.want("not yet", QuietFor-time.Second, calm(), keyIdleOnly)
	w.want("now", time.Second, calm())
	w.rules.MaxLoad = 0.01
	w.want("a lower limit", time.Second, calm(), keyIdleOnly)
}

func TestATouchCountsFromItsTime(t *testing.T) {
	touched := func(ago time.Duration) Host { return calm(func(h *Host) { h.Idle = ago }) }
	w := newWatchman(t, Rules{IdleOnly: true})
	w.want("at first", 0, calm(), keyIdleOnly)
	w.want("left alone", QuietFor, touched(QuietFor))
	w.want("touched half a minute ago", time.Minute, touched(30*time.Second), keyIdleOnly)
	w.want("two minutes after the touch", 90*time.Second, touched(QuietFor))
}

func TestAnIdleMachineMustBeKnownToBeIdle(t *testing.T) {
	silent := Host{CPUs: 4, BatteryKnown: true}
	untouched := Host{CPUs: 4, BatteryKnown: true, LoadKnown: true}
	w := newWatchman(t, Rules{IdleOnly: true})
	w.want("nothing is told", 0, silent, keyIdleOnly)
	w.want("still nothing", time.Hour, silent, keyIdleOnly)
	w.want("a load is told", time.Second, untouched, keyIdleOnly)
	w.want("it stays low", QuietFor, untouched)
	w.want("a touch is told instead", QuietFor, calm(func(h *Host) { h.Load, h.LoadKnown = 9, false }))
	w.rules.IdleOnly = false
	w.want("the rule is gone", 0, silent)
}

// A clock that is set back must not keep the machine held for long.
func TestAClockThatIsSetBackHoldsNoLonger(t *testing.T) {
	w := newWatchman(t, Rules{IdleOnly: true})
	w.want("at first", 0, calm(), keyIdleOnly)
	w.want("a day before", -24*time.Hour, calm(), keyIdleOnly)
	w.want("the while after", QuietFor, calm())
}

func TestAllThatHoldsBackIsTold(t *testing.T) {
	w := newWatchman(t, Rules{Hours: mustHours(t, "22:00-22:01"), IdleOnly: true, MaxTemperature: 60})
	bad := calm(func(h *Host) { h.Temperature, h.OnBattery, h.Load = 70, true, 4 })
	holds := w.want("everything", 0, bad, keyHours, keyOnBattery, keyMaxTemperature, keyIdleOnly)
	for i, text := range []string{"22:00-22:01", "battery", "70 °C; the ceiling is 60 °C, and work starts again at 55 °C", "4.0 of 4 cores; at most 1.0"} {
		if !strings.Contains(holds[i].Detail, text) {
			t.Errorf("got %q, want %q in it", holds[i].Detail, text)
		}
	}
	if got, want := holds[0].String(), "lend.hours: outside the hours 22:00-22:01, until Tue 1 Jan 22:00"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := holds[1].String(), "lend.on_battery: the machine runs on battery"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestNotesSayWhatAHostDoesNotTell(t *testing.T) {
	all := Rules{MaxTemperature: 80, IdleOnly: true}
	if notes := all.Notes(calm()); len(notes) > 0 {
		t.Errorf("a host that tells all: %q", notes)
	}
	if notes := all.Notes(Host{}); len(notes) != 3 || !strings.Contains(notes[0], keyMaxTemperature) || !strings.Contains(notes[2], keyIdleOnly) {
		t.Errorf("a host that tells nothing: %q", notes)
	}
	if notes := (Rules{OnBattery: true}).Notes(Host{}); len(notes) > 0 {
		t.Errorf("without rules: %q", notes)
	}
}

func TestRulesHaveRanges(t *testing.T) {
	for name, c := range map[string]struct {
		rules Rules
		want  string
	}{
		"nothing":         {Rules{}, ""},
		"usual":           {Rules{MaxTemperature: 80, MaxLoad: 0.5}, ""},
		"Fahrenheit":      {Rules{MaxTemperature: 176}, "max_temperature: 176 °C; it is from 30 to 120"},
		"ice":             {Rules{MaxTemperature: -1}, "max_temperature"},
		"no number":       {Rules{MaxTemperature: math.NaN()}, "max_temperature"},
		"no load":         {Rules{MaxLoad: math.NaN()}, "max_load"},
		"a load per host": {Rules{MaxLoad: 4}, "from 0 to 1"},
	} {
		err := c.rules.Validate()
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
}
