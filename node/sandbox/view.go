package sandbox

import (
	"context"
	"crypto/sha256"
	"fmt"
	"strings"
	"sync"

	"github.com/mustermesh/muster/internal/content"
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
func (b *Box) mayRead(owner proto.PeerID, root proto.CID) bool {
	key := keyOf(shownRoot, owner, root)
	if owner == b.self || b.shown.has(key) {
		return true
	}
	r, err := b.content.Stat(root)
	if err != nil {
		return false
	}
	for _, u := range r.Uses {
		_, rest, _ := strings.Cut(u.Tag, ":")
		if of, _, _ := strings.Cut(rest, ":"); u.Class == content.Public || of == owner.String() {
			b.shown.add(key)
			return true
		}
	}
	return false
}

// A View is the content store as a fetch on behalf of one requester sees it: of
// what is here, only what that requester has shown.
type View struct {
	Blocks
	by    proto.PeerID
	shown *shown

	mu  sync.Mutex // guards now
	now map[proto.CID]struct{}
}

func (v *View) seen(id proto.CID) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	_, now := v.now[id]
	return now || v.shown.has(keyOf(shownBlock, v.by, id))
}

// Has tells whether a block is here and was shown.
func (v *View) Has(ctx context.Context, id proto.CID) (bool, error) {
	if !v.seen(id) {
		return false, nil
	}
	return v.Blocks.Has(ctx, id)
}

// Get gives a block that was shown.
func (v *View) Get(ctx context.Context, id proto.CID) ([]byte, error) {
	if !v.seen(id) {
		return nil, fmt.Errorf("block %s: %w", id, content.ErrNotFound)
	}
	return v.Blocks.Get(ctx, id)
}

// Put keeps a block, which was shown by that.
func (v *View) Put(ctx context.Context, id proto.CID, block []byte) error {
	if err := v.Blocks.Put(ctx, id, block); err != nil {
		return err
	}
	v.shown.add(keyOf(shownBlock, v.by, id))
	v.mu.Lock()
	defer v.mu.Unlock()
	v.now[id] = struct{}{}
	return nil
}

// fetchFor brings a root here that a task of owner needs.
func (b *Box) fetchFor(ctx context.Context, owner proto.PeerID, root proto.CID, from []proto.PeerID, most int64) error {
	v := &View{Blocks: Blocks{b.content}, by: owner, shown: &b.shown, now: make(map[proto.CID]struct{})}
	if err := b.fetch(ctx, v, root, from, most); err != nil {
		return err
	}
	b.shown.add(keyOf(shownRoot, owner, root))
	return nil
}

// Blocks shows the content store to the network.
type Blocks struct{ *content.Store }

// Get gives a block to send or to walk; those of plain bytes are hashed at the
// other end, not here.
func (b Blocks) Get(ctx context.Context, id proto.CID) ([]byte, error) {
	if id.IsRaw() {
		return b.Peek(ctx, id)
	}
	return b.Store.Get(ctx, id)
}

// Put keeps a block that the transfer has verified.
func (b Blocks) Put(ctx context.Context, id proto.CID, block []byte) error {
	return b.Keep(ctx, id, block)
}

// Links gives what a block links to.
func (b Blocks) Links(id proto.CID, block []byte) ([]proto.CID, error) {
	return content.Links(id, block)
}
