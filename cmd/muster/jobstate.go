package main

import (
	"slices"

	"github.com/mustermesh/muster/node/api"
)

// The states of a job: those in which it goes on, and those in which it stays.
var (
	openStates = []string{"pending", "bidding", "running"}
	endStates  = []string{"completed", "failed", "disputed", "cancelled", "expired"}
)

// ended tells whether nothing more happens to a job in this state.
func ended(state string) bool {
	return slices.Contains(endStates, state)
}

// settled counts the tasks that nothing more happens to. A task whose program
// failed, which others confirmed, counts as failed and as verified.
func settled(j *api.JobSummary) uint32 {
	return min(max(j.Accepted+j.Verified+j.Disputed, j.Failed), j.Tasks)
}

// stateStyle is how a job's state looks.
func stateStyle(state string) style {
	switch state {
	case "completed":
		return good
	case "failed", "disputed", "expired":
		return bad
	case "pending", "bidding", "cancelled":
		return warn
	}
	return bold
}

// fraction is how much of a job is done, 0 to 1: by its settled tasks, or by the
// word of the guests where that is more.
func fraction(j *api.JobSummary) float64 {
	if j.Tasks == 0 {
		return 0
	}
	return min(max(float64(settled(j))/float64(j.Tasks), j.Progress), 1)
}
