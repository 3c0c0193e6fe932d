//go:build unix

package store

import (
	"errors"
	"os"
	"syscall"
)

// lockFile takes f's lock, which ends with the process, or gives errHeld.
func lockFile(f *os.File) error {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return errHeld
	}
	return err
}
