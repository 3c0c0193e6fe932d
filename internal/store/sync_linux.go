package store

import (
	"os"

	"golang.org/x/sys/unix"
)

// syncData writes f's bytes to the disk, and of the rest what is needed to find
// them again.
func syncData(f *os.File) error { return unix.Fdatasync(int(f.Fd())) }
