// Package requester has this node's jobs done: it turns a job as its user wrote it
// into a signed specification, keeps its record on disk, and runs one loop for each
// job that is open.
//
// It owns the jobs and their records, this node's ends of the leases that it
// awarded, and how a job is told to a command. It leaves every decision about a job
// to scheduler.Job, whom to believe to package trust, own runs to package sandbox,
// what this node owes to its [Accounts], and access to content to its caller, which
// it tells who holds a lease.
package requester
