package content

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/mustermesh/muster/proto"
)

const (
	formatName    = "FORMAT"
	formatPrefix  = "muster-content "
	formatVersion = 1
)

// A Store keeps blocks. All methods are safe for concurrent use.
type Store struct {
	dir string
	kv  KV
	cfg Config

	gc sync.Mutex // one collection at a time

	mu       sync.Mutex // guards everything below
	holds    int
	held     map[proto.CID]struct{} // blocks put while holds > 0
	used     map[proto.CID]time.Time
	unsynced []string // files written since the last Flush, maxFsync+1 at most
}

// Open opens, or creates with mode 0700, the store in dir, whose small blocks and
// records lie in kv. Nothing needs to be closed; call Flush to make it durable.
// One process only may have dir open: the lock of the home sees to it.
func Open(dir string, kv KV, cfg Config) (*Store, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	s := &Store{dir: dir, kv: kv, cfg: cfg, held: map[proto.CID]struct{}{}, used: map[proto.CID]time.Time{}}
	if err := os.RemoveAll(s.tmpDir()); err != nil { // left behind by a crash
		return nil, fmt.Errorf("open content: %w", err)
	}
	for _, d := range []string{s.blockDir(), s.tmpDir()} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return nil, fmt.Errorf("open content: %w", err)
		}
	}
	if err := checkFormat(dir); err != nil {
		return nil, fmt.Errorf("open content: %w", err)
	}
	return s, nil
}

func (s *Store) blockDir() string { return filepath.Join(s.dir, "blocks") }
func (s *Store) tmpDir() string   { return filepath.Join(s.dir, "tmp") }

func checkFormat(dir string) error {
	path := filepath.Join(dir, formatName)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return os.WriteFile(path, fmt.Appendf(nil, "%s%d\n", formatPrefix, formatVersion), 0o600)
	}
	if err != nil {
		return err
	}
	text, ok := strings.CutPrefix(strings.TrimSpace(string(b)), formatPrefix)
	version, err := strconv.Atoi(text)
	if !ok || err != nil {
		return fmt.Errorf("%s holds %.40q: move %s away to start with an empty one", path, b, dir)
	}
	if version > formatVersion {
		return fmt.Errorf("%s has format %d and this muster reads up to %d: %w", dir, version, formatVersion, ErrNewer)
	}
	return nil
}

// Hold protects every block that is put from now on from GC, until release is
// called; release may be called more than once. Hold over a fetch or a series
// of adds, and Record or Pin their root before releasing.
func (s *Store) Hold() (release func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.holds++
	return sync.OnceFunc(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.holds--; s.holds == 0 {
			clear(s.held)
		}
	})
}

// protect must be called before looking whether a block is there already.
func (s *Store) protect(c proto.CID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.holds > 0 {
		s.held[c] = struct{}{}
	}
}
