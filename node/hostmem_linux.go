package node

import (
	"os"
	"strconv"
	"strings"
	"syscall"
)

// hostMemory is the memory that this process may use, in bytes: the machine's,
// or less where a cgroup says so.
func hostMemory() uint64 {
	var info syscall.Sysinfo_t
	if err := syscall.Sysinfo(&info); err != nil {
		return 1 << 30
	}
	most := uint64(info.Totalram) * uint64(info.Unit)
	for _, file := range []string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"} {
		b, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		if limit, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64); err == nil && limit > 0 {
			most = min(most, limit)
		}
	}
	return most
}
