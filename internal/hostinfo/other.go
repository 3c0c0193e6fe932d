//go:build !linux

package hostinfo

import (
	"runtime"
	"time"
)

// A Reader reads the facts of this machine. It is not safe for concurrent use.
type Reader struct{}

// New makes a reader.
func New() *Reader { return &Reader{} }

// notTold is why a fact is not known.
const notTold = "not read on " + runtime.GOOS

// Read tells how many cores there are, and nothing else.
func (*Reader) Read(time.Time) Facts {
	return Facts{
		CPUs: runtime.NumCPU(), Temperature: unknown[float64](notTold), OnBattery: unknown[bool](notTold), Load: unknown[float64](notTold),
		UserIdle: unknown[time.Duration](notTold), MemoryAvailable: unknown[uint64](notTold),
	}
}

// FreeDisk is not known here.
func FreeDisk(string) Fact[uint64] { return unknown[uint64](notTold) }
