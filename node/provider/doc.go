// Package provider lends this machine: it answers announcements with bids, takes
// leases, runs their tasks and answers them.
//
// It owns this node's ends of the leases that it granted, and the outputs that it
// keeps for others until their grace is over. It leaves what to accept and what to
// run next to scheduler.Book, executions to package sandbox, what peers owe to its
// [Accounts], and what is lent to its caller.
package provider
