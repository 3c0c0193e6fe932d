package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/mustermesh/muster/node/api"
)

func TestRulesAreSavedAndAllElseStays(t *testing.T) {
	rules := &api.Rules{
		Hours: []string{"mon-fri 18:00-08:00", "sat,sun"}, IdleOnly: true, MaxTemperature: 80, Memory: 8 << 30, Slots: 3,
		Deny: []string{"12D3KooWa"}, Price: 2.5,
	}
	for _, c := range []struct {
		name, before string
		fields       []string
		want         string
	}{
		{"no file", "", []string{"memory", "price"}, "lend:\n  memory: 8GiB\nprice: 2.5\n"},
		{"comments stay", "# mine\nnetwork: lab # test\n\nlend: # this much\n  # cores\n  cpu: 2 # of 4\n  memory: 4GiB # half\n\n# dear\nprice: 9\n", []string{"memory", "price"},
			"# mine\nnetwork: lab # test\n\nlend: # this much\n  # cores\n  cpu: 2 # of 4\n  memory: 8GiB\n\n# dear\nprice: 2.5\n"},
		{"a key joins its section", "lend:\n    cpu: 2\n\n# next\nmdns: false\n", []string{"idle_only"}, "lend:\n    cpu: 2\n    idle_only: true\n\n# next\nmdns: false\n"},
		{"lists are replaced", "deny:\n- a\n- b\n# after\nlend:\n  hours: [always,\n    never]\n  slots: 1\n", []string{"deny", "hours"},
			"deny:\n- 12D3KooWa\n# after\nlend:\n  hours:\n  - mon-fri 18:00-08:00\n  - sat,sun\n  slots: 1\n"},
		{"what is no rule goes", "lend:\n  max_load: 0.5\n  cpu: 2\nallow: [a, b]\nmdns: true\n", []string{"cpu", "allow"}, "lend:\n  max_load: 0.5\nmdns: true\n"},
		{"the last of a section goes", "lend:\n  cpu: 2\nmdns: true\n", []string{"cpu"}, "lend:\nmdns: true\n"},
		{"what is not there need not go", "mdns: true\n", []string{"cpu", "disk", "allow"}, "mdns: true\n"},
		{"a section in one line is unfolded", "mdns: true\nlend: {cpu: 2.5, memory: 1GiB, hours: [\"mon-fri 18:00-08:00\", sat]}\n# end\n", []string{"memory"},
			"mdns: true\nlend:\n  cpu: 2.5\n  memory: 8GiB\n  hours:\n  - mon-fri 18:00-08:00\n  - sat\n# end\n"},
		{"no newline at the end", "mdns: true", []string{"price"}, "mdns: true\nprice: 2.5\n"},
	} {
		path := filepath.Join(t.TempDir(), "home", "config.yaml")
		if c.before != "" {
			writeText(t, path, c.before)
		}
		if err := saveRules(path, rules, c.fields); err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		b, err := os.ReadFile(path)
		if err != nil || string(b) != c.want {
			t.Errorf("%s: got\n%s(%v), want\n%s", c.name, b, err, c.want)
		}
		if _, err := readConfig(path); err != nil {
			t.Errorf("%s: it cannot be read again: %v", c.name, err)
		}
	}
}

func TestAFileThatCannotBeChangedSafelyStays(t *testing.T) {
	for name, before := range map[string]string{
		"a remark in a section":  "lend: {cpu: 2} # two\n",
		"a key in quotes":        "\"lend\":\n  cpu: 2\n",
		"no configuration":       "- a\n- b\n",
		"an unknown key":         "lendd:\n  cpu: 2\n",
		"a key inside of a text": "network: |\n  x\nlabels: {a: \"\nlend:\n  y\"}\n",
	} {
		path := filepath.Join(t.TempDir(), "config.yaml")
		writeText(t, path, before)
		err := saveRules(path, &api.Rules{Cpu: 3}, []string{"cpu"})
		if b, _ := os.ReadFile(path); err == nil || string(b) != before {
			t.Errorf("%s: %v, and the file says\n%s, want an error and the file as it was", name, err, b)
		}
	}
}

func writeText(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
