package telemetry

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"regexp"
	"runtime"
	"strings"
	"time"
)

// ErrPart is wrapped by errors about a part that may not be in a bundle.
var ErrPart = errors.New("part of a bundle")

// A Part is one file of a bundle.
type Part struct {
	// Name is of lower-case letters, digits and dashes, and ends in .json (one JSON
	// value), .log (lines, of which the latest matter), .txt or .prom.
	Name string
	// Data is the text; of more than 4 MiB the rest is left out. Files of jobs do not
	// belong here: they cannot be told from other text.
	Data []byte
}

// Limits of a bundle.
const (
	maxParts  = 64
	maxPart   = 4 << 20  // bytes of one part, before compression
	maxTaken  = 16 << 20 // bytes of one part, before redaction, which takes some seconds for that
	maxBundle = 24 << 20 // bytes of all parts
)

const (
	bundleFolder = "muster-bundle/" // holds all files
	listName     = "contents.txt"   // says what they are
)

// contents says, as the first file of each bundle, what is in it.
const contents = `What is in this bundle: facts about one muster node, for whoever helps its owner.

Taken out, and replaced by [redacted]: private keys, tokens, passwords, headers, users and queries of
URLs, arguments, environments and standard streams of programs, and what has been said to be secret.
Public IP addresses, and names of hosts in multiaddresses, are numbered: [ip-1] is one address
throughout this bundle.
Names of users in paths are [user]. Ids of peers, jobs and contents are as they are.

Look through it before you hand it on.

`

var partName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,63}\.(json|log|txt|prom)$`)

// WriteBundle writes parts as a compressed tar archive, each after redaction by
// r, which belongs to this bundle alone. More than 24 MiB in all is left out, and
// the first file of the archive says so. Errors that wrap [ErrPart] are about the
// parts: a name that is malformed or there twice, more than 64 of them, or one of
// more than 16 MiB.
func WriteBundle(w io.Writer, parts []Part, r *Redactor) error {
	if err := checkParts(parts); err != nil {
		return err
	}
	var list strings.Builder
	list.WriteString(contents)
	ready, left := make([]Part, 0, len(parts)), maxBundle
	for _, p := range parts {
		before := r.count
		data := r.part(p)
		if len(data) > left {
			fmt.Fprintf(&list, "%-24s left out: the bundle is full\n", p.Name)
			continue
		}
		left -= len(data)
		fmt.Fprintf(&list, "%-24s %8d bytes, %d places redacted\n", p.Name, len(data), r.count-before)
		ready = append(ready, Part{p.Name, data})
	}
	return writeArchive(w, append([]Part{{listName, []byte(list.String())}}, ready...))
}

func checkParts(parts []Part) error {
	if len(parts) > maxParts {
		return fmt.Errorf("%w: %d parts; at most %d", ErrPart, len(parts), maxParts)
	}
	seen := map[string]bool{}
	for _, p := range parts {
		if !partName.MatchString(p.Name) || seen[p.Name] || p.Name == listName {
			return fmt.Errorf("%w: the name %q is malformed, or there twice", ErrPart, p.Name)
		}
		if len(p.Data) > maxTaken {
			return fmt.Errorf("%w: %s has %d bytes; at most %d are read", ErrPart, p.Name, len(p.Data), maxTaken)
		}
		seen[p.Name] = true
	}
	return nil
}

func writeArchive(w io.Writer, files []Part) error {
	zip := gzip.NewWriter(w)
	archive := tar.NewWriter(zip)
	for _, f := range files {
		header := &tar.Header{Name: bundleFolder + f.Name, Mode: 0o600, Size: int64(len(f.Data)), ModTime: time.Unix(0, 0), Format: tar.FormatUSTAR}
		if err := archive.WriteHeader(header); err != nil {
			return fmt.Errorf("write bundle: %w", err)
		}
		if _, err := archive.Write(f.Data); err != nil {
			return fmt.Errorf("write bundle: %w", err)
		}
	}
	if err := errors.Join(archive.Close(), zip.Close()); err != nil {
		return fmt.Errorf("write bundle: %w", err)
	}
	return nil
}

// shorten keeps less than maxPart bytes of a part, in whole lines: of a log the end, else
// the beginning.
func shorten(name string, data []byte) []byte {
	if len(data) <= maxPart {
		return data
	}
	const room = maxPart - 64 // for the mark
	mark := fmt.Appendf(nil, "[about %d bytes left out]\n", len(data)-room)
	if strings.HasSuffix(name, ".log") {
		tail := data[len(data)-room:]
		return append(mark, tail[bytes.IndexByte(tail, '\n')+1:]...)
	}
	head := data[:room]
	return append(bytes.Clone(head[:bytes.LastIndexByte(head, '\n')+1]), mark...)
}

// frameArguments are the values in a line of a stack, which may be anything.
var frameArguments = regexp.MustCompile(`(?m)^(\S.*)\([^()\n]*\)$`)

// Goroutines gives what every goroutine waits for, and since when, without the
// arguments of its calls. It stops the program for some milliseconds; beyond 4 MiB
// goroutines are left out.
func Goroutines() Part {
	buf := make([]byte, maxPart)
	buf = buf[:runtime.Stack(buf, true)]
	return Part{Name: "goroutines.txt", Data: frameArguments.ReplaceAll(buf, []byte("$1(...)"))}
}
