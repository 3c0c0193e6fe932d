package main

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/mustermesh/muster/node"
)

const aProgram = "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy"

func configured(t *testing.T, text string) (node.Config, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := node.DefaultConfig()
	file, err := readConfig(path)
	file.apply(&cfg)
	return cfg, err
}

func TestTheOwnersRulesAreRead(t *testing.T) {
	cfg, err := configured(t, `
lend:
  hours: ["mon-fri 18:00-08:00", "sat,sun"]
  idle_only: true
  on_battery: true
  max_temperature: 80
  max_load: 0.5
allow_programs: [sum=`+aProgram+`]
deny_programs: [`+aProgram+`]
`)
	want := node.Rules{
		Hours: []string{"mon-fri 18:00-08:00", "sat,sun"}, IdleOnly: true, OnBattery: true, MaxTemperature: 80, MaxLoad: 0.5,
		AllowPrograms: []string{"sum=" + aProgram}, DenyPrograms: []string{aProgram},
	}
	if err != nil || !reflect.DeepEqual(cfg.Rules, want) {
		t.Errorf("got %+v (%v), want %+v", cfg.Rules, err, want)
	}
	if err := cfg.Validate(); err != nil {
		t.Error(err)
	}
	if cfg, err = configured(t, "lend: {cpu: 1}"); err != nil || !reflect.DeepEqual(cfg.Rules, node.Rules{}) {
		t.Errorf("without rules: got %+v (%v), want none", cfg.Rules, err)
	}
}

func TestAFlagGoesBeforeTheFile(t *testing.T) {
	cfg, err := configured(t, "lend: {hours: [sat], idle_only: true, max_load: 0.5, max_temperature: 70}\ndeny_programs: ["+aProgram+"]\n")
	if err != nil {
		t.Fatal(err)
	}
	var f daemonFlags
	fs := pflag.NewFlagSet("daemon", pflag.ContinueOnError)
	f.register(fs)
	err = fs.Parse([]string{
		"--hours", "mon,tue 10:00-11:00", "--hours", "sun", "--idle-only=false", "--on-battery", "--max-temperature", "90",
		"--allow-program", aProgram + ",sum=" + aProgram,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := f.apply(fs, &cfg); err != nil {
		t.Fatal(err)
	}
	want := node.Rules{
		Hours: []string{"mon,tue 10:00-11:00", "sun"}, OnBattery: true, MaxTemperature: 90, MaxLoad: 0.5,
		AllowPrograms: []string{aProgram, "sum=" + aProgram}, DenyPrograms: []string{aProgram},
	}
	if !reflect.DeepEqual(cfg.Rules, want) {
		t.Errorf("got %+v, want %+v", cfg.Rules, want)
	}
}

func TestAWrongRuleIsRefusedBeforeTheNodeStarts(t *testing.T) {
	for text, want := range map[string]string{
		"lend: {hours: [noon]}":           `hours "noon": "noon" is not a day`,
		"lend: {max_temperature: 176}":    "it is from 30 to 120",
		"lend: {max_load: 4}":             "from 0 to 1",
		"deny_programs: [miner]":          "write miner=CID",
		"lend: {idle_onyl: true}":         "unknown key `idle_onyl`; did you mean `idle_only`?",
		"lend: {max_temperatur: 80}":      "did you mean `max_temperature`?",
		"deny_program: []":                "did you mean `deny_programs`?",
		"lend: {max_temperature: eighty}": "line 1, column",
	} {
		cfg, err := configured(t, text)
		if err == nil {
			err = cfg.Validate()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", text, err, want)
		}
	}
}
