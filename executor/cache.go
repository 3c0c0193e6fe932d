package executor

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// A compiled is what one compilation gave: a module without the bodies of its
// functions, and their code in the engine's own form, in parts.
type compiled struct {
	skeleton []byte
	parts    [][]byte
}

func (c *compiled) size() (n int64) {
	for _, p := range c.parts {
		n += int64(len(p))
	}
	return n + int64(len(c.skeleton))
}

// A codeCache keeps compiled code, so that a program is compiled once: on disk,
// in files of one folder, or in memory. Only the executor's own process reads and
// writes it: a child gets the bytes of its own program over its socket and knows
// of no path, and nothing ever comes from, or goes to, another node. All methods
// may be called concurrently.
type codeCache struct {
	maker codeMaker
	dir   string // "": in memory
	max   int64  // bytes; 0: nothing is kept

	mu      sync.Mutex
	entries map[codeKey]*codeEntry
	total   int64
	pending map[codeKey]chan struct{} // closed when its compilation is over
}

// A codeEntry is one entry of the cache.
type codeEntry struct {
	size int64
	used time.Time
	code *compiled // where the cache is in memory
}

// openCodeCache reads what there is in dir; what is not of this cache's form is
// left alone, what was being written is removed.
func openCodeCache(dir string, max int64, maker codeMaker) (*codeCache, error) {
	c := &codeCache{maker: maker, dir: dir, max: max, entries: map[codeKey]*codeEntry{}, pending: map[codeKey]chan struct{}{}}
	if dir == "" || max == 0 {
		return c, nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make folder for compiled programs: %w", err)
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		return nil, fmt.Errorf("close folder for compiled programs: %w", err)
	}
	list, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("list compiled programs: %w", err)
	}
	for _, file := range list {
		c.find(file)
	}
	for _, key := range c.evict() {
		os.Remove(c.path(key))
	}
	return c, nil
}

func (c *codeCache) find(file os.DirEntry) {
	key, kind := parseCodeName(file.Name())
	info, err := file.Info()
	switch {
	case err != nil || !info.Mode().IsRegular():
	case kind == nameUnfinished:
		os.Remove(filepath.Join(c.dir, file.Name()))
	case kind == nameEntry:
		c.entries[key] = &codeEntry{size: info.Size(), used: info.ModTime()}
		c.total += info.Size()
	}
}

// limit is the most bytes that one entry may have: a quarter of all.
func (c *codeCache) limit() int64 { return c.max / 4 }

// turn waits while another compiles for key, so that many sandboxes for one
// program wait for one compilation. The caller must call done once it has put
// what it compiled, or has failed to.
func (c *codeCache) turn(ctx context.Context, key codeKey) (done func(), err error) {
	c.mu.Lock()
	other := c.pending[key]
	_, known := c.entries[key]
	if other == nil && !known && c.max > 0 {
		mine := make(chan struct{})
		c.pending[key] = mine
		c.mu.Unlock()
		return func() {
			c.mu.Lock()
			delete(c.pending, key)
			c.mu.Unlock()
			close(mine)
		}, nil
	}
	c.mu.Unlock()
	if other != nil && !known {
		select {
		case <-other: // if it gave nothing, all who waited compile at once: it may never give anything
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return func() {}, nil
}

// open gives the entry of key, to be closed; nil if there is none that is good.
func (c *codeCache) open(key codeKey) *codeStream {
	c.mu.Lock()
	e := c.entries[key]
	if e != nil {
		e.used = time.Now()
	}
	c.mu.Unlock()
	switch {
	case e == nil:
		return nil
	case e.code != nil:
		return streamOf(e.code)
	}
	s, err := openCodeFile(c.path(key), key)
	if err != nil {
		c.drop(key)
		return nil
	}
	os.Chtimes(c.path(key), time.Time{}, time.Now()) // for the order after a restart; no more than a help
	return s
}

// drop forgets the entry of key.
func (c *codeCache) drop(key codeKey) {
	c.mu.Lock()
	c.forget(key)
	c.mu.Unlock()
	if c.dir != "" {
		os.Remove(c.path(key))
	}
}

// put keeps code, and lets go what has not been used for longest.
func (c *codeCache) put(key codeKey, code *compiled) error {
	e := &codeEntry{size: code.size(), used: time.Now(), code: code}
	if c.dir != "" {
		e.size, e.code = e.size+codeHeader, nil
	}
	if e.size > c.limit() {
		return nil
	}
	if c.dir != "" {
		if err := writeCodeFile(c.path(key), key, code); err != nil {
			return fmt.Errorf("keep compiled program: %w", err)
		}
	}
	c.mu.Lock()
	c.forget(key)
	c.entries[key] = e
	c.total += e.size
	gone := c.evict()
	c.mu.Unlock()
	if c.dir != "" {
		for _, key := range gone {
			os.Remove(c.path(key))
		}
	}
	return nil
}

// forget and evict are called with the mutex held.
func (c *codeCache) forget(key codeKey) {
	if e := c.entries[key]; e != nil {
		c.total -= e.size
		delete(c.entries, key)
	}
}

// evict forgets the entries that have not been used for longest, until the rest
// fits.
func (c *codeCache) evict() (gone []codeKey) {
	for c.total > c.max {
		var oldest codeKey
		var best *codeEntry
		for key, e := range c.entries {
			if best == nil || e.used.Before(best.used) {
				oldest, best = key, e
			}
		}
		c.forget(oldest)
		gone = append(gone, oldest)
	}
	return gone
}

func (c *codeCache) path(key codeKey) string { return filepath.Join(c.dir, codeName(key)) }
