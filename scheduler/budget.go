package scheduler

import "sync"

// A Budget bounds how many backups there are: per hundred executions that are
// none so many, and a few at once. Its arithmetic is exact. Its methods may be
// called concurrently: the jobs of a requester share it.
type Budget struct {
	mu    sync.Mutex
	left  int // hundredths of a backup
	share int
	burst int // in hundredths
}

// Limits on backups.
const (
	hedgeShare = 12 // per hundred executions
	hedgeBurst = 8
)

// NewBudget gives a full budget: share backups per hundred executions, and burst
// at once. Over any stretch of n executions there are at most
// share·n/100 + burst backups.
func NewBudget(share, burst int) *Budget {
	return &Budget{left: 100 * burst, share: share, burst: 100 * burst}
}

// HedgeBudget gives the budget that goes with [Hedging].
func HedgeBudget() *Budget { return NewBudget(hedgeShare, hedgeBurst) }

// Count notes an execution that is no backup.
func (b *Budget) Count() { b.fill(b.share) }

// Uncount takes back a count: the execution was refused.
func (b *Budget) Uncount() { b.fill(-b.share) }

// Return gives back what a backup took that never was.
func (b *Budget) Return() { b.fill(100) }

func (b *Budget) fill(by int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.left = min(b.left+by, b.burst)
}

// Take takes one backup, if there is one left.
func (b *Budget) Take() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.left < 100 {
		return false
	}
	b.left -= 100
	return true
}
