package executor

import (
	_ "unsafe" // for go:linkname

	"github.com/mustermesh/muster/executor/rewrite"
)

// interpreterFrames is how many frames wazero's interpreter lets a guest have
// above each other. It stops at 2000, long before the machine does, and there is
// no option for it.
//
//go:linkname interpreterFrames github.com/tetratelabs/wazero/internal/engine/interpreter.callStackCeiling
var interpreterFrames int

// deepen lets the machine's own limit on frames come first.
func deepen() { interpreterFrames = rewrite.StackSlots }
