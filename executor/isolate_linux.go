package executor

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"
	"unsafe"

	"github.com/landlock-lsm/go-landlock/landlock"
	llsys "github.com/landlock-lsm/go-landlock/landlock/syscall"
	"golang.org/x/sys/unix"
	"kernel.org/pub/linux/libs/security/libcap/psx"
)

// isolate shuts this process in as far as the host allows, and reports how far
// that was. It cannot be undone.
func isolate(s setup) []Layer {
	on, off := layerSet(0), map[layerSet]string{}
	steps := []struct {
		layer layerSet
		do    func(setup) (detail string, err error)
	}{
		{layerSpaces, checkSpaces},
		{layerDeath, dieWithParent},
		{layerDescriptors, closeOthers},
		{layerRlimits, limitResources},
		{layerNested, forbidNesting},
		{layerRoot, emptyRoot},
		{layerPrivileges, dropPrivileges},
		{layerLandlock, lockLand},
		{layerSeccomp, filterCalls}, // always the last
	}
	for _, step := range steps {
		if s.omit.has(step.layer) {
			off[step.layer] = "switched off"
			continue
		}
		detail, err := step.do(s)
		if off[step.layer] = detail; err != nil {
			off[step.layer] = err.Error()
			continue
		}
		on |= step.layer
	}
	return report(on, off)
}

func checkSpaces(s setup) (string, error) {
	if !s.spaces || os.Getpid() != 1 {
		return "", fmt.Errorf("the host does not allow user namespaces")
	}
	return "", nil
}

// dieWithParent repeats what the parent asked for at the fork: a change of
// identity may have cleared it.
func dieWithParent(setup) (string, error) {
	return "", unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0)
}

// closeOthers closes what this process inherited or opened until now, but for
// its standard streams, which are the socket and the pipe, and what the Go
// runtime waits with. Those are not open to what is executed; what is inherited
// always is.
func closeOthers(setup) (string, error) {
	startWaiting()
	const dir = "/proc/self/fd/"
	list, err := os.ReadDir(dir)
	if err != nil {
		return "", fmt.Errorf("list what is open: %w", err)
	}
	for _, entry := range list {
		fd, err := strconv.Atoi(entry.Name())
		link, gone := os.Readlink(dir + entry.Name())
		if err != nil || gone != nil || fd <= 2 {
			continue // gone is what the listing itself had open
		}
		flags, _ := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		if own := flags&unix.FD_CLOEXEC != 0; own && (link == "anon_inode:[eventpoll]" || link == "anon_inode:[eventfd]") {
			continue
		}
		if err := unix.Close(fd); err != nil {
			return "", fmt.Errorf("close descriptor %d: %w", fd, err)
		}
	}
	return "", nil
}

// startWaiting has the Go runtime open what it waits with, as it does for the
// first timer.
func startWaiting() { time.AfterFunc(time.Hour, func() {}).Stop() }

// limitResources leaves address space (RLIMIT_AS) alone: most of it is only
// reserved, by the Go runtime and the race detector, and never becomes memory.
// RLIMIT_DATA counts what is writable and private, and only that can.
func limitResources(s setup) (string, error) {
	limits := map[int]uint64{unix.RLIMIT_CORE: 0, unix.RLIMIT_FSIZE: 0, unix.RLIMIT_NOFILE: 64}
	detail := ""
	if data, err := dataSize(); err != nil {
		detail = "without a limit on memory: " + err.Error()
	} else {
		limits[unix.RLIMIT_DATA] = data + maxRSS(s.maxMemory, s.maxDisk)
	}
	for resource, limit := range limits {
		if err := unix.Setrlimit(resource, &unix.Rlimit{Cur: limit, Max: limit}); err != nil {
			return "", fmt.Errorf("set resource limit %d: %w", resource, err)
		}
	}
	return detail, nil
}

// dataSize is how much writable private memory this process has mapped already.
func dataSize() (uint64, error) {
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0, err
	}
	var size, resident, shared, text, lib, data uint64
	if _, err := fmt.Sscan(string(b), &size, &resident, &shared, &text, &lib, &data); err != nil {
		return 0, err
	}
	return data * uint64(os.Getpagesize()), nil
}

// forbidNesting sets the number of user namespaces below this one to none.
func forbidNesting(s setup) (string, error) {
	if !s.spaces {
		return "", fmt.Errorf("needs namespaces")
	}
	return "", os.WriteFile("/proc/sys/user/max_user_namespaces", []byte("0"), 0)
}

// emptyRoot makes an empty read-only file tree the only one there is.
func emptyRoot(s setup) (string, error) {
	if !s.spaces {
		return "", fmt.Errorf("needs namespaces")
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return "", fmt.Errorf("make mounts private: %w", err)
	}
	const at = "/proc" // there is one: this binary was started through it or beside it
	if err := unix.Mount("none", at, "tmpfs", mountFlags, "size=4k,nr_inodes=2,mode=755"); err != nil {
		return "", fmt.Errorf("mount an empty tree: %w", err)
	}
	if err := unix.Chdir(at); err != nil {
		return "", fmt.Errorf("enter the empty tree: %w", err)
	}
	detail := ""
	if builtWithCgo {
		detail = "but for a /proc of its own, because it is built with cgo"
		if err := errors.Join(unix.Mkdir("proc", 0o555), mountProc("proc")); err != nil {
			return "", fmt.Errorf("%w (build with CGO_ENABLED=0)", err)
		}
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return "", fmt.Errorf("pivot root: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return "", fmt.Errorf("leave the old root: %w", err)
	}
	if err := unix.Chdir("/"); err != nil {
		return "", fmt.Errorf("enter the new root: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REMOUNT|unix.MS_RDONLY|mountFlags, ""); err != nil {
		return "", fmt.Errorf("make the empty tree read-only: %w", err)
	}
	return detail, nil
}

const mountFlags = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC

// mountProc mounts a /proc that shows this process alone.
func mountProc(at string) error {
	if err := unix.Mount("proc", at, "proc", mountFlags, ""); err != nil {
		return fmt.Errorf("mount a /proc of its own: %w", err)
	}
	return nil
}

// threadsVisible sees to it that a system call can be made on all threads.
func threadsVisible() error {
	if !builtWithCgo || procIsOurs() {
		return nil
	}
	if err := mountProc("/proc"); err != nil {
		return fmt.Errorf("%w (build with CGO_ENABLED=0)", err)
	}
	if !procIsOurs() {
		return errors.New("/proc does not show this process (build with CGO_ENABLED=0)")
	}
	return nil
}

// procIsOurs tells whether /proc numbers processes as this one sees them.
func procIsOurs() bool {
	self, err := os.Readlink("/proc/self")
	return err == nil && self == strconv.Itoa(os.Getpid())
}

// dropPrivileges leaves every thread without capabilities, for good.
func dropPrivileges(setup) (string, error) {
	if err := threadsVisible(); err != nil {
		return "", err
	}
	if _, _, e := psx.Syscall6(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, 0); e != 0 {
		return "", fmt.Errorf("set no_new_privs: %w", e)
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	if _, _, e := psx.Syscall3(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&none)), 0); e != 0 {
		return "", fmt.Errorf("drop capabilities: %w", e)
	}
	return "", nil
}

// lockLand forbids every access to files, TCP and processes outside that this
// kernel's Landlock knows.
func lockLand(setup) (string, error) {
	abi, err := llsys.LandlockGetABIVersion()
	if err != nil || abi < 1 {
		return "", fmt.Errorf("the kernel has no Landlock")
	}
	if err := threadsVisible(); err != nil {
		return "", err
	}
	if err := landlock.V11.BestEffort().Restrict(); err != nil {
		return "", err
	}
	return fmt.Sprintf("abi %d", abi), nil
}

// cpuTime is how much CPU time this process has used.
func cpuTime() int64 {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return u.Utime.Nano() + u.Stime.Nano()
}
