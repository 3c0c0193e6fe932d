package executor

import (
	"cmp"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"unicode/utf8"
)

// An fsys is the file tree of one task, all in memory. No path leads out of
// it: there is no way to anywhere else.
type fsys struct {
	root    *node
	lastIno uint64
	created int // nodes that the guest added and that still exist
	quota   quota
	input   fetcher
}

// A fetcher fills p from input file number file. It does not fail: a child
// whose parent is gone ends.
type fetcher func(file uint32, p []byte, off int64)

// A quota counts bytes against a limit.
type quota struct {
	used, limit uint64
	refused     bool // once at least
}

func (q *quota) take(n uint64) bool {
	if n > q.limit-q.used {
		q.refused = true
		return false
	}
	q.used += n
	return true
}

func (q *quota) give(n uint64) { q.used -= n }

// A node is a file or a directory.
type node struct {
	ino    uint64
	parent *node            // of a directory; itself at the root
	kids   map[string]*node // nil for a file
	sorted []dirent         // of kids, never changed once made; nil if stale
	data   content          // of a file
	opens  int
	gone   bool // not in the tree any more
	added  bool // by the guest
}

func (n *node) isDir() bool { return n.kids != nil }

// depth is how many directories a directory is below the root.
func (n *node) depth() (d uint64) {
	for ; n.parent != n; n = n.parent {
		d++
	}
	return d
}

// A dirent is one line of a directory listing.
type dirent struct {
	name string
	node *node
}

// list gives the kids sorted bytewise by name. It must not be changed.
func (n *node) list() []dirent {
	if n.sorted == nil {
		n.sorted = make([]dirent, 0, len(n.kids))
		for name, kid := range n.kids {
			n.sorted = append(n.sorted, dirent{name, kid})
		}
		slices.SortFunc(n.sorted, func(a, b dirent) int { return cmp.Compare(a.name, b.name) })
	}
	return n.sorted
}

// newTree builds the tree that a task starts with: its input, numbered in
// sorted order whatever order it came in, and then its outputs.
func newTree(entries []Entry, outputs []string, disk uint64, input fetcher) (*fsys, error) {
	fs := &fsys{quota: quota{limit: disk}, input: input}
	fs.root = fs.newNode(true)
	fs.root.parent = fs.root
	order := make([]int, len(entries))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return comparePaths(entries[a].Path, entries[b].Path) })
	for _, i := range order {
		if err := fs.addInput(uint32(i), entries[i]); err != nil {
			return nil, err
		}
	}
	for _, p := range outputs {
		if err := checkPath(p); err != nil {
			return nil, err
		}
		dir, err := fs.makeDirs(path.Dir(p))
		if err != nil {
			return nil, fmt.Errorf("output /%s: %w", p, err)
		}
		if name := path.Base(p); dir.kids[name] == nil {
			fs.attach(dir, name, fs.newNode(true))
		}
	}
	return fs, nil
}

func (fs *fsys) newNode(dir bool) *node {
	fs.lastIno++
	n := &node{ino: fs.lastIno}
	if dir {
		n.kids = map[string]*node{}
	} else {
		n.data.base = noBase
	}
	return n
}

func (fs *fsys) attach(dir *node, name string, n *node) {
	if n.isDir() {
		n.parent = dir
	}
	dir.kids[name] = n
	dir.sorted = nil
}

func (fs *fsys) addInput(number uint32, e Entry) error {
	if err := checkPath(e.Path); err != nil {
		return err
	}
	dir, err := fs.makeDirs(path.Dir(e.Path))
	if err != nil {
		return fmt.Errorf("input /%s: %w", e.Path, err)
	}
	name := path.Base(e.Path)
	if old := dir.kids[name]; old != nil && !(old.isDir() && e.Dir) {
		return fmt.Errorf("input /%s is there twice", e.Path)
	} else if old != nil {
		return nil
	}
	n := fs.newNode(e.Dir)
	if !e.Dir {
		n.data = newContent(number, e.Size)
	}
	fs.attach(dir, name, n)
	return nil
}

// makeDirs gives the node at p, making directories that are missing.
func (fs *fsys) makeDirs(p string) (*node, error) {
	cur := fs.root
	if p == "." {
		return cur, nil
	}
	for name := range strings.SplitSeq(p, "/") {
		next := cur.kids[name]
		if next == nil {
			next = fs.newNode(true)
			fs.attach(cur, name, next)
		}
		if cur = next; !cur.isDir() {
			return nil, errors.New("a file of the input is in its way")
		}
	}
	return cur, nil
}

// comparePaths orders paths as a walk of the tree meets them: depth first,
// siblings bytewise.
func comparePaths(a, b string) int {
	for {
		x, restA, moreA := strings.Cut(a, "/")
		y, restB, moreB := strings.Cut(b, "/")
		if c := cmp.Compare(x, y); c != 0 {
			return c
		}
		if !moreA || !moreB {
			return cmp.Compare(boolInt(moreA), boolInt(moreB))
		}
		a, b = restA, restB
	}
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// checkPath tells whether p is relative, clean, UTF-8 and short enough.
func checkPath(p string) error {
	switch {
	case len(p) > MaxPath:
		return fmt.Errorf("path %.60q… is longer than %d bytes", p, MaxPath)
	case p == "" || p == "." || p[0] == '/' || path.Clean(p) != p || p == ".." || strings.HasPrefix(p, "../"):
		return fmt.Errorf("path %q is not clean and relative", p)
	}
	for name := range strings.SplitSeq(p, "/") {
		if err := checkName(name); err != 0 {
			return fmt.Errorf("path %q: a name in it is %v", p, err)
		}
	}
	return nil
}

// checkName tells whether a file may be called so.
func checkName(name string) errno {
	if len(name) > MaxName {
		return eNameTooLong
	}
	if !utf8.ValidString(name) || strings.IndexByte(name, 0) >= 0 {
		return eIlSeq
	}
	return eOK
}

// A place is where a path leads: to node, or, if that is nil, to where name
// would be in dir.
type place struct {
	dir   *node  // nil if the path ends in "." or ".."
	name  string // in dir
	node  *node
	slash bool // the path ends in a slash, so it means a directory
}

// resolve follows p from dir. It cannot leave dir.
func (fs *fsys) resolve(dir *node, p string) (place, errno) {
	switch {
	case len(p) > MaxPath:
		return place{}, eNameTooLong
	case p == "" || dir.gone:
		return place{}, eNoEnt
	case p[0] == '/':
		return place{}, eNotCapable
	}
	at, depth := place{node: dir}, 0
	for p != "" {
		name, rest, more := strings.Cut(p, "/")
		p, at.slash = rest, more && rest == ""
		if e := at.step(name, &depth); e != 0 {
			return place{}, e
		}
	}
	if at.slash && at.node != nil && !at.node.isDir() {
		return place{}, eNotDir
	}
	return at, eOK
}

// step goes from at to name in it.
func (at *place) step(name string, depth *int) errno {
	if name == "" {
		return eOK // a doubled or a last slash
	}
	if at.node == nil {
		return eNoEnt
	}
	if !at.node.isDir() {
		return eNotDir
	}
	switch name {
	case ".":
		at.dir, at.name = nil, ""
		return eOK
	case "..":
		if *depth--; *depth < 0 {
			return eNotCapable
		}
		at.node, at.dir, at.name = at.node.parent, nil, ""
		return eOK
	}
	if e := checkName(name); e != 0 {
		return e
	}
	*depth++
	at.dir, at.name, at.node = at.node, name, at.node.kids[name]
	return eOK
}
