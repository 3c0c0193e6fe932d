package store

import (
	"errors"
	"fmt"
)

var (
	// ErrNotFound is returned by Get for a key that holds nothing.
	ErrNotFound = errors.New("not found")
	// ErrClosed is returned by every method once Close was called.
	ErrClosed = errors.New("the store is closed")
	// ErrNewer is wrapped by Open when a newer muster wrote the database.
	ErrNewer = errors.New("the database was written by a newer muster")
	// ErrDamaged is wrapped by Open when the database cannot be read.
	ErrDamaged = errors.New("the database is damaged")
	// ErrTooBig is wrapped by Commit for a batch beyond MaxBatchBytes or
	// MaxBatchOps. Nothing of it was written.
	ErrTooBig = errors.New("batch too big")
	// ErrBadKey is wrapped by Commit for a key that is empty, longer than
	// MaxKeyBytes or reserved. Nothing of the batch was written.
	ErrBadKey = errors.New("bad key")
	// ErrDiskFull is wrapped by Commit when less than minFree bytes are left on
	// the disk. Nothing was written; it works again once there is room.
	ErrDiskFull = errors.New("the disk is full")
	// ErrStop, returned by the function given to Scan, ends the scan early; Scan
	// then returns nil.
	ErrStop = errors.New("stop scanning")
)

// A LockedError says that another process has the home open.
type LockedError struct {
	Dir string // the home
	PID int    // of the process that holds it; 0 when it is not known
}

// Error names the process that holds the home.
func (e *LockedError) Error() string {
	if e.PID == 0 {
		return fmt.Sprintf("another muster uses this home (%s)", e.Dir)
	}
	return fmt.Sprintf("another muster (pid %d) uses this home (%s)", e.PID, e.Dir)
}
