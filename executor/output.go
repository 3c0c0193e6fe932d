package executor

import (
	"path"
	"sync"
	"time"
)

const (
	outputRun   = 32 << 10              // bytes of one stream that are gathered into a frame
	outputDelay = 50 * time.Millisecond // between two times that it is sent, on average
	outputBurst = 4                     // times that may follow at once
)

// An output gathers what the guest writes to stdout and stderr, in order, and
// sends it: at once if little was sent lately, else when there is much of it or
// it has waited for a while. Of what the guest says of its progress only the
// latest goes along.
type output struct {
	conn *frameConn

	mu       sync.Mutex
	stream   frameType
	run      []byte
	progress progressReader
	next     time.Time // when it would be sent if that were done evenly
	timer    *time.Timer
	waiting  bool // the timer runs
	over     bool
}

func newOutput(conn *frameConn) *output { return &output{conn: conn, next: time.Now()} }

func (o *output) write(t frameType, p []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if t == frameProgress {
		o.progress.write(p)
	} else {
		o.gather(t, p)
	}
	now := time.Now()
	if wait := o.next.Sub(now) - (outputBurst-1)*outputDelay; wait <= 0 {
		o.send(now)
	} else if !o.waiting {
		o.wait(wait)
	}
}

func (o *output) gather(t frameType, p []byte) {
	if t != o.stream {
		o.emit()
		o.stream = t
	}
	for len(p) > 0 {
		n := min(len(p), outputRun-len(o.run))
		o.run = append(o.run, p[:n]...)
		if p = p[n:]; len(o.run) == outputRun {
			o.emit()
		}
	}
}

// wait has late send what the guest wrote before it fell silent. That is all it
// can do, and not always in time: while the collector of garbage waits for a
// guest that computes without a call, nothing else runs.
func (o *output) wait(d time.Duration) {
	if o.waiting = true; o.timer == nil {
		o.timer = time.AfterFunc(d, o.late)
	} else {
		o.timer.Reset(d)
	}
}

func (o *output) late() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.waiting = false; !o.over && (len(o.run) > 0 || o.progress.news) {
		o.send(time.Now())
	}
}

// send sends everything. Its errors come back from every later use of the
// connection.
func (o *output) send(now time.Time) {
	if o.next.Before(now) {
		o.next = now
	}
	o.next = o.next.Add(outputDelay)
	o.queue()
	o.conn.flush()
}

func (o *output) queue() {
	o.emit()
	if body, ok := o.progress.take(); ok {
		o.conn.put(frameProgress, body)
	}
}

func (o *output) emit() {
	if len(o.run) > 0 {
		o.conn.put(o.stream, o.run)
		o.run = o.run[:0]
	}
}

// end queues what is left, when the guest has ended. Nothing follows.
func (o *output) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.over = true
	if o.timer != nil {
		o.timer.Stop()
	}
	o.queue()
}

// sendOutput sends what stands at p after the end of the guest, if anything.
func sendOutput(conn *frameConn, fs *fsys, p string) error {
	at, e := fs.resolve(fs.root, p)
	if e != 0 || at.node == nil {
		return nil // the guest took it away
	}
	return sendNode(conn, fs, p, at.node)
}

func sendNode(conn *frameConn, fs *fsys, p string, n *node) error {
	if len(p) > MaxPath {
		return nil // reached by steps; no sink could name it
	}
	if !n.isDir() {
		return sendFile(conn, fs, p, n)
	}
	if err := conn.put(frameDir, appendString(nil, p)); err != nil {
		return err
	}
	for _, kid := range n.list() {
		if err := sendNode(conn, fs, path.Join(p, kid.name), kid.node); err != nil {
			return err
		}
	}
	return nil
}

func sendFile(conn *frameConn, fs *fsys, p string, n *node) error {
	if err := conn.put(frameFile, encodeFile(p, n.data.size)); err != nil {
		return err
	}
	buf := make([]byte, min(n.data.size, maxBulk))
	for off := int64(0); off < n.data.size; {
		k := fs.readAt(n, buf, off)
		if err := conn.put(frameBytes, buf[:k]); err != nil {
			return err
		}
		off += int64(k)
	}
	return nil
}
