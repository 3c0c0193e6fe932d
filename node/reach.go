package node

import (
	"context"

	"github.com/mustermesh/muster/proto"
)

// connected tells whether there is a connection with a peer.
func (c *common) connected(id proto.PeerID) bool { return c.net.Connected(id) }

// reach makes sure that there is a connection with a peer, at the addresses that
// it stated or those that the DHT knows.
func (c *common) reach(ctx context.Context, id proto.PeerID, addrs []string) error {
	if c.connected(id) {
		return nil
	}
	return c.net.ConnectPeer(ctx, id, addrs)
}
