package content

import "errors"

var (
	// ErrNotFound is wrapped when a block, root or path is not here.
	ErrNotFound = errors.New("not found")
	// ErrCorrupt is wrapped when a block on our disk was not what its id says. It
	// has been removed and can be fetched again.
	ErrCorrupt = errors.New("corrupt block removed")
	// ErrMismatch is wrapped by Put for a block that is not what its id says.
	ErrMismatch = errors.New("block does not match its id")
	// ErrTooLarge is wrapped for a block over MaxBlock.
	ErrTooLarge = errors.New("block too large")
	// ErrMalformed is wrapped for content whose bytes match its id but make no
	// sense, or use what muster does not support (links, other hashes).
	ErrMalformed = errors.New("malformed content")
	// ErrTooMany is wrapped when a graph has more entries, blocks, bytes or levels
	// than allowed.
	ErrTooMany = errors.New("content over the limits")
	// ErrRefused is wrapped when a host path cannot be added: a link, a device, a
	// name that is not UTF-8.
	ErrRefused = errors.New("cannot be added")
	// ErrPath is wrapped for a path inside a tree that is not clean and relative,
	// or that conflicts with another.
	ErrPath = errors.New("bad path in a tree")
	// ErrNewer is wrapped by Open when a newer muster wrote the folder.
	ErrNewer = errors.New("the content was written by a newer muster")
)
