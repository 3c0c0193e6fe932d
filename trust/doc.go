// Package trust answers: how far do I believe each peer, and why.
//
// It owns the evidence and its rules: how many checkers a wanted confidence takes
// ([Checkers]), what each piece of evidence does to a peer's standing
// ([Standing], [Weight]), and the record of it all on disk ([Ledger]).
// Everything is what this node saw itself; nobody's word about anybody is taken.
//
// It leaves to scheduler whom to ask, when, and what a set of answers shows; to
// executor the re-execution; to node the database behind [KV]. It has no clock
// (the caller says what time it is), no goroutine and no network.
// docs/trust.md explains the rules and where they come from.
package trust
