// Package jobfile answers what a user's job specification says, and what is
// wrong with it: in which line and column, and what was probably meant.
//
// It owns the YAML form of a job, the rules that hold for a job however it was
// written down (Check, for the flags of the command line too), and the way back
// to YAML (Format). It reads no file of the job: paths become absolute, and
// Missing tells which of them are not there. It leaves to package node what a
// specification becomes: reading, splitting and signing.
package jobfile

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/mustermesh/muster/node/api"
	"github.com/mustermesh/muster/proto"
)

// MaxFile is the largest specification, in bytes.
const MaxFile = 1 << 20

// A Fault is one thing that is wrong with a specification.
type Fault struct {
	Name         string // of the file
	Line, Column int    // from 1; 0 where there is no such place
	Text         string
}

// Error gives "job.yaml: line 3, column 1: what is wrong".
func (f *Fault) Error() string {
	if f.Line == 0 {
		return fmt.Sprintf("%s: %s", f.Name, f.Text)
	}
	return fmt.Sprintf("%s: line %d, column %d: %s", f.Name, f.Line, f.Column, f.Text)
}

// Parse reads a specification. name stands in errors; relative paths start at
// dir, which must be absolute. An error joins a *Fault for each thing that is
// wrong, up to ten of them, in the order of the file.
func Parse(data []byte, name, dir string) (*api.Job, error) {
	root, fault := parseYAML(data)
	if fault != nil {
		fault.Name = name
		return nil, fault
	}
	d := &decoder{name: name, at: map[string]place{}}
	job := &api.Job{}
	d.job(root, job)
	if len(d.faults) == 0 {
		for _, p := range problems(job) {
			d.fault(d.find(p.key), "%s", p.text)
		}
	}
	if len(d.faults) > 0 {
		return nil, d.err()
	}
	absolute(job, dir)
	return job, nil
}

func (d *decoder) job(root ast.Node, j *api.Job) {
	d.mapping("", root, fields{
		"name":        d.text(&j.Name),
		"program":     d.program(&j.Program, true),
		"inputs":      d.list(func(key string, n ast.Node) { j.Inputs = append(j.Inputs, d.input(key, n)) }),
		"outputs":     d.texts(&j.Outputs),
		"count":       d.count(&j.Count),
		"reduce":      d.program(&j.Reduce, false),
		"resources":   d.resources(&j.Resources),
		"limits":      d.limits(j),
		"verify":      d.fields(fields{"confidence": d.confidence(j), "comparator": d.text(&j.Comparator), "referee_budget": d.duration(&j.RefereeBudgetMs)}),
		"price":       d.fields(fields{"max": d.price(&j.MaxPrice)}),
		"constraints": d.texts(&j.Constraints),
		"labels":      d.dictionary(&j.Labels),
		"seed":        d.text(&j.Seed),
		"private":     d.flag(&j.Private),
	})
}

func (d *decoder) limits(j *api.Job) value {
	return d.fields(fields{
		"timeout": d.duration(&j.TimeoutMs), "queue_timeout": d.duration(&j.QueueTimeoutMs), "total_timeout": d.duration(&j.TotalTimeoutMs),
		"retries": d.retries(&j.Retries), "fuel": d.fuel(&j.Fuel),
	})
}

func (d *decoder) program(to **api.Program, stdin bool) value {
	return func(key string, n ast.Node) {
		p := &api.Program{}
		*to = p
		fs := fields{"wasm": d.text(&p.Wasm), "args": d.texts(&p.Args), "env": d.dictionary(&p.Env)}
		if stdin {
			fs["stdin"] = d.text(&p.Stdin)
		}
		d.mapping(key, n, fs)
	}
}

func (d *decoder) input(key string, n ast.Node) *api.Input {
	in := &api.Input{}
	d.mapping(key, n, fields{"source": d.text(&in.Source), "target": d.text(&in.Target), "split": d.split(&in.Split)})
	return in
}

func (d *decoder) resources(to **api.Resources) value {
	return func(key string, n ast.Node) {
		r := &api.Resources{}
		*to = r
		d.mapping(key, n, fields{"cpu": d.number(&r.Cpu), "memory": d.size(&r.Memory), "disk": d.size(&r.Disk), "gpu": d.count(&r.Gpu)})
	}
}

// absolute makes every path of a job absolute.
func absolute(j *api.Job, dir string) {
	j.Program.Wasm = Absolute(j.Program.Wasm, dir)
	j.Program.Stdin = Absolute(j.Program.Stdin, dir)
	if j.Reduce != nil {
		j.Reduce.Wasm = Absolute(j.Reduce.Wasm, dir)
	}
	for _, in := range j.Inputs {
		in.Source = Absolute(in.Source, dir)
	}
}

// Absolute gives the absolute path of s, which starts at dir; content ids, URLs
// and "" stay as they are. A file that is called like a content id is written
// with ./ before it.
func Absolute(s, dir string) string {
	if s == "" || !IsPath(s) {
		return s
	}
	if filepath.IsAbs(s) {
		return filepath.Clean(s)
	}
	return filepath.Join(dir, s)
}

// IsPath tells whether s names a file of this machine, not a CID or a URL.
func IsPath(s string) bool {
	_, err := proto.ParseCID(s)
	return err != nil && !strings.Contains(s, "://")
}

// Nearest gives the known word that s was probably meant to be, "" if none is
// near.
func Nearest(s string, known []string) string {
	best, least := "", 1+len(s)/3
	for _, k := range slices.Sorted(slices.Values(known)) {
		if n := distance(strings.ToLower(s), k); n <= least {
			best, least = k, n-1
		}
	}
	return best
}

// distance counts the insertions, deletions, replacements and swaps of
// neighbours that make b of a (optimal string alignment). It gives up on words
// over 64 bytes.
func distance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return 64
	}
	var rows [65][65]int
	for i := range len(a) + 1 {
		for j := range len(b) + 1 {
			rows[i][j] = i + j
			if i == 0 || j == 0 {
				continue
			}
			same := 1
			if a[i-1] == b[j-1] {
				same = 0
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+same)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}

// err joins the faults in the order of the file.
func (d *decoder) err() error {
	slices.SortStableFunc(d.faults, func(a, b *Fault) int {
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Column - b.Column
	})
	errs := make([]error, 0, len(d.faults))
	for _, f := range d.faults[:min(len(d.faults), 10)] {
		errs = append(errs, f)
	}
	return errors.Join(errs...)
}
