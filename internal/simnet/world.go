package simnet

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/mustermesh/muster/proto"
)

// A World is a mesh in virtual time: a heap of events, one source of randomness.
// It has one owner.
type World struct {
	cfg    Config
	r      *rand.Rand
	now    time.Duration // true time since the start; no node sees it
	events events
	seq    int
	nodes  []*node // the requester first
	cut    [][]int // by the messages' way, from and to: how many splits are in force
	links  []*stream
	trace  trace
	keeper *keeper
}

type timed struct {
	at  time.Duration
	seq int
	do  func()
}

type events []timed

func (e events) Len() int      { return len(e) }
func (e events) Swap(a, b int) { e[a], e[b] = e[b], e[a] }
func (e events) Less(a, b int) bool {
	if e[a].at == e[b].at {
		return e[a].seq < e[b].seq
	}
	return e[a].at < e[b].at
}
func (e *events) Push(x any) { *e = append(*e, x.(timed)) }
func (e *events) Pop() any {
	last := (*e)[len(*e)-1]
	*e = (*e)[:len(*e)-1]
	return last
}

// after has something done in a while, whoever is up then.
func (w *World) after(d time.Duration, do func()) {
	w.seq++
	heap.Push(&w.events, timed{w.now + max(d, 0), w.seq, do})
}

// runUntil lets things happen until done, a fault, or the limit; it tells whether
// done came true.
func (w *World) runUntil(limit time.Duration, done func() bool) bool {
	for !done() && len(w.events) > 0 && w.keeper.fault == "" && w.events[0].at <= limit {
		e := heap.Pop(&w.events).(timed)
		w.now = e.at
		e.do()
	}
	return done()
}

// between draws a time.
func (w *World) between(low, high time.Duration) time.Duration {
	return low + time.Duration(w.r.Int64N(int64(high-low)+1))
}

func (w *World) chance(p float64) bool { return p > 0 && w.r.Float64() < p }

// A process is what runs on a node, from its start to its end.
type process interface {
	// boot reads the disk and goes to work.
	boot() error
	// accept takes a stream that another opened, with its first message.
	accept(e *end, first any) error
	// hear takes a message that needs no stream.
	hear(from *node, msg any) error
	// serve answers a call.
	serve(from *node, msg any) (any, error)
}

// A node is a machine: what runs on it dies and comes back, its disk stays.
type node struct {
	w     *World
	index int
	name  string
	id    proto.PeerID
	up    bool
	life  int // counts starts
	disk  *disk
	clock clock
	make  func() process
	proc  process
}

func (w *World) addNode(name string, make func(*node) process) *node {
	n := &node{w: w, index: len(w.nodes), name: name}
	n.id = proto.PeerID{byte(n.index + 1), 1}
	n.disk = newDisk(n)
	n.make = func() process { return make(n) }
	w.nodes = append(w.nodes, n)
	for i := range w.cut {
		w.cut[i] = append(w.cut[i], 0)
	}
	w.cut = append(w.cut, slices.Repeat([]int{0}, len(w.nodes)))
	return n
}

func (n *node) now() time.Time { return n.clock.at(n.w.now) }

// do runs a handler on the node; an error ends the node.
func (n *node) do(f func() error) {
	if !n.up {
		return
	}
	if err := f(); err != nil {
		n.fall(err)
	}
}

// after has something done on the node in a while, unless it stops before.
func (n *node) after(d time.Duration, f func() error) {
	life := n.life
	n.w.after(d, func() {
		if n.up && n.life == life {
			n.do(f)
		}
	})
}

// fall ends what runs on the node; it starts again after a while.
func (n *node) fall(err error) {
	n.up = false
	n.log("stops: %v", err)
	if n.disk.lostPower {
		n.disk.dropUnsafe()
	}
	for _, s := range n.w.links {
		s.died(n)
	}
	n.w.keeper.fell(n)
	n.w.after(n.w.between(n.w.cfg.Down[0], n.w.cfg.Down[1]), n.start)
}

// start boots the node.
func (n *node) start() {
	n.up, n.disk.lostPower = true, false
	n.life++
	if n.life > 1 && n.w.cfg.ClockSteps {
		n.clock.step(n.w)
	}
	n.log("starts, life %d", n.life)
	n.proc = n.make()
	n.do(n.proc.boot)
	if n.up {
		n.w.keeper.booted(n)
	}
}

func (n *node) log(format string, args ...any) { n.w.trace.add(n.w.now, n.name, format, args) }

// short gives the first bytes of an id, for the trace.
func short[T ~[16]byte](id T) string { return fmt.Sprintf("%x", id[:3]) }

func newRand(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 11)) }
