package executor

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
)

// The parent and a child talk over one socket in frames: a type, the length of
// the body as a little-endian uint32, the body. The parent takes the child for
// hostile: it runs strangers' code.
type frameType byte

// Frames to the child.
const (
	frameSetup  frameType = iota + 1 // how to shut itself in; always the first
	frameModule                      // the program; then a child waits for tasks
	frameTask
	frameData // the answer to frameRead
	frameKept // in the place of frameModule: a skeleton, followed by compiled code
)

// frameCode, either way, is a part of compiled code; an empty one is its end.
const frameCode frameType = 64

// Frames from the child.
const (
	frameHello frameType = iota + 65 // the answer to frameSetup
	frameReady                       // the answer to frameModule: the program is compiled
	frameBad                         // the answer to frameModule: the program cannot run
	frameFault                       // the child could not do its work, and ends
	frameStdout
	frameStderr
	frameRead // asks for a range of an input file
	frameDir  // an output; frameFile is followed by frameBytes of its size
	frameFile
	frameBytes
	frameDone // the task's result; a child then waits for the next
	frameProgress
	frameMade // before frameReady: the skeleton of what was compiled, followed by its code
)

const (
	frameHeader  = 5
	maxTaskFrame = 64 << 20
	maxRead      = 1 << 20   // bytes in one frameData
	maxCode      = 1 << 20   // bytes in one frameCode
	maxBulk      = 256 << 10 // bytes in one frameStdout, frameStderr or frameBytes
	maxText      = 4096      // bytes of reasons and details
)

// bodyLimit is the longest body of a frame of type t; of one that does not
// exist, -1.
func bodyLimit(t frameType) int64 {
	switch t {
	case frameSetup, frameRead, frameDone:
		return 128
	case frameModule:
		return loadHeader + maxModuleFrame
	case frameKept, frameMade:
		return maxModuleFrame
	case frameCode:
		return maxCode
	case frameTask:
		return maxTaskFrame
	case frameData:
		return maxRead
	case frameHello:
		return 16 << 10
	case frameReady:
		return 0
	case frameBad, frameFault:
		return maxText
	case frameStdout, frameStderr, frameBytes:
		return maxBulk
	case frameProgress:
		return 4 + maxProgressLine
	case frameDir, frameFile:
		return MaxPath + 16
	}
	return -1
}

var errProtocol = errors.New("protocol broken")

// A frameConn reads and writes frames. One goroutine may read at a time; any
// may write.
type frameConn struct {
	r    *bufio.Reader
	body []byte

	mu sync.Mutex
	w  *bufio.Writer
}

func newFrameConn(rw io.ReadWriter) *frameConn {
	return &frameConn{r: bufio.NewReaderSize(rw, 16<<10), w: bufio.NewWriterSize(rw, 64<<10)}
}

// next reads one frame. The body is good until the following call.
func (c *frameConn) next() (frameType, []byte, error) {
	t, n, err := c.header()
	if err != nil {
		return 0, nil, err
	}
	body, err := c.read(n)
	return t, body, err
}

// header reads the beginning of a frame, whose body of n bytes is still to be
// read.
func (c *frameConn) header() (t frameType, n int, err error) {
	h, err := c.r.Peek(frameHeader)
	if err != nil {
		return 0, 0, err
	}
	t, size := frameType(h[0]), int64(binary.LittleEndian.Uint32(h[1:]))
	c.r.Discard(frameHeader)
	if limit := bodyLimit(t); size > limit {
		return 0, 0, fmt.Errorf("%w: frame of type %d with %d bytes", errProtocol, t, size)
	}
	return t, int(size), nil
}

// read reads n bytes, allocating only as they arrive. Large bodies are not
// kept for the next frame.
func (c *frameConn) read(n int) ([]byte, error) {
	const keep = maxRead
	if n <= keep {
		if cap(c.body) < n {
			c.body = make([]byte, max(n, 4096))
		}
		_, err := io.ReadFull(c.r, c.body[:n])
		return c.body[:n], err
	}
	var big []byte
	for len(big) < n {
		at := len(big)
		big = append(big, make([]byte, min(n-at, 4*keep))...)
		if _, err := io.ReadFull(c.r, big[at:]); err != nil {
			return nil, err
		}
	}
	return big, nil
}

// put queues one frame; flush sends what is queued.
func (c *frameConn) put(t frameType, body ...[]byte) error {
	n := 0
	for _, b := range body {
		n += len(b)
	}
	if int64(n) > bodyLimit(t) {
		return fmt.Errorf("%w: frame of type %d with %d bytes", errProtocol, t, n)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	var h [frameHeader]byte
	h[0] = byte(t)
	binary.LittleEndian.PutUint32(h[1:], uint32(n))
	c.w.Write(h[:])
	for _, b := range body {
		c.w.Write(b)
	}
	if c.w.Buffered() == 0 {
		return c.w.Flush() // an error is sticky and comes out here
	}
	return nil
}

func (c *frameConn) flush() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.w.Flush()
}

// send queues one frame and sends everything.
func (c *frameConn) send(t frameType, body ...[]byte) error {
	if err := c.put(t, body...); err != nil {
		return err
	}
	return c.flush()
}
