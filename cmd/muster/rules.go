package main

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/mustermesh/muster/internal/jobfile"
	"github.com/mustermesh/muster/node/api"
)

// A rule is one thing that the owner of a machine may say about lending it.
type rule struct {
	key, what string // key is the name of the field in api.Rules
	set       func(r *api.Rules, values []string) error
	show      func(r *api.Rules) string    // "" for no such rule
	ids       func(r *api.Rules) *[]string // of a list of ids, which are long
}

// rules are all that there are, in the order of api.Rules.
func rules() []rule {
	return []rule{
		hoursRule(),
		switchRule("idle_only", "only while nobody else uses the machine", func(r *api.Rules) *bool { return &r.IdleOnly }),
		switchRule("on_battery", "also while the machine runs on battery", func(r *api.Rules) *bool { return &r.OnBattery }),
		numberRule("max_temperature", "degrees Celsius from which on nothing new is taken", " °C", parseTemperature, func(r *api.Rules) *float64 { return &r.MaxTemperature }),
		numberRule("cpu", "cores to lend at most", " cores", jobfile.ParseNumber, func(r *api.Rules) *float64 { return &r.Cpu }),
		sizeRule("memory", "bytes to lend at most, to all tasks together", func(r *api.Rules) *uint64 { return &r.Memory }),
		sizeRule("disk", "bytes of files that all tasks together may have", func(r *api.Rules) *uint64 { return &r.Disk }),
		slotsRule(),
		idsRule("allow", "work for these requesters alone", func(r *api.Rules) *[]string { return &r.Allow }),
		idsRule("deny", "never work for these requesters", func(r *api.Rules) *[]string { return &r.Deny }),
		idsRule("allow_programs", "run these programs alone: CID or NAME=CID", func(r *api.Rules) *[]string { return &r.AllowPrograms }),
		idsRule("deny_programs", "never run these programs: CID or NAME=CID", func(r *api.Rules) *[]string { return &r.DenyPrograms }),
		numberRule("price", "credits to ask for a core-hour", " credits", jobfile.ParseNumber, func(r *api.Rules) *float64 { return &r.Price }),
		numberRule("max_load", "load of others, for each core, above which idle_only holds back", "", jobfile.ParseNumber, func(r *api.Rules) *float64 { return &r.MaxLoad }),
	}
}

func hoursRule() rule {
	return rule{
		key: "hours", what: "when to lend, in local time, such as mon-fri 18:00-08:00 or sat,sun",
		set: func(r *api.Rules, values []string) error {
			r.Hours = spans(values)
			return nil
		},
		show: func(r *api.Rules) string { return strings.Join(r.Hours, "; ") },
	}
}

// spans joins what the shell took apart: times that follow days belong to them.
func spans(words []string) (out []string) {
	for _, w := range words {
		last := len(out) - 1
		if last >= 0 && strings.ContainsAny(w[:min(1, len(w))], "0123456789") && !strings.ContainsAny(out[last], "0123456789") {
			out[last] += " " + w
			continue
		}
		out = append(out, w)
	}
	return out
}

func slotsRule() rule {
	return rule{
		key: "slots", what: "tasks at a time at most",
		set: one(func(r *api.Rules, s string) error {
			n, err := strconv.ParseUint(s, 10, 16)
			if err != nil {
				return fmt.Errorf("%.40q is not a whole number from 0 to 65535", s)
			}
			r.Slots = uint32(n)
			return nil
		}),
		show: func(r *api.Rules) string { return counts(r.Slots, "at a time") },
	}
}

// one makes a setter that wants exactly one value.
func one(set func(r *api.Rules, s string) error) func(*api.Rules, []string) error {
	return func(r *api.Rules, values []string) error {
		if len(values) != 1 {
			return fmt.Errorf("it takes one value; %q is too many", values[1])
		}
		return set(r, values[0])
	}
}

func switchRule(key, what string, field func(*api.Rules) *bool) rule {
	return rule{key: key, what: what, set: one(func(r *api.Rules, s string) error {
		switch strings.ToLower(s) {
		case "yes", "true", "on":
			*field(r) = true
		case "no", "false", "off":
			*field(r) = false
		default:
			return fmt.Errorf("%.40q is neither yes nor no", s)
		}
		return nil
	}), show: func(r *api.Rules) string {
		if *field(r) {
			return "yes"
		}
		return "no"
	}}
}

func numberRule(key, what, unit string, parse func(string) (float64, error), field func(*api.Rules) *float64) rule {
	return rule{key: key, what: what, set: one(func(r *api.Rules, s string) (err error) {
		*field(r), err = parse(s)
		return err
	}), show: func(r *api.Rules) string {
		if *field(r) == 0 {
			return ""
		}
		return numberText(*field(r)) + unit
	}}
}

func sizeRule(key, what string, field func(*api.Rules) *uint64) rule {
	return rule{key: key, what: what, set: one(func(r *api.Rules, s string) (err error) {
		*field(r), err = jobfile.ParseSize(s)
		return err
	}), show: func(r *api.Rules) string {
		if *field(r) == 0 {
			return ""
		}
		return bytesText(*field(r))
	}}
}

// idsRule is a list whose values may also be divided by commas.
func idsRule(key, what string, field func(*api.Rules) *[]string) rule {
	return rule{key: key, what: what, ids: field, set: func(r *api.Rules, values []string) error {
		ids := strings.FieldsFunc(strings.Join(values, ","), func(c rune) bool { return c == ',' || c == ' ' })
		if len(ids) == 0 {
			return errors.New("no value; `muster provider config unset " + key + "` takes the rule away")
		}
		*field(r) = ids
		return nil
	}, show: func(r *api.Rules) string { return strings.Join(*field(r), ", ") }}
}

// parseTemperature reads degrees Celsius: 80, 80C, "80 °C".
func parseTemperature(s string) (float64, error) {
	digits := strings.TrimSpace(s)
	for _, unit := range []string{"C", "c", "°"} {
		digits = strings.TrimSpace(strings.TrimSuffix(digits, unit))
	}
	t, err := jobfile.ParseNumber(digits)
	if err != nil || t > 150 {
		return 0, fmt.Errorf("%.40q is not a temperature from 0 to 150 degrees Celsius, such as 80 or 80°C", s)
	}
	return t, nil
}

// findRule gives the rule of a key; - stands for _ in it.
func findRule(key string) (rule, error) {
	all := rules()
	key = strings.ReplaceAll(strings.ToLower(key), "-", "_")
	i := slices.IndexFunc(all, func(r rule) bool { return r.key == key })
	if i >= 0 {
		return all[i], nil
	}
	keys := ruleKeys()
	if near := jobfile.Nearest(key, keys); near != "" {
		return rule{}, usagef("there is no rule %q; did you mean %s?", key, near)
	}
	return rule{}, usagef("there is no rule %q; there are %s", key, strings.Join(keys, ", "))
}

func ruleKeys() (keys []string) {
	for _, r := range rules() {
		keys = append(keys, r.key)
	}
	return keys
}
