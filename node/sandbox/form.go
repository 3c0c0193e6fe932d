package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/mustermesh/muster/proto"
)

// ErrOutput says that an output root is not what docs/wire.md §5 describes.
var ErrOutput = errors.New("malformed output")

// CheckOutput checks the form of an output that is here: status, stdout, stderr
// and out/, and that its status says what its provider signed.
func (b *Box) CheckOutput(ctx context.Context, a proto.Answer) error {
	tree, err := b.content.OpenTree(ctx, a.Output)
	if err != nil {
		return fmt.Errorf("%w: %v", ErrOutput, err)
	}
	for _, file := range []string{pathStatus, PathStdout, PathStderr} {
		if e, ok := tree.Find(file); !ok || e.Dir {
			return fmt.Errorf("%w: no file %s", ErrOutput, file)
		}
	}
	if e, ok := tree.Find(PathOut); !ok || !e.Dir {
		return fmt.Errorf("%w: no directory %s", ErrOutput, PathOut)
	}
	want := statusText(a)
	status, _ := tree.Find(pathStatus)
	got := make([]byte, len(want))
	if status.Size != int64(len(want)) {
		return fmt.Errorf("%w: status is not %q", ErrOutput, want)
	}
	if _, err := tree.ReadAt(ctx, pathStatus, got, 0); err != nil && !errors.Is(err, io.EOF) || string(got) != want {
		return fmt.Errorf("%w: status is not %q", ErrOutput, want)
	}
	return nil
}
