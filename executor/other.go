//go:build !linux

package executor

import (
	"errors"
	"fmt"
	"os"
)

// Children need Linux: elsewhere the executor opens, but nothing starts.

type spawner struct{}

func (*spawner) start(string, way, layerSet) (*process, error) {
	return nil, fmt.Errorf("sandboxes need Linux: %w", errors.ErrUnsupported)
}

func (*spawner) close() {}

func ways() []way { return []way{{}} }

func temporary(error) bool { return false }

func (*process) alive() bool { return false }

func (*process) resident() uint64 { return 0 }

type group struct{}

func (*group) bound(uint64) {}

func (*group) remove() string { return "" }

func forbidden(*os.ProcessState) bool { return false }

func isolate(setup) []Layer { return report(0, nil) }

func cpuTime() int64 { return 0 }
