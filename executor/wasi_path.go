package executor

import "strings"

const (
	openCreate = 1 << iota
	openDirectory
	openExclusive
	openTruncate
)

// path gives the place that a directory and a path in guest memory mean.
func (h *host) path(fd, p, n uint64) (place, errno) {
	d, e := h.dir(fd)
	if e != 0 {
		return place{}, e
	}
	if n > MaxPath {
		return place{}, eNameTooLong
	}
	name := h.g.str(uint32(p), uint32(n))
	if h.g.fault {
		return place{}, eFault
	}
	h.meter.spend(fuelComponent * uint64(1+strings.Count(name, "/")))
	return h.fs.resolve(d.node, name)
}

func (h *host) pathCreateDirectory(s []uint64) errno {
	at, e := h.path(s[0], s[1], s[2])
	if e == 0 {
		_, e = h.fs.create(at, true)
	}
	return e
}

func (h *host) pathRemoveDirectory(s []uint64) errno {
	at, e := h.path(s[0], s[1], s[2])
	if e == 0 {
		e = h.fs.rmdir(at)
	}
	return e
}

func (h *host) pathUnlinkFile(s []uint64) errno {
	at, e := h.path(s[0], s[1], s[2])
	if e == 0 {
		e = h.fs.unlink(at)
	}
	return e
}

func (h *host) pathRename(s []uint64) errno {
	from, e := h.path(s[0], s[1], s[2])
	if e != 0 {
		return e
	}
	to, e := h.path(s[3], s[4], s[5])
	if e != 0 {
		return e
	}
	if from.node != nil && from.node.isDir() && to.dir != nil {
		h.meter.spend(fuelComponent * to.dir.depth()) // it must not go into itself
	}
	return h.fs.rename(from, to)
}

// pathReadlink finds no links: nothing makes any.
func (h *host) pathReadlink(s []uint64) errno {
	at, e := h.path(s[0], s[1], s[2])
	switch {
	case e != 0:
		return e
	case at.node == nil:
		return eNoEnt
	}
	return eInval
}

func (h *host) pathFileStatGet(s []uint64) errno {
	at, e := h.path(s[0], s[2], s[3])
	switch {
	case e != 0:
		return e
	case at.node == nil:
		return eNoEnt
	}
	fileType, size := byte(typeDirectory), uint64(0)
	if !at.node.isDir() {
		fileType, size = typeRegular, uint64(at.node.data.size)
	}
	h.putFileStat(uint32(s[4]), at.node.ino, fileType, size)
	return eOK
}

// pathFileStatSetTimes does nothing: times are always zero.
func (h *host) pathFileStatSetTimes(s []uint64) errno {
	at, e := h.path(s[0], s[2], s[3])
	if e == 0 && at.node == nil {
		e = eNoEnt
	}
	return e
}

func (h *host) pathOpen(s []uint64) errno {
	at, e := h.path(s[0], s[2], s[3])
	if e != 0 {
		return e
	}
	flags, rights := s[4], s[5]&rightsAll
	if s[7] > flagsKnown {
		return eInval
	}
	if at.node == nil {
		if flags&openCreate == 0 {
			return eNoEnt
		}
	} else if e := mayOpen(at.node, flags, rights); e != 0 {
		return e
	}
	return h.openPlace(at, s)
}

// mayOpen tells whether a file that exists can be opened so.
func mayOpen(n *node, flags, rights uint64) errno {
	switch {
	case flags&(openCreate|openExclusive) == openCreate|openExclusive:
		return eExist
	case flags&openDirectory != 0 && !n.isDir():
		return eNotDir
	case n.isDir() && flags&openDirectory == 0 && rights&rightWrite != 0:
		return eIsDir
	case n.isDir() && flags&(openTruncate|openCreate) != 0:
		return eIsDir
	case flags&openTruncate != 0 && rights&rightWrite == 0:
		return eInval
	}
	return eOK
}

// openPlace does the work of path_open once all is known to be allowed.
func (h *host) openPlace(at place, s []uint64) errno {
	flags, rights := s[4], s[5]&rightsAll
	d := &desc{kind: kindFile, node: at.node, flags: uint16(s[7]), rights: rights}
	if at.node == nil {
		if flags&openDirectory != 0 {
			return eInval
		}
		n, e := h.fs.create(at, false)
		if e != 0 {
			return e
		}
		d.node = n
	} else if at.node.isDir() {
		d.kind, d.rights = kindDir, rightsAll
	}
	fd, e := h.open(d)
	if e != 0 {
		return e
	}
	if flags&openTruncate != 0 {
		h.resize(d.node, 0)
	}
	h.g.put32(uint32(s[8]), fd)
	return eOK
}
