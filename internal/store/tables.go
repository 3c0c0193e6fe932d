package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/pb"
	"github.com/dgraph-io/badger/v4/table"
	"github.com/dgraph-io/badger/v4/y"
	"google.golang.org/protobuf/proto"
)

// checkTables looks at the tables that the manifest names before Badger does.
// Badger panics in a goroutine of its own over a table with a bad footer, goes on
// silently without one whose index is damaged, and takes tables without a
// manifest for rubbish; all of that would lose records.
func checkTables(dir string, opts badger.Options) error {
	f, err := os.Open(filepath.Join(dir, badger.ManifestFilename))
	if errors.Is(err, fs.ErrNotExist) {
		return checkEmpty(dir)
	}
	if err != nil {
		return err
	}
	defer f.Close()
	m, _, err := badger.ReplayManifestFile(f, opts.ExternalMagicVersion, opts)
	if err != nil {
		return err
	}
	for id := range m.Tables {
		if err := checkTable(table.NewFilename(id, dir)); err != nil {
			return err
		}
	}
	return nil
}

func checkEmpty(dir string) error {
	tables, err := filepath.Glob(filepath.Join(dir, "*.sst"))
	if err == nil && len(tables) > 0 {
		err = fmt.Errorf("it has %d tables and no %s", len(tables), badger.ManifestFilename)
	}
	return err
}

// checkTable checks the end of a table file: index, its length, checksum of the
// index, and that one's length. The checksums of the blocks are checked by Badger
// as they are read.
func checkTable(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	tail := tail{f: f, end: info.Size()}
	sum, err := tail.field()
	if err != nil {
		return err
	}
	index, err := tail.field()
	if err != nil {
		return err
	}
	var want pb.Checksum
	if err := proto.Unmarshal(sum, &want); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if err := y.VerifyChecksum(index, &want); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// A tail reads a file from its end: fields, each before its length.
type tail struct {
	f   *os.File
	end int64
}

func (t *tail) field() ([]byte, error) {
	size, err := t.take(4)
	if err != nil {
		return nil, err
	}
	return t.take(int64(binary.BigEndian.Uint32(size)))
}

func (t *tail) take(n int64) ([]byte, error) {
	if n > t.end {
		return nil, fmt.Errorf("%s has no table's end", t.f.Name())
	}
	t.end -= n
	b := make([]byte, n)
	_, err := t.f.ReadAt(b, t.end)
	return b, err
}
