package scheduler

import (
	"strings"
	"testing"

	"github.com/mustermesh/muster/proto"
)

var factual = Facts{proto.Advert{
	Executor: "wasm", Profile: "wasip1/1", Isolation: "namespaces", Version: "v0.10.0",
	Engine:  proto.Engine{Name: "wazero", Version: "1.9", Arch: "amd64"},
	Offered: proto.Resources{CPU: 2500, Memory: 2 << 30, Disk: 10e9}, Slots: 4, Price: 1_500_000,
	Labels: proto.Labels{"region": "eu", "tier": "3", "site": "North Hall, 2", "nan": "NaN", "ram": "16GiB"},
}}

func TestConstraintsHold(t *testing.T) {
	cases := []struct {
		text string
		want bool
	}{
		{"arch == amd64", true}, {"arch == arm64", false}, {"arch != arm64", true}, {"arch != amd64", false},
		{"arch in [arm64, amd64]", true}, {"arch in [arm64]", false}, {"arch in[amd64]", true}, {"arch=='amd64'", true},
		{"memory >= 2GiB", true}, {"memory >= 2.1GiB", false}, {"memory > 2147483647", true}, {"memory < 2GiB", false}, {"memory <= 2 GiB", true},
		{"memory == 2048MiB", true}, {"memory != 2GiB", false}, {"memory in [1GiB, 2GiB]", true}, {"disk >= 10GB", true}, {"disk >= 10GiB", false},
		{"cpu >= 2.5", true}, {"cpu > 2.5", false}, {"cpu < 1e1", true}, {"slots == 4", true}, {"price <= 1.5", true}, {"price < 1.5", false},
		{"gpu == 0", true}, {"gpu >= 1", false},
		{"engine == wazero", true}, {"executor == wasm", true}, {"profile == wasip1/1", true}, {"isolation == namespaces", true}, {"isolation in [landlock, none]", false},
		{"sandbox >= namespaces", true}, {"sandbox >= landlock", true}, {"sandbox > landlock", true}, {"sandbox > namespaces", false},
		{"isolation < namespaces", false}, {"isolation <= namespaces", true}, {"isolation != landlock", true}, {"sandbox in [none, namespaces]", true},
		{"version >= 0.9.1", true}, {"version >= v0.10", true}, {"version < 0.10.1", true}, {"version == 0.10.0", true}, {"version > 0.10.0-rc1", true},
		{"version != devel", true}, {"version < 1", true}, {"version > 0.10", false}, {"version >= 0.10.0.1", false},
		{"label.region == eu", true}, {"label.region in [us, eu]", true}, {"label.region != us", true}, {"label.region == EU", false},
		{"label.tier >= 2", true}, {"label.tier == 3.0", true}, {"label.tier > 20", false}, {"label.ram >= 8GiB", true},
		{`label.site == "North Hall, 2"`, true}, {`label.site in [x, "North Hall, 2"]`, true}, {`label.site in ["North Hall", 2]`, false},
		// What is not stated meets nothing but !=.
		{"label.none == x", false}, {"label.none != x", true}, {"label.none >= 1", false}, {"label.none < 1", false}, {"label.none in [x]", false},
		// A word and a number have no order, and are not equal.
		{"label.region > 1", false}, {"label.region < 1", false}, {"label.region != 1", true}, {"label.nan == 5", false}, {"label.tier == nan", false}, {"label.tier >= nan", false},
	}
	for _, c := range cases {
		got, err := ParseConstraint(c.text)
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		if got.Holds(factual) != c.want {
			t.Errorf("%s holds: %t, want %t", c.text, !c.want, c.want)
		}
		if got.String() != c.text {
			t.Errorf("%s was written %s", got, c.text)
		}
	}
	for _, text := range []string{"arch == x", "version >= 1", "isolation in [none]", "sandbox >= none", "engine == x"} {
		c, err := ParseConstraint(text)
		if err != nil || c.Holds(Facts{}) {
			t.Errorf("%s holds of a provider that states nothing (%v)", text, err)
		}
	}
}

func TestASandboxIsAtLeastOfALevel(t *testing.T) {
	for _, c := range []struct {
		advertised string
		want       bool
	}{{"none", false}, {"landlock", true}, {"namespaces", true}, {"", false}, {"microvm", false}} {
		a := proto.Announcement{Constraints: []string{"sandbox >= landlock"}}
		no, ok := Eligible(proto.Advert{Isolation: c.advertised}, a)
		if ok != c.want {
			t.Errorf("sandbox >= landlock of one that advertises %q: %t, want %t", c.advertised, ok, c.want)
		}
		if !ok && (no.Reason != proto.ReasonConstraint || !strings.Contains(no.Detail, `"sandbox >= landlock"`)) {
			t.Errorf("refused with %s: %s, want the constraint", no.Reason, no.Detail)
		}
	}
}

func TestConstraintsThatCannotBeRead(t *testing.T) {
	cases := []struct{ text, want string }{
		{"", "expected FIELD OPERATOR VALUE"},
		{"memory", "expected FIELD OPERATOR VALUE"},
		{"== 4", "expected FIELD OPERATOR VALUE"},
		{"ram >= 4", `unknown field "ram"; known: arch, cpu,`},
		{"label. == x", "unknown field"},
		{"memory = 4", "unknown operator; known: == != >= <= > < in"},
		{"memory ~ 4", "unknown operator"},
		{"memory not in [4]", "unknown operator"},
		{"memory >=", "no value after >="},
		{"memory >= much", "memory is a number"},
		{"memory >= NaN", "memory is a number"},
		{"memory >= inf", "memory is a number"},
		{"memory >= 0x10", "memory is a number"},
		{"memory >= 1e999", "memory is a number"},
		{"memory >= 1GiB or cpu > 1", "put the value in quotes"},
		{"cpu >= 1GiB", "cpu is a number"},
		{"arch === amd64", "put the value in quotes"},
		{"arch == amd64 and cpu > 2", "put the value in quotes"},
		{"arch == 'amd64", "put the value in quotes"},
		{"arch >= amd64", "arch has no order; use ==, != or in"},
		{"isolation > strong", `isolation is one of none, landlock, namespaces, "strong" is none`},
		{"sandbox in [landlock, x]", "sandbox is one of none, landlock, namespaces"},
		{"arch in amd64", "expected in [A, B]"},
		{"arch in [amd64", "expected in [A, B]"},
		{"arch in []", "no value after in"},
		{"arch in [a,,b]", "no value after in"},
		{"slots in [1, many]", "slots is a number"},
		{`label.x == ""`, "no value"},
	}
	for _, c := range cases {
		got, err := ParseConstraint(c.text)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q gives %+v, %v; want an error with %q", c.text, got, err, c.want)
		}
	}
}

func TestManyConstraints(t *testing.T) {
	cases := []struct {
		text string
		want []string
	}{
		{"", nil},
		{" , ", nil},
		{"cpu > 1", []string{"cpu > 1"}},
		{"cpu > 1, arch in [a, b] and label.x == 'p, q and r'", []string{"cpu > 1", "arch in [a, b]", "label.x == 'p, q and r'"}},
	}
	for _, c := range cases {
		got, err := ParseConstraints(c.text)
		if err != nil || len(got) != len(c.want) {
			t.Errorf("%q gives %v, %v", c.text, got, err)
			continue
		}
		for i, want := range c.want {
			if got[i].String() != want {
				t.Errorf("%q: the %d. is %q, want %q", c.text, i+1, got[i], want)
			}
		}
	}
	if _, err := ParseConstraints("cpu > 1, nonsense"); err == nil {
		t.Error("a list with nonsense was taken")
	}
}

func FuzzParseConstraint(f *testing.F) {
	for _, s := range []string{"memory >= 1.5 GiB", "label.region in [eu, 'u s']", "version < v1.2-rc1", "arch != \"x\"", "cpu in [", "price == -1e9", "a and b,"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if cs, err := ParseConstraints(s); err == nil {
			for _, c := range cs {
				c.Holds(factual)
			}
		}
		c, err := ParseConstraint(s)
		if err != nil {
			return
		}
		again, err := ParseConstraint(c.String())
		if err != nil || again.Field != c.Field || again.Op != c.Op || len(again.Values) != len(c.Values) || len(c.Values) == 0 {
			t.Fatalf("%q reads as %+v, and written again as %+v, %v", s, c, again, err)
		}
		equal := Constraint{Field: c.Field, Op: "==", Values: c.Values[:1]}
		differs := Constraint{Field: c.Field, Op: "!=", Values: c.Values[:1]}
		if equal.Holds(factual) == differs.Holds(factual) {
			t.Fatalf("%q: == and != are both %t", s, equal.Holds(factual))
		}
	})
}
