package p2p

import (
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/metrics"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
)

// Stats counts what happened since [Open].
type Stats struct {
	// Protocols has a row for each service ("bid/1.0.0") and topic.
	Protocols map[string]ProtocolStats
	// BytesIn and BytesOut are all bytes of all streams, those of gossip, DHT and
	// identification included, before encryption.
	BytesIn, BytesOut uint64
	// Misbehaved counts breaches of protocol; see [Host.Misbehaved].
	Misbehaved uint64
}

// ProtocolStats counts what happened in one service or topic.
type ProtocolStats struct {
	MessagesIn, MessagesOut uint64
	BytesIn, BytesOut       uint64 // of the messages, without their lengths
	StreamsIn, StreamsOut   uint64 // opened
	Dropped                 uint64 // messages of gossip for which the queue had no room
	Rejected                uint64 // streams over a limit; gossip that did not pass validation
	Failed                  uint64 // streams that did not end well
}

// counters is ProtocolStats while it is counted.
type counters struct {
	messagesIn, messagesOut, bytesIn, bytesOut     atomic.Uint64
	streamsIn, streamsOut, dropped, rejected, fail atomic.Uint64
}

func (c *counters) snapshot() ProtocolStats {
	return ProtocolStats{
		MessagesIn: c.messagesIn.Load(), MessagesOut: c.messagesOut.Load(),
		BytesIn: c.bytesIn.Load(), BytesOut: c.bytesOut.Load(),
		StreamsIn: c.streamsIn.Load(), StreamsOut: c.streamsOut.Load(),
		Dropped: c.dropped.Load(), Rejected: c.rejected.Load(), Failed: c.fail.Load(),
	}
}

// statsTable holds the counters by the name that the program, never a peer, gave.
type statsTable struct {
	wire       wireBytes
	misbehaved atomic.Uint64

	mu sync.RWMutex
	by map[string]*counters
}

func newStatsTable() *statsTable { return &statsTable{by: make(map[string]*counters)} }

func (t *statsTable) of(name string) *counters {
	t.mu.RLock()
	c := t.by[name]
	t.mu.RUnlock()
	if c != nil {
		return c
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.by[name] == nil {
		t.by[name] = new(counters)
	}
	return t.by[name]
}

// Stats gives the counts so far.
func (h *Host) Stats() Stats {
	h.stats.mu.RLock()
	by := maps.Clone(h.stats.by)
	h.stats.mu.RUnlock()
	out := Stats{
		Protocols: make(map[string]ProtocolStats, len(by)), Misbehaved: h.stats.misbehaved.Load(),
		BytesIn: h.stats.wire.in.Load(), BytesOut: h.stats.wire.out.Load(),
	}
	for name, c := range by {
		out.Protocols[name] = c.snapshot()
	}
	return out
}

// wireBytes counts bytes for the library, which asks for a whole reporter; two
// sums are all that we want of it.
type wireBytes struct{ in, out atomic.Uint64 }

// LogSentMessage counts bytes that left.
func (w *wireBytes) LogSentMessage(n int64) { w.out.Add(uint64(n)) }

// LogRecvMessage counts bytes that came.
func (w *wireBytes) LogRecvMessage(n int64) { w.in.Add(uint64(n)) }

// LogSentMessageStream is not counted: LogSentMessage has it.
func (w *wireBytes) LogSentMessageStream(int64, protocol.ID, peer.ID) {}

// LogRecvMessageStream is not counted: LogRecvMessage has it.
func (w *wireBytes) LogRecvMessageStream(int64, protocol.ID, peer.ID) {}

// GetBandwidthForPeer is not kept.
func (w *wireBytes) GetBandwidthForPeer(peer.ID) (s metrics.Stats) { return s }

// GetBandwidthForProtocol is not kept.
func (w *wireBytes) GetBandwidthForProtocol(protocol.ID) (s metrics.Stats) { return s }

// GetBandwidthTotals gives the sums.
func (w *wireBytes) GetBandwidthTotals() metrics.Stats {
	return metrics.Stats{TotalIn: int64(w.in.Load()), TotalOut: int64(w.out.Load())}
}

// GetBandwidthByPeer is not kept.
func (w *wireBytes) GetBandwidthByPeer() map[peer.ID]metrics.Stats { return nil }

// GetBandwidthByProtocol is not kept.
func (w *wireBytes) GetBandwidthByProtocol() map[protocol.ID]metrics.Stats { return nil }

// Reset does nothing: the counts are of the whole run.
func (w *wireBytes) Reset() {}

// TrimIdle does nothing: there is nothing to trim.
func (w *wireBytes) TrimIdle(time.Time) {}
