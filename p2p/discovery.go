package p2p

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/mustermesh/muster/proto"

	"github.com/ipfs/go-cid"
	dht "github.com/libp2p/go-libp2p-kad-dht"
	"github.com/libp2p/go-libp2p-kad-dht/records"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/multiformats/go-multihash"
)

const (
	// recordLife is how long a record in the DHT counts: one of the network's
	// constants, as each node that keeps records applies its own.
	recordLife  = 30 * time.Minute
	provideTime = time.Minute // for one record
	maxFind     = 64
)

// newDHT makes the node a server unless it finds out that it sits behind NAT,
// so that meshes on one machine or local network, where nobody ever finds out
// that it is public, have servers at all.
func (h *Host) newDHT() (*dht.IpfsDHT, error) {
	mode := dht.ModeAutoServer
	switch {
	case len(h.listen) == 0:
		mode = dht.ModeClient
	case allLoopback(h.listen) || h.cfg.RelayService:
		mode = dht.ModeServer
	}
	return dht.New(h.net,
		dht.ProtocolPrefix(protocol.ID(h.prefix[:len(h.prefix)-1])),
		dht.Mode(mode),
		dht.DisableValues(),
		dht.RoutingTableRefreshPeriod(2*time.Minute),
		dht.ProviderManagerOpts(records.ProvideValidity(recordLife), records.ProviderAddrTTL(recordLife)),
		dht.BootstrapPeersFunc(h.dhtSeeds),
	)
}

// dhtSeeds are the peers that refill an empty routing table.
func (h *Host) dhtSeeds() []peer.AddrInfo {
	var out []peer.AddrInfo
	for _, t := range h.dials.targets {
		out = append(out, t.info)
	}
	return out
}

// capabilityCID names a capability in the DHT.
func (h *Host) capabilityCID(key string) cid.Cid {
	sum := sha256.Sum256([]byte(h.prefix + "cap/" + key))
	return sumCID(sum)
}

// sumCID has the DHT look for a SHA-256; the codec does not matter to it.
func sumCID(sum [sha256.Size]byte) cid.Cid {
	mh, err := multihash.Encode(sum[:], multihash.SHA2_256)
	if err != nil {
		panic(err) // SHA-256 is known and has 32 bytes
	}
	return cid.NewCidV1(cid.Raw, mh)
}

func contentCID(root proto.CID) cid.Cid {
	return sumCID([sha256.Size]byte(root.Bytes()[4:]))
}

// SetCapabilities sets what this node advertises in the DHT, in place of what it
// set before: coarse keys like "exec/wasm", at most 64. Records are renewed every
// 10 minutes and fade 30 minutes after the last.
func (h *Host) SetCapabilities(keys []string) {
	h.mu.Lock()
	h.caps = make(map[string]struct{}, len(keys))
	for _, k := range keys[:min(len(keys), 64)] {
		h.caps[k] = struct{}{}
	}
	h.mu.Unlock()
	select {
	case h.capsChanged <- struct{}{}:
	default: // a mark is there already
	}
}

func (h *Host) capabilities() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := make([]string, 0, len(h.caps))
	for k := range h.caps {
		out = append(out, k)
	}
	return out
}

// advertise keeps the capability records fresh until ctx ends. While the routing
// table is empty nobody can take a record, so it tries again soon.
func (h *Host) advertise(ctx context.Context) error {
	wait := h.pace.announce0
	for {
		timer := time.NewTimer(jitter(wait))
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-h.capsChanged:
		case <-timer.C:
		}
		timer.Stop()
		if h.advertiseOnce(ctx) {
			wait = h.pace.announce
		} else {
			wait = min(max(2*wait, h.pace.announce0), h.pace.announce/5)
		}
	}
}

// advertiseOnce tells whether every record was taken by somebody.
func (h *Host) advertiseOnce(ctx context.Context) bool {
	if h.dht.RoutingTable().Size() == 0 {
		return false
	}
	ok := true
	for _, k := range h.capabilities() {
		if err := h.provide(ctx, h.capabilityCID(k)); err != nil {
			h.log.Debug("capability not advertised", "part", "p2p", "capability", k, "err", err)
			ok = false
		}
	}
	return ok
}

func (h *Host) provide(ctx context.Context, c cid.Cid) error {
	ctx, cancel := context.WithTimeout(ctx, provideTime)
	defer cancel()
	return h.dht.Provide(ctx, c, true)
}

// FindCapable asks the DHT for up to limit peers that advertise a capability,
// this node left out. It gives what it found when ctx ends, and an error only if
// that is nothing because the question could not be asked.
func (h *Host) FindCapable(ctx context.Context, key string, limit int) ([]PeerInfo, error) {
	return h.find(ctx, h.capabilityCID(key), limit)
}

// Provide tells the DHT that this node serves the content under root. The record
// fades after 30 minutes. Only content that anybody may have belongs there.
func (h *Host) Provide(ctx context.Context, root proto.CID) error {
	if err := h.Ready(ctx); err != nil {
		return err
	}
	if err := h.provide(ctx, contentCID(root)); err != nil {
		return fmt.Errorf("advertise %s: %w", root, err)
	}
	return nil
}

// FindProviders asks the DHT for up to limit peers that serve the content under
// root, this node left out.
func (h *Host) FindProviders(ctx context.Context, root proto.CID, limit int) ([]PeerInfo, error) {
	return h.find(ctx, contentCID(root), limit)
}

func (h *Host) find(ctx context.Context, c cid.Cid, limit int) ([]PeerInfo, error) {
	if err := h.Ready(ctx); err != nil {
		return nil, err
	}
	limit = min(limit, maxFind)
	if limit <= 0 {
		return nil, nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the search when there are enough
	var out []PeerInfo
	for info := range h.dht.FindProvidersAsync(ctx, c, limit+1) { // one may be this node
		id, err := fromPeer(info.ID)
		if err != nil || info.ID == h.net.ID() {
			continue
		}
		h.remember(info)
		out = append(out, foundPeer(id, info))
		if len(out) == limit {
			break
		}
	}
	if len(out) == 0 && h.dht.RoutingTable().Size() == 0 {
		return nil, fmt.Errorf("search the DHT: %w", errNoPeers)
	}
	return out, nil
}

var errNoPeers = errors.New("no peer to ask yet")

func foundPeer(id proto.PeerID, info peer.AddrInfo) PeerInfo {
	out := PeerInfo{ID: id}
	for _, a := range info.Addrs[:min(len(info.Addrs), 16)] {
		out.Addrs = append(out.Addrs, a.String())
	}
	return out
}
