// Package node puts a muster node together: it opens identity, database,
// content store, sandbox and network in order, runs them, and closes them in
// reverse ([Run] is the map of the program). It owns the configuration and its
// defaults, the accounts of peers, who may have which content, and the local
// control API that the command line speaks ([Dial]).
//
// What a node does lies below it: node/overlay takes part in the network,
// node/provider lends, node/requester has jobs done, node/sandbox runs tasks for
// both. Decisions are made in scheduler and trust, bytes are moved by p2p, kept by
// internal/store and internal/content, and programs run in executor.
package node
