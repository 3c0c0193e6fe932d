package p2p

import (
	"github.com/mustermesh/muster/proto"

	"github.com/libp2p/go-libp2p/core/peer"
)

// toPeer gives the library's form of a peer id.
func toPeer(p proto.PeerID) peer.ID { return peer.ID(p.Multihash()) }

// fromPeer gives our form; it refuses peers whose key is not Ed25519.
func fromPeer(p peer.ID) (proto.PeerID, error) { return proto.PeerIDFromBytes([]byte(p)) }
