package simnet

import (
	"fmt"
	"hash/fnv"
	"strings"
	"time"
)

// traceLines is how many events a report shows.
const traceLines = 60

// A trace keeps what happened last, and a sum of everything that happened.
type trace struct {
	ring [traceLines]line
	n    int
	sum  uint64
}

type line struct {
	at   time.Duration
	node string
	what string
	args []any
}

func (t *trace) add(at time.Duration, node, what string, args []any) {
	t.ring[t.n%traceLines] = line{at, node, what, args}
	t.n++
	h := fnv.New64a()
	fmt.Fprint(h, t.sum, int64(at), node, what, len(args))
	t.sum = h.Sum64()
}

// String gives the last lines, oldest first.
func (t *trace) String() string {
	var b strings.Builder
	for i := max(0, t.n-traceLines); i < t.n; i++ {
		l := t.ring[i%traceLines]
		fmt.Fprintf(&b, "%12s %-4s %s\n", l.at.Round(time.Microsecond), l.node, fmt.Sprintf(l.what, l.args...))
	}
	return b.String()
}
