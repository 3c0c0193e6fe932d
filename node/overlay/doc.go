// Package overlay answers who this node is in its network, and whom and what it has
// heard of.
//
// It owns what all of a node's parts share in the network ([Local]: identity,
// signatures, workers), gossip and greetings ([Overlay]), the adverts and
// announcements that are known ([Directory]), and what both ends of a lease stream
// do alike. It leaves connections to package p2p, the answer to an announcement to
// whoever lends ([Considerer]), and how many providers are enough to whoever asks
// ([Seeker]).
package overlay
