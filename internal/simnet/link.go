package simnet

import (
	"time"
)

// Times of links.
const (
	silence     = 15 * time.Second // after which a side that hears nothing gives a stream up
	callTimeout = 10 * time.Second // of a call, and of opening a stream
)

// A stream carries messages in order, both ways, while it lives. It breaks in
// silence: each side learns of it in its own time.
type stream struct {
	w      *World
	ends   [2]*end
	broken bool // nothing gets through any more
}

// An end is one side's.
type end struct {
	s     *stream
	node  *node
	peer  *end
	life  int // of the node
	open  bool
	last  time.Duration // of the last delivery here
	stuck []any         // came while the link was split
	recv  func(msg any) error
	broke func(why string) error
}

// eof says that the other side closed the stream in good order.
type eof struct{}

func (w *World) latency() time.Duration {
	if w.chance(w.cfg.Slow) {
		return w.between(50*time.Millisecond, 2*time.Second)
	}
	return w.between(w.cfg.Latency[0], w.cfg.Latency[1])
}

func (w *World) reaches(from, to *node) bool { return w.cut[from.index][to.index] == 0 }

// dial opens a stream with a first message. The end's handlers must be set
// before anything else happens.
func (n *node) dial(to *node, first any) *end {
	w := n.w
	s := &stream{w: w}
	here := &end{s: s, node: n, life: n.life, open: true}
	there := &end{s: s, node: to, life: -1}
	here.peer, there.peer = there, here
	s.ends = [2]*end{here, there}
	w.links = append(w.links, s)
	there.last = w.now + w.latency()
	w.after(there.last-w.now, func() {
		switch {
		case !w.reaches(n, to) || !w.reaches(to, n):
			w.after(callTimeout, func() { here.fail("cannot be reached") })
		case !to.up:
			w.after(w.latency(), func() { here.fail("connection refused") })
		default:
			there.enter(first)
		}
	})
	if w.chance(w.cfg.Duplicate) {
		w.after(w.between(0, 2*time.Second), func() { w.ghost(n, to, first) })
	}
	return here
}

// enter is where a stream begins for the side that was called.
func (e *end) enter(first any) {
	e.open, e.life = true, e.node.life
	if !e.peer.open {
		e.s.w.after(e.s.w.noticing(), func() { e.fail("reset by peer") })
	}
	e.node.do(func() error { return e.node.proc.accept(e, first) })
}

// ghost is a second copy of a stream's beginning, whose sender does not know of
// it.
func (w *World) ghost(from, to *node, first any) {
	if !to.up || !w.reaches(from, to) {
		return
	}
	s := &stream{w: w, broken: true}
	here, there := &end{s: s, node: from, life: -1}, &end{s: s, node: to}
	here.peer, there.peer = there, here
	s.ends = [2]*end{here, there}
	w.links = append(w.links, s)
	to.log("hears %T again", first)
	there.enter(again{first})
}

// again marks a first message that was duplicated on its way.
type again struct{ msg any }

// noticing is how long a side takes to learn that a stream is no more.
func (w *World) noticing() time.Duration {
	if w.chance(.5) {
		return w.latency()
	}
	return w.between(silence/2, silence)
}

// send queues a message; nobody learns whether it arrives.
func (e *end) send(msg any) {
	if e == nil || !e.open {
		return
	}
	w, to := e.s.w, e.peer
	at := max(w.now+w.latency(), to.last)
	to.last = at
	w.after(at-w.now, func() { to.arrive(msg) })
}

func (e *end) arrive(msg any) {
	w := e.s.w
	switch {
	case e.s.broken:
	case !w.reaches(e.peer.node, e.node) || len(e.stuck) > 0:
		e.stuck = append(e.stuck, msg)
	case !e.alive():
		w.after(w.latency(), func() { e.peer.fail("reset by peer") })
	default:
		e.take(msg)
	}
}

func (e *end) alive() bool { return e.open && e.node.up && e.node.life == e.life }

func (e *end) take(msg any) {
	if _, over := msg.(eof); over {
		e.fail("end of stream")
		return
	}
	e.node.do(func() error { return e.recv(msg) })
}

// close ends the stream in good order, behind what was sent.
func (e *end) close() {
	if e != nil && e.open {
		e.send(eof{})
		e.shut()
	}
}

// shut closes this side; the other gives up once it hears nothing.
func (e *end) shut() {
	e.open = false
	e.s.w.after(silence+e.s.w.latency(), func() { e.peer.fail("silent") })
}

// reset ends the stream at once.
func (e *end) reset() {
	if e == nil || !e.open {
		return
	}
	e.s.broken = true
	e.shut()
	e.s.w.after(e.s.w.noticing(), func() { e.peer.fail("reset by peer") })
}

// fail tells a side that its stream is no more.
func (e *end) fail(why string) {
	if !e.alive() {
		return
	}
	e.shut()
	e.node.do(func() error { return e.broke(why) })
}

// died ends the side of a node that stopped; the other side learns of it.
func (s *stream) died(n *node) {
	for _, e := range s.ends {
		if e.node == n && e.open {
			e.shut()
			s.w.after(s.w.noticing(), func() {
				if s.w.reaches(n, e.peer.node) {
					e.peer.fail("reset by peer")
				}
			})
		}
	}
}

// tear breaks a stream under both sides.
func (s *stream) tear() {
	s.broken = true
	for _, e := range s.ends {
		s.w.after(s.w.noticing(), func() { e.fail("broken pipe") })
	}
}

func (s *stream) dead() bool { return !s.ends[0].open && !s.ends[1].open }

// prune forgets streams that are over.
func (w *World) prune() {
	kept := w.links[:0]
	for _, s := range w.links {
		if !s.dead() {
			kept = append(kept, s)
		}
	}
	clear(w.links[len(kept):])
	w.links = kept
}
