//go:build !unix

package executor

// An arena is the linear memory of one guest after another, all zero at the
// start of each task. It is wazero's LinearMemory.
type arena struct {
	space []byte
	used  int // bytes that the present guest has
}

func (a *arena) reset(limit uint64) error {
	*a = arena{space: make([]byte, limit)}
	return nil
}
