package store

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// lockFile takes f's lock, which ends with the process, or gives errHeld. Nobody
// can read what is locked here, so it is a byte behind everything.
func lockFile(f *os.File) error {
	where := &windows.Overlapped{OffsetHigh: 1 << 30}
	err := windows.LockFileEx(windows.Handle(f.Fd()), windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, where)
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) {
		return errHeld
	}
	return err
}
