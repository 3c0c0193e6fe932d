package node

import (
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/mustermesh/muster/internal/doctor"
)

// diskRoom gives the bytes that this user can write to the file system of path,
// and all that it has.
func diskRoom(path string) (free, total uint64, err error) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(path, &s); err != nil {
		return 0, 0, err
	}
	return s.Bavail * uint64(s.Bsize), s.Blocks * uint64(s.Bsize), nil
}

// networkFiles are file systems that lie on another machine, by the numbers of
// linux/magic.h and of cifs.
var networkFiles = map[uint32]string{
	0x6969: "NFS", 0xff534d42: "CIFS", 0xfe534d42: "SMB", 0x517b: "SMB", 0x00c36400: "Ceph", 0x01021997: "9P", 0x5346414f: "AFS",
}

// remoteFiles names the kind of file system that path lies on if that is not a
// local one.
func remoteFiles(path string) string {
	var s syscall.Statfs_t
	if syscall.Statfs(path, &s) != nil {
		return ""
	}
	return networkFiles[uint32(s.Type)]
}

// processLimits gives what the system allows this process; nil: it does not say.
func processLimits() *doctor.Limits {
	var files syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files) != nil {
		return nil
	}
	l := &doctor.Limits{Files: files.Cur, FilesHard: files.Max, Kernel: doctor.ReadKernel(os.DirFS("/"))}
	if open, err := os.ReadDir("/proc/self/fd"); err == nil {
		l.FilesInUse = uint64(len(open))
	}
	if b, err := os.ReadFile("/sys/fs/cgroup/memory.max"); err == nil { // "max" is no number, and no limit
		l.MemoryCgroup, _ = strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64)
	}
	return l
}
