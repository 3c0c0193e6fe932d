package executor

import (
	"path"
	"time"
)

const (
	outputRun   = 32 << 10 // bytes of one stream that are gathered into a frame
	outputDelay = 50 * time.Millisecond
)

// An output gathers what the guest writes to stdout and stderr, in order, and
// sends it when there is much of it or when it has waited for a while.
type output struct {
	conn   *frameConn
	stream frameType
	run    []byte
	sent   time.Time // at first, when the task began
}

func (o *output) write(t frameType, p []byte) {
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
	if now := time.Now(); now.Sub(o.sent) > outputDelay {
		o.emit()
		o.conn.flush()
		o.sent = now
	}
}

// emit queues what was gathered. Its error comes back from every later use of
// the connection, too.
func (o *output) emit() error {
	if len(o.run) == 0 {
		return nil
	}
	err := o.conn.put(o.stream, o.run)
	o.run = o.run[:0]
	return err
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
