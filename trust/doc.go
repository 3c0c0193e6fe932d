// Package trust answers: how far do I believe each peer, and why.
//
// It owns the rules and the evidence: how many checkers a wanted confidence
// takes ([Checkers]), what a set of answers to one task means ([Judge]), who is
// proven wrong once the requester ran the task itself ([Settle]), what each
// piece of evidence does to a peer's standing ([Standing], [Weight]), and the
// record of it all on disk ([Ledger]). Everything is what this node saw itself;
// nobody's word about anybody is taken.
//
// It leaves to scheduler whom to ask, when, and what to do with a verdict; to
// executor the re-execution; to node the database behind [KV]. It has no clock
// (the caller says what time it is), no goroutine and no network.
// docs/trust.md explains the rules and where they come from.
package trust
