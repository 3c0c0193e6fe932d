package p2p

import (
	"context"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/discovery/mdns"
)

const (
	mdnsBacklog  = 64 // peers found and not yet dialled; more than a local network answers at once
	mdnsDialTime = 10 * time.Second
)

// runMDNS finds peers on the local network until ctx ends, if the configuration
// wants it.
func (h *Host) runMDNS(ctx context.Context) error {
	if !h.cfg.MDNS {
		return nil
	}
	found := make(mdnsFound, mdnsBacklog)
	s := mdns.NewMdnsService(h.net, "_muster-"+h.cfg.Network+"._udp", found)
	if err := s.Start(); err != nil {
		h.log.Warn("no discovery on the local network", "part", "p2p", "err", err)
		return nil
	}
	defer s.Close()
	for {
		select {
		case <-ctx.Done():
			return nil
		case info := <-found:
			h.meet(ctx, info)
		}
	}
}

func (h *Host) meet(ctx context.Context, info peer.AddrInfo) {
	if info.ID == h.net.ID() || h.connected(info.ID) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, mdnsDialTime)
	defer cancel()
	if err := h.connect(ctx, info); err != nil {
		h.log.Debug("peer on the local network not reached", "part", "p2p", "peer", info.ID, "err", err)
	}
}

// mdnsFound takes the peers that the library finds; it must not wait.
type mdnsFound chan peer.AddrInfo

// HandlePeerFound drops a peer for which there is no room: it will be found again.
func (f mdnsFound) HandlePeerFound(info peer.AddrInfo) {
	select {
	case f <- info:
	default:
	}
}
