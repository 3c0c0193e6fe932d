// Package scheduler decides which peer runs which task, and when to try again.
//
// It answers, for a requester: is the bidding over, who gets a lease, which
// execution goes where, when is a task settled, when must the requester run a
// task itself, and why does nothing move ([Job]); and for a provider: is this
// announcement worth a bid, is this award still possible, whose task runs next
// ([Offer], [Book]).
//
// Everything here is pure: events and the time go in, actions come out, and
// randomness is handed in. No clock, network, disk or goroutine inside; node
// drives the real thing and a simulation drives the same code. What a peer is
// believed is trust's affair, and comes in as a number.
package scheduler
