package executor

import (
	"errors"
	"fmt"
	"time"
)

// Config is what a WASM executor may use.
type Config struct {
	// ChildPath is the binary that is started as a sandbox; its main must call
	// ChildMain first. Empty is this very binary.
	ChildPath string
	// MaxModule is the largest program, in bytes.
	MaxModule int64
	// MaxMemory and MaxDisk are the most that one task may ask for, in bytes; 64 KiB
	// to 4 GiB, and up to 1 TiB. A task's disk is memory of its sandbox.
	MaxMemory, MaxDisk uint64
	// MaxChildren is how many sandboxes may exist at a time, idle ones included.
	MaxChildren int
	// IdleTimeout is how long a sandbox without work is kept.
	IdleTimeout time.Duration
	// Spare is how many sandboxes without a program are kept ready, so that a new
	// program need not wait for one to be shut in; less than MaxChildren. They are
	// made once something has run, and go like others when nothing needs them.
	Spare int
	// CacheDir is a folder for compiled programs, made if it is not there, that
	// nobody else may write to; empty: they are kept in memory. CacheBytes is how
	// much they may take, of which one at most a quarter; 0: nothing is kept.
	CacheDir   string
	CacheBytes int64
	// PrepareTimeout is how long a sandbox may take to start and to compile a
	// program.
	PrepareTimeout time.Duration
}

// Validate says what is wrong with c.
func (c Config) Validate() error {
	switch {
	case c.MaxModule < 8 || c.MaxModule > maxModuleFrame:
		return fmt.Errorf("executor: MaxModule of %d bytes is not between 8 and %d", c.MaxModule, int64(maxModuleFrame))
	case c.MaxMemory < pageSize || c.MaxMemory > 1<<32:
		return fmt.Errorf("executor: MaxMemory of %d bytes is not between 64 KiB and 4 GiB", c.MaxMemory)
	case c.MaxDisk > maxDisk:
		return fmt.Errorf("executor: MaxDisk of %d bytes is more than 1 TiB", c.MaxDisk)
	case c.MaxChildren < 1:
		return errors.New("executor: MaxChildren must be at least 1")
	case c.Spare < 0 || c.Spare >= c.MaxChildren:
		return fmt.Errorf("executor: Spare of %d is not between 0 and MaxChildren less one, %d", c.Spare, c.MaxChildren-1)
	case c.CacheBytes < 0:
		return fmt.Errorf("executor: CacheBytes of %d is negative", c.CacheBytes)
	case c.IdleTimeout <= 0 || c.PrepareTimeout <= 0:
		return errors.New("executor: IdleTimeout and PrepareTimeout must be positive")
	}
	return nil
}

const (
	pageSize       = 64 << 10 // of linear memory, bytes
	maxDisk        = 1 << 40
	maxModuleFrame = 1 << 30
)
