package executor

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const doomedParentArg = "doomed-parent"

// doomedParent is the whole life of a process that is to be killed: it starts a
// sandbox that loops for ever, tells its process id, and waits for its end.
func doomedParent() {
	w, err := OpenWASM(testConfig(), slog.New(slog.DiscardHandler))
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	module, _ := os.ReadFile("testdata/guests/spin.wasm")
	p := program(module)
	e, err := w.Start(context.Background(), Task{Owner: peer(1), Program: p, Limits: Limits{Memory: 1 << 20, Timeout: time.Hour}})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println(e.(*execution).box.proc.Pid)
	select {}
}

// startDoomed starts such a process; pidfd is of its sandbox.
func startDoomed(t *testing.T) (parent *exec.Cmd, child, pidfd int) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", doomedParentArg)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	line, _ := bufio.NewReader(out).ReadString('\n')
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatalf("the parent says %q", line)
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		t.Fatalf("no sandbox to begin with: %v", err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		gone(t, fd, 20*time.Second)
		unix.Close(fd)
		if base, err := findGroups("/proc/self"); err == nil {
			base.sweep("/proc") // as the next daemon would
		}
	})
	return cmd, pid, fd
}

func TestAGuestDoesNotOutliveItsParent(t *testing.T) {
	parent, child, fd := startDoomed(t)
	if gone(t, fd, 0) {
		t.Fatal("the sandbox ended by itself")
	}
	parent.Process.Kill()
	if !gone(t, fd, 20*time.Second) {
		unix.Kill(child, unix.SIGKILL)
		t.Error("the sandbox outlived its parent")
	}
}

// gone waits for the end of a process.
func gone(t *testing.T, pidfd int, limit time.Duration) bool {
	t.Helper()
	for deadline := time.Now().Add(limit); ; {
		left := max(time.Until(deadline), 0)
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}, int(left.Milliseconds()))
		if err == unix.EINTR {
			continue // by the signal that a child has died, for one
		}
		if err != nil {
			t.Fatal(err)
		}
		return n > 0
	}
}
