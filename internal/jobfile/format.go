package jobfile

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/mustermesh/muster/node/api"
)

// Format writes a job as a specification that Parse reads back to the same job.
// What a file cannot hold, data from the command's own standard input, becomes a
// comment.
func Format(j *api.Job) []byte {
	p := &printer{}
	p.text("", "name", j.Name)
	p.line("", "program", program(j.GetProgram()))
	if n := len(j.GetProgram().GetStdinData()); j.GetProgram().GetHasStdinData() {
		p.b.WriteString("# stdin: " + strconv.Itoa(n) + " bytes that were given to the command\n")
	}
	p.inputs(j.Inputs)
	p.texts("outputs", j.Outputs)
	p.number("", "count", float64(j.Count))
	if j.Reduce != nil {
		p.line("", "reduce", program(j.Reduce))
	}
	p.section("resources", resources(j.Resources))
	p.section("limits", limits(j))
	p.section("verify", verify(j))
	if j.MaxPrice != 0 {
		p.line("", "price", "{max: "+number(j.MaxPrice)+"}")
	}
	p.texts("constraints", j.Constraints)
	if len(j.Labels) > 0 {
		p.line("", "labels", dictionary(j.Labels))
	}
	p.text("", "seed", j.Seed)
	if j.Private {
		p.line("", "private", "true")
	}
	return []byte(p.b.String())
}

// A printer writes keys in order. Everything below the first level is in flow
// style, one line each, so that nothing depends on indentation.
type printer struct{ b strings.Builder }

func (p *printer) line(indent, key, value string) {
	p.b.WriteString(indent + key + ": " + value + "\n")
}

func (p *printer) text(indent, key, s string) {
	if s != "" {
		p.line(indent, key, quote(s))
	}
}

func (p *printer) number(indent, key string, n float64) {
	if n != 0 {
		p.line(indent, key, number(n))
	}
}

func (p *printer) texts(key string, ss []string) {
	if len(ss) > 0 {
		p.line("", key, list(ss))
	}
}

func (p *printer) section(key string, pairs []string) {
	if len(pairs) > 0 {
		p.line("", key, "{"+strings.Join(pairs, ", ")+"}")
	}
}

func (p *printer) inputs(ins []*api.Input) {
	if len(ins) == 0 {
		return
	}
	p.b.WriteString("inputs:\n")
	for _, in := range ins {
		pairs := []string{"source: " + quote(in.Source), "target: " + quote(Target(in))}
		if in.Split != "" {
			pairs = append(pairs, "split: "+quote(formatSplit(in.Split)))
		}
		p.b.WriteString("  - {" + strings.Join(pairs, ", ") + "}\n")
	}
}

// formatSplit gives a number of bytes a unit, where that is exact.
func formatSplit(s string) string {
	digits, ok := strings.CutPrefix(s, "bytes:")
	n, err := strconv.ParseUint(digits, 10, 64)
	if !ok || err != nil {
		return s
	}
	return "bytes:" + FormatSize(n)
}

func program(pr *api.Program) string {
	pairs := []string{"wasm: " + quote(pr.GetWasm())}
	if len(pr.GetArgs()) > 0 {
		pairs = append(pairs, "args: "+list(pr.Args))
	}
	if len(pr.GetEnv()) > 0 {
		pairs = append(pairs, "env: "+dictionary(pr.Env))
	}
	if pr.GetStdin() != "" {
		pairs = append(pairs, "stdin: "+quote(pr.Stdin))
	}
	return "{" + strings.Join(pairs, ", ") + "}"
}

func resources(r *api.Resources) (pairs []string) {
	if r.GetCpu() != 0 {
		pairs = append(pairs, "cpu: "+number(r.Cpu))
	}
	if r.GetMemory() != 0 {
		pairs = append(pairs, "memory: "+FormatSize(r.Memory))
	}
	if r.GetDisk() != 0 {
		pairs = append(pairs, "disk: "+FormatSize(r.Disk))
	}
	if r.GetGpu() != 0 {
		pairs = append(pairs, "gpu: "+strconv.Itoa(int(r.Gpu)))
	}
	return pairs
}

func limits(j *api.Job) (pairs []string) {
	if j.TimeoutMs != 0 {
		pairs = append(pairs, "timeout: "+FormatDuration(j.TimeoutMs))
	}
	if j.QueueTimeoutMs != 0 {
		pairs = append(pairs, "queue_timeout: "+FormatDuration(j.QueueTimeoutMs))
	}
	if j.TotalTimeoutMs != 0 {
		pairs = append(pairs, "total_timeout: "+FormatDuration(j.TotalTimeoutMs))
	}
	if j.Retries != 0 {
		pairs = append(pairs, "retries: "+strconv.FormatUint(uint64(j.Retries), 10))
	}
	if j.Fuel != 0 {
		pairs = append(pairs, "fuel: "+FormatFuel(j.Fuel))
	}
	return pairs
}

func verify(j *api.Job) (pairs []string) {
	if j.HasConfidence {
		pairs = append(pairs, "confidence: "+number(j.Confidence))
	}
	if j.Comparator != "" {
		pairs = append(pairs, "comparator: "+quote(j.Comparator))
	}
	if j.RefereeBudgetMs != 0 {
		pairs = append(pairs, "referee_budget: "+FormatDuration(j.RefereeBudgetMs))
	}
	return pairs
}

func list(ss []string) string {
	out := make([]string, len(ss))
	for i, s := range ss {
		out[i] = quote(s)
	}
	return "[" + strings.Join(out, ", ") + "]"
}

func dictionary(m map[string]string) string {
	out := make([]string, 0, len(m))
	for _, k := range sorted(m) {
		out = append(out, quote(k)+": "+quote(m[k]))
	}
	return "{" + strings.Join(out, ", ") + "}"
}

func number(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }

// quote leaves plain words as they are; everything else becomes a JSON string,
// which YAML reads alike.
func quote(s string) string {
	if isWord(s) {
		return s
	}
	b, err := json.Marshal(s)
	if err != nil {
		return strconv.Quote(s)
	}
	return string(b)
}

// isWord tells whether YAML reads s as the text s, even in flow style.
func isWord(s string) bool {
	switch strings.ToLower(s) {
	case "", "true", "false", "null", "yes", "no", "on", "off", "y", "n":
		return false
	}
	for i, r := range s {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r == '/'
		if !letter && (i == 0 || !strings.ContainsRune("0123456789._-", r)) {
			return false
		}
	}
	return true
}

// FormatSize gives a size exactly: 256MiB, or a number of bytes.
func FormatSize(n uint64) string {
	for _, u := range []struct {
		name  string
		shift uint
	}{{"TiB", 40}, {"GiB", 30}, {"MiB", 20}, {"KiB", 10}} {
		if n != 0 && n%(1<<u.shift) == 0 {
			return strconv.FormatUint(n>>u.shift, 10) + u.name
		}
	}
	return strconv.FormatUint(n, 10)
}

// FormatDuration gives milliseconds as 10m or 1h30m.
func FormatDuration(ms int64) string {
	s := (time.Duration(ms) * time.Millisecond).String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}
