package jobfile

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"

	"github.com/mustermesh/muster/node/api"
	"github.com/mustermesh/muster/proto"
)

// A place is where something stands in the file.
type place struct{ line, column int }

// A value decodes one node; key is its full name, like inputs[0].source.
type value func(key string, n ast.Node)

// fields are the known keys of a mapping.
type fields map[string]value

// A decoder turns nodes into a job and remembers where each value stood.
type decoder struct {
	name   string
	at     map[string]place
	faults []*Fault
}

func (d *decoder) fault(p place, format string, args ...any) {
	d.faults = append(d.faults, &Fault{Name: d.name, Line: p.line, Column: p.column, Text: fmt.Sprintf(format, args...)})
}

func (d *decoder) fail(n ast.Node, format string, args ...any) {
	d.fault(placeOf(n), format, args...)
}

// find gives the place of key, or of the nearest thing around it.
func (d *decoder) find(key string) place {
	for {
		if p, ok := d.at[key]; ok || key == "" {
			return p
		}
		key = key[:max(strings.LastIndexAny(key, ".["), 0)]
	}
}

func placeOf(n ast.Node) place {
	t := n.GetToken()
	if m, ok := n.(*ast.MappingNode); ok && len(m.Values) > 0 && !m.IsFlowStyle {
		t = m.Values[0].Key.GetToken()
	}
	if t == nil || t.Position == nil {
		return place{}
	}
	return place{t.Position.Line, t.Position.Column}
}

// mapping decodes a mapping whose keys are all known.
func (d *decoder) mapping(key string, n ast.Node, fs fields) {
	d.at[key] = placeOf(n)
	m, ok := n.(*ast.MappingNode)
	if !ok {
		d.fail(n, "%s must be a mapping with the keys %s, not %s", named(key), strings.Join(slices.Sorted(maps.Keys(fs)), ", "), kind(n))
		return
	}
	for _, entry := range m.Values {
		k := entry.Key.GetToken().Value
		decode, ok := fs[k]
		if !ok {
			d.fail(entry.Key, "%s", unknown(key, k, slices.Sorted(maps.Keys(fs))))
			continue
		}
		decode(join(key, k), entry.Value)
	}
}

func unknown(parent, key string, known []string) string {
	text := fmt.Sprintf("unknown key `%.80s`", key)
	if parent != "" {
		text += " in `" + parent + "`"
	}
	if near := Nearest(key, known); near != "" {
		return text + "; did you mean `" + near + "`?"
	}
	return text + "; known are " + strings.Join(known, ", ")
}

func join(parent, key string) string {
	if parent == "" {
		return key
	}
	return parent + "." + key
}

func named(key string) string {
	if key == "" {
		return "a job specification"
	}
	return "`" + key + "`"
}

func kind(n ast.Node) string {
	switch n.(type) {
	case *ast.MappingNode:
		return "a mapping"
	case *ast.SequenceNode:
		return "a list"
	case *ast.NullNode:
		return "empty"
	}
	return fmt.Sprintf("%.40q", n.GetToken().Value)
}

func (d *decoder) fields(fs fields) value {
	return func(key string, n ast.Node) { d.mapping(key, n, fs) }
}

func (d *decoder) list(each value) value {
	return func(key string, n ast.Node) {
		d.at[key] = placeOf(n)
		s, ok := n.(*ast.SequenceNode)
		if !ok {
			d.fail(n, "`%s` must be a list, not %s", key, kind(n))
			return
		}
		for i, v := range s.Values {
			each(fmt.Sprintf("%s[%d]", key, i), v)
		}
	}
}

// scalar gives a scalar as it is written, without quotes.
func (d *decoder) scalar(key string, n ast.Node) (text string, ok bool) {
	d.at[key] = placeOf(n)
	switch n := n.(type) {
	case *ast.LiteralNode:
		return n.Value.Value, true
	case *ast.StringNode:
		return n.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		return n.GetToken().Value, true
	case *ast.NullNode:
		if n.Token.Type == token.NullType && n.Token.Value != "" {
			return n.Token.Value, true
		}
		d.fail(n, "`%s` is empty; write \"\" for an empty text, or leave it out", key)
	default:
		d.fail(n, "`%s` must be a single value, not %s", key, kind(n))
	}
	return "", false
}

func (d *decoder) text(to *string) value {
	return func(key string, n ast.Node) {
		if s, ok := d.scalar(key, n); ok {
			*to = s
		}
	}
}

func (d *decoder) texts(to *[]string) value {
	return d.list(func(key string, n ast.Node) {
		if s, ok := d.scalar(key, n); ok {
			*to = append(*to, s)
		}
	})
}

func (d *decoder) dictionary(to *map[string]string) value {
	return func(key string, n ast.Node) {
		d.at[key] = placeOf(n)
		m, ok := n.(*ast.MappingNode)
		if !ok {
			d.fail(n, "`%s` must be a mapping, not %s", key, kind(n))
			return
		}
		*to = make(map[string]string, len(m.Values))
		for _, entry := range m.Values {
			k := entry.Key.GetToken().Value
			if s, ok := d.scalar(join(key, k), entry.Value); ok {
				(*to)[k] = s
			}
		}
	}
}

// parsed decodes a scalar by parse, whose error completes "`key` …".
func parsed[T any](d *decoder, to *T, parse func(string) (T, error)) value {
	return func(key string, n ast.Node) {
		s, ok := d.scalar(key, n)
		if !ok {
			return
		}
		v, err := parse(s)
		if err != nil {
			d.fail(n, "`%s`: %v", key, err)
			return
		}
		*to = v
	}
}

func (d *decoder) number(to *float64) value { return parsed(d, to, ParseNumber) }
func (d *decoder) size(to *uint64) value    { return parsed(d, to, ParseSize) }
func (d *decoder) duration(to *int64) value { return parsed(d, to, ParseDuration) }
func (d *decoder) price(to *float64) value  { return parsed(d, to, ParsePrice) }
func (d *decoder) split(to *string) value   { return parsed(d, to, ParseSplit) }
func (d *decoder) fuel(to *uint64) value    { return parsed(d, to, ParseFuel) }
func (d *decoder) count(to *uint32) value {
	return parsed(d, to, func(s string) (uint32, error) {
		n, err := whole(s, 32)
		return uint32(n), err
	})
}

// retries is a count that is not 0: that would be the default.
func (d *decoder) retries(to *uint32) value {
	return parsed(d, to, func(s string) (uint32, error) {
		n, err := whole(s, 32)
		if err == nil && n == 0 {
			return 0, errors.New("0 is not possible: a task that peers failed is tried again at least once; leave it out for the node's default")
		}
		return uint32(n), err
	})
}

func (d *decoder) flag(to *bool) value {
	return parsed(d, to, func(s string) (bool, error) {
		if s != "true" && s != "false" {
			return false, fmt.Errorf("%.40q is neither true nor false", s)
		}
		return s == "true", nil
	})
}

func (d *decoder) confidence(j *api.Job) value {
	return func(key string, n ast.Node) {
		j.HasConfidence = true
		d.number(&j.Confidence)(key, n)
	}
}

func whole(s string, bits int) (uint64, error) {
	n, err := strconv.ParseUint(s, 10, bits)
	if err != nil {
		return 0, fmt.Errorf("%.40q is not a whole number from 0 to %d", s, uint64(math.MaxUint64)>>(64-bits))
	}
	return n, nil
}

// ParseNumber reads a number that is neither infinite nor negative.
func ParseNumber(s string) (float64, error) {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsNaN(f) || math.IsInf(f, 0) || f < 0 {
		return 0, fmt.Errorf("%.40q is not a number from 0 up", s)
	}
	return f, nil
}

// ParsePrice reads credits per core-hour, above zero.
func ParsePrice(s string) (float64, error) {
	f, err := ParseNumber(s)
	if err == nil && f == 0 {
		return 0, fmt.Errorf("the price must be above 0; leave it out for no limit")
	}
	return f, err
}

// ParseSize reads a number of bytes: 268435456, "256MiB", "1.5GB".
func ParseSize(s string) (uint64, error) {
	if n, err := strconv.ParseUint(s, 10, 64); err == nil {
		return n, nil
	}
	n, err := humanize.ParseBytes(s)
	if err != nil || strings.Contains(s, ",") {
		return 0, fmt.Errorf("%.40q is not a size such as 256MiB, 1.5GB, or a number of bytes", s)
	}
	return n, nil
}

// ParseSplit reads how an input becomes tasks: files, files:N, lines:N or
// bytes:N. It gives the same with N in digits alone, as a node takes it, so that
// bytes:4MiB becomes bytes:4194304. "" is no split.
func ParseSplit(s string) (string, error) {
	if s == "" || s == "files" {
		return s, nil
	}
	unit, number, _ := strings.Cut(s, ":")
	most, parse := uint64(0), func(s string) (uint64, error) { return whole(s, 64) }
	switch unit {
	case "files":
		most = proto.MaxTasks
	case "lines":
		most = 1 << 40
	case "bytes":
		most, parse = maxBytes, ParseSize
	}
	if n, err := parse(number); err == nil && n >= 1 && n <= most {
		return unit + ":" + strconv.FormatUint(n, 10), nil
	}
	return "", fmt.Errorf("%.40q is not files (a task for each file), files:N (N tasks, up to %d), lines:N (pieces of N lines) "+
		"or bytes:N (pieces of N bytes, such as bytes:4MiB)", s, proto.MaxTasks)
}

// ParseDuration reads a duration in Go's form, such as 90s, 10m or 1h30m, and
// gives milliseconds. It must be at least one millisecond.
func ParseDuration(s string) (ms int64, err error) {
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0, fmt.Errorf("%.40q is not a duration such as 90s, 10m or 1h30m", s)
	}
	if d < time.Millisecond {
		return 0, fmt.Errorf("%.40q is shorter than a millisecond; leave it out for the default", s)
	}
	return d.Milliseconds(), nil
}
