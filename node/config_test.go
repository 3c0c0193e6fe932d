package node

import (
	"math"
	"os"
	"strings"
	"testing"

	"github.com/mustermesh/muster/proto"
)

func TestTheConfigurationIsChecked(t *testing.T) {
	for name, spoil := range map[string]func(*Config){
		"no home":                      func(c *Config) { c.Home = "" },
		"no network":                   func(c *Config) { c.Network = "" },
		"a network in capitals":        func(c *Config) { c.Network = "Main" },
		"a network that begins with -": func(c *Config) { c.Network = "-main" },
		"a network with a slash":       func(c *Config) { c.Network = "a/b" },
		"a network that is too long":   func(c *Config) { c.Network = strings.Repeat("a", 41) },
		"no role":                      func(c *Config) { c.Roles = nil },
		"an unknown role":              func(c *Config) { c.Roles = []string{"miner"} },
		"a negative price":             func(c *Config) { c.Price = -1 },
		"a price that is no number":    func(c *Config) { c.Price = math.NaN() },
		"a price that is too high":     func(c *Config) { c.Price = 1e300 },
		"a negative credit":            func(c *Config) { c.MaxCredit = -1 },
		"an endless credit":            func(c *Config) { c.MaxCredit = math.Inf(1) },
		"negative cores":               func(c *Config) { c.Lend.CPU = -1 },
		"cores that are no number":     func(c *Config) { c.Lend.CPU = math.NaN() },
		"negative slots":               func(c *Config) { c.Lend.Slots = -1 },
		"too many slots":               func(c *Config) { c.Lend.Slots = proto.MaxSlots + 1 },
		"an allowed peer that is none": func(c *Config) { c.Allow = []string{"bob"} },
		"a denied peer that is none":   func(c *Config) { c.Deny = []string{"bob"} },
		"labels that nobody reads":     func(c *Config) { c.Labels = map[string]string{"": "x"} },
	} {
		cfg := DefaultConfig()
		spoil(&cfg)
		if err := cfg.Validate(); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if err := DefaultConfig().Validate(); err != nil {
		t.Errorf("the defaults: %v", err)
	}
}

func TestInitMakesOneIdentityAndKeepsIt(t *testing.T) {
	cfg := testConfig(t, randomNetwork())
	cfg.Home += "/deep/home"
	a, err := Init(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := Init(cfg); err != nil || b != a {
		t.Errorf("again: %s (%v), want %s", b, err, a)
	}
	if info, err := os.Stat(cfg.Home); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("home: %v %v, want mode 0700", info.Mode(), err)
	}
}
