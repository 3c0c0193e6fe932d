package executor

// create makes a file or a directory where at points to.
func (fs *fsys) create(at place, dir bool) (*node, errno) {
	switch {
	case at.node != nil || at.dir == nil:
		return nil, eExist
	case at.slash && !dir:
		return nil, eIsDir
	case fs.created >= maxNodes:
		return nil, eNoSpc
	}
	n := fs.newNode(dir)
	n.added = true
	fs.created++
	fs.attach(at.dir, at.name, n)
	return n, eOK
}

// unlink takes a file out of the tree; it lives on while it is open.
func (fs *fsys) unlink(at place) errno {
	switch {
	case at.node == nil:
		return eNoEnt
	case at.node.isDir():
		return eIsDir
	}
	fs.detach(at)
	return eOK
}

// rmdir takes an empty directory out of the tree.
func (fs *fsys) rmdir(at place) errno {
	switch {
	case at.node == nil:
		return eNoEnt
	case !at.node.isDir():
		return eNotDir
	case at.dir == nil:
		return eInval
	case len(at.node.kids) > 0:
		return eNotEmpty
	}
	fs.detach(at)
	return eOK
}

func (fs *fsys) detach(at place) {
	delete(at.dir.kids, at.name)
	at.dir.sorted = nil
	at.node.gone = true
	fs.forget(at.node)
}

// forget gives back what n took, once it is neither in the tree nor open.
func (fs *fsys) forget(n *node) {
	if !n.gone || n.opens > 0 {
		return
	}
	if n.added {
		fs.created--
	}
	if !n.isDir() {
		fs.quota.give(n.data.charge())
		n.data = content{base: noBase}
	}
}

// rename moves what from points to, replacing a file or an empty directory of
// the same kind.
func (fs *fsys) rename(from, to place) errno {
	switch {
	case from.node == nil:
		return eNoEnt
	case from.dir == nil || to.dir == nil:
		return eBusy
	case from.node == to.node:
		return eOK
	case from.node.isDir() && inside(to.dir, from.node):
		return eInval
	case to.slash && !from.node.isDir():
		return eNotDir
	}
	if to.node != nil {
		if e := replaceable(from.node, to.node); e != 0 {
			return e
		}
		fs.detach(to)
	}
	delete(from.dir.kids, from.name)
	from.dir.sorted = nil
	fs.attach(to.dir, to.name, from.node)
	return eOK
}

func replaceable(by, old *node) errno {
	switch {
	case old.isDir() && !by.isDir():
		return eIsDir
	case !old.isDir() && by.isDir():
		return eNotDir
	case old.isDir() && len(old.kids) > 0:
		return eNotEmpty
	}
	return eOK
}

// inside tells whether directory d is top or below it.
func inside(d, top *node) bool {
	for d != top && d.parent != d {
		d = d.parent
	}
	return d == top
}

// readAt fills p from a file; it gives less only at the end.
func (fs *fsys) readAt(n *node, p []byte, off int64) int { return n.data.readAt(fs.input, p, off) }

// writeAt writes all of p or nothing.
func (fs *fsys) writeAt(n *node, p []byte, off int64) errno {
	if len(p) == 0 {
		return eOK
	}
	if off < 0 || off > maxFile-int64(len(p)) {
		return eFBig
	}
	if !fs.quota.take(n.data.writeCost(off, off+int64(len(p)))) {
		return eNoSpc
	}
	n.data.write(fs.input, p, off)
	return eOK
}

// resize cuts a file, or lets it grow by zeros.
func (fs *fsys) resize(n *node, size int64) errno {
	if size < 0 || size > maxFile {
		return eFBig
	}
	before := n.data.charge()
	if size > n.data.size {
		if !fs.quota.take(n.data.growCost(size)) {
			return eNoSpc
		}
		n.data.grow(fs.input, size)
		return eOK
	}
	n.data.shrink(size)
	fs.quota.give(before - n.data.charge())
	return eOK
}
