package simnet

import (
	"errors"
	"maps"
	"slices"
	"strings"
)

// What ends a node at a write.
var (
	errKilled = errors.New("killed")
	errPower  = errors.New("power is lost")
	errFull   = errors.New("no space left on device")
)

// A When says at which side of a write a node crashes.
type When int

// Sides of a write.
const (
	Before When = iota
	After
	Power // after it, and what was not synced is lost
)

// String names the side.
func (w When) String() string { return [...]string{"before", "after", "power loss after"}[w] }

// A Crash stops a node at one of its writes, counted from 1 over all its lives.
type Crash struct {
	Node  int // 0: the requester
	Write int
	When  When
	Both  bool // another node stops at the same moment
	With  int  // which, where Both
}

// A batch is a set of changes that is written wholly or not at all.
type batch struct {
	keys   []string
	values []any // nil: deleted
}

func (b *batch) put(key string, v any) { b.keys, b.values = append(b.keys, key), append(b.values, v) }
func (b *batch) drop(key string)       { b.put(key, nil) }

// A disk keeps keys and values. A lazy write survives the end of a process; of
// the lazy writes since the last durable one, those at the end may be lost with
// the power.
type disk struct {
	node      *node
	data      map[string]any
	safe      map[string]any
	lazy      []batch
	full      bool
	lostPower bool
	writes    int
}

func newDisk(n *node) *disk {
	return &disk{node: n, data: make(map[string]any), safe: make(map[string]any)}
}

func (b batch) apply(to map[string]any) {
	for i, k := range b.keys {
		if b.values[i] == nil {
			delete(to, k)
		} else {
			to[k] = b.values[i]
		}
	}
}

// commit writes a batch. An error ends the node, or says that the disk is full.
func (d *disk) commit(b batch, durable bool) error {
	d.writes++
	crash := d.crash()
	if crash != nil && crash.When == Before {
		return errKilled
	}
	if d.full {
		d.node.w.keeper.saw("write to a full disk")
		return errFull
	}
	d.node.w.keeper.written(d.node, b)
	b.apply(d.data)
	if d.lazy = append(d.lazy, b); durable {
		d.sync()
	}
	switch {
	case crash == nil:
		return nil
	case crash.When == Power:
		d.lostPower = true
		return errPower
	}
	return errKilled
}

// crash gives the crash that is planned for this write, and stops who is to stop
// with it.
func (d *disk) crash() *Crash {
	w := d.node.w
	for i := range w.cfg.Crashes {
		c := &w.cfg.Crashes[i]
		if c.Node != d.node.index || c.Write != d.writes {
			continue
		}
		if other := w.nodes[c.With]; c.Both && other != d.node && other.up {
			other.disk.lostPower = c.When == Power
			other.fall(errKilled)
		}
		return c
	}
	return nil
}

func (d *disk) sync() {
	for _, b := range d.lazy {
		b.apply(d.safe)
	}
	d.lazy = nil
}

// dropUnsafe loses some of the writes at the end that were not synced, or all.
func (d *disk) dropUnsafe() {
	kept := 0
	if !d.node.w.cfg.WorstPower {
		kept = d.node.w.r.IntN(len(d.lazy) + 1)
	}
	lost := len(d.lazy) - kept
	for _, b := range d.lazy[:kept] {
		b.apply(d.safe)
	}
	d.data, d.lazy = maps.Clone(d.safe), nil
	d.node.log("lost %d writes with the power", lost)
}

// scan gives the keys with a prefix, in order.
func (d *disk) scan(prefix string) (keys []string) {
	for k := range d.data {
		if strings.HasPrefix(k, prefix) {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	return keys
}
