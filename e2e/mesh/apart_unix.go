//go:build unix

package mesh

import (
	"os/exec"
	"syscall"
)

// apart keeps a terminal's Ctrl-C from a process: whoever started it stops it.
func apart(c *exec.Cmd) { c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }
