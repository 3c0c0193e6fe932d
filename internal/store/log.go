package store

import (
	"fmt"
	"log/slog"
	"strings"
)

// badgerLog hands Badger's messages to slog: its chatter at debug, its errors as
// errors, since they mean that the disk refuses.
type badgerLog struct{ log *slog.Logger }

func (l badgerLog) Errorf(format string, args ...any) {
	l.log.Error("badger", "part", "store", "err", text(format, args))
}

func (l badgerLog) Warningf(format string, args ...any) { l.debug(format, args) }
func (l badgerLog) Infof(format string, args ...any)    { l.debug(format, args) }

// Debugf drops what Badger says on every write.
func (l badgerLog) Debugf(string, ...any) {}

func (l badgerLog) debug(format string, args []any) {
	l.log.Debug("badger", "part", "store", "text", text(format, args))
}

func text(format string, args []any) string {
	return strings.TrimSpace(fmt.Sprintf(format, args...))
}
