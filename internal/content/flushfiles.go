package content

import (
	"context"
	"fmt"
)

// FlushFiles is Flush without the KV: for a caller that makes the KV durable
// itself right after, together with what it writes there.
func (s *Store) FlushFiles(context.Context) error {
	s.mu.Lock()
	files := s.unsynced
	s.unsynced = nil
	s.mu.Unlock()
	if err := s.syncFiles(files); err != nil {
		s.mu.Lock()
		s.unsynced = append(files, s.unsynced...)
		s.mu.Unlock()
		return fmt.Errorf("flush content: %w", err)
	}
	return nil
}
