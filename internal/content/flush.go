package content

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
)

// maxFsync is up to how many new files Flush syncs one by one. Beyond, it syncs
// the whole file system at once, which is faster for many files but also waits
// for what other programs wrote.
const maxFsync = 16

// wrote remembers a file for the next Flush.
func (s *Store) wrote(path string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.unsynced) <= maxFsync {
		s.unsynced = append(s.unsynced, path)
	}
}

// Flush makes everything that was put, added, recorded or pinned before it
// survive a crash of the machine.
func (s *Store) Flush(ctx context.Context) error {
	s.mu.Lock()
	files := s.unsynced
	s.unsynced = nil
	s.mu.Unlock()
	err := s.saveUsed(ctx)
	if err == nil {
		err = s.syncFiles(files)
	}
	if err != nil {
		s.mu.Lock()
		s.unsynced = append(files, s.unsynced...)
		s.mu.Unlock()
		return fmt.Errorf("flush content: %w", err)
	}
	if err := s.kv.Sync(ctx); err != nil {
		return fmt.Errorf("flush content: %w", err)
	}
	return nil
}

func (s *Store) syncFiles(files []string) error {
	if len(files) > maxFsync {
		if err := syncFileSystem(s.dir); !errors.Is(err, errors.ErrUnsupported) {
			return err
		}
	}
	dirs := map[string]bool{}
	for _, f := range files {
		dirs[filepath.Dir(f)], dirs[s.blockDir()] = true, true
		if err := syncPath(f); err != nil && !errors.Is(err, fs.ErrNotExist) { // collected meanwhile
			return err
		}
	}
	if runtime.GOOS == "windows" { // which syncs no directories
		return nil
	}
	for d := range dirs {
		if err := syncPath(d); err != nil {
			return err
		}
	}
	return nil
}

func syncPath(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}
