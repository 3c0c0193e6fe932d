package executor

import "encoding/binary"

// Bodies are written as little-endian integers, and strings as a uint32 length
// and bytes.

func appendU32(b []byte, v uint32) []byte { return binary.LittleEndian.AppendUint32(b, v) }
func appendU64(b []byte, v uint64) []byte { return binary.LittleEndian.AppendUint64(b, v) }

func appendBool(b []byte, v bool) []byte {
	if v {
		return append(b, 1)
	}
	return append(b, 0)
}

func appendString(b []byte, s string) []byte {
	return append(appendU32(b, uint32(len(s))), s...)
}

func appendStrings(b []byte, list []string) []byte {
	b = appendU32(b, uint32(len(list)))
	for _, s := range list {
		b = appendString(b, s)
	}
	return b
}

// A decoder reads a body. After the first fault everything reads as zero; ok
// tells at the end whether there was none and nothing is left over.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) ok() bool { return !d.bad && len(d.b) == 0 }

func (d *decoder) take(n int) []byte {
	if d.bad || n < 0 || n > len(d.b) {
		d.bad = true
		return nil
	}
	p := d.b[:n]
	d.b = d.b[n:]
	return p
}

func (d *decoder) u8() byte {
	if p := d.take(1); p != nil {
		return p[0]
	}
	return 0
}

func (d *decoder) u32() uint32 {
	if p := d.take(4); p != nil {
		return binary.LittleEndian.Uint32(p)
	}
	return 0
}

func (d *decoder) u64() uint64 {
	if p := d.take(8); p != nil {
		return binary.LittleEndian.Uint64(p)
	}
	return 0
}

func (d *decoder) bool() bool {
	v := d.u8()
	d.bad = d.bad || v > 1
	return v == 1
}

func (d *decoder) str(limit int) string {
	n := d.u32()
	if int64(n) > int64(limit) {
		d.bad = true
		return ""
	}
	return string(d.take(int(n)))
}

// count reads how many items follow, each of at least size bytes.
func (d *decoder) count(size int) int {
	n := int64(d.u32())
	if n*int64(size) > int64(len(d.b)) {
		d.bad = true
		return 0
	}
	return int(n)
}

func (d *decoder) strings(limit int) []string {
	n := d.count(4)
	list := make([]string, 0, n)
	for range n {
		list = append(list, d.str(limit))
	}
	return list
}
