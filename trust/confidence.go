package trust

// Confidence in a result is counted in parts per million (ppm).
const (
	// Certain is what the requester's own re-execution gives, and no number of
	// checkers.
	Certain uint32 = 1_000_000
	// MaxCheckers is the most checkers that one task gets.
	MaxCheckers = 5
	// Collusion is the share of possible checkers, as one in so many, that are
	// assumed to side with a liar: 1 in 4. docs/trust.md §2.
	Collusion = 4
)

// Checkers gives how many independent checkers a result needs so that a lie
// escapes with a probability of at most 1 - confidence (ppm): the least m with
// 0.25^m ≤ 1 - confidence, and at most [MaxCheckers]. More than
// Reached(MaxCheckers) takes the requester's own re-execution.
func Checkers(confidence uint32) int {
	risk := Certain - min(confidence, Certain)
	m := 0
	for m < MaxCheckers && uint64(risk)*odds(m) < uint64(Certain) { // exact, unlike logarithms
		m++
	}
	return m
}

// Reached gives the confidence (ppm, rounded down) that so many independent
// checkers give when all of them agree: 1 - 0.25^checkers. It never gives
// [Certain]: report that for a task that the requester itself re-executed.
func Reached(checkers int) uint32 {
	n := odds(checkers)
	return Certain - uint32((uint64(Certain)+n-1)/n)
}

// odds gives Collusion^m: a lie escapes m checkers once in so many times. Beyond
// 20 checkers it grows no more.
func odds(m int) uint64 {
	n := uint64(1)
	for range min(m, 20) {
		n *= Collusion
	}
	return n
}
