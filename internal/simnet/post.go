package simnet

// post sends a message without a stream: it may be lost, come twice, or be
// overtaken.
func (n *node) post(to *node, msg any) {
	w := n.w
	copies := 1
	if w.chance(w.cfg.Duplicate) {
		copies++
	}
	for range copies {
		if w.chance(w.cfg.Loss) {
			continue
		}
		w.after(w.latency(), func() {
			if w.reaches(n, to) && to.up {
				to.do(func() error { return to.proc.hear(n, msg) })
			}
		})
	}
}

// call asks a question; got is called once, with nil where no answer came.
func (n *node) call(to *node, msg any, got func(any) error) {
	w, life, answered := n.w, n.life, false
	reply := func(r any) func() error {
		return func() error {
			if answered {
				return nil
			}
			answered = true
			return got(r)
		}
	}
	n.after(callTimeout, reply(nil))
	w.after(w.latency(), func() {
		if !w.reaches(n, to) || !to.up {
			return
		}
		to.do(func() error {
			r, err := to.proc.serve(n, msg)
			if err == nil && w.reaches(to, n) && n.life == life {
				n.after(w.latency(), reply(r))
			}
			return err
		})
	})
}
