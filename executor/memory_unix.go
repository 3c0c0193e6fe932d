//go:build unix

package executor

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// clearBelow is up to where clearing pages is faster than giving them back.
const clearBelow = 256 << 10

// An arena is the linear memory of one guest after another: address space of
// the task's limit, pages of it as they are touched, all zero at the start of
// each task. It is wazero's LinearMemory.
type arena struct {
	space []byte
	used  int // bytes that the present guest has
}

// reset gives the arena limit bytes, none in use, all zero.
func (a *arena) reset(limit uint64) error {
	if len(a.space) != int(limit) {
		return a.remap(limit)
	}
	dirty := a.space[:a.used]
	a.used = 0
	if len(dirty) <= clearBelow {
		clear(dirty)
		return nil
	}
	if err := unix.Madvise(dirty, unix.MADV_DONTNEED); err != nil {
		return fmt.Errorf("give back guest memory: %w", err)
	}
	return nil
}

func (a *arena) remap(limit uint64) error {
	if a.space != nil {
		if err := unix.Munmap(a.space); err != nil {
			return fmt.Errorf("unmap guest memory: %w", err)
		}
	}
	space, err := unix.Mmap(-1, 0, int(limit), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON|mapNoReserve)
	if err != nil {
		*a = arena{}
		return fmt.Errorf("map %d bytes of guest memory: %w", limit, err)
	}
	*a = arena{space: space}
	return nil
}
