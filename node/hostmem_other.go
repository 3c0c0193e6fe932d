//go:build !linux

package node

// hostMemory is a cautious guess, in bytes, where the system is not asked.
func hostMemory() uint64 { return 2 << 30 }
