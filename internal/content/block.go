package content

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/mustermesh/muster/proto"
)

// kvBatchBytes is how much is given to KV.Apply at once.
const kvBatchBytes = 256 << 10

// blockPrefix begins the keys of small blocks; the CID's 36 bytes follow.
const blockPrefix = "c/b/"

// A Block is a block and its id.
type Block struct {
	CID  proto.CID
	Data []byte
}

func blockKey(c proto.CID) []byte { return append([]byte(blockPrefix), c.Bytes()...) }

// path spreads the files over 1024 folders by two characters near the end of
// the id: the first ones are the same for all, the last carries three bits.
func (s *Store) path(c proto.CID) string {
	name := c.String()
	return filepath.Join(s.blockDir(), name[len(name)-3:len(name)-1], name)
}

// Get gives the block that c names, which the caller must not change. It has
// been checked. Errors wrap ErrNotFound or ErrCorrupt.
func (s *Store) Get(ctx context.Context, c proto.CID) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	block, err := s.load(c)
	if err != nil {
		return nil, fmt.Errorf("block %s: %w", c, err)
	}
	if !c.Verify(block) {
		if err := s.remove(ctx, c); err != nil {
			return nil, fmt.Errorf("block %s: remove the corrupt one: %w", c, err)
		}
		return nil, fmt.Errorf("block %s: %w", c, ErrCorrupt)
	}
	return block, nil
}

func (s *Store) load(c proto.CID) ([]byte, error) {
	if c.IsZero() {
		return nil, ErrNotFound
	}
	block, found, err := s.kv.Get(blockKey(c))
	if found || err != nil {
		return block, err
	}
	block, err = os.ReadFile(s.path(c))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNotFound
	}
	return block, err
}

// Has tells whether the block that c names is here, without checking its bytes.
func (s *Store) Has(ctx context.Context, c proto.CID) (bool, error) {
	if err := ctx.Err(); err != nil || c.IsZero() {
		return false, err
	}
	_, found, err := s.kv.Get(blockKey(c))
	if found || err != nil {
		return found, err
	}
	_, err = os.Stat(s.path(c))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// Put keeps block, which must be what c names and at most MaxBlock bytes. It
// survives a crash of the process, and after Flush one of the machine.
func (s *Store) Put(ctx context.Context, c proto.CID, block []byte) error {
	return s.PutMany(ctx, []Block{{c, block}})
}

// PutMany is Put for several blocks, cheaper than one by one. Nothing is kept
// if one of them is wrong.
func (s *Store) PutMany(ctx context.Context, blocks []Block) error {
	for _, b := range blocks {
		if len(b.Data) > MaxBlock {
			return fmt.Errorf("block %s of %d bytes: %w: the limit is %d", b.CID, len(b.Data), ErrTooLarge, MaxBlock)
		}
		if !b.CID.Verify(b.Data) {
			return fmt.Errorf("block %s: %w", b.CID, ErrMismatch)
		}
	}
	return s.putVerified(ctx, blocks)
}

// putVerified keeps blocks whose ids were computed from their bytes.
func (s *Store) putVerified(ctx context.Context, blocks []Block) error {
	var puts []Pair
	size := 0
	for _, b := range blocks {
		if err := ctx.Err(); err != nil {
			return err
		}
		s.protect(b.CID)
		if has, err := s.Has(ctx, b.CID); has || err != nil {
			if err != nil {
				return err
			}
			continue
		}
		if len(b.Data) >= s.cfg.FileThreshold {
			if err := s.writeFile(b); err != nil {
				return fmt.Errorf("block %s: %w", b.CID, err)
			}
			continue
		}
		if size += len(b.Data); size > kvBatchBytes {
			if err := s.kv.Apply(ctx, puts, nil); err != nil {
				return fmt.Errorf("keep blocks: %w", err)
			}
			puts, size = nil, len(b.Data)
		}
		puts = append(puts, Pair{blockKey(b.CID), b.Data})
	}
	if len(puts) == 0 {
		return nil
	}
	if err := s.kv.Apply(ctx, puts, nil); err != nil {
		return fmt.Errorf("keep blocks: %w", err)
	}
	return nil
}

// writeFile makes the block appear whole or not at all, unless the machine
// crashes before Flush; Get then finds it corrupt.
func (s *Store) writeFile(b Block) error {
	tmp, err := os.CreateTemp(s.tmpDir(), "block-")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name()) // fails once renamed
	_, err = tmp.Write(b.Data)
	if err = errors.Join(err, tmp.Close()); err != nil {
		return err
	}
	path := s.path(b.CID)
	err = os.Rename(tmp.Name(), path)
	if errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		err = os.Rename(tmp.Name(), path)
	}
	if err == nil {
		s.wrote(path)
	}
	return err
}

func (s *Store) remove(ctx context.Context, c proto.CID) error {
	if err := s.kv.Apply(ctx, nil, [][]byte{blockKey(c)}); err != nil {
		return err
	}
	err := os.Remove(s.path(c))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
