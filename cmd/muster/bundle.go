package main

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"connectrpc.com/connect"

	"github.com/mustermesh/muster/node/api"
)

// maxListed is how many names of an archive are told.
const maxListed = 40

// A bundle is an archive that was written for whoever helps.
type bundle struct {
	path  string // - for standard output
	size  int64  // bytes
	names []string
}

// checkBundle refuses where the archive cannot go before any work is done.
func (d *doctor) checkBundle() error {
	switch {
	case d.bundle == "" && d.force:
		return usagef("--force is about --bundle FILE, which is missing")
	case d.bundle == "":
		return nil
	case d.bundle != "-":
		_, err := os.Lstat(d.bundle)
		if err == nil && !d.force {
			return existsError(d.bundle)
		}
		return nil
	case !d.a.asTable():
		return usagef("--bundle - and -o both want standard output; write the archive to a file")
	case d.a.isTerminal(d.a.out):
		return usagef("the archive is not for a screen; write it to a file with --bundle FILE, or send standard output elsewhere")
	}
	return nil
}

func existsError(path string) error {
	return fmt.Errorf("%s exists already; choose another name, or replace it with --force", path)
}

// saveBundle asks the node for the archive and writes it to path, which only
// the owner may read. What cannot be written whole is not left behind.
func (a *app) saveBundle(ctx context.Context, c *client, path string, force bool) (*bundle, error) {
	b := &bundle{path: path}
	fill := func(w io.Writer) (err error) {
		b.size, err = copyBundle(ctx, c, w)
		return err
	}
	if path == "-" {
		if err := fill(a.out); err != nil {
			return nil, fmt.Errorf("the archive on standard output is not whole: %w", err)
		}
		return b, nil
	}
	if err := createPrivate(path, force, fill); err != nil {
		return nil, fmt.Errorf("write the archive: %w", err)
	}
	b.names = archiveNames(path)
	return b, nil
}

func copyBundle(ctx context.Context, c *client, w io.Writer) (n int64, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.Bundle(ctx, connect.NewRequest(&api.BundleRequest{}))
	if err != nil {
		return 0, err
	}
	defer stream.Close()
	for stream.Receive() {
		m, err := w.Write(stream.Msg().Data)
		n += int64(m)
		if err != nil {
			cancel()
			return n, err
		}
	}
	return n, stream.Err()
}

// createPrivate makes a file of mode 0600 that fill writes, whole or not at all.
// A file that is there already is replaced if force is set, and an error if not.
func createPrivate(path string, force bool, fill func(io.Writer) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".muster-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // gone already where it was renamed
	if err := errors.Join(fill(f), f.Close()); err != nil {
		return err
	}
	if force {
		return os.Rename(f.Name(), path)
	}
	// Unlike a rename, this fails where there is a file by now.
	placed, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		return existsError(path)
	}
	if err != nil {
		return err
	}
	return errors.Join(placed.Close(), os.Rename(f.Name(), path))
}

// archiveNames gives the first names in a compressed tar archive, none if it is
// something else.
func archiveNames(path string) (names []string) {
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil
	}
	for t := tar.NewReader(z); len(names) < maxListed; {
		h, err := t.Next()
		if err != nil {
			return names
		}
		names = append(names, clean(h.Name))
	}
	return append(names, "…")
}

// tell says what the archive is, and what is in it.
func (b *bundle) tell(w io.Writer) {
	if b.path == "-" {
		fmt.Fprintf(w, "archive: %s to standard output; no keys are in it, but look through it before you give it away\n", bytesText(uint64(b.size)))
		return
	}
	fmt.Fprintf(w, "archive: %s (%s), readable by you alone\n", b.path, bytesText(uint64(b.size)))
	if len(b.names) > 0 {
		fmt.Fprintf(w, "it holds %s\n", strings.Join(b.names, ", "))
	}
	fmt.Fprintln(w, "no keys are in it, but look through it before you give it away")
}
