// Package proto holds muster's nouns as plain Go values, valid by
// construction, and the bytes that they travel and rest as.
//
// It answers: what may a message say, and which bytes say it. A Parse function
// takes a stranger's bytes, checks every length and range once, and hands back
// a value that the rest of the program need not check again; the matching
// Marshal method gives the bytes back. Signatures always cover the exact bytes
// that were sent (see [Envelope]), never a value marshalled again.
//
// It leaves I/O to p2p, meaning to scheduler and trust, and it imports nothing
// of ours: protobuf and the standard library only. The generated messages in
// proto/wire are seen by this package alone. docs/wire.md is the standard that
// it implements.
package proto
