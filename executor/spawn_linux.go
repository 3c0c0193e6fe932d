package executor

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// A spawner starts children, all from one operating system thread: the kernel
// kills a child when the thread that started it ends.
type spawner struct {
	mu     sync.Mutex
	jobs   chan func() // nil until the first start
	closed bool
	idle   sync.WaitGroup
	groups groups
}

// do runs f on the spawner's thread, and starts that if it is not there.
func (s *spawner) do(f func() error) (err error) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return ErrClosed
	}
	if s.jobs == nil {
		jobs := make(chan func())
		s.jobs = jobs
		s.idle.Go(func() {
			runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
			for f := range jobs {
				f()
			}
		})
	}
	done := make(chan struct{})
	s.jobs <- func() { defer close(done); err = f() }
	s.mu.Unlock()
	<-done
	return err
}

// close ends the thread, and with it every child that is left.
func (s *spawner) close() {
	s.mu.Lock()
	s.closed = true
	if s.jobs != nil {
		close(s.jobs)
		s.jobs = nil
	}
	s.mu.Unlock()
	s.idle.Wait()
	s.groups.close()
}

// temporary tells whether the host may well be able to start a child later, in
// the same way.
func temporary(err error) bool {
	return errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.ENOMEM) || errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE)
}

const nobody = 65534

// ways lists the ways to start a child, the best first: as nobody, which only
// root may do, as ourselves, and without namespaces.
func ways() []way {
	self := way{spaces: true, id: os.Geteuid()}
	if self.id == 0 {
		return []way{{spaces: true, id: nobody}, self, {}}
	}
	return []way{self, {}}
}

func (s *spawner) start(path string, w way, omit layerSet) (*process, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("make a socket pair: %w", err)
	}
	theirs := os.NewFile(uintptr(fds[1]), "sandbox")
	defer theirs.Close()
	unix.SetNonblock(fds[0], true) // so that deadlines and Close work on it
	p := &process{sock: os.NewFile(uintptr(fds[0]), "sandbox")}
	errs, stderr, err := os.Pipe()
	if err != nil {
		p.sock.Close()
		return nil, fmt.Errorf("make a pipe: %w", err)
	}
	p.errs = errs
	defer stderr.Close()
	attr := &os.ProcAttr{Env: []string{}, Files: []*os.File{theirs, stderr, stderr}, Sys: sysAttr(w, omit)}
	err = s.do(func() (err error) {
		p.proc, err = os.StartProcess(path, []string{childName}, attr)
		return err
	})
	if err != nil {
		p.sock.Close()
		p.errs.Close()
		return nil, fmt.Errorf("start a sandbox: %w", err)
	}
	if omit.has(layerCgroup) {
		p.ungrouped = errors.New("switched off")
	} else {
		p.group, p.ungrouped = s.groups.make(p.proc.Pid) // it does nothing yet: it waits for the first frame
	}
	return p, nil
}

// sysAttr asks the kernel for the walls that it builds at the fork. The child
// keeps what it needs, over its own namespaces alone, to build the others:
// CAP_SYS_ADMIN to empty its root, CAP_SYS_RESOURCE to forbid more namespaces.
func sysAttr(w way, omit layerSet) *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setsid: true}
	if !omit.has(layerDeath) {
		attr.Pdeathsig = syscall.SIGKILL
	}
	if !w.spaces || omit.has(layerSpaces) {
		return attr
	}
	attr.Cloneflags = unix.CLONE_NEWUSER | unix.CLONE_NEWNET | unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS
	gid := os.Getegid()
	if w.id != os.Geteuid() {
		gid = w.id
		attr.Credential = &syscall.Credential{Uid: uint32(w.id), Gid: uint32(w.id)}
		attr.GidMappingsEnableSetgroups = true
	}
	attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: w.id, HostID: w.id, Size: 1}}
	attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: gid, HostID: gid, Size: 1}}
	attr.AmbientCaps = []uintptr{unix.CAP_SYS_ADMIN, unix.CAP_SYS_RESOURCE}
	return attr
}

// alive tells whether an idle child is still there, without waiting.
func (p *process) alive() bool {
	conn, err := p.sock.SyscallConn()
	if err != nil {
		return false
	}
	alive := false
	conn.Control(func(fd uintptr) {
		_, _, err := unix.Recvfrom(int(fd), make([]byte, 1), unix.MSG_PEEK|unix.MSG_DONTWAIT)
		alive = err == unix.EAGAIN
	})
	return alive
}

// resident gives how much memory the process has, in bytes; 0 if it is gone.
func (p *process) resident() uint64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", p.proc.Pid))
	if err != nil {
		return 0
	}
	var size, pages uint64
	fmt.Sscan(string(b), &size, &pages)
	return pages * uint64(os.Getpagesize())
}

// forbidden tells whether a process died of a system call that the filter does
// not allow.
func forbidden(state *os.ProcessState) bool {
	if state == nil {
		return false // somebody else has waited for it
	}
	status, ok := state.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == unix.SIGSYS
}
