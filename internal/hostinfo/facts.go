package hostinfo

import "time"

// A Fact is a value, or the reason why the machine does not tell it.
type Fact[T any] struct {
	Value  T
	Known  bool
	Source string // of a known one: what told it, such as a sensor's name; may be empty
	Why    string // of an unknown one: why
}

func known[T any](v T, source string) Fact[T] { return Fact[T]{Value: v, Known: true, Source: source} }

func unknown[T any](why string) Fact[T] { return Fact[T]{Why: why} }

// Facts are what the machine says at one moment.
type Facts struct {
	CPUs            int                 // logical cores
	Temperature     Fact[float64]       // °C, of the hottest sensor
	OnBattery       Fact[bool]          // a battery is what feeds the machine
	Load            Fact[float64]       // cores' worth of work that is not ours, smoothed over a minute
	UserIdle        Fact[time.Duration] // since a person last typed at a terminal
	MemoryAvailable Fact[uint64]        // bytes that programs could have without swapping
}

// What counts as a temperature of a machine that works, in °C: sensors that are
// not connected show numbers outside.
const (
	coldest = 1
	hottest = 130
)
