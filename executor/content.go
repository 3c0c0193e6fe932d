package executor

const (
	chunkSize = 64 << 10
	maxFile   = 1 << 40 // bytes in one file
	noBase    = 1<<32 - 2
)

// A content is the bytes of one file. It is made of chunks of chunkSize; each
// is either still the input's or the file's own. What is its own counts
// against the quota, holes included.
//
// Invariant: if the file is longer than the part that comes from the input,
// the last chunk of that part is whole or the file's own.
type content struct {
	size      int64
	base      uint32           // number of the input file
	baseSize  int64            // chunks before this, not in own, are the input's
	baseBytes int64            // how many bytes are the input's
	own       map[int64][]byte // by chunk number; zeros follow what is there
}

func newContent(base uint32, size int64) content {
	return content{size: size, base: base, baseSize: size, baseBytes: size}
}

// charge is what c counts against the quota.
func (c *content) charge() uint64 { return uint64(c.size - c.baseBytes) }

// fromBase gives how many bytes of chunk i are the input's.
func (c *content) fromBase(i int64) int64 {
	if _, ok := c.own[i]; ok {
		return 0
	}
	return min(max(c.baseSize-i*chunkSize, 0), chunkSize)
}

// growCost is how much more c counts after growing to size.
func (c *content) growCost(size int64) uint64 {
	cost := size - c.size
	if tail := c.size / chunkSize; c.size%chunkSize != 0 {
		cost += c.fromBase(tail)
	}
	return uint64(cost)
}

// writeCost is how much more c counts after writing from off to end.
func (c *content) writeCost(off, end int64) uint64 {
	cost, tail := uint64(0), int64(-1)
	if end > c.size {
		cost = c.growCost(end)
		tail = c.size / chunkSize // already counted
	}
	for i := off / chunkSize; i*chunkSize < min(end, c.baseSize); i++ {
		if i != tail {
			cost += uint64(c.fromBase(i))
		}
	}
	return cost
}

func (c *content) grow(in fetcher, size int64) {
	if c.size%chunkSize != 0 {
		c.materialise(in, c.size/chunkSize)
	}
	c.size = size
}

// materialise makes chunk i the file's own, if it is the input's.
func (c *content) materialise(in fetcher, i int64) {
	n := c.fromBase(i)
	if n == 0 {
		return
	}
	b := make([]byte, n)
	in(c.base, b, i*chunkSize)
	c.disown(i)
	c.set(i, b)
}

// disown stops counting chunk i as the input's.
func (c *content) disown(i int64) { c.baseBytes -= c.fromBase(i) }

func (c *content) set(i int64, b []byte) {
	if c.own == nil {
		c.own = map[int64][]byte{}
	}
	c.own[i] = b
}

func (c *content) shrink(size int64) {
	last := (size + chunkSize - 1) / chunkSize // the first chunk that goes
	for i := last; i*chunkSize < c.baseSize; i++ {
		c.disown(i)
	}
	for i := range c.own {
		if i >= last {
			delete(c.own, i)
		}
	}
	if i := last - 1; size%chunkSize != 0 {
		keep := size - i*chunkSize
		if b, ok := c.own[i]; ok && int64(len(b)) > keep {
			clear(b[keep:])
			c.own[i] = b[:keep]
		} else if n := c.fromBase(i); n > keep {
			c.baseBytes -= n - keep
		}
	}
	c.size, c.baseSize = size, min(c.baseSize, size)
}

// write puts p at off; the caller has seen to the quota.
func (c *content) write(in fetcher, p []byte, off int64) {
	if end := off + int64(len(p)); end > c.size {
		c.grow(in, end)
	}
	for len(p) > 0 {
		i, at := off/chunkSize, int(off%chunkSize)
		n := min(len(p), chunkSize-at)
		if at > 0 || int64(n) < c.fromBase(i) {
			c.materialise(in, i)
		}
		copy(c.room(i, at+n)[at:], p[:n])
		p, off = p[n:], off+int64(n)
	}
}

// room gives chunk i as the file's own, with at least n bytes.
func (c *content) room(i int64, n int) []byte {
	c.disown(i)
	b := c.own[i]
	if n > cap(b) {
		b = append(make([]byte, 0, min(max(n, 2*cap(b), 512), chunkSize)), b...)
	}
	if n > len(b) {
		b = b[:n]
	}
	c.set(i, b)
	return b
}

func (c *content) readAt(in fetcher, p []byte, off int64) int {
	if off >= c.size {
		return 0
	}
	p = p[:min(int64(len(p)), c.size-off)]
	total := len(p)
	for len(p) > 0 {
		n := c.readChunk(in, p, off)
		p, off = p[n:], off+int64(n)
	}
	return total
}

// readChunk fills p as far as the chunk at off goes.
func (c *content) readChunk(in fetcher, p []byte, off int64) int {
	i, at := off/chunkSize, off%chunkSize
	p = p[:min(int64(len(p)), chunkSize-at)]
	if b, ok := c.own[i]; ok {
		n := 0
		if at < int64(len(b)) {
			n = copy(p, b[at:])
		}
		clear(p[n:])
	} else if c.fromBase(i) > at {
		in(c.base, p, off)
	} else {
		clear(p)
	}
	return len(p)
}
