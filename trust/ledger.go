package trust

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/mustermesh/muster/proto"
)

// A KV keeps the ledger's records; all its keys begin with "t/". Methods may be
// called concurrently.
type KV interface {
	// Get gives the value of key, and whether there is one.
	Get(key []byte) (value []byte, found bool, err error)
	// Scan calls fn for every key with the prefix. An error of fn ends it and is
	// returned. fn may keep key and value.
	Scan(prefix []byte, fn func(key, value []byte) error) error
	// Commit applies all writes, in order, or none. When durable, it returns
	// after a crash of the machine can no longer lose them. There are at most
	// MaxWrites of them with at most MaxWriteBytes in keys and values.
	Commit(ctx context.Context, writes []Write, durable bool) error
}

// Limits of one Commit of a [KV].
const (
	MaxWrites     = 2048
	MaxWriteBytes = 768 << 10
)

// A Write sets Key to Value; a nil Value removes Key.
type Write struct{ Key, Value []byte }

// A Config bounds what a [Ledger] keeps.
type Config struct {
	MaxPeers    int           // with a standing, in memory and on disk; at least 16. About 400 bytes of memory each
	KeepPerPeer int           // newest pieces of evidence per peer, besides proofs; at least 8
	KeepFor     time.Duration // then evidence goes, and a peer silent for so long is a newcomer again; at least an hour
}

// Validate says what is wrong with c.
func (c Config) Validate() error {
	switch {
	case c.MaxPeers < 16:
		return fmt.Errorf("trust: at most %d peers; it must be at least 16", c.MaxPeers)
	case c.KeepPerPeer < 8:
		return fmt.Errorf("trust: %d pieces of evidence per peer; it must be at least 8", c.KeepPerPeer)
	case c.KeepFor < time.Hour:
		return fmt.Errorf("trust: evidence is kept for %s; it must be at least an hour", c.KeepFor)
	}
	return nil
}

// A Ledger holds the evidence of this node and what follows from it. All methods
// are safe for concurrent use; those that do not write never wait for the disk,
// Evidence excepted.
type Ledger struct {
	kv  KV
	cfg Config

	recording sync.Mutex // serialises writers, and guards swept
	swept     time.Time  // when old evidence was last looked for

	mu    sync.RWMutex // guards peers; written by the holder of recording alone
	peers map[proto.PeerID]entry
}

// An entry is what memory holds about a peer; on disk it is the record under its
// summary key.
type entry struct {
	belief
	kept   int       // pieces of evidence on disk that may be pruned
	oldest time.Time // no such piece is older
}

// Open reads every peer's standing. It fails with errors that wrap [ErrNewer] or
// [ErrDamaged] when there is one that it cannot read: left out, a proven liar
// would be believed again. There is nothing to close.
func Open(kv KV, cfg Config) (*Ledger, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	l := &Ledger{kv: kv, cfg: cfg, peers: map[proto.PeerID]entry{}}
	err := kv.Scan([]byte(prefixStanding), func(key, value []byte) error {
		peer, err := parsePeerKey(prefixStanding, key)
		if err != nil {
			return err
		}
		if l.peers[peer], err = decodeEntry(value); err != nil {
			return fmt.Errorf("standing of %s: %w", peer, err)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("open trust ledger: %w", err)
	}
	return l, nil
}

// Standing gives what is known of a peer at now; of a stranger, a newcomer's.
func (l *Ledger) Standing(now time.Time, peer proto.PeerID) Standing {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.standing(now, peer, l.peers[peer])
}

// standing treats a peer that was silent for KeepFor as new, whether or not its
// record has been swept yet: a restart must not change a decision.
func (l *Ledger) standing(now time.Time, peer proto.PeerID, e entry) Standing {
	if e.silent(now, l.cfg.KeepFor) {
		e.belief = belief{}
	}
	return e.belief.standing(now, peer)
}

// Weight is [Weight] of the peer's standing at now.
func (l *Ledger) Weight(now time.Time, peer proto.PeerID) float64 {
	return Weight(l.Standing(now, peer))
}

// Distrusted tells whether a lie of the peer was proven.
func (l *Ledger) Distrusted(peer proto.PeerID) bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.peers[peer].lies > 0
}

// AlwaysCheck tells whether the peer's next answer must be checked whatever its
// standing, because it left an execution without an answer.
func (l *Ledger) AlwaysCheck(now time.Time, peer proto.PeerID) bool {
	return l.Standing(now, peer).Debt > 0
}

// List gives the standing of every peer that is no newcomer, the greatest N
// first, the distrusted last.
func (l *Ledger) List(now time.Time) []Standing {
	l.mu.RLock()
	list := make([]Standing, 0, len(l.peers))
	for peer, e := range l.peers {
		if s := l.standing(now, peer, e); !s.LastSeen.IsZero() {
			list = append(list, s)
		}
	}
	l.mu.RUnlock()
	slices.SortFunc(list, byStanding)
	return list
}

func byStanding(a, b Standing) int {
	switch {
	case a.Distrusted() != b.Distrusted():
		if a.Distrusted() {
			return 1
		}
		return -1
	case a.N != b.N:
		if a.N > b.N {
			return -1
		}
		return 1
	}
	return byPeerID(a.Peer, b.Peer)
}

// Evidence gives what is recorded about a peer, newest first, at most limit
// pieces (0: all). A record that cannot be read is left out; the error then
// wraps [ErrNewer] or [ErrDamaged] and the rest is given all the same.
func (l *Ledger) Evidence(peer proto.PeerID, limit int) ([]Evidence, error) {
	var list []Evidence
	var unread error
	read := func(_, value []byte) error {
		e, err := decodeEvidence(peer, value)
		if err != nil {
			if unread == nil {
				unread = fmt.Errorf("evidence about %s: %w", peer, err)
			}
			return nil
		}
		list = append(list, e)
		return nil
	}
	for _, prefix := range []string{prefixProof, prefixEvidence} {
		if err := l.kv.Scan(peerKey(prefix, peer), read); err != nil {
			return nil, fmt.Errorf("evidence about %s: %w", peer, err)
		}
	}
	slices.SortFunc(list, byTime)
	slices.Reverse(list)
	if limit > 0 && len(list) > limit {
		list = list[:limit]
	}
	return list, unread
}

func byPeerID(a, b proto.PeerID) int { return bytes.Compare(a[:], b[:]) }
