//go:build linux && (amd64 || arm64)

package executor

import (
	"fmt"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// seccompKnown tells that there is a table of system calls for this
// architecture.
const seccompKnown = true

// harmless lists the system calls that a child may make with any arguments once
// it is shut in: what the Go runtime and the engine need to compute, to keep
// time, and to talk over what is open. None of them opens or names anything.
var harmless = []uint32{
	unix.SYS_FUTEX, unix.SYS_READ, unix.SYS_WRITE, unix.SYS_NANOSLEEP, unix.SYS_EPOLL_PWAIT,
	unix.SYS_MADVISE, unix.SYS_MUNMAP, unix.SYS_MPROTECT, // mprotect: the engine's code is made executable
	unix.SYS_RT_SIGRETURN, unix.SYS_RT_SIGPROCMASK, unix.SYS_RT_SIGACTION, unix.SYS_SIGALTSTACK,
	unix.SYS_SCHED_YIELD, unix.SYS_GETPID, unix.SYS_GETTID, unix.SYS_GETRUSAGE,
	unix.SYS_CLOCK_GETTIME, unix.SYS_RESTART_SYSCALL, unix.SYS_EXIT, unix.SYS_EXIT_GROUP,
}

// harmlessC lists what the C library needs besides.
var harmlessC = []uint32{unix.SYS_BRK, unix.SYS_MREMAP, unix.SYS_SET_ROBUST_LIST, unix.SYS_RSEQ, unix.SYS_SCHED_GETAFFINITY}

// A thread shares everything with its process; the flags in mayClone say only
// what is told about it and to whom.
const (
	mustClone = unix.CLONE_VM | unix.CLONE_FS | unix.CLONE_FILES | unix.CLONE_SIGHAND | unix.CLONE_THREAD
	mayClone  = unix.CLONE_SYSVSEM | unix.CLONE_SETTLS | unix.CLONE_PARENT_SETTID | unix.CLONE_CHILD_CLEARTID | unix.CLONE_CHILD_SETTID | unix.CLONE_DETACHED
)

// filterCalls has the kernel kill this process at the first system call that is
// not on the list, on any thread. It is the last layer: none of the others
// could be switched on after it.
func filterCalls(setup) (string, error) {
	startWaiting()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return "", fmt.Errorf("set no_new_privs: %w", err)
	}
	filter := callFilter(uint32(os.Getpid()), builtWithCgo)
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	thread, _, e := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&prog)))
	if e != 0 {
		return "", fmt.Errorf("the kernel takes no filter: %w", e)
	}
	if thread != 0 {
		return "", fmt.Errorf("thread %d has another filter", thread)
	}
	return fmt.Sprintf("%d system calls allowed", allowed(filter)), nil
}

// callFilter is the filter as a program of classic BPF over struct seccomp_data
// (seccomp(2)): refuse other architectures, then go through the list.
func callFilter(pid uint32, c bool) []unix.SockFilter {
	const number, arch = 0, 4 // offsets in seccomp_data
	f := []unix.SockFilter{load(arch), jump(unix.BPF_JEQ, auditArch, 1, 0), kill, load(number)}
	f = append(f, jump(unix.BPF_JGE, foreignCalls, 0, 1), kill)
	for _, nr := range harmless {
		f = append(f, call(nr, allow)...)
	}
	f = append(f, call(unix.SYS_MMAP, load(argument(3)), jump(unix.BPF_JSET, unix.MAP_ANONYMOUS, 1, 0), kill, allow)...)
	f = append(f, call(unix.SYS_TGKILL, load(argument(0)), jump(unix.BPF_JEQ, pid, 1, 0), kill, allow)...)
	f = append(f, call(unix.SYS_PRCTL, load(argument(0)), jump(unix.BPF_JEQ, unix.PR_SET_VMA, 1, 0), kill, allow)...)
	const look = ^uint32(mayClone)
	f = append(f, call(unix.SYS_CLONE, load(argument(0)), unix.SockFilter{Code: unix.BPF_ALU | unix.BPF_AND | unix.BPF_K, K: look},
		jump(unix.BPF_JEQ, mustClone, 1, 0), kill, allow)...)
	if c {
		for _, nr := range harmlessC {
			f = append(f, call(nr, allow)...)
		}
		// Its flags are in memory, where a filter cannot look: have C use clone.
		f = append(f, call(unix.SYS_CLONE3, answer(unix.SECCOMP_RET_ERRNO|uint32(unix.ENOSYS)))...)
	}
	return append(f, kill)
}

// allowed counts the system calls that a filter may allow.
func allowed(filter []unix.SockFilter) (n int) {
	for _, f := range filter {
		if f == allow {
			n++
		}
	}
	return n
}

var (
	allow = answer(unix.SECCOMP_RET_ALLOW)
	kill  = answer(unix.SECCOMP_RET_KILL_PROCESS)
)

func answer(action uint32) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: action}
}

// load loads the 32 bits at an offset of seccomp_data.
func load(offset uint32) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offset}
}

// argument is where the lower half of argument i is: both architectures are
// little-endian. Those that are looked at are of 32 bits, or flags down there.
func argument(i uint32) uint32 { return 16 + 8*i }

// jump skips yes or no instructions.
func jump(op uint16, k uint32, yes, no uint8) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_JMP | op | unix.BPF_K, Jt: yes, Jf: no, K: k}
}

// call is what is done about system call nr; then must end in an answer.
func call(nr uint32, then ...unix.SockFilter) []unix.SockFilter {
	return append([]unix.SockFilter{jump(unix.BPF_JEQ, nr, 0, uint8(len(then)))}, then...)
}
