package content

import (
	"context"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/mustermesh/muster/proto"
)

// A Part is a node and where in a tree it goes.
type Part struct {
	Path string // relative, with slashes; "" only for a sole part, which then is the whole tree
	Node Node
}

// BuildTree makes a directory out of nodes that exist, whose bytes it does not
// read; the directories on the way to each part are made. No parts make an empty
// directory. Errors wrap ErrPath when a path leaves the tree, or one part lies
// at or below another; ErrTooMany beyond Config.MaxEntries.
func (s *Store) BuildTree(ctx context.Context, parts []Part) (Node, error) {
	if len(parts) == 1 && parts[0].Path == "" {
		return parts[0].Node, nil
	}
	root := &branch{}
	left := s.cfg.MaxEntries
	for _, p := range parts {
		names, err := splitPath(p.Path)
		if err != nil {
			return Node{}, fmt.Errorf("build tree: %w", err)
		}
		n := p.Node
		if n.DAGSize, err = s.dagSize(ctx, n); err != nil {
			return Node{}, fmt.Errorf("build tree: %s: %w", p.Path, err)
		}
		made, err := root.add(names, n)
		if err != nil {
			return Node{}, fmt.Errorf("build tree: %q: %w", p.Path, err)
		}
		if left -= made; left < 0 {
			return Node{}, fmt.Errorf("build tree: %w: more than %d entries", ErrTooMany, s.cfg.MaxEntries)
		}
	}
	defer s.Hold()()
	w := &writer{ctx: ctx, s: s}
	n, err := root.write(w)
	if err == nil {
		err = w.flush()
	}
	if err != nil {
		return Node{}, fmt.Errorf("build tree: %w", err)
	}
	return n, nil
}

// splitPath cleans a path inside a tree and takes it apart.
func splitPath(p string) ([]string, error) {
	if strings.HasPrefix(p, "/") || len(p) > maxPath {
		return nil, fmt.Errorf("%.80q: %w: it must be relative and at most %d bytes", p, ErrPath, maxPath)
	}
	if slices.Contains(strings.Split(p, "/"), "..") {
		return nil, fmt.Errorf("%q: %w: it leads up", p, ErrPath)
	}
	names := strings.Split(path.Clean(p), "/")
	if len(names) > maxLevel {
		return nil, fmt.Errorf("%.80q: %w: more than %d levels", p, ErrPath, maxLevel)
	}
	for _, name := range names {
		if err := checkName(name); err != nil {
			return nil, fmt.Errorf("%.80q: %w: %w", p, ErrPath, err)
		}
	}
	return names, nil
}

// A branch is a directory to be made, or a node that is there already.
type branch struct {
	below map[string]*branch
	node  *Node
}

// add puts n at names and tells how many entries that made.
func (b *branch) add(names []string, n Node) (made int, err error) {
	for _, name := range names {
		if b.node != nil {
			return 0, fmt.Errorf("%w: it lies below another part", ErrPath)
		}
		if b.below == nil {
			b.below = map[string]*branch{}
		}
		next := b.below[name]
		if next == nil {
			next = &branch{}
			b.below[name] = next
			made++
		}
		b = next
	}
	if b.node != nil || b.below != nil {
		return 0, fmt.Errorf("%w: another part is there", ErrPath)
	}
	b.node = &n
	return made, nil
}

func (b *branch) write(w *writer) (Node, error) {
	if b.node != nil {
		return *b.node, nil
	}
	children := make([]child, 0, len(b.below))
	for _, name := range slices.Sorted(maps.Keys(b.below)) {
		n, err := b.below[name].write(w)
		if err != nil {
			return Node{}, err
		}
		children = append(children, child{name, n})
	}
	return w.dir(children)
}

// Lookup gives the node that root names. Of a directory it lists the whole tree
// to learn Size.
func (s *Store) Lookup(ctx context.Context, root proto.CID) (Node, error) {
	return s.Sub(ctx, root, "")
}

// Sub gives the node at p in the tree root; "" and "." are root itself. Errors
// wrap ErrNotFound, ErrPath, and those of OpenTree.
func (s *Store) Sub(ctx context.Context, root proto.CID, p string) (Node, error) {
	t, err := s.OpenTree(ctx, root)
	if err != nil {
		return Node{}, err
	}
	if path.Clean(p) == "." {
		return s.describe(ctx, root, t.size(""))
	}
	names, err := splitPath(p)
	if err != nil {
		return Node{}, err
	}
	clean := strings.Join(names, "/")
	e, ok := t.Find(clean)
	if !ok {
		return Node{}, fmt.Errorf("%s in %s: %w", clean, root, ErrNotFound)
	}
	return s.describe(ctx, e.CID, t.size(clean))
}

// describe completes a node that is known to be well formed.
func (s *Store) describe(ctx context.Context, c proto.CID, size int64) (Node, error) {
	n := Node{CID: c, Size: size}
	if c.IsRaw() {
		n.DAGSize = size
		return n, nil
	}
	block, err := s.Get(ctx, c)
	if err != nil {
		return Node{}, err
	}
	v, err := decode(c, block)
	if err != nil {
		return Node{}, err
	}
	n.Dir = v.kind != kindFile
	n.DAGSize, err = blockDAGSize(c, block)
	return n, err
}
