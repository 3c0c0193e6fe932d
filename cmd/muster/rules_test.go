package main

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/mustermesh/muster/node/api"
)

func TestEveryRuleOfTheAPIHasItsKey(t *testing.T) {
	fields := (&api.Rules{}).ProtoReflect().Descriptor().Fields()
	all := rules()
	if len(all) != fields.Len() {
		t.Fatalf("got %d rules, want %d", len(all), fields.Len())
	}
	for i, r := range all {
		if got, want := r.key, string(fields.Get(i).Name()); got != want {
			t.Errorf("rule %d: got %q, want %q", i, got, want)
		}
	}
}

func TestRulesAreRead(t *testing.T) {
	for _, c := range []struct {
		key    string
		values string // divided by |
		want   *api.Rules
		shown  string
	}{
		{"hours", "mon-fri 18:00-08:00|sat", &api.Rules{Hours: []string{"mon-fri 18:00-08:00", "sat"}}, "mon-fri 18:00-08:00; sat"},
		{"hours", "mon-fri|18:00-08:00|sat,sun|22:00-06:00", &api.Rules{Hours: []string{"mon-fri 18:00-08:00", "sat,sun 22:00-06:00"}}, "mon-fri 18:00-08:00; sat,sun 22:00-06:00"},
		{"hours", "22:00-06:00|12:00-13:00|sun", &api.Rules{Hours: []string{"22:00-06:00", "12:00-13:00", "sun"}}, "22:00-06:00; 12:00-13:00; sun"},
		{"idle-only", "Yes", &api.Rules{IdleOnly: true}, "yes"},
		{"on_battery", "off", &api.Rules{}, "no"},
		{"max_temperature", "80°C", &api.Rules{MaxTemperature: 80}, "80 °C"},
		{"max_temperature", "72.5 c", &api.Rules{MaxTemperature: 72.5}, "72.5 °C"},
		{"MAX-TEMPERATURE", "90", &api.Rules{MaxTemperature: 90}, "90 °C"},
		{"cpu", "2.5", &api.Rules{Cpu: 2.5}, "2.5 cores"},
		{"memory", "8GiB", &api.Rules{Memory: 8 << 30}, "8.0 GiB"},
		{"disk", "1000", &api.Rules{Disk: 1000}, "1000 B"},
		{"slots", "3", &api.Rules{Slots: 3}, "3 at a time"},
		{"slots", "0", &api.Rules{}, ""},
		{"allow", "a,b|c", &api.Rules{Allow: []string{"a", "b", "c"}}, "a, b, c"},
		{"deny", "a", &api.Rules{Deny: []string{"a"}}, "a"},
		{"allow_programs", "x", &api.Rules{AllowPrograms: []string{"x"}}, "x"},
		{"deny_programs", "x y", &api.Rules{DenyPrograms: []string{"x", "y"}}, "x, y"},
		{"price", "0.5", &api.Rules{Price: 0.5}, "0.5 credits"},
		{"max_load", "1", &api.Rules{MaxLoad: 1}, "1"},
	} {
		r, err := findRule(c.key)
		if err != nil {
			t.Errorf("%s: %v", c.key, err)
			continue
		}
		got := &api.Rules{}
		if err := r.set(got, strings.Split(c.values, "|")); err != nil || !proto.Equal(got, c.want) {
			t.Errorf("%s %s: got %v, %v, want %v", c.key, c.values, got, err, c.want)
		}
		if got := r.show(got); got != c.shown {
			t.Errorf("%s %s: shown as %q, want %q", c.key, c.values, got, c.shown)
		}
	}
}

func TestWhatIsNoRuleIsRefused(t *testing.T) {
	for _, c := range []struct{ key, values, says string }{
		{"idle_only", "perhaps", "neither yes nor no"},
		{"idle_only", "yes|no", `"no" is too many`},
		{"max_temperature", "151", "0 to 150 degrees"},
		{"max_temperature", "176°F", "0 to 150 degrees"},
		{"max_temperature", "-1", "0 to 150 degrees"},
		{"cpu", "many", "not a number"},
		{"cpu", "Inf", "not a number"},
		{"memory", "lots", "not a size"},
		{"slots", "1.5", "whole number"},
		{"slots", "65536", "whole number"},
		{"slots", "1|2", "too many"},
		{"deny", ",", "config unset deny"},
		{"price", "-1", "not a number"},
	} {
		r, err := findRule(c.key)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.set(&api.Rules{}, strings.Split(c.values, "|")); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s %s: got %v, want %q", c.key, c.values, err, c.says)
		}
	}
}
