//go:build unix

package node

import (
	"os"
	"syscall"
)

// foreign tells whether a file is another user's.
func foreign(info os.FileInfo) bool {
	owner, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(owner.Uid) != os.Getuid()
}
