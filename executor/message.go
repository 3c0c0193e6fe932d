package executor

import (
	"fmt"
	"time"
)

// A setup tells a child how to shut itself in.
type setup struct {
	spaces    bool // it was started in namespaces of its own
	omit      layerSet
	maxMemory uint64 // the most that a task may get
	maxDisk   uint64
}

func (s setup) encode() []byte {
	b := appendU32(appendBool(nil, s.spaces), uint32(s.omit))
	return appendU64(appendU64(b, s.maxMemory), s.maxDisk)
}

func decodeSetup(body []byte) (setup, error) {
	d := decoder{b: body}
	s := setup{spaces: d.bool(), omit: layerSet(d.u32()), maxMemory: d.u64(), maxDisk: d.u64()}
	if !d.ok() {
		return setup{}, fmt.Errorf("%w: setup", errProtocol)
	}
	return s, nil
}

func encodeHello(layers []Layer) []byte {
	b := appendU32(nil, uint32(len(layers)))
	for _, l := range layers {
		b = appendString(appendBool(appendString(b, l.Name), l.On), l.Detail)
	}
	return b
}

func decodeHello(body []byte) ([]Layer, error) {
	d := decoder{b: body}
	layers := make([]Layer, 0, d.count(9))
	for range cap(layers) {
		layers = append(layers, Layer{Name: d.str(64), On: d.bool(), Detail: d.str(maxText)})
	}
	if !d.ok() {
		return nil, fmt.Errorf("%w: hello", errProtocol)
	}
	return layers, nil
}

// An order is a task as the child sees it. Input files are numbered by their
// place in entries.
type order struct {
	args, env []string
	stdin     int64 // bytes
	entries   []Entry
	outputs   []string // relative
	seed      [32]byte
	memory    uint64
	disk      uint64
	fuel      uint64 // 0: MaxFuel
}

func (o order) encode() []byte {
	n := 128
	for i := range o.entries {
		n += len(o.entries[i].Path) + 12
	}
	b := appendStrings(make([]byte, 0, n), o.args)
	b = appendStrings(b, o.env)
	b = appendU64(b, uint64(o.stdin))
	b = appendU32(b, uint32(len(o.entries)))
	for _, e := range o.entries {
		b = appendU64(appendString(b, e.Path), entrySize(e))
	}
	b = appendStrings(b, o.outputs)
	b = append(b, o.seed[:]...)
	return appendU64(appendU64(appendU64(b, o.memory), o.disk), o.fuel)
}

const dirSize = 1 << 63 // stands for the size of a directory

func entrySize(e Entry) uint64 {
	if e.Dir {
		return dirSize
	}
	return uint64(e.Size)
}

// decodeOrder reads the body of a frameTask. It does not look at paths: newTree
// does.
func decodeOrder(body []byte) (order, error) {
	d := decoder{b: body}
	o := order{args: d.strings(maxArgs), env: d.strings(maxArgs), stdin: int64(d.u64())}
	n := d.count(12)
	o.entries = make([]Entry, 0, n)
	for range n {
		e := Entry{Path: d.str(MaxPath)}
		size := d.u64()
		if e.Dir = size == dirSize; !e.Dir {
			e.Size = int64(size)
		}
		d.bad = d.bad || e.Size < 0
		o.entries = append(o.entries, e)
	}
	o.outputs = d.strings(MaxPath)
	copy(o.seed[:], d.take(len(o.seed)))
	o.memory, o.disk, o.fuel = d.u64(), d.u64(), d.u64()
	if !d.ok() || o.fuel > MaxFuel || n > MaxEntries || o.stdin < 0 {
		return order{}, fmt.Errorf("%w: task", errProtocol)
	}
	return o, nil
}

// A readRequest asks for a range of input file number file.
type readRequest struct {
	file uint32
	off  uint64
	n    uint32
}

const stdinFile = 1<<32 - 1 // stands for the number of stdin

func (r readRequest) encode() []byte {
	return appendU32(appendU64(appendU32(nil, r.file), r.off), r.n)
}

func decodeRead(body []byte) (readRequest, error) {
	d := decoder{b: body}
	r := readRequest{file: d.u32(), off: d.u64(), n: d.u32()}
	if !d.ok() || r.n > maxRead {
		return readRequest{}, fmt.Errorf("%w: read", errProtocol)
	}
	return r, nil
}

// Traps are the words that Result.Trap may hold.
var Traps = []string{
	"unreachable",
	"integer divide by zero",
	"integer overflow",
	"invalid conversion to integer",
	"out of bounds memory access",
	"invalid table access",
	"indirect call type mismatch",
	"null reference",
	trapStack,
	trapMemory,
}

// done is the end of a task, as the child tells it.
type done struct {
	outcome Outcome
	code    uint32
	trap    int // in Traps
	cpu     time.Duration
	fuel    uint64
	peak    uint64
	full    bool // a write found no room on the disk
}

func (r done) encode() []byte {
	b := appendU32([]byte{byte(r.outcome)}, r.code)
	b = append(b, byte(r.trap))
	return appendBool(appendU64(appendU64(appendU64(b, uint64(r.cpu)), r.fuel), r.peak), r.full)
}

func decodeDone(body []byte) (done, error) {
	d := decoder{b: body}
	r := done{outcome: Outcome(d.u8()), code: d.u32(), trap: int(d.u8()), cpu: time.Duration(d.u64()), fuel: d.u64(), peak: d.u64(), full: d.bool()}
	if !d.ok() || r.outcome > OutOfFuel || r.trap >= len(Traps) || r.cpu < 0 || r.fuel > MaxFuel {
		return done{}, fmt.Errorf("%w: result", errProtocol)
	}
	return r, nil
}

func encodeFile(path string, size int64) []byte {
	return appendString(appendU64(nil, uint64(size)), path)
}

func decodeFile(body []byte) (path string, size int64, err error) {
	d := decoder{b: body}
	size, path = int64(d.u64()), d.str(MaxPath)
	if !d.ok() || size < 0 {
		return "", 0, fmt.Errorf("%w: file", errProtocol)
	}
	return path, size, nil
}
