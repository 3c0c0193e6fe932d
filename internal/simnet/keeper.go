package simnet

import (
	"fmt"
	"strings"
	"time"

	"github.com/mustermesh/muster/proto"
	"github.com/mustermesh/muster/scheduler"
)

// A keeper looks whether the invariants hold. It sees everything, the true time
// and all disks too.
type keeper struct {
	w       *World
	fault   string // the first
	started int    // guests, in all
	seen    map[string]int
	ghost   bool // a duplicate is being handled

	tolds    map[int]scheduler.Settlement    // what the user heard
	epochs   map[uint64]proto.LeaseID        // awarded so far
	highest  map[proto.PeerID]uint64         // of them, at a peer
	holder   map[proto.PeerID]proto.LeaseID  // the requester's live lease at a peer
	blamed   map[proto.ExecutionID]int       // how often
	faulted  map[proto.PeerID]bool           // something of its own, or its link, failed
	answered map[scheduler.Ref]promise       // the requester took the answer
	fenced   map[*node]uint64                // the newest epoch that a provider granted
	power    map[*node]time.Duration         // when it was last lost
	away     map[proto.LeaseID]time.Duration // true time since when a provider is out of touch
	let      map[proto.LeaseID]bool          // let go by the requester, or a ghost's doing
}

func newKeeper(w *World) *keeper {
	return &keeper{
		w: w, seen: make(map[string]int), tolds: make(map[int]scheduler.Settlement), epochs: make(map[uint64]proto.LeaseID), highest: make(map[proto.PeerID]uint64),
		holder: make(map[proto.PeerID]proto.LeaseID), blamed: make(map[proto.ExecutionID]int), faulted: make(map[proto.PeerID]bool),
		answered: make(map[scheduler.Ref]promise), fenced: make(map[*node]uint64), power: make(map[*node]time.Duration),
		away: make(map[proto.LeaseID]time.Duration), let: make(map[proto.LeaseID]bool),
	}
}

// fail notes what was broken first; the run ends.
func (k *keeper) fail(format string, args ...any) {
	if k.fault == "" {
		k.fault = fmt.Sprintf(format, args...)
		k.w.trace.add(k.w.now, "!!", "%s", []any{k.fault})
	}
}

// saw counts what happened, to see that a mix tries everything.
func (k *keeper) saw(what string) { k.seen[what]++ }

// blemish notes that the link between two nodes fails: peers may be blamed.
func (k *keeper) blemish(a, b *node) { k.faulted[a.id], k.faulted[b.id] = true, true }

// fell notes that a node stopped.
func (k *keeper) fell(n *node) {
	if n.disk.lostPower {
		k.saw("power lost")
		k.power[n] = k.w.now
		delete(k.fenced, n)
	}
	if n.index == 0 && n.disk.lostPower {
		clear(k.blamed) // what was noted may be lost, with the evidence itself
	}
	if n.index > 0 {
		k.faulted[n.id] = true
		return
	}
	clear(k.holder)
}

// written looks at every write before it happens.
func (k *keeper) written(n *node, b batch) {
	if n.index != 0 {
		return
	}
	for i, key := range b.keys {
		if strings.HasPrefix(key, keySettled) && b.values[i] != nil {
			k.settled(n, key, decode[scheduler.TaskView](b.values[i]))
		}
	}
}

func (k *keeper) settled(n *node, key string, v scheduler.TaskView) {
	if n.disk.data[key] != nil {
		k.fail("task %d is settled a second time", v.Index)
	}
	s := *v.Settlement
	if s.State != scheduler.TaskVerified && s.State != scheduler.TaskAccepted {
		k.fail("task %d is %s: %s", v.Index, s.State, s.How)
	} else if s.Output != k.w.right(v.Index).Output {
		k.fail("task %d has a wrong result: %s", v.Index, s.How)
	}
	if s.State == scheduler.TaskVerified && !s.Own && s.Checkers < k.w.cfg.Checkers {
		k.fail("task %d has %d of %d checkers", v.Index, s.Checkers, k.w.cfg.Checkers)
	}
	peers := make(map[proto.PeerID]bool)
	for _, x := range v.Executions {
		if x.State == scheduler.ExecAnswered && peers[x.Peer] && x.Peer != n.id {
			k.fail("task %d has two answers of one peer", v.Index)
		}
		peers[x.Peer] = peers[x.Peer] || x.State == scheduler.ExecAnswered
	}
}

// told notes what the user heard: it stays so for ever.
func (k *keeper) told(i int, s scheduler.Settlement) {
	if _, twice := k.tolds[i]; twice {
		k.fail("the user hears of task %d twice", i)
	}
	k.tolds[i] = s
	k.onDisk(i)
}

func (k *keeper) onDisk(i int) {
	v := k.w.nodes[0].disk.data[taskKey(keySettled, i)]
	if v == nil {
		k.fail("the user was told of task %d, and it is not on disk", i)
		return
	}
	if got := *decode[scheduler.TaskView](v).Settlement; got.Output != k.tolds[i].Output || got.State != k.tolds[i].State {
		k.fail("task %d was %s, and is %s on disk", i, k.tolds[i].State, got.State)
	}
}

// booted looks at what a node that starts finds on its disk.
func (k *keeper) booted(n *node) {
	if n.index == 0 {
		for i := range k.w.cfg.Tasks {
			if _, told := k.tolds[i]; told {
				k.onDisk(i)
			}
		}
		return
	}
	for _, r := range k.promises() {
		if p := k.answered[r]; p.by == n {
			k.keeps(p, r)
		}
	}
}

// opened looks at an award.
func (k *keeper) opened(o scheduler.OpenLease) {
	if k.epochs[o.Epoch] != (proto.LeaseID{}) || o.Epoch <= k.highest[o.Peer] {
		k.fail("epoch %x is awarded to %s after epoch %x, used for lease %s", o.Epoch, k.w.byID(o.Peer).name, k.highest[o.Peer], short(k.epochs[o.Epoch]))
	}
	k.epochs[o.Epoch], k.highest[o.Peer] = o.Lease, o.Epoch
	if old, has := k.holder[o.Peer]; has {
		k.fail("%s gets lease %s beside %s", k.w.byID(o.Peer).name, short(o.Lease), short(old))
	}
	k.holder[o.Peer] = o.Lease
	if k.w.nodes[0].disk.data[leaseKey(o.Lease)] == nil {
		k.fail("lease %s is awarded, and not on record", short(o.Lease))
	}
}

// assigned looks at an execution that is given away.
func (k *keeper) assigned(l proto.LeaseID, e proto.ExecutionID) {
	if k.w.nodes[0].disk.data[execKey(e)] == nil {
		k.fail("execution %s is given away, and not on record", short(e))
	}
}

func (k *keeper) attached(a scheduler.Attach) {
	if old, has := k.holder[a.Peer]; has && old != a.Lease {
		k.fail("%s has lease %s beside %s", k.w.byID(a.Peer).name, short(a.Lease), short(old))
	}
	k.holder[a.Peer] = a.Lease
	wanted := make(map[proto.ExecutionID]bool)
	for _, e := range a.Executions {
		wanted[e] = true
	}
	for _, ref := range k.promises() {
		if ref.Lease == a.Lease && !wanted[ref.Execution] && k.wanted(ref) {
			k.fail("the answer to %s is not settled, and not asked after", short(ref.Execution))
		}
	}
}

// gone notes that the requester is done with a lease.
func (k *keeper) gone(id proto.LeaseID) {
	for _, n := range k.w.nodes[1:] {
		if k.holder[n.id] == id {
			delete(k.holder, n.id)
		}
	}
}

// evidence looks at what is held against a peer.
func (k *keeper) evidence(e scheduler.Evidence) {
	n := k.w.byID(e.Peer)
	k.saw("evidence: " + string(e.Kind))
	switch e.Kind {
	case scheduler.EvidenceWrong:
		if !n.lies() {
			k.fail("%s is blamed for a wrong answer to task %d", n.name, e.Task)
		}
	case scheduler.EvidenceFailed, scheduler.EvidenceLost:
		k.w.nodes[0].log("blames %s for task %d: %s %s", n.name, e.Task, e.Kind, e.Detail)
		if k.blamed[e.Execution]++; k.blamed[e.Execution] > 1 {
			k.fail("%s is blamed twice for execution %s", n.name, short(e.Execution))
		}
		if !k.faulted[e.Peer] {
			k.fail("%s is blamed for %s, and did nothing wrong: %s %s", n.name, short(e.Execution), e.Kind, e.Detail)
		}
	}
}

// end looks whether anything is left when all is over.
func (k *keeper) end() {
	q := k.w.nodes[0]
	if q.disk.data[keyEnd] != scheduler.Completed {
		k.fail("the job ended as %v", q.disk.data[keyEnd])
	}
	for i := range k.w.cfg.Tasks {
		if q.disk.data[taskKey(keySettled, i)] == nil {
			k.fail("task %d is not settled", i)
		}
	}
	for _, prefix := range []string{keyLease, keyExec, keyTroubled} {
		if left := q.disk.scan(prefix); len(left) > 0 {
			k.fail("the requester's disk still has %v", left)
		}
	}
	for _, n := range k.w.nodes[1:] {
		p := n.proc.(*provider)
		if p.book.Leases()+p.book.Busy()+p.book.Queued()+len(p.leases) > 0 || p.book.BusyFor(proto.PeerID{}) > 0 {
			k.fail("%s still has %d leases, %d busy, %d queued, %d lent", n.name, p.book.Leases(), p.book.Busy(), p.book.Queued(), len(p.leases))
		}
		if left := n.disk.scan(keyLent); len(left) > 0 {
			k.fail("the disk of %s still has %v", n.name, left)
		}
	}
}
