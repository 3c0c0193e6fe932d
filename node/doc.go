// Package node puts a muster node together: it opens identity, database,
// content store, sandbox and network in order, runs them, and closes them in
// reverse ([Run] is the map of the program). It owns the configuration and its
// defaults, the two drivers that carry out what package scheduler decides
// (requester and provider), the records of jobs, and the local control API that
// the command line speaks ([Dial]).
//
// Decisions are made in scheduler and trust, bytes are moved by p2p, kept by
// internal/store and internal/content, and programs run in executor; node
// is the only package that sees them all.
package node
