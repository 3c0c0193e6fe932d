//go:build !linux

package node

import (
	"errors"

	"github.com/mustermesh/muster/internal/doctor"
)

// diskRoom is not told here.
func diskRoom(string) (free, total uint64, err error) { return 0, 0, errors.ErrUnsupported }

// remoteFiles is not told here.
func remoteFiles(string) string { return "" }

// processLimits are not told here.
func processLimits() *doctor.Limits { return nil }
