// Package p2p talks to peers. It answers: who is there, how do I reach them,
// what did they say, and where do the bytes under this content id come from.
//
// It owns connections and their limits, length-delimited message streams,
// gossip, discovery (DHT, mDNS, bootstrap and saved peers), the block list of
// the connection gate, and content transfer. It is the one door to libp2p:
// nobody else sees a type of that library.
//
// It leaves to others what a message means (proto reads it, scheduler and trust
// judge it), which content somebody may have (an [Access] says), where blocks
// rest (a [Blocks] keeps them), and what is remembered over a restart: node
// stores [Host.Known] and [Host.Blocked] and hands them back in [Config].
//
// Every protocol id, topic, DHT prefix and mDNS name carries the network's name,
// and a peer of another network is disconnected once identified.
//
// # Streams
//
// A message is a uvarint length and that many bytes. A protocol id is
// /muster/<network>/<service>/<version>. Each service has a greatest message
// size, checked before the message is read; a deadline for every message, on
// both ends, that dripping bytes do not extend; and a number of streams per peer
// and in all, over which new streams are reset.
//
// # Content transfer: /muster/<network>/content/1.0.0
//
// The client opens a stream and sends one ContentRequest {root, grant, mode,
// first, count}, at most 17 KiB. The blocks of the graph under root are put in
// order by a depth-first walk from root that visits links in their order and
// every distinct block once. The mode takes all of them (ALL), those that hold
// links (NODES: codec dag-pb), or those that hold bytes alone (LEAVES: codec
// raw); what it takes is numbered from 0 in the order of the walk, and the
// server sends the blocks [first, first+count) of it, or, if count is 0, all
// from first on. Each is one ContentFrame {cid, block}; a block has at most
// 2 MiB. The last frame holds an end instead: DONE (nothing is left in this
// mode), MORE (count was reached and there is more), NOT_FOUND (the root is not
// here, or the asker may not have it: the two look alike), INCOMPLETE (a block
// further down is not here), BUSY (ask later). Then the server closes.
//
// The client knows the order too, so it accepts one block only at any moment:
// the next of the walk. It verifies the block against its id, then stores it. A
// wrong block, a block out of turn, one over the size, or one past the end is
// misbehaviour: the client resets the stream and asks somebody else. Each end
// gives the other 30 s for each block.
//
// A client that knows nothing asks ALL, with a count when it has several sources
// to spread large content over; then NODES from the first block that it lacks;
// and then ranges of LEAVES, from several sources at once. What it holds already
// it does not ask for again.
package p2p
