package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
)

const (
	formatName    = "FORMAT"
	formatPrefix  = "muster-store "
	formatVersion = 1
)

// checkFormat reads the version record beside the database and writes it into a
// new one. It is a plain file, so that it can be read whatever becomes of the
// database's own format.
func checkFormat(dir string) error {
	path := filepath.Join(dir, formatName)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return writeFormat(dir, path)
	}
	if err != nil {
		return err
	}
	text, ok := strings.CutPrefix(strings.TrimSpace(string(b)), formatPrefix)
	version, err := strconv.Atoi(text)
	if !ok || err != nil || version < 1 {
		return damaged(dir, fmt.Errorf("%s holds %.40q", path, b))
	}
	if version > formatVersion {
		return fmt.Errorf("%s has format %d and this muster reads up to %d: install the newer muster again: %w",
			dir, version, formatVersion, ErrNewer)
	}
	return nil
}

func writeFormat(dir, path string) error {
	if _, err := os.Stat(filepath.Join(dir, "MANIFEST")); err == nil {
		return damaged(dir, fmt.Errorf("it has no %s file", formatName))
	}
	whole := path + ".new"
	if err := writeSynced(whole, fmt.Sprintf("%s%d\n", formatPrefix, formatVersion)); err != nil {
		return err
	}
	if err := os.Rename(whole, path); err != nil {
		return err
	}
	return syncDir(dir)
}

func writeSynced(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Sync(), f.Close())
}

func damaged(dir string, cause error) error {
	return fmt.Errorf("%w: %w: put a copy of %s back, or move it away to start with an empty one", ErrDamaged, cause, dir)
}

func syncDir(dir string) error {
	if runtime.GOOS == "windows" { // which syncs no directories
		return nil
	}
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}
