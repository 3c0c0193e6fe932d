package jobfile

import (
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"unicode"

	"github.com/mustermesh/muster/node/api"
	"github.com/mustermesh/muster/proto"
)

const (
	maxName   = 128 // bytes
	maxLabels = 32
	maxLabel  = 64 // bytes of a label's key or value
	maxCPU    = 1 << 10
	maxGPU    = 1 << 10
	maxBytes  = 1 << 50
	maxPrice  = 1 << 33 // credits
)

// A problem is a rule that a job breaks; key names the field.
type problem struct{ key, text string }

// Check tells what is wrong with a job, however it was written down; the error
// names the field as a specification would.
func Check(j *api.Job) error {
	ps := problems(j)
	errs := make([]error, 0, len(ps))
	for _, p := range ps[:min(len(ps), 10)] {
		errs = append(errs, errors.New(p.text))
	}
	return errors.Join(errs...)
}

func problems(j *api.Job) (ps []problem) {
	add := func(key, format string, args ...any) {
		ps = append(ps, problem{key, "`" + key + "`: " + fmt.Sprintf(format, args...)})
	}
	if len(j.Name) > maxName || strings.ContainsFunc(j.Name, unicode.IsControl) {
		add("name", "must be one line of at most %d bytes", maxName)
	}
	checkProgram("program", j.Program, add)
	if j.Reduce != nil {
		checkProgram("reduce", j.Reduce, add)
	}
	checkInputs(j, add)
	checkOutputs(j.Outputs, add)
	checkResources(j.Resources, add)
	checkLimits(j, add)
	checkTrust(j, add)
	checkLabels(j.Labels, add)
	return ps
}

type adder func(key, format string, args ...any)

func checkProgram(key string, p *api.Program, add adder) {
	if p.GetWasm() == "" {
		add(key+".wasm", "is missing: which program shall run?")
		return
	}
	noURL(key+".wasm", p.Wasm, add)
	noURL(key+".stdin", p.Stdin, add)
	if p.Stdin != "" && p.HasStdinData {
		add(key+".stdin", "is given twice")
	}
	total := 0
	for i, a := range p.Args {
		if total += len(a); strings.ContainsRune(a, 0) {
			add(fmt.Sprintf("%s.args[%d]", key, i), "holds a zero byte")
		}
	}
	for _, k := range sorted(p.Env) {
		total += len(k) + 1 + len(p.Env[k])
		checkVariable(key+".env", k, p.Env[k], add)
	}
	if len(p.Args) > proto.MaxArgs || len(p.Env) > proto.MaxArgs || total > proto.MaxArgBytes {
		add(key, "%d arguments and %d variables of %d bytes; at most %d of each and %d bytes in all: pass more by a file",
			len(p.Args), len(p.Env), total, proto.MaxArgs, proto.MaxArgBytes)
	}
}

func noURL(key, source string, add adder) {
	if strings.Contains(source, "://") {
		add(key, "must be a file or a CID; only inputs may be URLs")
	}
}

func checkVariable(key, k, v string, add adder) {
	switch {
	case k == "" || strings.ContainsAny(k, "=\x00") || strings.ContainsRune(v, 0):
		add(key+"."+k, "is no environment variable: names are not empty and hold no =, and there are no zero bytes")
	case k == "MUSTER_TASK_INDEX" || k == "MUSTER_TASK_COUNT":
		add(key+"."+k, "is set for each task and cannot be given")
	}
}

func checkInputs(j *api.Job, add adder) {
	targets := map[string]bool{}
	split := ""
	for i, in := range j.Inputs {
		key := fmt.Sprintf("inputs[%d]", i)
		checkSource(key+".source", in.Source, add)
		target := Target(in)
		if err := proto.CheckGuestPath(target); err != nil {
			add(key+".target", "%s", plain(err))
		}
		if targets[target] {
			add(key+".target", "%s is the target of two inputs", target)
		}
		targets[target] = true
		if in.Split == "" {
			continue
		}
		if _, err := ParseSplit(in.Split); err != nil {
			add(key+".split", "%v", err)
		}
		if split != "" {
			add(key+".split", "`%s` is split already; one input can be", split)
		}
		split = key
	}
	switch {
	case split != "" && j.Count > 0:
		add("count", "and `%s.split` contradict each other: the split says how many tasks there are", split)
	case j.Count > proto.MaxTasks:
		add("count", "%d tasks; a job has at most %d", j.Count, proto.MaxTasks)
	}
}

func checkSource(key, source string, add adder) {
	scheme, _, isURL := strings.Cut(source, "://")
	switch {
	case source == "":
		add(key, "is missing: a file, a directory, a CID or a URL")
	case strings.ContainsRune(source, 0):
		add(key, "holds a zero byte")
	case isURL && scheme != "http" && scheme != "https":
		add(key, "%.40q is not supported; URLs are http:// or https://", scheme+"://")
	}
}

// Target gives where an input appears in the guest, with the default.
func Target(in *api.Input) string {
	if in.Target == "" {
		return "/in"
	}
	return in.Target
}

func checkOutputs(outputs []string, add adder) {
	if len(outputs) > proto.MaxOutputs {
		add("outputs", "%d paths; at most %d: collect a directory instead", len(outputs), proto.MaxOutputs)
		return
	}
	for i, p := range outputs {
		key := fmt.Sprintf("outputs[%d]", i)
		if err := proto.CheckGuestPath(p); err != nil {
			add(key, "%s", plain(err))
		}
		for j, q := range outputs {
			if i != j && strings.HasPrefix(p+"/", q+"/") && (p != q || i > j) {
				add(key, "%.200s lies in %.200s, which is collected already", p, q)
			}
		}
	}
}

func checkResources(r *api.Resources, add adder) {
	switch {
	case !(r.GetCpu() >= 0 && r.GetCpu() <= maxCPU):
		add("resources.cpu", "%g cores; from 0 to %d", r.Cpu, maxCPU)
	case r.GetCpu() > 0 && r.GetCpu() < 0.001:
		add("resources.cpu", "%g cores; at least 0.001", r.Cpu)
	}
	if r.GetMemory() > maxBytes {
		add("resources.memory", "%d bytes; at most %d", r.Memory, uint64(maxBytes))
	}
	if r.GetDisk() > maxBytes {
		add("resources.disk", "%d bytes; at most %d", r.Disk, uint64(maxBytes))
	}
	if r.GetGpu() > maxGPU {
		add("resources.gpu", "%d devices; at most %d", r.Gpu, maxGPU)
	}
}

func checkLimits(j *api.Job, add adder) {
	for _, l := range []struct {
		key string
		ms  int64
	}{
		{"limits.timeout", j.TimeoutMs}, {"limits.queue_timeout", j.QueueTimeoutMs}, {"limits.total_timeout", j.TotalTimeoutMs},
		{"verify.referee_budget", j.RefereeBudgetMs},
	} {
		if l.ms < 0 || l.ms > proto.MaxTimeout.Milliseconds() {
			add(l.key, "must be above zero and at most %s", proto.MaxTimeout)
		}
	}
	if j.Retries > proto.MaxRetries {
		add("limits.retries", "%d retries of one task; at most %d", j.Retries, proto.MaxRetries)
	}
	if j.Fuel > proto.MaxFuel {
		add("limits.fuel", "%d units; at most %d", j.Fuel, uint64(proto.MaxFuel))
	}
	if len(j.Seed) > proto.MaxSeed {
		add("seed", "%d bytes; at most %d", len(j.Seed), proto.MaxSeed)
	}
}

func checkTrust(j *api.Job, add adder) {
	if j.HasConfidence && !(j.Confidence >= 0 && j.Confidence < 1) {
		add("verify.confidence", "%g is not at least 0 and below 1, such as 0.999", j.Confidence)
	}
	if j.Comparator != "" && j.Comparator != proto.ComparatorExact {
		add("verify.comparator", "%.40q is not known; there is %q", j.Comparator, proto.ComparatorExact)
	}
	if !(j.MaxPrice >= 0 && j.MaxPrice <= maxPrice) || math.IsNaN(j.MaxPrice) {
		add("price.max", "%g credits per core-hour; from 0 to %d", j.MaxPrice, uint64(maxPrice))
	}
	if err := proto.CheckConstraints(j.Constraints); err != nil {
		add("constraints", "%s", plain(err))
	}
	for i, c := range j.Constraints {
		if strings.TrimSpace(c) == "" {
			add(fmt.Sprintf("constraints[%d]", i), "is empty")
		}
	}
}

func checkLabels(labels map[string]string, add adder) {
	if len(labels) > maxLabels {
		add("labels", "%d labels; at most %d", len(labels), maxLabels)
	}
	for _, k := range sorted(labels) {
		if v := labels[k]; k == "" || len(k) > maxLabel || len(v) > maxLabel || strings.ContainsFunc(k+v, unicode.IsControl) {
			add("labels."+k, "must be one line of at most %d bytes, key and value each, and the key not empty", maxLabel)
		}
	}
}

func sorted(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// plain drops what makes sense only where a stranger's message is judged.
func plain(err error) string {
	return strings.TrimPrefix(err.Error(), proto.ErrMalformed.Error()+": ")
}

// Missing looks for every file that a job names, and tells which are not there
// and what they were for.
func Missing(j *api.Job) error {
	var errs []error
	look := func(path, what string, dirToo bool) {
		if path == "" || !IsPath(path) {
			return
		}
		info, err := os.Stat(path)
		switch {
		case errors.Is(err, os.ErrNotExist):
			errs = append(errs, fmt.Errorf("no such file: %s (%s)", path, what))
		case err != nil:
			errs = append(errs, fmt.Errorf("%s: %w", what, err))
		case info.IsDir() && !dirToo:
			errs = append(errs, fmt.Errorf("%s is a directory, not a file (%s)", path, what))
		}
	}
	look(j.GetProgram().GetWasm(), "the program", false)
	look(j.GetProgram().GetStdin(), "the program's stdin", false)
	look(j.GetReduce().GetWasm(), "the reduction's program", false)
	for _, in := range j.Inputs {
		look(in.Source, "the input for "+Target(in), true)
	}
	return errors.Join(errs...)
}
