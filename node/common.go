package node

import (
	"crypto/ed25519"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/mustermesh/muster/p2p"
	"github.com/mustermesh/muster/proto"
)

// common is what the drivers share.
type common struct {
	self      proto.PeerID
	key       ed25519.PrivateKey
	network   string
	net       *p2p.Host
	log       *slog.Logger
	now       func() time.Time
	directory *directory
	pingers   *crew

	signed, checked atomic.Uint64 // signatures made, and checked
}

// sign seals one body for one addressee; zero: everybody.
func (c *common) sign(p proto.Purpose, to proto.PeerID, life time.Duration, body []byte) []byte {
	now := c.now()
	c.signed.Add(1)
	return proto.Seal(c.key, proto.Statement{Network: c.network, Purpose: p, Issued: now, Expires: now.Add(life), Addressee: to, Body: body})
}

// open checks an envelope that says it is for us, or for everybody.
func (c *common) open(b []byte, p proto.Purpose) (proto.Envelope, error) {
	c.checked.Add(1)
	return proto.OpenEnvelope(b, proto.Expect{Network: c.network, Purpose: p, Addressee: c.self, Now: c.now()})
}
