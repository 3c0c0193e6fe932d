// Package simnet puts a whole mesh into one test: the real scheduler of one
// requester and of its providers, over links that lose, delay and break, on
// disks that fill up, on machines that crash, with clocks that disagree.
//
// It answers: whatever fails and wherever a node stops, is every task of a job
// settled once and rightly, is nothing lost that was promised, and is nothing
// left over? Time is virtual, one seed decides everything, and there is no
// goroutine: one seed gives one run. The drivers ([requester], [provider]) do
// what package node does around the scheduler, in the same order; they are
// written again here, small, because every write must be a place to crash at.
// What the scheduler decides is its own affair; how node talks to a real network
// is tested in p2p and e2e.
package simnet
