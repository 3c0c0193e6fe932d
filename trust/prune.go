package trust

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/mustermesh/muster/proto"
)

const (
	sweepEvery = time.Hour // between two looks at every peer's oldest evidence
	sweepPeers = 256       // that one Record cleans up after at most
)

// slack is how much more evidence than KeepPerPeer a peer may gather before its
// oldest goes: reading it all for each new piece would cost too much.
func (l *Ledger) slack() int { return max(1, l.cfg.KeepPerPeer/8) }

// A piece is what pruning needs to know of one piece of evidence.
type piece struct {
	key  []byte
	time time.Time
}

// prune removes what is too old, or more than KeepPerPeer, of each peer. What
// cannot be read is left alone. The caller holds recording.
func (l *Ledger) prune(ctx context.Context, now time.Time, peers []proto.PeerID) error {
	for _, peer := range peers {
		pieces, err := l.pieces(peer)
		if err != nil {
			return err
		}
		slices.SortFunc(pieces, func(a, b piece) int { return b.time.Compare(a.time) }) // newest first
		keep := pieces[:min(len(pieces), l.cfg.KeepPerPeer)]
		for len(keep) > 0 && now.Sub(keep[len(keep)-1].time) > l.cfg.KeepFor {
			keep = keep[:len(keep)-1]
		}
		if err := l.drop(ctx, pieces[len(keep):]); err != nil {
			return err
		}
		c := l.begin(now)
		e := c.entry(peer)
		e.kept, e.oldest = len(keep), time.Time{}
		if len(keep) > 0 {
			e.oldest = keep[len(keep)-1].time
		}
		c.entries[peer] = e
		if err := c.commit(ctx); err != nil {
			return err
		}
	}
	return nil
}

// pieces gives the prunable evidence about a peer.
func (l *Ledger) pieces(peer proto.PeerID) (list []piece, err error) {
	err = l.kv.Scan(peerKey(prefixEvidence, peer), func(key, value []byte) error {
		if e, err := decodeEvidence(peer, value); err == nil {
			list = append(list, piece{key, e.Time})
		}
		return nil
	})
	return list, err
}

func (l *Ledger) drop(ctx context.Context, pieces []piece) error {
	for chunk := range slices.Chunk(pieces, MaxWrites) {
		writes := make([]Write, len(chunk))
		for i, p := range chunk {
			writes[i].Key = p.key
		}
		if err := l.kv.Commit(ctx, writes, false); err != nil {
			return err
		}
	}
	return nil
}

// tidy removes evidence and peers whose time is over, a bounded number at a
// time, and then peers beyond MaxPeers. The caller holds recording.
func (l *Ledger) tidy(ctx context.Context, now time.Time) error {
	if age := now.Sub(l.swept); age >= sweepEvery || age < 0 {
		stale, silent := l.overdue(now)
		if err := errors.Join(l.prune(ctx, now, stale), l.forget(ctx, silent)); err != nil {
			return err
		}
		if len(stale)+len(silent) < sweepPeers {
			l.swept = now
		}
	}
	return l.forget(ctx, l.surplus(now))
}

// overdue gives peers with evidence older than KeepFor, and peers of whom
// nothing younger is known, together at most sweepPeers.
func (l *Ledger) overdue(now time.Time) (stale, silent []proto.PeerID) {
	for peer, e := range l.peers {
		switch {
		case len(stale)+len(silent) == sweepPeers:
			return stale, silent
		case e.silent(now, l.cfg.KeepFor):
			silent = append(silent, peer)
		case e.kept > 0 && now.Sub(e.oldest) > l.cfg.KeepFor:
			stale = append(stale, peer)
		}
	}
	return stale, silent
}

// surplus gives the peers to forget when there are more than MaxPeers, and a few
// more so that it happens seldom: the honest before proven liars, then those
// with the least standing, then the longest unseen. A flood of newcomers thus
// pushes out newcomers.
func (l *Ledger) surplus(now time.Time) []proto.PeerID {
	if len(l.peers) <= l.cfg.MaxPeers {
		return nil
	}
	all := make([]Standing, 0, len(l.peers))
	for peer, e := range l.peers {
		all = append(all, l.standing(now, peer, e))
	}
	slices.SortFunc(all, func(a, b Standing) int {
		return cmp.Or(cmp.Compare(a.Lies, b.Lies), cmp.Compare(a.N, b.N), a.LastSeen.Compare(b.LastSeen), byPeerID(a.Peer, b.Peer))
	})
	out := all[:len(all)-l.cfg.MaxPeers+l.cfg.MaxPeers/64]
	peers := make([]proto.PeerID, len(out))
	for i, s := range out {
		peers[i] = s.Peer
	}
	return peers
}

// forget removes peers and their evidence, proofs excepted.
func (l *Ledger) forget(ctx context.Context, peers []proto.PeerID) error {
	for _, peer := range peers {
		pieces, err := l.pieces(peer)
		if err != nil {
			return err
		}
		if err := l.drop(ctx, append(pieces, piece{key: peerKey(prefixStanding, peer)})); err != nil {
			return err
		}
		l.mu.Lock()
		delete(l.peers, peer)
		l.mu.Unlock()
	}
	return nil
}
