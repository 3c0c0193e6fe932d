package content

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/mustermesh/muster/proto"
)

// Key prefixes of records; docs/storage.md has the table.
const (
	rootPrefix  = "c/r/" // CID → rootRecord
	usePrefix   = "c/u/" // CID, tag → class
	pinPrefix   = "c/p/" // tag, 0, CID → nothing
	pinOfPrefix = "c/q/" // CID, tag → nothing: the pins of a root
	cidBytes    = 36
	maxTag      = 200     // bytes
	maxUsed     = 1 << 16 // roots whose last use is remembered until Flush
)

// A Use is one reason why a root is here: under which class, for which job.
type Use struct {
	Class Class
	Tag   string // a job id or another name of the owner; "" where there is none
}

// A Root is what is known of a root that was recorded.
type Root struct {
	Node  Node
	Added time.Time // first recorded
	Used  time.Time // last recorded, opened or touched
	Uses  []Use     // sorted by tag
	Pins  []string  // tags that pin it, sorted
}

// rootRecord is the form on disk.
type rootRecord struct {
	Size    int64 `json:"size"`
	DAGSize int64 `json:"dag"`
	Dir     bool  `json:"dir,omitempty"`
	Added   int64 `json:"added"` // Unix milliseconds
	Used    int64 `json:"used"`
}

func rootKey(c proto.CID) []byte { return append([]byte(rootPrefix), c.Bytes()...) }
func useKey(c proto.CID, tag string) []byte {
	return append(append([]byte(usePrefix), c.Bytes()...), tag...)
}
func pinOfKey(c proto.CID, tag string) []byte {
	return append(append([]byte(pinOfPrefix), c.Bytes()...), tag...)
}
func pinTagPrefix(tag string) []byte { return append([]byte(pinPrefix+tag), 0) }
func pinKey(tag string, c proto.CID) []byte {
	return append(pinTagPrefix(tag), c.Bytes()...)
}

func checkTag(tag string) error {
	if len(tag) > maxTag || bytes.IndexByte([]byte(tag), 0) >= 0 {
		return fmt.Errorf("the tag %.40q: it may have %d bytes, none of them zero", tag, maxTag)
	}
	return nil
}

// Record notes that n is here under u. A root may be recorded under several tags
// with different classes; a tag's later class replaces the earlier one.
func (s *Store) Record(ctx context.Context, n Node, u Use) error {
	if err := checkTag(u.Tag); err != nil {
		return fmt.Errorf("record %s: %w", n.CID, err)
	}
	now := s.cfg.Now().UnixMilli()
	rec := rootRecord{Size: n.Size, DAGSize: n.DAGSize, Dir: n.Dir, Added: now, Used: now}
	old, err := s.record(n.CID)
	if err == nil {
		rec.Added = old.Added
	} else if !errors.Is(err, ErrNotFound) {
		return fmt.Errorf("record %s: %w", n.CID, err)
	}
	puts := []Pair{{rootKey(n.CID), rec.encode()}, {useKey(n.CID, u.Tag), []byte{byte(u.Class)}}}
	if err := s.kv.Apply(ctx, puts, nil); err != nil {
		return fmt.Errorf("record %s: %w", n.CID, err)
	}
	return nil
}

func (r rootRecord) encode() []byte {
	b, err := json.Marshal(r)
	if err != nil {
		panic("content: encode a root: " + err.Error())
	}
	return b
}

func (s *Store) record(c proto.CID) (rec rootRecord, err error) {
	b, found, err := s.kv.Get(rootKey(c))
	if err != nil {
		return rec, err
	}
	if !found {
		return rec, ErrNotFound
	}
	return rec, json.Unmarshal(b, &rec)
}

// Forget takes back what Record noted under tag. Without a use the root's blocks
// stay until GC needs the room.
func (s *Store) Forget(ctx context.Context, root proto.CID, tag string) error {
	if err := s.kv.Apply(ctx, nil, [][]byte{useKey(root, tag)}); err != nil {
		return fmt.Errorf("forget %s: %w", root, err)
	}
	return nil
}

// Stat tells what is known of root, or an error that wraps ErrNotFound if it was
// not recorded.
func (s *Store) Stat(root proto.CID) (Root, error) {
	rec, err := s.record(root)
	if err != nil {
		return Root{}, fmt.Errorf("root %s: %w", root, err)
	}
	r := Root{
		Node:  Node{CID: root, Size: rec.Size, DAGSize: rec.DAGSize, Dir: rec.Dir},
		Added: time.UnixMilli(rec.Added),
		Used:  s.lastUse(root, time.UnixMilli(rec.Used)),
	}
	prefix := useKey(root, "")
	err = s.kv.Scan(prefix, func(key, value []byte) error {
		if len(value) == 1 {
			r.Uses = append(r.Uses, Use{Class: Class(value[0]), Tag: string(key[len(prefix):])})
		}
		return nil
	})
	if err == nil {
		r.Pins, err = s.pinsOf(root)
	}
	if err != nil {
		return Root{}, fmt.Errorf("root %s: %w", root, err)
	}
	return r, nil
}

// Roots gives the ids of all recorded roots, the least recently used first.
func (s *Store) Roots() ([]proto.CID, error) {
	type dated struct {
		cid  proto.CID
		used time.Time
	}
	var all []dated
	err := s.kv.Scan([]byte(rootPrefix), func(key, value []byte) error {
		c, err := proto.CIDFromBytes(key[len(rootPrefix):])
		if err != nil {
			return err
		}
		var rec rootRecord
		if err := json.Unmarshal(value, &rec); err != nil {
			return fmt.Errorf("root %s: %w", c, err)
		}
		all = append(all, dated{c, s.lastUse(c, time.UnixMilli(rec.Used))})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list roots: %w", err)
	}
	slices.SortStableFunc(all, func(a, b dated) int { return a.used.Compare(b.used) })
	ids := make([]proto.CID, len(all))
	for i, d := range all {
		ids[i] = d.cid
	}
	return ids, nil
}

// Touch notes that root was used now; GC drops the least recently used first.
func (s *Store) Touch(root proto.CID) { s.touch(root) }

func (s *Store) touch(root proto.CID) {
	now := s.cfg.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.used[root]; ok || len(s.used) < maxUsed {
		s.used[root] = now
	}
}

func (s *Store) lastUse(root proto.CID, recorded time.Time) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t, ok := s.used[root]; ok && t.After(recorded) {
		return t
	}
	return recorded
}

// saveUsed writes the times of last use into the records of those that are roots.
func (s *Store) saveUsed(ctx context.Context) error {
	s.mu.Lock()
	used := s.used
	s.used = map[proto.CID]time.Time{}
	s.mu.Unlock()
	var puts []Pair
	for c, t := range used {
		rec, err := s.record(c)
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		rec.Used = max(rec.Used, t.UnixMilli())
		puts = append(puts, Pair{rootKey(c), rec.encode()})
	}
	for batch := range slices.Chunk(puts, 1000) {
		if err := s.kv.Apply(ctx, batch, nil); err != nil {
			return err
		}
	}
	return nil
}

// A Pin keeps a root from GC.
type Pin struct {
	Tag  string
	Root proto.CID
}

// Pin keeps what is reachable from root, now or once it arrives, until Unpin of
// the same tag. A tag may pin several roots, and a root have several tags.
func (s *Store) Pin(ctx context.Context, root proto.CID, tag string) error {
	if err := checkTag(tag); err != nil {
		return fmt.Errorf("pin %s: %w", root, err)
	}
	if err := s.kv.Apply(ctx, []Pair{{pinKey(tag, root), nil}, {pinOfKey(root, tag), nil}}, nil); err != nil {
		return fmt.Errorf("pin %s: %w", root, err)
	}
	return nil
}

// Unpin lets go of every root that tag pins.
func (s *Store) Unpin(ctx context.Context, tag string) error {
	return s.unpin(ctx, tag, func(p Pin) [][]byte { return [][]byte{pinKey(p.Tag, p.Root), pinOfKey(p.Root, p.Tag)} })
}

// Release is Unpin, and Forget of each of those roots under the same tag: for
// an owner that is done with all that it has.
func (s *Store) Release(ctx context.Context, tag string) error {
	return s.unpin(ctx, tag, func(p Pin) [][]byte {
		return [][]byte{pinKey(p.Tag, p.Root), pinOfKey(p.Root, p.Tag), useKey(p.Root, p.Tag)}
	})
}

func (s *Store) unpin(ctx context.Context, tag string, keys func(Pin) [][]byte) error {
	pins, err := s.pins(pinTagPrefix(tag))
	if err != nil {
		return fmt.Errorf("unpin %s: %w", tag, err)
	}
	for batch := range slices.Chunk(pins, 1000) {
		var deletes [][]byte
		for _, p := range batch {
			deletes = append(deletes, keys(p)...)
		}
		if err := s.kv.Apply(ctx, nil, deletes); err != nil {
			return fmt.Errorf("unpin %s: %w", tag, err)
		}
	}
	return nil
}

// Pins lists all pins, by tag.
func (s *Store) Pins() ([]Pin, error) {
	pins, err := s.pins([]byte(pinPrefix))
	if err != nil {
		return nil, fmt.Errorf("list pins: %w", err)
	}
	slices.SortFunc(pins, func(a, b Pin) int {
		return cmp.Or(cmp.Compare(a.Tag, b.Tag), cmp.Compare(a.Root.String(), b.Root.String()))
	})
	return pins, nil
}

func (s *Store) pins(prefix []byte) (pins []Pin, err error) {
	err = s.kv.Scan(prefix, func(key, _ []byte) error {
		rest := key[len(pinPrefix):]
		if len(rest) < cidBytes+1 {
			return fmt.Errorf("a pin's key of %d bytes", len(key))
		}
		at := len(rest) - cidBytes
		c, err := proto.CIDFromBytes(rest[at:])
		pins = append(pins, Pin{Tag: string(rest[:at-1]), Root: c})
		return err
	})
	return pins, err
}

func (s *Store) pinsOf(root proto.CID) (tags []string, err error) {
	prefix := pinOfKey(root, "")
	err = s.kv.Scan(prefix, func(key, _ []byte) error {
		tags = append(tags, string(key[len(prefix):]))
		return nil
	})
	return tags, err
}
