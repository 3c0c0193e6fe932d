package content

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/mustermesh/muster/proto"
)

// A Collection is what GC found and did.
type Collection struct {
	Before, After int64 // bytes of all blocks
	Blocks        int   // removed
	Roots         int   // recorded roots dropped, with their uses
}

// GC removes blocks until those left take at most limit bytes: first what no
// root reaches, then the least recently used roots. It never removes what is
// reachable from a pinned root, or what was put under a Hold or while GC runs,
// and may therefore stay above limit. Below limit it does nothing. It needs
// about 100 bytes of memory for each block in the store.
func (s *Store) GC(ctx context.Context, limit int64) (Collection, error) {
	s.gc.Lock()
	defer s.gc.Unlock()
	defer s.Hold()() // from here on, everything put is kept
	c := collector{ctx: ctx, s: s, sizes: map[proto.CID]int64{}}
	c.live, c.lone = map[proto.CID]struct{}{}, map[proto.CID]struct{}{}
	if err := c.inventory(); err != nil {
		return Collection{}, fmt.Errorf("collect: %w", err)
	}
	if c.After = c.Before; c.Before <= limit {
		return c.Collection, nil
	}
	drop, err := c.mark(limit)
	if err == nil {
		err = c.sweep()
	}
	if err == nil {
		err = c.dropRoots(drop)
	}
	if err != nil {
		return c.Collection, fmt.Errorf("collect: %w", err)
	}
	return c.Collection, nil
}

type collector struct {
	Collection
	ctx   context.Context // of the one GC call
	s     *Store
	sizes map[proto.CID]int64    // of every block there is
	live  map[proto.CID]struct{} // stay, with all that is below them
	lone  map[proto.CID]struct{} // stay; what is below them was not followed
	kept  int64                  // bytes of live
}

// inventory finds every block and its size.
func (c *collector) inventory() error {
	err := c.s.kv.Scan([]byte(blockPrefix), func(key, value []byte) error {
		id, err := proto.CIDFromBytes(key[len(blockPrefix):])
		if err != nil {
			return err
		}
		c.found(id, int64(len(value)))
		return c.ctx.Err()
	})
	if err != nil {
		return err
	}
	return filepath.WalkDir(c.s.blockDir(), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return errors.Join(err, c.ctx.Err())
		}
		id, err := proto.ParseCID(d.Name())
		if err != nil {
			return nil // not ours
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil // a corrupt block, removed meanwhile
		}
		if err == nil {
			c.found(id, info.Size())
		}
		return err
	})
}

func (c *collector) found(id proto.CID, size int64) {
	if _, twice := c.sizes[id]; !twice {
		c.sizes[id] = size
		c.Before += size
	}
}

// mark decides what stays and gives the roots that do not: pinned roots stay,
// then the others while there is room, the most recently used first.
func (c *collector) mark(limit int64) (drop []proto.CID, err error) {
	pins, err := c.s.Pins()
	if err != nil {
		return nil, err
	}
	pinned := map[proto.CID]bool{}
	for _, p := range pins {
		pinned[p.Root] = true
		if _, err := c.reach(p.Root); err != nil {
			return nil, err
		}
	}
	roots, err := c.s.Roots()
	if err != nil {
		return nil, err
	}
	full := false
	for _, root := range slices.Backward(roots) {
		if pinned[root] {
			continue
		}
		if !full {
			more, err := c.reach(root)
			if err != nil {
				return nil, err
			}
			if full = c.kept > limit; full {
				c.undo(more)
			}
		}
		if full {
			drop = append(drop, root)
		}
	}
	return drop, nil
}

// reach marks what is reachable from root and here, and gives what that added.
func (c *collector) reach(root proto.CID) (added []proto.CID, err error) {
	w := walk{limit: c.s.cfg.MaxBlocks}
	w.visit = func(id proto.CID) error {
		size, here := c.sizes[id]
		if _, marked := c.live[id]; marked || !here {
			return errSkip // marked: so is what is below it
		}
		c.live[id] = struct{}{}
		c.kept += size
		added = append(added, id)
		return c.ctx.Err()
	}
	w.get = func(id proto.CID) ([]byte, error) {
		block, err := c.s.Get(c.ctx, id)
		if errors.Is(err, ErrNotFound) || errors.Is(err, ErrCorrupt) {
			return nil, errSkip
		}
		return block, err
	}
	err = w.run(root)
	if errors.Is(err, ErrMalformed) || errors.Is(err, ErrTooMany) {
		// A stranger's bad graph: what was reached stays with its root, but must
		// not stand for what lies below when another root is followed.
		c.undo(added)
		for _, id := range added {
			c.lone[id] = struct{}{}
		}
		return nil, nil
	}
	return added, err
}

func (c *collector) undo(added []proto.CID) {
	for _, id := range added {
		delete(c.live, id)
		c.kept -= c.sizes[id]
	}
}

func (c *collector) sweep() error {
	for id, size := range c.sizes {
		if err := c.ctx.Err(); err != nil {
			return err
		}
		_, live := c.live[id]
		_, lone := c.lone[id]
		if live || lone {
			continue
		}
		removed, err := c.s.removeUnheld(c.ctx, id)
		if err != nil {
			return err
		}
		if removed {
			c.Blocks++
			c.After -= size
		}
	}
	return nil
}

// removeUnheld removes a block that nobody put since the collection began. Put
// first protects a block and then looks whether it is there, so that either we
// see the protection or Put sees the gap.
func (s *Store) removeUnheld(ctx context.Context, c proto.CID) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.held[c]; ok {
		return false, nil
	}
	return true, s.remove(ctx, c)
}

// dropRoots forgets the roots whose blocks may be gone.
func (c *collector) dropRoots(roots []proto.CID) error {
	for _, root := range roots {
		deletes := [][]byte{rootKey(root)}
		err := c.s.kv.Scan(useKey(root, ""), func(key, _ []byte) error {
			deletes = append(deletes, slices.Clone(key))
			return nil
		})
		if err != nil {
			return err
		}
		for batch := range slices.Chunk(deletes, 1000) {
			if err := c.s.kv.Apply(c.ctx, nil, batch); err != nil {
				return err
			}
		}
		c.Roots++
	}
	return nil
}

// Usage gives the bytes that all blocks take, by going through them.
func (s *Store) Usage(ctx context.Context) (int64, error) {
	c := collector{ctx: ctx, s: s, sizes: map[proto.CID]int64{}}
	if err := c.inventory(); err != nil {
		return 0, fmt.Errorf("content usage: %w", err)
	}
	return c.Before, nil
}

// Delete removes one recorded root's mark of being wanted: its record and all its
// uses. It fails while the root is pinned. Its blocks go at the next GC that
// needs room.
func (s *Store) Delete(ctx context.Context, root proto.CID) error {
	tags, err := s.pinsOf(root)
	if err != nil {
		return fmt.Errorf("delete %s: %w", root, err)
	}
	if len(tags) > 0 {
		return fmt.Errorf("delete %s: it is pinned by %s", root, tags[0])
	}
	c := collector{ctx: ctx, s: s}
	if err := c.dropRoots([]proto.CID{root}); err != nil {
		return fmt.Errorf("delete %s: %w", root, err)
	}
	return nil
}
