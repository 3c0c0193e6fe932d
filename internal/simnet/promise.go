package simnet

import (
	"bytes"
	"maps"
	"slices"
	"time"

	"github.com/mustermesh/muster/proto"
	"github.com/mustermesh/muster/scheduler"
)

// A promise is an answer that its provider keeps.
type promise struct {
	by   *node
	made time.Duration
}

// accepted looks at an answer that the job took.
func (k *keeper) accepted(l *taken, m answerMsg) {
	if k.holder[l.peer.id] != m.lease || k.fenced[l.peer] > m.epoch {
		k.fail("an answer under lease %s, epoch %x, is taken; %s has lease %s", short(m.lease), m.epoch, l.peer.name, short(k.holder[l.peer.id]))
	}
	ref := scheduler.Ref{Lease: m.lease, Execution: m.id}
	k.answered[ref] = promise{l.peer, m.made}
	k.keeps(k.answered[ref], ref)
}

// keeps looks whether a provider has what it promised by its answer.
func (k *keeper) keeps(p promise, r scheduler.Ref) {
	if p.by.disk.data[resultKey(r)] == nil && k.wanted(r) && k.expected(p, r) {
		k.fail("%s answered %s, and does not have it on disk", p.by.name, short(r.Execution))
	}
}

// expected tells whether a provider must still keep a result that its requester
// wants.
func (k *keeper) expected(p promise, r scheduler.Ref) bool {
	if lost, did := k.power[p.by]; did && lost >= p.made {
		return false // answers are not synced
	}
	since, away := k.away[r.Lease]
	if away && k.w.now-since >= k.w.cfg.Grace*99/100 {
		return false
	}
	return !k.let[r.Lease] && !k.ghost
}

// forgot looks at a result that is kept no longer.
func (k *keeper) forgot(n *node, r scheduler.Ref) {
	k.saw("result forgotten")
	if p := k.answered[r]; p.by == n && k.wanted(r) && k.expected(p, r) {
		k.fail("%s forgets its answer to %s, which is not settled", n.name, short(r.Execution))
	}
}

// granted notes that a provider took an award, which fences older ones off.
func (k *keeper) granted(n *node, epoch uint64) { k.fenced[n] = max(k.fenced[n], epoch) }

// touched notes when a provider is out of touch with a lease's requester.
func (k *keeper) touched(_ *node, id proto.LeaseID, touch bool) {
	if k.ghost {
		k.let[id] = true
	}
	if touch {
		delete(k.away, id)
	} else if _, has := k.away[id]; !has {
		k.away[id] = k.w.now
	}
}

func (k *keeper) released(id proto.LeaseID) { k.let[id] = true }

// unfetched looks at an output that could not be had: why not, if its provider
// said so itself. The job does without it from now on.
func (k *keeper) unfetched(f scheduler.Fetch, answer any) {
	for _, r := range k.promises() {
		if r.Execution != f.Execution {
			continue
		}
		if p := k.answered[r]; answer != nil && k.wanted(r) && k.expected(p, r) {
			k.fail("%s answered %s, and the output cannot be had", p.by.name, short(f.Execution))
		}
		delete(k.answered, r)
	}
}

// promises gives the answers that the requester took, in the order of their ids.
func (k *keeper) promises() []scheduler.Ref {
	return slices.SortedFunc(maps.Keys(k.answered), func(a, b scheduler.Ref) int {
		return bytes.Compare(a.Execution[:], b.Execution[:])
	})
}

// wanted tells whether an execution is on the requester's record.
func (k *keeper) wanted(r scheduler.Ref) bool {
	return k.w.nodes[0].disk.data[execKey(r.Execution)] != nil
}
