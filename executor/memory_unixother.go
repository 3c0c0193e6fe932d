//go:build unix && !linux

package executor

const mapNoReserve = 0
