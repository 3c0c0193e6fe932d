package simnet

import "time"

// split cuts the way from some nodes to others for a while.
func (w *World) split(from, to []int, d time.Duration) {
	for _, a := range from {
		for _, b := range to {
			if a != b {
				w.splitOne(w.nodes[a], w.nodes[b], d)
			}
		}
	}
}

func (w *World) splitOne(a, b *node, d time.Duration) {
	w.cut[a.index][b.index]++
	w.keeper.blemish(a, b)
	for _, s := range w.links {
		for _, e := range s.ends {
			if e.node == b && e.peer.node == a && e.open && d > silence {
				w.after(silence+w.latency(), func() { e.fail("silent") })
			}
		}
	}
	w.after(d, func() {
		w.cut[a.index][b.index]--
		if w.cut[a.index][b.index] > 0 {
			return
		}
		for _, s := range w.links {
			for _, e := range s.ends {
				if e.node == b && e.peer.node == a {
					e.unstick()
				}
			}
		}
	})
}

func (e *end) unstick() {
	stuck := e.stuck
	e.stuck = nil
	for _, msg := range stuck {
		e.arrive(msg)
	}
}
