package content

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/mustermesh/muster/proto"
)

// maxPathBytes bounds all paths of one tree together.
const maxPathBytes = 32 << 20

// A Getter gives blocks by id, checked against it. A Store is one; another may
// fetch what is not here.
type Getter interface {
	Get(ctx context.Context, c proto.CID) ([]byte, error)
}

// An Entry is a file or directory of a tree.
type Entry struct {
	Path string // from the root, with slashes; "" where the root is a file
	Size int64  // bytes of a file; 0 for a directory
	Dir  bool
	CID  proto.CID
}

// A Tree is an opened root: the listing, and the way to the bytes. Its methods
// are safe for concurrent use.
type Tree struct {
	root    proto.CID
	entries []Entry
	files   *reader
}

// OpenTree lists the tree root. The root may be a file, and is then its only
// entry, under the path "". What the tree claims is checked as far as its
// directories go; the bytes of a file are checked as they are read. Errors wrap
// ErrNotFound, ErrCorrupt, ErrMalformed, and ErrTooMany when there are more than
// Config.MaxEntries files and directories.
func (s *Store) OpenTree(ctx context.Context, root proto.CID) (*Tree, error) {
	s.touch(root)
	return OpenTree(ctx, s, root, s.cfg.MaxEntries)
}

// OpenTree is Store.OpenTree over any Getter.
func OpenTree(ctx context.Context, g Getter, root proto.CID, maxEntries int) (*Tree, error) {
	l := &lister{ctx: ctx, g: g, left: maxEntries, max: maxEntries}
	if err := l.node(place{cid: root, size: -1}); err != nil {
		return nil, fmt.Errorf("tree %s: %w", root, err)
	}
	slices.SortFunc(l.entries, func(a, b Entry) int { return strings.Compare(a.Path, b.Path) })
	for i := 1; i < len(l.entries); i++ {
		if l.entries[i].Path == l.entries[i-1].Path {
			return nil, fmt.Errorf("tree %s: %w: two entries %q", root, ErrMalformed, l.entries[i].Path)
		}
	}
	return &Tree{root: root, entries: l.entries, files: newReader(g)}, nil
}

// Root gives the id that the tree was opened by.
func (t *Tree) Root() proto.CID { return t.root }

// Entries gives everything below the root, sorted bytewise by path; a directory
// comes before what is in it. The slice is the tree's own: do not change it.
func (t *Tree) Entries() []Entry { return t.entries }

// Find gives the entry at a clean path.
func (t *Tree) Find(p string) (Entry, bool) {
	i, ok := slices.BinarySearchFunc(t.entries, p, func(e Entry, p string) int { return strings.Compare(e.Path, p) })
	if !ok {
		return Entry{}, false
	}
	return t.entries[i], true
}

// Size gives the bytes of all files together.
func (t *Tree) Size() int64 { return t.size("") }

// size gives the bytes of all files at and below p; "" is the root.
func (t *Tree) size(p string) (total int64) {
	for _, e := range t.entries {
		if p == "" || e.Path == p || strings.HasPrefix(e.Path, p+"/") {
			total += e.Size
		}
	}
	return total
}

// ReadAt reads the file at p like io.ReaderAt. Reading on from where the last
// call ended is cheap, whatever the length. Errors wrap ErrNotFound, ErrCorrupt
// and ErrMalformed, when the file is not what it claims.
func (t *Tree) ReadAt(ctx context.Context, p string, buf []byte, off int64) (int, error) {
	e, ok := t.Find(p)
	if !ok || e.Dir {
		return 0, fmt.Errorf("file %q in %s: %w", p, t.root, ErrNotFound)
	}
	return t.files.readAt(ctx, span{e.CID, e.Size}, buf, off)
}

// A lister goes through the directories of a tree that may be hostile.
type lister struct {
	ctx     context.Context // of the one call that it serves
	g       Getter
	entries []Entry
	left    int // blocks of directories and entries still allowed
	max     int
	paths   int   // bytes
	bytes   int64 // of all files
}

// A place is where in the tree a block stands.
type place struct {
	cid   proto.CID
	path  string
	size  int64 // of a raw block, as its parent claims; -1: not known
	level int   // directories above
	shard int   // HAMT nodes above, in this directory
}

func (l *lister) count() error {
	if l.left--; l.left < 0 {
		return fmt.Errorf("%w: more than %d files and directories", ErrTooMany, l.max)
	}
	return l.ctx.Err()
}

func (l *lister) node(at place) error {
	if at.cid.IsRaw() && at.size >= 0 {
		return l.entry(at, at.size)
	}
	v, err := l.get(at.cid)
	if err != nil {
		return err
	}
	switch {
	case v.kind == kindFile:
		return l.entry(at, v.size)
	case at.path != "":
		if err := l.add(Entry{Path: at.path, Dir: true, CID: at.cid}); err != nil {
			return err
		}
	}
	return l.directory(v, at)
}

func (l *lister) get(c proto.CID) (*vertex, error) {
	block, err := l.g.Get(l.ctx, c)
	if err != nil {
		return nil, err
	}
	return decode(c, block)
}

func (l *lister) entry(at place, size int64) error {
	if l.bytes += size; l.bytes > maxSize {
		return fmt.Errorf("%w: the files claim more than %d bytes", ErrTooMany, int64(maxSize))
	}
	return l.add(Entry{Path: at.path, Size: size, CID: at.cid})
}

func (l *lister) add(e Entry) error {
	if l.paths += len(e.Path); l.paths > maxPathBytes || len(e.Path) > maxPath {
		return fmt.Errorf("%.80q…: %w: paths too long", e.Path, ErrTooMany)
	}
	l.entries = append(l.entries, e)
	return l.count()
}

func (l *lister) directory(v *vertex, at place) error {
	if at.level >= maxLevel {
		return fmt.Errorf("%.80q…: %w: more than %d directories inside each other", at.path, ErrTooMany, maxLevel)
	}
	for _, ln := range v.links {
		next := place{cid: ln.cid, size: -1, level: at.level + 1}
		name := ln.name
		if v.kind == kindShard {
			if len(name) < v.pad {
				return fmt.Errorf("%q: %w: a shard's link named %q", at.path, ErrMalformed, name)
			}
			if name = name[v.pad:]; name == "" {
				if err := l.subshard(v, ln, at); err != nil {
					return err
				}
				continue
			}
		}
		if err := checkName(name); err != nil {
			return fmt.Errorf("%q: %w: %w", at.path, ErrMalformed, err)
		}
		next.path = path.Join(at.path, name)
		if ln.cid.IsRaw() && ln.tsize >= 0 {
			if next.size = ln.tsize; next.size > MaxBlock {
				return fmt.Errorf("%q: %w: a block that claims %d bytes", next.path, ErrMalformed, next.size)
			}
		}
		if err := l.node(next); err != nil {
			return err
		}
	}
	return nil
}

// subshard goes into the HAMT node that ln leads to, which has the width of its
// parent: 64 bits of hash are used up after 22 levels of the narrowest.
func (l *lister) subshard(parent *vertex, ln link, at place) error {
	if at.shard++; at.shard > 22 {
		return fmt.Errorf("%q: %w: a directory of more than 22 levels of shards", at.path, ErrTooMany)
	}
	if err := l.count(); err != nil {
		return err
	}
	v, err := l.get(ln.cid)
	if err != nil {
		return err
	}
	if v.kind != kindShard || v.pad != parent.pad {
		return fmt.Errorf("%q: %w: a shard that links to something else", at.path, ErrMalformed)
	}
	return l.directory(v, at)
}
