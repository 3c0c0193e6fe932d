package node

import (
	"context"
	"crypto/sha256"
	"fmt"
	"strings"
	"sync"

	"github.com/mustermesh/muster/internal/content"
	"github.com/mustermesh/muster/p2p"
	"github.com/mustermesh/muster/proto"
)

// maxShown is how many blocks are remembered as shown, at least; twice as many
// at most. What is forgotten is fetched once more.
const maxShown = 1 << 16

// A shown remembers which requester has shown this node which content. An id is
// no secret, so it gives nobody a claim on the bytes: a requester's task may read
// what it brought here itself, and what is public, but not what lies here for
// others. Safe for concurrent use.
type shown struct {
	mu         sync.Mutex // guards all below
	young, old map[shownKey]struct{}
}

type shownKey [16]byte // of a hash

func keyOf(kind byte, by proto.PeerID, id proto.CID) shownKey {
	sum := sha256.Sum256(append(append([]byte{kind}, by[:]...), id.Bytes()...))
	return shownKey(sum[:16])
}

func (s *shown) has(k shownKey) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, young := s.young[k]
	_, old := s.old[k]
	return young || old
}

func (s *shown) add(k shownKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.young == nil || len(s.young) >= maxShown {
		s.young, s.old = make(map[shownKey]struct{}), s.young
	}
	s.young[k] = struct{}{}
}

// Kinds of keys.
const (
	shownBlock = 'b'
	shownRoot  = 'r' // with all that is below it
)

// mayRead tells whether a task of owner may read what lies here under root.
func (s *sandbox) mayRead(owner proto.PeerID, root proto.CID) bool {
	key := keyOf(shownRoot, owner, root)
	if owner == s.self || s.shown.has(key) {
		return true
	}
	r, err := s.content.Stat(root)
	if err != nil {
		return false
	}
	for _, u := range r.Uses {
		_, rest, _ := strings.Cut(u.Tag, ":")
		if of, _, _ := strings.Cut(rest, ":"); u.Class == content.Public || of == owner.String() {
			s.shown.add(key)
			return true
		}
	}
	return false
}

// view is the content store as a fetch on behalf of one requester sees it: of
// what is here, only what that requester has shown.
type view struct {
	blocks
	by    proto.PeerID
	shown *shown

	mu  sync.Mutex // guards now
	now map[proto.CID]struct{}
}

func (v *view) seen(id proto.CID) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	_, now := v.now[id]
	return now || v.shown.has(keyOf(shownBlock, v.by, id))
}

// Has tells whether a block is here and was shown.
func (v *view) Has(ctx context.Context, id proto.CID) (bool, error) {
	if !v.seen(id) {
		return false, nil
	}
	return v.blocks.Has(ctx, id)
}

// Get gives a block that was shown.
func (v *view) Get(ctx context.Context, id proto.CID) ([]byte, error) {
	if !v.seen(id) {
		return nil, fmt.Errorf("block %s: %w", id, content.ErrNotFound)
	}
	return v.blocks.Get(ctx, id)
}

// Put keeps a block, which was shown by that.
func (v *view) Put(ctx context.Context, id proto.CID, block []byte) error {
	if err := v.blocks.Put(ctx, id, block); err != nil {
		return err
	}
	v.shown.add(keyOf(shownBlock, v.by, id))
	v.mu.Lock()
	defer v.mu.Unlock()
	v.now[id] = struct{}{}
	return nil
}

// fetchFor brings a root here that a task of owner needs.
func (n *node) fetchFor(ctx context.Context, owner proto.PeerID, root proto.CID, from []proto.PeerID, most int64) error {
	if n.net == nil {
		return errOffline
	}
	v := &view{blocks: blocks{n.content}, by: owner, shown: &n.box.shown, now: make(map[proto.CID]struct{})}
	if err := n.net.Fetch(ctx, p2p.FetchRequest{Root: root, From: from, MaxBytes: most}, v); err != nil {
		return err
	}
	n.box.shown.add(keyOf(shownRoot, owner, root))
	return nil
}
