package trust

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/mustermesh/muster/proto"
)

// maxProofs is how many proven lies of one peer are kept for ever; the first
// ends its career, so the rest are those that were under way.
const maxProofs = 16

// Record takes note of what was seen, in order of time, and returns once it is
// written: safe from a crash of the machine where a lie is among it, else from a
// crash of the process. Malformed evidence ([ErrEvidence]) refuses the whole
// call. After any other error part of it may be recorded; recording it again
// counts nothing twice, as one kind of one execution is recorded once.
func (l *Ledger) Record(ctx context.Context, now time.Time, evidence []Evidence) error {
	list := make([]Evidence, len(evidence))
	for i, e := range evidence {
		var err error
		if list[i], err = e.cleaned(now); err != nil {
			return err
		}
	}
	slices.SortFunc(list, byTime)

	l.recording.Lock()
	defer l.recording.Unlock()
	for len(list) > 0 {
		c := l.begin(now)
		for len(list) > 0 && c.room(list[0]) {
			if err := c.add(list[0]); err != nil {
				return fmt.Errorf("record evidence: %w", err)
			}
			list = list[1:]
		}
		if err := c.commit(ctx); err != nil {
			return fmt.Errorf("record evidence: %w", err)
		}
		if err := l.prune(ctx, now, c.crowded()); err != nil {
			return fmt.Errorf("prune evidence: %w", err)
		}
	}
	if err := l.tidy(ctx, now); err != nil {
		return fmt.Errorf("prune evidence: %w", err)
	}
	return nil
}

// byTime orders evidence, oldest first; ties in a fixed way.
func byTime(a, b Evidence) int {
	return cmp.Or(a.Time.Compare(b.Time), bytes.Compare(a.Execution[:], b.Execution[:]),
		cmp.Compare(a.Kind, b.Kind), byPeerID(a.Peer, b.Peer))
}

// A change is one commit in the making: entries are changed in a copy and
// published only once they are on disk. The caller holds recording.
type change struct {
	l       *Ledger
	now     time.Time
	writes  []Write
	bytes   int
	durable bool
	entries map[proto.PeerID]entry
	keys    map[string]bool // of the evidence in writes
}

func (l *Ledger) begin(now time.Time) *change {
	return &change{l: l, now: now, entries: map[proto.PeerID]entry{}, keys: map[string]bool{}}
}

// recordRoom is more than a piece of evidence without its answer and the summary
// of its peer take, keys included.
const recordRoom = 1 << 10

func (c *change) room(e Evidence) bool {
	return len(c.writes)+len(c.entries)+2 <= MaxWrites &&
		c.bytes+recordRoom*(len(c.entries)+2)+len(e.Answer) <= MaxWriteBytes
}

func (c *change) write(key, value []byte) {
	c.writes = append(c.writes, Write{key, value})
	c.bytes += len(key) + len(value)
}

func (c *change) entry(peer proto.PeerID) entry {
	if e, ok := c.entries[peer]; ok {
		return e
	}
	return c.l.peers[peer] // recording is held, so nobody writes it
}

// add notes one piece of cleaned evidence, unless it is known.
func (c *change) add(e Evidence) error {
	known, err := c.known(e)
	if known || err != nil {
		return err
	}
	entry := c.entry(e.Peer)
	if entry.silent(c.now, c.l.cfg.KeepFor) {
		entry.belief = belief{}
	}
	prefix := prefixEvidence
	if e.Kind == WrongProven {
		c.durable = true
		if prefix = prefixProof; entry.lies >= maxProofs {
			prefix, e.Answer = prefixEvidence, nil
		}
	}
	if prefix == prefixEvidence {
		if entry.kept == 0 || e.Time.Before(entry.oldest) {
			entry.oldest = e.Time
		}
		entry.kept++
	}
	entry.belief = entry.apply(e)
	key := evidenceKey(prefix, e)
	c.write(key, encodeEvidence(e))
	c.keys[string(key)], c.entries[e.Peer] = true, entry
	return nil
}

// known tells whether e was recorded before.
func (c *change) known(e Evidence) (bool, error) {
	for _, prefix := range []string{prefixEvidence, prefixProof} {
		if prefix == prefixProof && e.Kind != WrongProven {
			continue
		}
		key := evidenceKey(prefix, e)
		if c.keys[string(key)] {
			return true, nil
		}
		if _, found, err := c.l.kv.Get(key); found || err != nil {
			return found, err
		}
	}
	return false, nil
}

// commit writes the change and makes it what readers see.
func (c *change) commit(ctx context.Context) error {
	for peer, e := range c.entries {
		c.write(peerKey(prefixStanding, peer), encodeEntry(e))
	}
	if len(c.writes) == 0 {
		return nil
	}
	if err := c.l.kv.Commit(ctx, c.writes, c.durable); err != nil {
		return err
	}
	c.l.mu.Lock()
	defer c.l.mu.Unlock()
	for peer, e := range c.entries {
		c.l.peers[peer] = e
	}
	return nil
}

// crowded gives the changed peers with so much evidence that pruning pays.
func (c *change) crowded() (peers []proto.PeerID) {
	for peer, e := range c.entries {
		if e.kept >= c.l.cfg.KeepPerPeer+c.l.slack() {
			peers = append(peers, peer)
		}
	}
	return peers
}
