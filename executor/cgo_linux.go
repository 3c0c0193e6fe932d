//go:build linux && cgo

package executor

// builtWithCgo tells that a system call on all threads at once goes through C,
// which finds the threads in /proc, and waits for ever if they are not there.
const builtWithCgo = true
