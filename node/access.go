package node

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/mustermesh/muster/internal/content"
	"github.com/mustermesh/muster/proto"
)

// Tags under which content is recorded say whose it is, so that access can be
// decided after a restart as before it.

func jobTag(requester proto.PeerID, job proto.JobID) string {
	return "job:" + requester.String() + ":" + job.String()
}

func resultTag(requester proto.PeerID, e proto.ExecutionID) string {
	return "result:" + requester.String() + ":" + e.String()
}

// letGo releases the pins of an earlier run that nobody is left to release: of
// imports, and of executions. What a provider keeps for others stays for the
// longest grace that it may have promised.
func (n *node) letGo(ctx context.Context) error {
	pins, err := n.content.Pins()
	if err != nil {
		return fmt.Errorf("pins: %w", err)
	}
	for _, p := range pins {
		kind, rest, _ := strings.Cut(p.Tag, ":")
		owner, _, _ := strings.Cut(rest, ":")
		switch {
		case kind == "import" || kind == "result" && owner == n.self.String():
			if err := n.content.Release(ctx, p.Tag); err != nil {
				return fmt.Errorf("unpin %s: %w", p.Tag, err)
			}
		case kind == "result" && n.provider != nil:
			n.provider.expired = append(n.provider.expired, retained{p.Tag, n.now().Add(maxGrace)})
		}
	}
	return nil
}

// An access decides which peer may have which content. docs/architecture.md
// §5: public content goes to everybody; a job's content to those who hold one
// of its leases, or a grant of its requester; a result to the requester of the
// execution alone.
type access struct {
	self    proto.PeerID
	network string
	content *content.Store
	leased  func(job string, peer proto.PeerID) bool // does peer hold a lease of this job of ours?
	now     func() time.Time
}

// Allow tells whether asker may have what is under root. It never tells why
// not.
func (a *access) Allow(asker proto.PeerID, root proto.CID, grant []byte) bool {
	r, err := a.content.Stat(root)
	if err != nil {
		return false
	}
	for _, u := range r.Uses {
		if a.allows(u, asker, root, grant) {
			return true
		}
	}
	return false
}

func (a *access) allows(u content.Use, asker proto.PeerID, root proto.CID, grant []byte) bool {
	_, rest, _ := strings.Cut(u.Tag, ":")
	owner, id, _ := strings.Cut(rest, ":")
	switch u.Class {
	case content.Public:
		return true
	case content.Job:
		return owner == a.self.String() && a.leased(id, asker) || a.granted(owner, id, asker, root, grant)
	case content.Result:
		return owner == asker.String()
	}
	return false
}

// granted tells whether grant is the owner's word that asker may have root for
// this job now.
func (a *access) granted(owner, job string, asker proto.PeerID, root proto.CID, grant []byte) bool {
	if len(grant) == 0 {
		return false
	}
	env, err := proto.OpenEnvelope(grant, proto.Expect{Network: a.network, Purpose: proto.PurposeGrant, Addressee: asker, Now: a.now()})
	if err != nil || env.Signer.String() != owner || env.Addressee != asker {
		return false
	}
	g, err := proto.ParseGrant(env.Body)
	return err == nil && g.Root == root && g.Job.String() == job
}

// blocks shows the content store to the network.
type blocks struct{ *content.Store }

// Get gives a block to send or to walk; those of plain bytes are hashed at the
// other end, not here.
func (b blocks) Get(ctx context.Context, id proto.CID) ([]byte, error) {
	if id.IsRaw() {
		return b.Peek(ctx, id)
	}
	return b.Store.Get(ctx, id)
}

// Put keeps a block that the transfer has verified.
func (b blocks) Put(ctx context.Context, id proto.CID, block []byte) error {
	return b.Keep(ctx, id, block)
}

// Links gives what a block links to.
func (b blocks) Links(id proto.CID, block []byte) ([]proto.CID, error) {
	return content.Links(id, block)
}
