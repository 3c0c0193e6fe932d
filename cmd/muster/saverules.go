package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"

	"github.com/mustermesh/muster/node/api"
)

// A savedRule is where a rule stands in config.yaml, and in which form.
type savedRule struct {
	section string // key of the section that it is in; "": none
	value   func(r *api.Rules) any
}

// savedRules are the places of all rules, by the names of the fields in
// api.Rules.
func savedRules() map[string]savedRule {
	return map[string]savedRule{
		"hours":           {"lend", func(r *api.Rules) any { return r.Hours }},
		"idle_only":       {"lend", func(r *api.Rules) any { return r.IdleOnly }},
		"on_battery":      {"lend", func(r *api.Rules) any { return r.OnBattery }},
		"max_temperature": {"lend", func(r *api.Rules) any { return r.MaxTemperature }},
		"max_load":        {"lend", func(r *api.Rules) any { return r.MaxLoad }},
		"cpu":             {"lend", func(r *api.Rules) any { return r.Cpu }},
		"memory":          {"lend", func(r *api.Rules) any { return exactSize(r.Memory) }},
		"disk":            {"lend", func(r *api.Rules) any { return exactSize(r.Disk) }},
		"slots":           {"lend", func(r *api.Rules) any { return r.Slots }},
		"allow":           {"", func(r *api.Rules) any { return r.Allow }},
		"deny":            {"", func(r *api.Rules) any { return r.Deny }},
		"allow_programs":  {"", func(r *api.Rules) any { return r.AllowPrograms }},
		"deny_programs":   {"", func(r *api.Rules) any { return r.DenyPrograms }},
		"price":           {"", func(r *api.Rules) any { return r.Price }},
	}
}

// exactSize gives a size in the largest unit that it is whole in; "" for none.
func exactSize(n uint64) string {
	if n == 0 {
		return ""
	}
	for i, unit := range []string{"TiB", "GiB", "MiB", "KiB"} {
		if size := uint64(1) << (40 - 10*i); n%size == 0 {
			return strconv.FormatUint(n/size, 10) + unit
		}
	}
	return strconv.FormatUint(n, 10)
}

// saveRules writes the named rules into a config file, and leaves everything else
// in it as it is, comments included. A rule that there is not goes out of it. It
// writes all or nothing: what it cannot write safely it refuses.
func saveRules(path string, r *api.Rules, fields []string) error {
	old, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	text, want := string(old), make(map[string]any)
	if err := yaml.Unmarshal(old, &want); err != nil {
		return fmt.Errorf("%s: %w", path, configFault(err))
	}
	if want == nil { // an empty file says null
		want = make(map[string]any)
	}
	for _, f := range fields {
		s, ok := savedRules()[f]
		if !ok {
			return fmt.Errorf("there is no rule %q", f)
		}
		v := s.value(r)
		if x := reflect.ValueOf(v); x.IsZero() || x.Kind() == reflect.Slice && x.Len() == 0 {
			v = nil
		}
		if text, err = edited(text, s.section, f, v); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		wanted(want, s.section, f, v)
	}
	if err := says(text, want); err != nil {
		return fmt.Errorf("%s is written in a way that this cannot change safely, and is as it was (%w); edit it by hand", path, err)
	}
	if text == string(old) {
		return nil
	}
	return replaceFile(path, []byte(text))
}

// wanted makes the change in what the file says.
func wanted(all map[string]any, section, key string, v any) {
	in := all
	if section != "" {
		in, _ = all[section].(map[string]any)
		if in == nil {
			in = map[string]any{}
		}
	}
	if v == nil {
		delete(in, key)
	} else {
		in[key] = v
	}
	if section == "" {
		return
	}
	if delete(all, section); len(in) > 0 {
		all[section] = in
	}
}

// says checks that a text is a config file that says what is wanted.
func says(text string, want map[string]any) error {
	got := map[string]any{}
	if err := yaml.Unmarshal([]byte(text), &got); err != nil {
		return err
	}
	for section, v := range got { // "lend:" with nothing in it is as good as none
		if v == nil && section == "lend" {
			delete(got, section)
		}
	}
	a, errA := yaml.Marshal(got)
	b, errB := yaml.Marshal(want)
	if err := errors.Join(errA, errB); err != nil {
		return err
	}
	var x, y any
	if err := errors.Join(yaml.Unmarshal(a, &x), yaml.Unmarshal(b, &y)); err != nil {
		return err
	}
	if !reflect.DeepEqual(x, y) {
		return errors.New("the text would say something else")
	}
	return yaml.UnmarshalWithOptions([]byte(text), &fileConfig{}, yaml.Strict())
}

// edited gives a config file with a key set, or without it where v is nil.
func edited(text, section, key string, v any) (string, error) {
	lines := strings.SplitAfter(text, "\n")
	if section == "" {
		begin, end := entry(lines, key, "")
		return splice(lines, begin, end, key, "", v)
	}
	begin, end := entry(lines, section, "")
	if begin == end {
		if v == nil {
			return text, nil
		}
		body, err := rendered(key, "  ", v)
		return withNewline(text) + section + ":\n" + body, err
	}
	if !isBlock(lines[begin]) {
		body, err := unfolded(strings.Join(lines[begin:end], ""))
		if err != nil {
			return "", err
		}
		return edited(strings.Join(lines[:begin], "")+body+strings.Join(lines[end:], ""), section, key, v)
	}
	inner := slices.Clone(lines[begin+1 : end])
	indent := indentOf(inner)
	at, to := entry(inner, key, indent)
	body, err := splice(inner, at, to, key, indent, v)
	return strings.Join(lines[:begin+1], "") + withNewline(body) + strings.Join(lines[end:], ""), err
}

// entry finds the lines of a key that has that indentation; both are the same
// where there is none: its end is then where to put it. Comments and empty lines
// after it belong to what follows.
func entry(lines []string, key, indent string) (begin, end int) {
	begin = slices.IndexFunc(lines, func(l string) bool {
		rest, ok := strings.CutPrefix(l, indent+key)
		return ok && strings.HasPrefix(strings.TrimLeft(rest, " "), ":")
	})
	if begin < 0 {
		end = len(lines)
		for end > 0 && isRemark(lines[end-1]) && strings.TrimSpace(lines[end-1]) == "" {
			end--
		}
		return end, end
	}
	end = begin + 1
	for end < len(lines) && (isRemark(lines[end]) || deeper(lines[end], indent)) {
		end++
	}
	for end > begin+1 && isRemark(lines[end-1]) {
		end--
	}
	return begin, end
}

// deeper tells whether a line goes on with the entry above it, which has that
// indentation: it is indented more, or an item of its list.
func deeper(line, indent string) bool {
	rest, ok := strings.CutPrefix(line, indent)
	return ok && (strings.HasPrefix(rest, " ") || strings.HasPrefix(rest, "- "))
}

func isRemark(line string) bool {
	t := strings.TrimSpace(line)
	return t == "" || strings.HasPrefix(t, "#")
}

// isBlock tells whether a line is a key whose value begins on the next.
func isBlock(line string) bool {
	_, value, _ := strings.Cut(line, ":")
	return isRemark(value)
}

// indentOf is how far the first key among the lines is indented.
func indentOf(lines []string) string {
	for _, l := range lines {
		if !isRemark(l) {
			return l[:len(l)-len(strings.TrimLeft(l, " "))]
		}
	}
	return "  "
}

// unfolded gives a section that is written as {key: value} with one key a line.
func unfolded(entry string) (string, error) {
	section, value, _ := strings.Cut(entry, ":")
	var keys yaml.MapSlice
	if err := yaml.Unmarshal([]byte(value), &keys); err != nil {
		return "", err
	}
	if len(keys) == 0 || strings.Contains(value, "#") {
		return "", fmt.Errorf("%s is not written with one key a line", section)
	}
	b, err := yaml.Marshal(yaml.MapSlice{{Key: section, Value: keys}})
	return string(b), err
}

// splice puts a key in the place of some lines.
func splice(lines []string, begin, end int, key, indent string, v any) (string, error) {
	body, err := rendered(key, indent, v)
	before := strings.Join(lines[:begin], "")
	if body != "" {
		before = withNewline(before)
	}
	return before + body + strings.Join(lines[end:], ""), err
}

// rendered gives the lines of a key; none without a value.
func rendered(key, indent string, v any) (string, error) {
	if v == nil {
		return "", nil
	}
	b, err := yaml.Marshal(yaml.MapSlice{{Key: key, Value: v}})
	var out strings.Builder
	for line := range strings.Lines(string(b)) {
		out.WriteString(indent + line)
	}
	return out.String(), err
}

func withNewline(s string) string {
	if s == "" || strings.HasSuffix(s, "\n") {
		return s
	}
	return s + "\n"
}

// replaceFile writes a file wholly or not at all.
func replaceFile(path string, b []byte) (err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	if at, err := filepath.EvalSymlinks(path); err == nil {
		path = at // people link their configuration from elsewhere
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".config-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // it has another name by then, if all went well
	_, err = f.ReadFrom(bytes.NewReader(b))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
