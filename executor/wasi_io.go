package executor

import "encoding/binary"

const maxVectors = 1024

// vectors calls f with each buffer of a list of them, until f says that it is
// enough, and gives the sum of what f took.
func (h *host) vectors(at, count uint32, f func(p []byte) (int, errno)) (uint32, errno) {
	if count > maxVectors {
		return 0, eInval
	}
	total := uint32(0)
	for i := range count {
		h.meter.spend(fuelEntry)
		p := h.g.bytes(h.g.u32(at+i*8), h.g.u32(at+i*8+4))
		if h.g.fault {
			return total, eFault
		}
		n, e := f(p)
		total += uint32(n)
		if e != 0 && total == 0 {
			return 0, e
		}
		if e != 0 || n < len(p) {
			break
		}
	}
	return total, eOK
}

func (h *host) fdRead(s []uint64) errno {
	d, e := h.fd(s[0])
	if e != 0 {
		return e
	}
	return h.read(d, s[1:3], uint32(s[3]), &d.pos)
}

func (h *host) fdPread(s []uint64) errno {
	d, e := h.file(s[0])
	if e != 0 {
		return e
	}
	if int64(s[3]) < 0 {
		return eInval
	}
	pos := int64(s[3])
	return h.read(d, s[1:3], uint32(s[4]), &pos)
}

func (h *host) read(d *desc, vec []uint64, count uint32, pos *int64) errno {
	switch {
	case d.kind == kindDir:
		return eIsDir
	case d.rights&rightRead == 0:
		return eBadF
	}
	n, e := h.vectors(uint32(vec[0]), uint32(vec[1]), func(p []byte) (int, errno) {
		n := h.readAt(d, p, *pos)
		*pos += int64(n)
		return n, eOK
	})
	if e == 0 {
		h.g.put32(count, n)
	}
	return e
}

func (h *host) readAt(d *desc, p []byte, off int64) int {
	if d.kind == kindFile {
		return h.fs.readAt(d.node, p, off)
	}
	p = p[:min(int64(len(p)), max(h.stdin-off, 0))]
	if len(p) > 0 {
		h.fs.input(stdinFile, p, off)
	}
	return len(p)
}

func (h *host) fdWrite(s []uint64) errno {
	d, e := h.fd(s[0])
	if e != 0 {
		return e
	}
	if d.kind == kindFile && d.flags&flagAppend != 0 {
		d.pos = d.node.data.size
	}
	return h.writeAll(d, s[1:3], uint32(s[3]), &d.pos)
}

func (h *host) fdPwrite(s []uint64) errno {
	d, e := h.file(s[0])
	if e != 0 {
		return e
	}
	if int64(s[3]) < 0 {
		return eInval
	}
	pos := int64(s[3])
	return h.writeAll(d, s[1:3], uint32(s[4]), &pos)
}

func (h *host) writeAll(d *desc, vec []uint64, count uint32, pos *int64) errno {
	switch {
	case d.kind == kindDir:
		return eIsDir
	case d.rights&rightWrite == 0:
		return eBadF
	}
	n, e := h.vectors(uint32(vec[0]), uint32(vec[1]), func(p []byte) (int, errno) {
		if e := h.writeAt(d, p, *pos); e != 0 {
			return 0, e
		}
		*pos += int64(len(p))
		return len(p), eOK
	})
	if e == 0 {
		h.g.put32(count, n)
	}
	return e
}

// writeAt writes all of p or nothing.
func (h *host) writeAt(d *desc, p []byte, off int64) errno {
	switch d.kind {
	case kindFile:
		return h.fs.writeAt(d.node, p, off)
	case kindProgress:
		h.write(frameProgress, p)
		return eOK
	}
	if !h.fs.quota.take(uint64(len(p))) {
		return eNoSpc
	}
	t := frameStdout
	if d.kind == kindStderr {
		t = frameStderr
	}
	h.write(t, p)
	return eOK
}

// fdReaddir lists ".", ".." and then the entries sorted. A cookie is a place in
// the listing, which is made when reading begins and does not change after.
func (h *host) fdReaddir(s []uint64) errno {
	d, e := h.dir(s[0])
	if e != 0 {
		return e
	}
	buf := h.g.bytes(uint32(s[1]), uint32(s[2]))
	if h.g.fault {
		return eFault
	}
	cookie := s[3]
	if cookie == 0 || d.listing == nil {
		if e := h.list(d); e != 0 {
			return e
		}
	}
	used := 0
	for ; cookie < uint64(len(d.listing))+2 && used < len(buf); cookie++ {
		h.meter.spend(fuelEntry)
		used += putDirent(buf[used:], cookie+1, h.entry(d, cookie))
	}
	h.g.put32(uint32(s[4]), uint32(used))
	return eOK
}

// maxListed is how many entries the listings that are being read may have
// together.
const maxListed = 1 << 19

// list takes the listing that d is read through.
func (h *host) list(d *desc) errno {
	kids := len(d.node.kids)
	h.meter.spend(fuelEntry * uint64(kids))
	listed := h.listed - len(d.listing) + kids
	if listed > maxListed {
		return eNoSpc
	}
	h.listed, d.listing = listed, d.node.list()
	return eOK
}

func (h *host) entry(d *desc, i uint64) dirent {
	switch i {
	case 0:
		return dirent{".", d.node}
	case 1:
		return dirent{"..", d.node.parent}
	}
	return d.listing[i-2]
}

// putDirent writes one entry, cut off where buf ends, as the interface has it.
func putDirent(buf []byte, next uint64, e dirent) int {
	var h [24]byte
	binary.LittleEndian.PutUint64(h[:], next)
	binary.LittleEndian.PutUint64(h[8:], e.node.ino)
	binary.LittleEndian.PutUint32(h[16:], uint32(len(e.name)))
	h[20] = typeRegular
	if e.node.isDir() {
		h[20] = typeDirectory
	}
	n := copy(buf, h[:])
	return n + copy(buf[n:], e.name)
}
