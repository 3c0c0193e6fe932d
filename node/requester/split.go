package requester

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/mustermesh/muster/internal/content"
	"github.com/mustermesh/muster/node/api"
	"github.com/mustermesh/muster/proto"
)

// tasks reads the inputs and deals them out.
func (im *importer) tasks(ctx context.Context, in *api.Job) ([]proto.TaskInput, error) {
	stdin, err := im.stdin(ctx, in.Program)
	if err != nil {
		return nil, err
	}
	var whole []content.Part
	var pieces [][]content.Part
	for _, input := range in.Inputs {
		n, err := im.node(ctx, input.Source, "input")
		if err != nil {
			return nil, err
		}
		target, err := inputTarget(input, n)
		if err != nil {
			return nil, err
		}
		if input.Split == "" {
			whole = append(whole, content.Part{Path: target, Node: n})
			continue
		}
		if pieces != nil {
			return nil, fmt.Errorf("%w: only one input can be split", ErrSpecification)
		}
		if pieces, err = im.split(ctx, input, n, target); err != nil {
			return nil, err
		}
	}
	count := max(int(in.Count), 1)
	if pieces != nil {
		if in.Count > 1 && int(in.Count) != len(pieces) {
			return nil, fmt.Errorf("%w: count is %d, but the split gives %d tasks; leave count out", ErrSpecification, in.Count, len(pieces))
		}
		count = len(pieces)
	}
	if count > proto.MaxTasks {
		return nil, fmt.Errorf("%w: %d tasks; a job has at most %d", ErrSpecification, count, proto.MaxTasks)
	}
	return im.deal(ctx, whole, pieces, count, stdin)
}

// deal builds one input tree per task; tasks without a piece of their own share
// one.
func (im *importer) deal(ctx context.Context, whole []content.Part, pieces [][]content.Part, count int, stdin proto.CID) ([]proto.TaskInput, error) {
	out := make([]proto.TaskInput, count)
	var shared proto.CID
	for i := range out {
		out[i].Stdin = stdin
		if pieces == nil && (len(whole) == 0 || i > 0) {
			out[i].Input = shared
			continue
		}
		parts := slices.Clone(whole)
		if pieces != nil {
			parts = append(parts, pieces[i]...)
		}
		tree, err := im.r.content().BuildTree(ctx, parts)
		if err != nil {
			return nil, fmt.Errorf("%w: inputs: %v", ErrSpecification, err)
		}
		if err := im.keep(ctx, tree, content.Job); err != nil {
			return nil, err
		}
		im.largest = max(im.largest, tree.Size)
		out[i].Input, shared = tree.CID, tree.CID
	}
	return out, nil
}

func inputTarget(in *api.Input, n content.Node) (string, error) {
	target := in.Target
	if target == "" {
		target = "/in"
		if !n.Dir {
			target += "/" + filepath.Base(in.Source)
		}
	}
	if err := proto.CheckGuestPath(target); err != nil {
		return "", fmt.Errorf("%w: %v", ErrSpecification, err)
	}
	return strings.TrimPrefix(target, "/"), nil
}

// split cuts one input: files (a task per file), files:N (N tasks of about equal
// bytes), lines:N (pieces of N lines of one file), bytes:N (pieces of N bytes).
func (im *importer) split(ctx context.Context, in *api.Input, n content.Node, target string) ([][]content.Part, error) {
	kind, arg, given := strings.Cut(in.Split, ":")
	number := 0
	if given {
		var err error
		if number, err = strconv.Atoi(arg); err != nil || number < 1 {
			return nil, fmt.Errorf("%w: split %q: give a number of %s in digits alone, at least 1, such as %s:4194304", ErrSpecification, in.Split, kind, kind)
		}
	}
	switch {
	case kind == "files":
		return im.splitFiles(ctx, n, target, number)
	case kind == "lines" && given:
		return im.pieces(target, n, in.Split, func() ([]content.Node, error) { return im.r.content().SplitLines(ctx, n.CID, number) })
	case kind == "bytes" && given:
		return im.pieces(target, n, in.Split, func() ([]content.Node, error) { return im.r.content().SplitBytes(ctx, n.CID, int64(number)) })
	}
	return nil, fmt.Errorf("%w: split %q; known: files, files:N, lines:N, bytes:N", ErrSpecification, in.Split)
}

func (im *importer) splitFiles(ctx context.Context, n content.Node, target string, number int) ([][]content.Part, error) {
	tree, err := im.r.content().OpenTree(ctx, n.CID)
	if err != nil {
		return nil, err
	}
	var pieces [][]content.Part
	for _, group := range content.SplitFiles(tree.Entries(), number) {
		var parts []content.Part
		for _, e := range group {
			p := target
			if e.Path != "" {
				p += "/" + e.Path
			}
			parts = append(parts, content.Part{Path: p, Node: content.Node{CID: e.CID, Size: e.Size}})
		}
		pieces = append(pieces, parts)
	}
	if len(pieces) == 0 {
		return nil, fmt.Errorf("%w: nothing to split: the input has no files", ErrSpecification)
	}
	return pieces, nil
}

// pieces makes a task of each piece of a file.
func (im *importer) pieces(target string, n content.Node, how string, cut func() ([]content.Node, error)) ([][]content.Part, error) {
	if n.Dir {
		return nil, fmt.Errorf("%w: split %s needs a file, not a directory", ErrSpecification, how)
	}
	nodes, err := cut()
	if errors.Is(err, content.ErrTooMany) {
		return nil, fmt.Errorf("%w: %w", ErrSpecification, err)
	}
	if err != nil {
		return nil, err
	}
	if len(nodes) == 0 {
		return nil, fmt.Errorf("%w: nothing to split: the input is empty", ErrSpecification)
	}
	pieces := make([][]content.Part, len(nodes))
	for i, piece := range nodes {
		pieces[i] = []content.Part{{Path: target, Node: piece}}
	}
	return pieces, nil
}

func (im *importer) stdin(ctx context.Context, p *api.Program) (proto.CID, error) {
	var n content.Node
	var err error
	switch {
	case p.HasStdinData:
		n, err = im.r.content().AddReader(ctx, bytes.NewReader(p.StdinData))
	case p.Stdin != "":
		n, err = im.node(ctx, p.Stdin, "stdin")
	default:
		return proto.CID{}, nil
	}
	if err == nil && n.Dir {
		err = fmt.Errorf("%w: stdin %s is a directory", ErrSpecification, p.Stdin)
	}
	if err != nil {
		return proto.CID{}, err
	}
	return n.CID, im.keep(ctx, n, content.Job)
}
