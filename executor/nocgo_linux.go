//go:build linux && !cgo

package executor

const builtWithCgo = false
