package node

import (
	"strings"

	"github.com/mustermesh/muster/internal/telemetry"
	"github.com/mustermesh/muster/node/overlay"
)

// samples are all metrics of this node. docs/observing.md §2 lists them.
func (n *node) samples() []telemetry.Sample {
	var c collection
	c.gauge("muster_info", "This node.", 1, "version", Version)
	n.requesterSamples(&c)
	if n.provider != nil {
		n.providerSamples(&c)
	}
	n.localSamples(&c)
	if n.Net != nil {
		n.netSamples(&c)
	}
	return c.list
}

// A collection is the samples of one scrape, so far. Labels are given as names and
// values in turn.
type collection struct{ list []telemetry.Sample }

func (c *collection) add(kind telemetry.Kind, name, help string, v float64, labels []string) *telemetry.Sample {
	s := telemetry.Sample{Name: name, Help: help, Kind: kind, Value: v}
	for i := 0; i+1 < len(labels); i += 2 {
		if s.Labels == nil {
			s.Labels = make(map[string]string)
		}
		s.Labels[labels[i]] = labels[i+1]
	}
	c.list = append(c.list, s)
	return &c.list[len(c.list)-1]
}

func (c *collection) gauge(name, help string, v float64, labels ...string) {
	c.add(telemetry.Gauge, name, help, v, labels)
}

func (c *collection) count(name, help string, v uint64, labels ...string) {
	c.add(telemetry.Counter, name, help, float64(v), labels)
}

// counts tells a counter for each value of one more label.
func (c *collection) counts(name, help string, by map[string]uint64, label string, labels ...string) {
	for value, v := range by {
		c.count(name, help, v, append([]string{label, value}, labels...)...)
	}
}

func (c *collection) sizes(name, help string, m *telemetry.Meter, labels ...string) {
	c.add(telemetry.Histogram, name, help, 0, labels).Counts = m.Counts()
}

// Help of metrics that have samples in more than one role.
const (
	helpExecutions = "Executions, by how they ended."
	helpSeconds    = "Executions, from start to end."
	helpLeases     = "Leases now."
	helpAttaches   = "Leases that were taken up again after their stream broke or a node was restarted."
)

func (n *node) requesterSamples(c *collection) {
	s := n.requester.Stats()
	for state, v := range s.JobsOpen {
		c.gauge("muster_jobs_open", "Own jobs that have not ended.", float64(v), "state", state)
	}
	c.counts("muster_jobs_ended_total", "Own jobs, by how they ended.", s.JobsEnded, "state")
	c.sizes("muster_job_seconds", "Own jobs, from submission to end.", n.told.jobs)
	c.counts("muster_tasks_settled_total", "Own tasks, by how they were settled.", s.Tasks, "state")
	c.counts("muster_executions_total", helpExecutions, s.Executions, "state", "role", RoleRequester)
	c.sizes("muster_execution_seconds", helpSeconds, n.told.runs, "role", RoleRequester)
	c.sizes("muster_queue_seconds", "Executions of own tasks, from assigned to start.", n.told.waits)
	c.counts("muster_own_runs_total", "Executions of own tasks on this node, by why.", s.OwnRuns, "why")
	c.count("muster_hedges_total", "Executions begun because another was slow.", s.Hedges)
	c.count("muster_announcements_total", "Announcements of jobs.", s.Announcements, "direction", "out")
	c.count("muster_attaches_total", helpAttaches, s.Attaches, "role", RoleRequester)
	c.count("muster_disputes_total", "Own tasks whose conflict nobody could settle.", s.Disputes)
	c.count("muster_answers_wrong_total", "Answers of peers that own runs proved wrong.", s.Lies)
	c.gauge("muster_leases_open", helpLeases, float64(s.Leases), "role", RoleRequester)
}

func (n *node) providerSamples(c *collection) {
	s, did := n.provider.Stats(), n.provider.Counts()
	c.count("muster_executions_total", helpExecutions, s.Done, "state", "answered", "role", RoleProvider)
	c.count("muster_executions_total", helpExecutions, s.Failed, "state", "failed", "role", RoleProvider)
	c.sizes("muster_execution_seconds", helpSeconds, n.told.provided, "role", RoleProvider)
	c.count("muster_attaches_total", helpAttaches, did.Attached, "role", RoleProvider)
	c.gauge("muster_leases_open", helpLeases, float64(s.Leases), "role", RoleProvider)

	const bids = "Answers of this provider to announcements, and what came of them."
	c.counts("muster_bids_total", bids, map[string]uint64{"sent": did.Bids, "refused": did.Refused, "unreached": did.Unreached, "won": did.Won}, "outcome")
	for r, v := range s.Refusals {
		c.count("muster_refusals_total", "Announcements and awards that this provider refused.", v, "reason", strings.ReplaceAll(r.String(), " ", "_"))
	}
	c.gauge("muster_slots", "Slots offered.", float64(n.provider.Lending().Advert.Slots))
	c.gauge("muster_slots_used", "Slots in use.", float64(s.Busy))
	c.gauge("muster_tasks_queued", "Tasks of others that wait for a slot.", float64(s.Queued))
	c.gauge("muster_results_kept", "Results that wait for their requester.", float64(s.Kept))
	guests := map[string]float64{"running": 0, "orphan": 0}
	for _, g := range n.provider.Guests() {
		if g.Orphan {
			guests["orphan"]++
		} else {
			guests["running"]++
		}
	}
	for state, v := range guests {
		c.gauge("muster_guests", "Executions for others now.", v, "state", state)
	}
}

func (n *node) localSamples(c *collection) {
	db := n.db.Stats()
	c.count("muster_store_commits_total", "Batches written to the database.", uint64(db.Commits))
	c.count("muster_store_syncs_total", "Flushes to the disk for them.", uint64(db.Syncs))
	made, checked := n.Signatures()
	const signatures = "Signatures of statements."
	c.count("muster_signatures_total", signatures, made, "what", "made")
	c.count("muster_signatures_total", signatures, checked, "what", "checked")
	if e, ok := n.exec.(interface{ Started() uint64 }); ok {
		c.count("muster_sandboxes_started_total", "Sandboxes started.", e.Started())
	}
	if e, ok := n.exec.(interface {
		Loaded() (compiled, restored uint64)
	}); ok {
		const programs = "Programs made ready in a sandbox."
		compiled, restored := e.Loaded()
		c.count("muster_programs_loaded_total", programs, compiled, "from", "compiler")
		c.count("muster_programs_loaded_total", programs, restored, "from", "cache")
	}
	if kept := n.told.kept.Load(); kept > 0 {
		c.gauge("muster_content_bytes", "Content kept, as it was counted within the last minute or two.", float64(kept))
	}
	c.gauge("muster_content_limit_bytes", "Content kept beyond what is pinned, at most.", float64(n.cfg.Cache))
	if free, _, err := diskRoom(n.cfg.Home); err == nil {
		c.gauge("muster_disk_free_bytes", "Free on the file system of the home.", float64(free))
	}
}

func (n *node) netSamples(c *collection) {
	const peers = "Connected peers."
	direct, relayed := n.paths()
	c.gauge("muster_peers", peers, float64(direct), "path", "direct")
	c.gauge("muster_peers", peers, float64(relayed), "path", "relayed")
	s := n.Net.Stats()
	const bytes = "Bytes of all streams, before encryption."
	c.count("muster_network_bytes_total", bytes, s.BytesIn, "direction", "in")
	c.count("muster_network_bytes_total", bytes, s.BytesOut, "direction", "out")
	c.count("muster_misbehaved_total", "Breaches of protocol by peers.", s.Misbehaved)
	c.count("muster_announcements_total", "Announcements of jobs.", s.Protocols[overlay.TopicJobs].MessagesIn, "direction", "in")
	const gossip, streams, broken = "Messages of gossip.", "Streams opened.", "Streams that did not end well, or were over a limit."
	for name, p := range s.Protocols {
		if name == overlay.TopicJobs || name == overlay.TopicAdverts {
			c.counts("muster_gossip_messages_total", gossip, map[string]uint64{
				"sent": p.MessagesOut, "taken": p.MessagesIn - min(p.Dropped, p.MessagesIn), "dropped": p.Dropped, "rejected": p.Rejected,
			}, "outcome", "topic", name)
			continue
		}
		c.count("muster_streams_total", streams, p.StreamsIn, "protocol", name, "direction", "in")
		c.count("muster_streams_total", streams, p.StreamsOut, "protocol", name, "direction", "out")
		c.count("muster_streams_failed_total", broken, p.Failed+p.Rejected, "protocol", name)
	}
	if off, ok := n.clockOffset(); ok {
		c.gauge("muster_clock_offset_seconds", "How far the middle of the peers' clocks is ahead.", off.Seconds())
	}
}

// paths counts the connected peers by how they are reached.
func (n *node) paths() (direct, relayed int) {
	for _, p := range n.Net.Peers() {
		if p.Relayed {
			relayed++
		} else {
			direct++
		}
	}
	return direct, relayed
}
