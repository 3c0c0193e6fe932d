package content

import (
	"context"
	"errors"
	"time"
)

// MaxBlock is the size in bytes of the largest block kept: what the IPFS world
// passes around.
const MaxBlock = 2 << 20

// A Config says how a Store behaves. DefaultConfig gives one that works.
type Config struct {
	FileThreshold int              // bytes; a block of at least this size is a file of its own, a smaller one lies in the KV
	MaxEntries    int              // files and directories of one tree, added or opened
	MaxBlocks     int              // different blocks of one graph
	Now           func() time.Time // the clock that orders what was used last
}

// DefaultConfig gives the values that docs/storage.md explains.
func DefaultConfig() Config {
	return Config{FileThreshold: 16 << 10, MaxEntries: 200_000, MaxBlocks: 4 << 20, Now: time.Now}
}

// Validate tells what is wrong with c.
func (c Config) Validate() error {
	switch {
	case c.FileThreshold < 1 || c.FileThreshold > kvBatchBytes:
		return errors.New("content: FileThreshold must be between 1 byte and 256 KiB")
	case c.MaxEntries < 1 || c.MaxBlocks < 1:
		return errors.New("content: MaxEntries and MaxBlocks must be positive")
	case c.Now == nil:
		return errors.New("content: Now is missing")
	}
	return nil
}

// A Pair is a key and its value.
type Pair struct{ Key, Value []byte }

// A KV keeps what is too small to be a file. All keys begin with "c/". It must
// be safe for concurrent use. Four methods: reading, writing, listing, and the
// moment when writing is safe.
type KV interface {
	// Get gives the value of key, which the caller owns.
	Get(key []byte) (value []byte, found bool, err error)
	// Apply puts and deletes, all or nothing; everybody sees it when it returns.
	// It is given at most 512 KiB and 2,000 keys at once.
	Apply(ctx context.Context, puts []Pair, deletes [][]byte) error
	// Scan calls fn for every key that begins with prefix, in bytewise order.
	Scan(prefix []byte, fn func(key, value []byte) error) error
	// Sync returns when all that was applied before survives a power cut.
	Sync(ctx context.Context) error
}
