package scheduler

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/mustermesh/muster/proto"
)

// Facts are what a constraint can ask of a provider.
type Facts struct {
	Advert proto.Advert
}

// A Constraint is one condition on a provider, such as "memory >= 1GiB" or
// "label.region in [eu, us]". Quotes around a value are needed where it holds
// spaces, commas, brackets or operators.
type Constraint struct {
	Field  string
	Op     string   // == != >= <= > < in
	Values []string // one, or many for in
	text   string
}

// A kind says how the values of a field compare.
type kind int

const (
	word    kind = iota // equal or not
	number              // and in order
	size                // a number that may have a unit, as in 1.5GiB
	release             // a version: numbers between dots
	free                // a label: a number with or without unit where both are, else a word
	level               // of isolation, in the order of levels
)

// levels of isolation, from the weakest on. docs/sandbox.md §2.
var levels = []string{"none", "landlock", "namespaces"}

// fields that a constraint may name, besides label.NAME; sandbox is another name
// for isolation.
var fields = map[string]kind{
	"arch": word, "cpu": number, "disk": size, "engine": word, "executor": word, "gpu": number,
	"isolation": level, "memory": size, "price": number, "profile": word, "sandbox": level, "slots": number, "version": release,
}

const labelPrefix = "label."

func kindOf(field string) (kind, bool) {
	if name, ok := strings.CutPrefix(field, labelPrefix); ok {
		return free, name != ""
	}
	k, ok := fields[field]
	return k, ok
}

func knownFields() string {
	names := make([]string, 0, len(fields))
	for f := range fields {
		names = append(names, f)
	}
	slices.Sort(names)
	return strings.Join(names, ", ") + ", label.NAME"
}

// operators, longer ones before those that they begin with.
var operators = []string{"==", "!=", ">=", "<=", ">", "<"}

// ParseConstraint reads one condition.
func ParseConstraint(s string) (Constraint, error) {
	c := Constraint{text: strings.TrimSpace(s)}
	end := strings.IndexAny(c.text, " \t=!<>[")
	if end <= 0 {
		return c, fmt.Errorf("constraint %q: expected FIELD OPERATOR VALUE, like memory >= 1GiB", s)
	}
	c.Field = c.text[:end]
	k, ok := kindOf(c.Field)
	if !ok {
		return c, fmt.Errorf("constraint %q: unknown field %q; known: %s", s, c.Field, knownFields())
	}
	values, err := c.parseOperator(strings.TrimSpace(c.text[end:]))
	if err != nil {
		return c, err
	}
	for _, v := range values {
		if err := c.addValue(k, v); err != nil {
			return c, err
		}
	}
	if k == word && strings.ContainsAny(c.Op, "<>") {
		return c, fmt.Errorf("constraint %q: %s has no order; use ==, != or in", s, c.Field)
	}
	return c, nil
}

// parseOperator reads the operator and gives the values as they are written.
func (c *Constraint) parseOperator(rest string) (values []string, err error) {
	if list, ok := strings.CutPrefix(rest, "in"); ok {
		list = strings.TrimSpace(list)
		if len(list) < 2 || list[0] != '[' || list[len(list)-1] != ']' {
			return nil, fmt.Errorf("constraint %q: expected in [A, B]", c.text)
		}
		c.Op = "in"
		return cut(list[1:len(list)-1], ","), nil
	}
	for _, op := range operators {
		if value, ok := strings.CutPrefix(rest, op); ok {
			c.Op = op
			return []string{value}, nil
		}
	}
	return nil, fmt.Errorf("constraint %q: unknown operator; known: %s in", c.text, strings.Join(operators, " "))
}

func (c *Constraint) addValue(k kind, written string) error {
	v, ok := unquote(strings.TrimSpace(written))
	if _, spaced := k.quantity(v); !ok && !(k == size && spaced) { // as in 1.5 GiB

		return fmt.Errorf("constraint %q: put the value in quotes where it holds spaces, quotes, commas, brackets or operators: %s", c.text, written)
	}
	if v == "" {
		return fmt.Errorf("constraint %q: no value after %s", c.text, c.Op)
	}
	if _, isNumber := k.quantity(v); !isNumber && (k == number || k == size) {
		return fmt.Errorf("constraint %q: %s is a number, %q is none", c.text, c.Field, v)
	}
	if k == level && !slices.Contains(levels, v) {
		return fmt.Errorf("constraint %q: %s is one of %s, %q is none", c.text, c.Field, strings.Join(levels, ", "), v)
	}
	c.Values = append(c.Values, v)
	return nil
}

// unquote takes off a pair of quotes; without them a value is one plain word.
func unquote(s string) (v string, ok bool) {
	if len(s) >= 2 && (s[0] == '"' || s[0] == '\'') && s[len(s)-1] == s[0] {
		v = s[1 : len(s)-1]
		return v, !strings.Contains(v, s[:1])
	}
	return s, !strings.ContainsAny(s, " \t\r\n\"'=!<>[],")
}

// cut splits s at a separator outside quotes and brackets.
func cut(s, separator string) (parts []string) {
	var quote byte
	depth, start := 0, 0
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '"' || c == '\'':
			quote = c
		case c == '[':
			depth++
		case c == ']':
			depth--
		case depth == 0 && strings.HasPrefix(s[i:], separator):
			parts = append(parts, s[start:i])
			i += len(separator) - 1
			start = i + 1
		}
	}
	return append(parts, s[start:])
}

// ParseConstraints reads conditions joined by commas or " and ".
func ParseConstraints(s string) (cs []Constraint, err error) {
	for _, list := range cut(s, ",") {
		for _, p := range cut(list, " and ") {
			if strings.TrimSpace(p) == "" {
				continue
			}
			c, err := ParseConstraint(p)
			if err != nil {
				return nil, err
			}
			cs = append(cs, c)
		}
	}
	return cs, nil
}

// String gives the condition as it was written.
func (c Constraint) String() string { return c.text }

// Holds tells whether the condition holds of a provider. A fact that the
// provider does not state meets nothing but !=; so does one that cannot be
// compared, such as a word with a number.
func (c Constraint) Holds(f Facts) bool {
	k, _ := kindOf(c.Field)
	have := c.fact(f.Advert)
	if have == "" {
		return c.Op == "!="
	}
	if c.Op == "in" {
		return slices.ContainsFunc(c.Values, func(v string) bool { d, ok := k.compare(have, v); return ok && d == 0 })
	}
	d, ok := k.compare(have, c.Values[0])
	if !ok {
		return c.Op == "!="
	}
	switch c.Op {
	case "==":
		return d == 0
	case "!=":
		return d != 0
	case ">=":
		return d >= 0
	case "<=":
		return d <= 0
	case ">":
		return d > 0
	default:
		return d < 0
	}
}

func (c Constraint) fact(a proto.Advert) string {
	switch c.Field {
	case "arch":
		return a.Engine.Arch
	case "cpu":
		return strconv.FormatFloat(float64(a.Offered.CPU)/1000, 'f', -1, 64)
	case "disk":
		return strconv.FormatUint(a.Offered.Disk, 10)
	case "engine":
		return a.Engine.Name
	case "executor":
		return a.Executor
	case "gpu":
		return strconv.FormatUint(uint64(a.Offered.GPU), 10)
	case "isolation", "sandbox":
		return a.Isolation
	case "memory":
		return strconv.FormatUint(a.Offered.Memory, 10)
	case "price":
		return strconv.FormatFloat(float64(a.Price)/1e6, 'f', -1, 64)
	case "profile":
		return a.Profile
	case "slots":
		return strconv.Itoa(a.Slots)
	case "version":
		return a.Version
	}
	return a.Labels[strings.TrimPrefix(c.Field, labelPrefix)]
}

// compare orders a fact and a value; not ok where they have no order.
func (k kind) compare(have, want string) (d int, ok bool) {
	switch k {
	case release:
		return compareVersions(have, want), true
	case level:
		h, w := slices.Index(levels, have), slices.Index(levels, want)
		return h - w, h >= 0 && w >= 0 // a newer version may have others
	}
	h, hok := k.quantity(have)
	w, wok := k.quantity(want)
	switch {
	case hok && wok && h < w:
		return -1, true
	case hok && wok && h > w:
		return 1, true
	case hok && wok:
		return 0, true
	case hok != wok:
		return 0, false
	}
	return strings.Compare(have, want), true
}

var units = []struct {
	suffix string
	factor float64
}{
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40},
	{"kB", 1e3}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12}, {"B", 1},
}

// quantity reads a decimal number, with a unit of bytes where the kind has such.
func (k kind) quantity(s string) (n float64, ok bool) {
	factor := 1.0
	switch k {
	case word, release, level:
		return 0, false
	case size, free:
		for _, u := range units {
			if digits, ok := strings.CutSuffix(s, u.suffix); ok {
				s, factor = strings.TrimSpace(digits), u.factor
				break
			}
		}
	}
	if strings.Trim(s, "+-.0123456789eE") != "" || !strings.ContainsAny(s, "0123456789") {
		return 0, false // hexadecimal, infinite, not a number
	}
	n, err := strconv.ParseFloat(s, 64)
	return n * factor, err == nil && !math.IsInf(n*factor, 0)
}

// compareVersions orders v1.10 after v1.9. What follows a hyphen or plus comes
// before the same version without it, and is a word.
func compareVersions(a, b string) int {
	aCore, aRest := cutVersion(a)
	bCore, bRest := cutVersion(b)
	for i := range max(len(aCore), len(bCore)) {
		if d := at(aCore, i) - at(bCore, i); d != 0 {
			return d
		}
	}
	switch {
	case aRest == bRest:
		return 0
	case aRest == "":
		return 1
	case bRest == "":
		return -1
	}
	return strings.Compare(aRest, bRest)
}

func at(numbers []int, i int) int {
	if i < len(numbers) {
		return numbers[i]
	}
	return 0
}

// cutVersion gives a version's numbers and what follows them.
func cutVersion(s string) (numbers []int, rest string) {
	s = strings.TrimPrefix(s, "v")
	for {
		end := strings.IndexFunc(s, func(r rune) bool { return r < '0' || r > '9' })
		if end < 0 {
			end = len(s)
		}
		n, err := strconv.Atoi(s[:end])
		if err != nil {
			return numbers, s
		}
		numbers, s = append(numbers, n), s[end:]
		if !strings.HasPrefix(s, ".") {
			return numbers, s
		}
		s = s[1:]
	}
}
