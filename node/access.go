package node

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/mustermesh/muster/internal/content"
	"github.com/mustermesh/muster/proto"
)

// letGo releases the pins of an earlier run that nobody is left to release: of
// imports, and of executions. What a provider keeps for others stays until they
// come for it or its time is over.
func (n *node) letGo(ctx context.Context) error {
	pins, err := n.content.Pins()
	if err != nil {
		return fmt.Errorf("pins: %w", err)
	}
	for _, p := range pins {
		kind, _, _ := strings.Cut(p.Tag, ":")
		switch {
		case kind == "result" && n.provider != nil && n.provider.Keeps(p.Tag):
		case kind == "import" || kind == "result":
			if err := n.content.Release(ctx, p.Tag); err != nil {
				return fmt.Errorf("unpin %s: %w", p.Tag, err)
			}
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
