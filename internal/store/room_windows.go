package store

import "golang.org/x/sys/windows"

// freeRoom is what the user may still write on the volume of dir, in bytes.
func freeRoom(dir string) (free uint64, err error) {
	path, err := windows.UTF16PtrFromString(dir)
	if err != nil {
		return 0, err
	}
	err = windows.GetDiskFreeSpaceEx(path, &free, nil, nil)
	return free, err
}
