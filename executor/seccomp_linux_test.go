//go:build linux && (amd64 || arm64)

package executor

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// runFilter does what the kernel does with a filter: classic BPF over the words of
// struct seccomp_data.
func runFilter(t *testing.T, f []unix.SockFilter, data [16]uint32) uint32 {
	t.Helper()
	var a uint32
	for pc := 0; pc < len(f); pc++ {
		in := f[pc]
		taken := false
		switch in.Code {
		case unix.BPF_LD | unix.BPF_W | unix.BPF_ABS:
			a = data[in.K/4]
			continue
		case unix.BPF_ALU | unix.BPF_AND | unix.BPF_K:
			a &= in.K
			continue
		case unix.BPF_RET | unix.BPF_K:
			return in.K
		case unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K:
			taken = a == in.K
		case unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K:
			taken = a >= in.K
		case unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K:
			taken = a&in.K != 0
		default:
			t.Fatalf("instruction %d has code %#x", pc, in.Code)
		}
		if pc += int(in.Jf); taken {
			pc += int(in.Jt) - int(in.Jf)
		}
	}
	t.Fatal("the filter has no end")
	return 0
}

// callData is system call nr with arguments of up to 32 bits.
func callData(arch, nr uint32, args ...uint32) (data [16]uint32) {
	data[0], data[1] = nr, arch
	for i, a := range args {
		data[4+2*i] = a
	}
	return data
}

func TestFilterAllowsWhatIsListedAndNothingElse(t *testing.T) {
	const pid, all = 7, 0xffffffff
	for _, c := range []bool{false, true} {
		f := callFilter(pid, c)
		listed := slices.Clone(harmless)
		if c {
			listed = append(listed, harmlessC...)
		}
		checked := []uint32{unix.SYS_MMAP, unix.SYS_TGKILL, unix.SYS_PRCTL, unix.SYS_CLONE}
		for nr := range uint32(2000) {
			want := uint32(unix.SECCOMP_RET_KILL_PROCESS)
			if slices.Contains(listed, nr) {
				want = unix.SECCOMP_RET_ALLOW
			} else if c && nr == unix.SYS_CLONE3 {
				want = unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)
			}
			if got := runFilter(t, f, callData(auditArch, nr)); got != want {
				t.Errorf("call %d, with C %v: %#x, want %#x", nr, c, got, want)
			}
			for _, foreign := range []uint32{0, all, unix.AUDIT_ARCH_I386, unix.AUDIT_ARCH_ARM} {
				if got := runFilter(t, f, callData(foreign, nr)); got != unix.SECCOMP_RET_KILL_PROCESS {
					t.Errorf("call %d of architecture %#x: %#x", nr, foreign, got)
				}
			}
			if got := runFilter(t, f, callData(auditArch, nr|foreignCalls)); got != unix.SECCOMP_RET_KILL_PROCESS {
				t.Errorf("call %d of another ABI: %#x", nr, got)
			}
		}
		for _, nr := range checked {
			if slices.Contains(listed, nr) {
				t.Errorf("call %d is allowed with any arguments", nr)
			}
		}
	}
}

func TestFilterLooksAtArguments(t *testing.T) {
	const pid = 7
	thread := uint32(mustClone | unix.CLONE_SYSVSEM)
	for name, c := range map[string]struct {
		data [16]uint32
		ok   bool
	}{
		"a thread of Go":               {callData(auditArch, unix.SYS_CLONE, thread), true},
		"a thread of C":                {callData(auditArch, unix.SYS_CLONE, thread|unix.CLONE_SETTLS|unix.CLONE_PARENT_SETTID|unix.CLONE_CHILD_CLEARTID), true},
		"a fork":                       {callData(auditArch, unix.SYS_CLONE, uint32(unix.SIGCHLD)), false},
		"a fork that shares memory":    {callData(auditArch, unix.SYS_CLONE, unix.CLONE_VM|unix.CLONE_VFORK|uint32(unix.SIGCHLD)), false},
		"a thread with a namespace":    {callData(auditArch, unix.SYS_CLONE, thread|unix.CLONE_NEWNET), false},
		"a thread with a user space":   {callData(auditArch, unix.SYS_CLONE, thread|unix.CLONE_NEWUSER), false},
		"a thread that is traced":      {callData(auditArch, unix.SYS_CLONE, thread|unix.CLONE_PTRACE), false},
		"a thread of another process":  {callData(auditArch, unix.SYS_CLONE, thread|unix.CLONE_PARENT), false},
		"a thread with a descriptor":   {callData(auditArch, unix.SYS_CLONE, thread|unix.CLONE_PIDFD), false},
		"a signal to itself":           {callData(auditArch, unix.SYS_TGKILL, pid, 8, uint32(unix.SIGURG)), true},
		"a signal to another":          {callData(auditArch, unix.SYS_TGKILL, pid+1, 8, uint32(unix.SIGKILL)), false},
		"a name for memory":            {callData(auditArch, unix.SYS_PRCTL, unix.PR_SET_VMA), true},
		"another name for itself":      {callData(auditArch, unix.SYS_PRCTL, unix.PR_SET_NAME), false},
		"to be debugged":               {callData(auditArch, unix.SYS_PRCTL, unix.PR_SET_PTRACER), false},
		"memory":                       {callData(auditArch, unix.SYS_MMAP, 0, 4096, 3, unix.MAP_ANON|unix.MAP_PRIVATE), true},
		"a file as memory":             {callData(auditArch, unix.SYS_MMAP, 0, 4096, 3, unix.MAP_SHARED, 3), false},
		"memory that may be executed":  {callData(auditArch, unix.SYS_MPROTECT, 0, 4096, unix.PROT_READ|unix.PROT_EXEC), true},
		"a file":                       {callData(auditArch, unix.SYS_OPENAT), false},
		"a socket":                     {callData(auditArch, unix.SYS_SOCKET), false},
		"a program":                    {callData(auditArch, unix.SYS_EXECVE), false},
		"another process to look into": {callData(auditArch, unix.SYS_PTRACE), false},
		"what goes past filters":       {callData(auditArch, unix.SYS_IO_URING_SETUP), false},
	} {
		if got := runFilter(t, callFilter(pid, false), c.data) == unix.SECCOMP_RET_ALLOW; got != c.ok {
			t.Errorf("%s: allowed %v, want %v", name, got, c.ok)
		}
	}
}

// TestEveryThreadIsShutIn: one thread without the filter, or with a capability,
// would be a way out for all.
func TestEveryThreadIsShutIn(t *testing.T) {
	w := behind(t, allLayers)
	e, _ := start(t, w, task(wat(t, "spin")))
	defer e.Stop()
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid(e)))
	if err != nil || len(threads) < 2 {
		t.Fatalf("threads %q, %v", threads, err)
	}
	for _, path := range threads {
		b, err := os.ReadFile(path)
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ESRCH) {
			continue // it has ended
		}
		for _, want := range []string{"\nSeccomp:\t2\n", "\nNoNewPrivs:\t1\n", "\nCapEff:\t0000000000000000\n", "\nCapPrm:\t0000000000000000\n", "\nCapAmb:\t0000000000000000\n"} {
			if !bytes.Contains(b, []byte(want)) {
				t.Errorf("thread %s has no line %q: %v", path, want, err)
			}
		}
	}
}
