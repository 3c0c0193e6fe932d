package executor

import "encoding/binary"

// A desc is an open file.
type desc struct {
	kind    descKind
	node    *node // of a file or directory
	pos     int64
	flags   uint16
	rights  uint64
	preopen bool
	listing []dirent // what fd_readdir goes through
}

type descKind byte

const (
	kindStdin descKind = iota
	kindStdout
	kindStderr
	kindFile
	kindDir
	kindProgress
)

// progressFD is the number under which a guest says how far it is. It is always
// open.
const progressFD = 1000

// Rights, as far as they decide anything here, and flags.
const (
	rightRead  = 1 << 1
	rightWrite = 1 << 6
	rightsAll  = 1<<29 - 1
	rightsRead = rightRead | 1<<21 | 1<<27 // and filestat_get, poll

	flagAppend = 1 << 0
	flagsKnown = 1<<5 - 1
)

// File types as guests see them. Standard streams are of type "unknown", as
// pipes are elsewhere, so that no guest takes them for a terminal; that of
// progress is one where C's stdio sends each line at once.
const (
	typeUnknown   = 0
	typeCharacter = 2
	typeDirectory = 3
	typeRegular   = 4
)

func (d *desc) fileType() byte {
	switch d.kind {
	case kindFile:
		return typeRegular
	case kindDir:
		return typeDirectory
	case kindProgress:
		return typeCharacter
	}
	return typeUnknown
}

// fd gives the open file of that number.
func (h *host) fd(n uint64) (*desc, errno) {
	if n := uint32(n); n < uint32(len(h.fds)) && h.fds[n] != nil {
		return h.fds[n], eOK
	}
	return nil, eBadF
}

// file is fd for what has bytes and a position: not a stream, not a directory.
func (h *host) file(n uint64) (*desc, errno) {
	d, e := h.fd(n)
	switch {
	case e != 0:
		return nil, e
	case d.kind == kindDir:
		return nil, eIsDir
	case d.kind != kindFile:
		return nil, eSPipe
	}
	return d, eOK
}

// dir is fd for directories.
func (h *host) dir(n uint64) (*desc, errno) {
	d, e := h.fd(n)
	if e == 0 && d.kind != kindDir {
		return nil, eNotDir
	}
	return d, e
}

// open gives d the lowest free number.
func (h *host) open(d *desc) (uint32, errno) {
	n := 0
	for n < len(h.fds) && h.fds[n] != nil {
		n++
	}
	if n >= maxFDs {
		return 0, eMFile
	}
	if n == len(h.fds) {
		h.fds = append(h.fds, nil)
	}
	h.fds[n] = d
	d.node.opens++
	return uint32(n), eOK
}

func (h *host) close(d *desc) {
	h.listed -= len(d.listing)
	if d.node != nil {
		d.node.opens--
		h.fs.forget(d.node)
	}
}

// size is how many bytes d has.
func (h *host) size(d *desc) int64 {
	switch d.kind {
	case kindStdin:
		return h.stdin
	case kindFile:
		return d.node.data.size
	}
	return 0
}

// fdCheck serves the calls that only need an open file: nothing here is slow,
// written elsewhere, or has times.
func (h *host) fdCheck(s []uint64) errno {
	_, e := h.fd(s[0])
	return e
}

func (h *host) fdClose(s []uint64) errno {
	d, e := h.fd(s[0])
	if e == 0 && d.kind != kindProgress {
		h.fds[uint32(s[0])] = nil
		h.close(d)
	}
	return e
}

func (h *host) fdRenumber(s []uint64) errno {
	d, e := h.fd(s[0])
	old, e2 := h.fd(s[1])
	switch {
	case e != 0 || e2 != 0:
		return eBadF
	case d.kind == kindProgress || old.kind == kindProgress:
		return eNotSup
	case d != old:
		h.fds[uint32(s[1])], h.fds[uint32(s[0])] = d, nil
		h.close(old)
	}
	return eOK
}

func (h *host) fdStatGet(s []uint64) errno {
	d, e := h.fd(s[0])
	if e != 0 {
		return e
	}
	at := uint32(s[1])
	h.g.put64(at, uint64(d.fileType())|uint64(d.flags)<<16)
	h.g.put64(at+8, d.rights)
	h.g.put64(at+16, d.rights)
	return eOK
}

func (h *host) fdStatSetFlags(s []uint64) errno {
	d, e := h.fd(s[0])
	switch {
	case e != 0:
		return e
	case s[1] > flagsKnown:
		return eInval
	}
	d.flags = uint16(s[1])
	return eOK
}

func (h *host) fdStatSetRights(s []uint64) errno {
	d, e := h.fd(s[0])
	switch {
	case e != 0:
		return e
	case s[1]&^d.rights != 0:
		return eNotCapable
	}
	d.rights = s[1]
	return eOK
}

func (h *host) fdFileStatGet(s []uint64) errno {
	d, e := h.fd(s[0])
	if e != 0 {
		return e
	}
	ino := uint64(0)
	if d.node != nil {
		ino = d.node.ino
	}
	h.putFileStat(uint32(s[1]), ino, d.fileType(), uint64(h.size(d)))
	return eOK
}

// putFileStat writes a filestat: one device, one link, all times zero.
func (h *host) putFileStat(at uint32, ino uint64, fileType byte, size uint64) {
	b := h.g.bytes(at, 64)
	if b == nil {
		return
	}
	clear(b)
	binary.LittleEndian.PutUint64(b, 1)
	binary.LittleEndian.PutUint64(b[8:], ino)
	b[16] = fileType
	binary.LittleEndian.PutUint64(b[24:], 1)
	binary.LittleEndian.PutUint64(b[32:], size)
}

func (h *host) fdFileStatSetSize(s []uint64) errno {
	d, e := h.file(s[0])
	switch {
	case e != 0:
		return e
	case d.rights&rightWrite == 0:
		return eBadF
	}
	return h.resize(d.node, int64(s[1]))
}

// resize is that of fsys. Cutting a file takes fuel by what it has.
func (h *host) resize(n *node, size int64) errno {
	if size >= 0 && size <= n.data.size {
		h.meter.spend(uint64(n.data.size) >> fuelCutShift)
	}
	return h.fs.resize(n, size)
}

func (h *host) fdAllocate(s []uint64) errno {
	d, e := h.file(s[0])
	switch {
	case e != 0:
		return e
	case d.rights&rightWrite == 0:
		return eBadF
	case s[1] > maxFile || s[2] > maxFile || s[1]+s[2] > maxFile:
		return eFBig
	}
	if end := int64(s[1] + s[2]); end > d.node.data.size {
		return h.fs.resize(d.node, end)
	}
	return eOK
}

func (h *host) fdPrestatGet(s []uint64) errno {
	d, e := h.fd(s[0])
	if e != 0 || !d.preopen {
		return eBadF
	}
	h.g.put64(uint32(s[1]), 1<<32) // a directory whose name has one byte
	return eOK
}

func (h *host) fdPrestatDirName(s []uint64) errno {
	d, e := h.fd(s[0])
	switch {
	case e != 0 || !d.preopen:
		return eBadF
	case s[2] < 1:
		return eNameTooLong
	}
	copy(h.g.bytes(uint32(s[1]), 1), "/")
	return eOK
}

func (h *host) fdTell(s []uint64) errno {
	d, e := h.file(s[0])
	if e == 0 {
		h.g.put64(uint32(s[1]), uint64(d.pos))
	}
	return e
}

func (h *host) fdSeek(s []uint64) errno {
	d, e := h.file(s[0])
	if e != 0 {
		return e
	}
	from := int64(0)
	switch s[2] {
	case 0:
	case 1:
		from = d.pos
	case 2:
		from = d.node.data.size
	default:
		return eInval
	}
	pos := from + int64(s[1])
	if pos < 0 { // an overflow too: from is never negative
		return eInval
	}
	d.pos = pos
	h.g.put64(uint32(s[3]), uint64(pos))
	return eOK
}
