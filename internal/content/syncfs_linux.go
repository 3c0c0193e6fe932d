package content

import (
	"os"

	"golang.org/x/sys/unix"
)

// syncFileSystem syncs the file system that dir is on.
func syncFileSystem(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.Syncfs(int(f.Fd()))
}
