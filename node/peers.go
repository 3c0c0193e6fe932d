package node

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/mustermesh/muster/internal/store"
)

// savedKey holds the addresses of peers that were met. docs/storage.md.
const savedKey = "p/known"

// savedPeers gives the addresses that earlier runs met peers at; what cannot be
// read counts as none.
func (n *node) savedPeers() (addrs []string) {
	b, err := n.db.Get([]byte(savedKey))
	if err != nil {
		return nil
	}
	if err := json.Unmarshal(b, &addrs); err != nil {
		n.Log.Warn("saved peers", "err", err)
		return nil
	}
	return addrs
}

// savePeers writes where peers were met. That the disk is full ends nothing: it is
// tried again.
func (n *node) savePeers(ctx context.Context) error {
	if n.Net == nil {
		return nil
	}
	known := n.Net.Known()
	if len(known) == 0 {
		return nil
	}
	v, err := json.Marshal(known)
	if err != nil {
		return err
	}
	var b store.Batch
	b.Put([]byte(savedKey), v)
	err = n.db.Commit(ctx, &b, store.Lazy)
	if errors.Is(err, store.ErrDiskFull) {
		n.Log.Error("the addresses of peers are not saved; tried again", "err", err)
		return nil
	}
	return err
}

// counters gives what happened since the start, for status and benchmarks; and how
// many leases are over whose providers have yet to hear it.
func (n *node) counters() map[string]uint64 {
	s := n.db.Stats()
	made, checked := n.Signatures()
	out := map[string]uint64{
		"store.commits": uint64(s.Commits), "store.syncs": uint64(s.Syncs),
		"signatures.made": made, "signatures.checked": checked,
	}
	if e, ok := n.exec.(interface{ Started() uint64 }); ok {
		out["sandbox.started"] = e.Started()
	}
	if n.Net == nil {
		return out
	}
	out["leases.parting"] = uint64(n.requester.Partings())
	stats := n.Net.Stats()
	out["net.bytes_in"], out["net.bytes_out"] = stats.BytesIn, stats.BytesOut
	out["net.misbehaved"] = stats.Misbehaved
	for name, p := range stats.Protocols {
		out["proto."+name+".messages_in"] = p.MessagesIn
		out["proto."+name+".messages_out"] = p.MessagesOut
		out["proto."+name+".streams_out"] = p.StreamsOut
		out["proto."+name+".streams_in"] = p.StreamsIn
		out["proto."+name+".dropped"] = p.Dropped
		out["proto."+name+".rejected"] = p.Rejected
	}
	return out
}
