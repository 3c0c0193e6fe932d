// Package livelog answers one question: what has this execution printed so far?
// It is what a requester keeps of the output of guests while they run.
//
// It owns a bounded spool: of each stream the last bytes that came, in memory
// while they are few and in a file beyond that, with an honest count of what is
// missing. Offsets are a stranger's word: they may repeat, overlap, jump or go
// back, and cost nothing but that stranger's own log.
//
// It leaves to others which executions are listened to, whether a peer may send
// (package node), and the output that counts, which comes with the answer. A
// spool does not outlive the process.
package livelog
