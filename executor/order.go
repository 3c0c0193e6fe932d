package executor

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// maxArgs bounds the bytes of one argument, and of all of them, and of the
// environment.
const maxArgs = 1 << 20

// newOrder checks t and puts it into a child's words.
func newOrder(ctx context.Context, t Task) (order, error) {
	o := order{args: t.Args, env: t.Env, seed: t.Seed, memory: t.Limits.Memory, disk: t.Limits.Disk, fuel: t.Limits.Fuel}
	if err := checkStrings("arguments", t.Args); err != nil {
		return order{}, err
	}
	if err := checkStrings("environment", t.Env); err != nil {
		return order{}, err
	}
	switch {
	case t.Limits.Timeout <= 0:
		return order{}, fmt.Errorf("%w: no time limit", ErrTask)
	case t.Limits.Fuel > MaxFuel:
		return order{}, fmt.Errorf("%w: %d units of fuel, more than %d", ErrTask, t.Limits.Fuel, uint64(MaxFuel))
	}
	var err error
	if o.outputs, err = outputPaths(t.Outputs); err != nil {
		return order{}, err
	}
	if t.Stdin != nil {
		if o.stdin = t.Stdin.Size(); o.stdin < 0 || o.stdin > maxFile {
			return order{}, fmt.Errorf("%w: stdin of %d bytes", ErrTask, o.stdin)
		}
	}
	if t.Input != nil {
		if o.entries, err = t.Input.Entries(ctx); err != nil {
			return order{}, fmt.Errorf("%w: list input: %w", ErrHost, err)
		}
	}
	return o, checkEntries(o.entries)
}

func checkStrings(what string, list []string) error {
	n := 0
	for _, s := range list {
		n += len(s) + 1
		if strings.IndexByte(s, 0) >= 0 {
			return fmt.Errorf("%w: a zero byte in the %s", ErrTask, what)
		}
	}
	if n > maxArgs {
		return fmt.Errorf("%w: %s of %d bytes, more than %d", ErrTask, what, n, maxArgs)
	}
	return nil
}

// outputPaths gives the outputs relative to the root and sorted.
func outputPaths(list []string) ([]string, error) {
	var out []string
	for _, p := range list {
		rel, ok := strings.CutPrefix(p, "/")
		if !ok {
			return nil, fmt.Errorf("%w: output %q is not an absolute path", ErrTask, p)
		}
		if err := checkPath(rel); err != nil {
			return nil, fmt.Errorf("%w: output: %w", ErrTask, err)
		}
		out = append(out, rel)
	}
	slices.SortFunc(out, comparePaths)
	for i := 1; i < len(out); i++ {
		if out[i] == out[i-1] || strings.HasPrefix(out[i], out[i-1]+"/") {
			return nil, fmt.Errorf("%w: output /%s is inside output /%s", ErrTask, out[i], out[i-1])
		}
	}
	return out, nil
}

// checkEntries checks each entry; how they fit together shows when the child
// builds the tree.
func checkEntries(entries []Entry) error {
	if len(entries) > MaxEntries {
		return fmt.Errorf("%w: input of %d files and directories, more than %d", ErrTask, len(entries), MaxEntries)
	}
	listing, total := int64(0), int64(0)
	for _, e := range entries {
		if err := checkPath(e.Path); err != nil {
			return fmt.Errorf("%w: input: %w", ErrTask, err)
		}
		if e.Size < 0 || e.Size > maxFile || e.Dir && e.Size != 0 {
			return fmt.Errorf("%w: input /%s of %d bytes", ErrTask, e.Path, e.Size)
		}
		listing += int64(len(e.Path)) + 12
		if total += e.Size; total < 0 || listing > maxTaskFrame/2 {
			return fmt.Errorf("%w: input too large: its names alone may have %d bytes", ErrTask, maxTaskFrame/2)
		}
	}
	return nil
}
