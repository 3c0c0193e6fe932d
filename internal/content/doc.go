// Package content answers what bytes a content id stands for: it keeps blocks
// on disk, turns files and directories into graphs of blocks and back, and
// knows which of them are still needed. It is the one door to boxo.
//
// Ids follow the profile unixfs-v1-2025 of IPIP-499, so that any IPFS tool
// computes the same ones. Boxo encodes and decodes single blocks and lays files
// out; its process globals are not used, with one exception that nobody sets:
// merkledag.DefaultPBNodeFieldOrder, whose zero value is the profile's order.
// Walking a graph is done here, because the graph may come from a stranger:
// everything read is checked against its id and bounded.
//
// Who may have which content is decided elsewhere; this package only remembers
// the class it was given. Moving blocks between nodes is p2p's.
package content
