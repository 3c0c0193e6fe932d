package scheduler

import (
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/mustermesh/muster/proto"
)

// full is a change with a value in every field.
func full(t testing.TB) Change {
	return Change{
		Hours: []string{"mon-fri 18:00-08:00", "sat,sun"}, IdleOnly: true, OnBattery: true, MaxTemperature: 80, MaxLoad: 0.5,
		CPU: 2.5, Memory: 3 * gib, Disk: 5 * gib, Slots: 7, Price: 0.25,
		Allow: []string{proto.PeerID{1}.String()}, Deny: []string{proto.PeerID{2}.String(), proto.PeerID{3}.String()},
		AllowPrograms: []string{"sum=" + codeID(t, 1).String()}, DenyPrograms: []string{codeID(t, 2).String()},
	}
}

func TestSettingsGoThereAndBack(t *testing.T) {
	s, err := Settings{}.With(full(t), Fields())
	if err != nil {
		t.Fatal(err)
	}
	if got := s.Change(); !reflect.DeepEqual(got, full(t)) {
		t.Errorf("got %+v, want %+v", got, full(t))
	}
	if s, err = s.With(Change{}, Fields()); err != nil || !reflect.DeepEqual(s, Settings{}) {
		t.Errorf("got %+v (%v), want no rule left", s, err)
	}
}

// Each field alone changes what it names, so a new one cannot be forgotten.
func TestAFieldChangesItselfAlone(t *testing.T) {
	if got, want := len(Fields()), reflect.TypeFor[Change]().NumField(); got != want {
		t.Errorf("%d names for %d fields", got, want)
	}
	for _, field := range Fields() {
		s, err := Settings{}.With(full(t), []string{field})
		if err != nil {
			t.Errorf("%s: %v", field, err)
		}
		got, want := reflect.ValueOf(s.Change()), reflect.ValueOf(full(t))
		for i := range got.NumField() {
			name := got.Type().Field(i).Name
			if same := strings.EqualFold(name, strings.ReplaceAll(field, "_", "")); same != reflect.DeepEqual(got.Field(i).Interface(), want.Field(i).Interface()) {
				t.Errorf("%s set: %s is %v", field, name, got.Field(i))
			}
		}
	}
}

func TestAWrongChangeChangesNothing(t *testing.T) {
	before, err := Settings{}.With(full(t), Fields())
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change Change
		fields []string
		want   []string
	}{
		"no field":            {Change{}, nil, []string{"nothing to change: name one or more of hours, idle_only"}},
		"an unknown field":    {Change{}, []string{"colour"}, []string{`no rule "colour"; there are hours`}},
		"hours":               {Change{Hours: []string{"noon"}}, []string{"hours"}, []string{`hours "noon": "noon" is not a day`}},
		"Fahrenheit":          {Change{MaxTemperature: 176}, []string{"max_temperature"}, []string{"from 30 to 120"}},
		"load":                {Change{MaxLoad: 2}, []string{"max_load"}, []string{"from 0 to 1"}},
		"no core":             {Change{CPU: 0.0001}, []string{"cpu"}, []string{"from 0.001"}},
		"cores, not a number": {Change{CPU: math.NaN()}, []string{"cpu"}, []string{"cpu: NaN"}},
		"too many cores":      {Change{CPU: 1e9}, []string{"cpu"}, []string{"to 1024"}},
		"memory":              {Change{Memory: 1 << 60}, []string{"memory"}, []string{"memory: ", "at most 1024TiB"}},
		"disk":                {Change{Disk: 1 << 60}, []string{"disk"}, []string{"disk: "}},
		"slots":               {Change{Slots: proto.MaxSlots + 1}, []string{"slots"}, []string{"slots: 4097; at most 4096"}},
		"a negative price":    {Change{Price: -1}, []string{"price"}, []string{"price: -1"}},
		"an endless price":    {Change{Price: math.Inf(1)}, []string{"price"}, []string{"price: +Inf"}},
		"a price, no number":  {Change{Price: math.NaN()}, []string{"price"}, []string{"price: NaN"}},
		"a requester":         {Change{Allow: []string{"bob"}}, []string{"allow"}, []string{"allow: ", "bob"}},
		"a denied one":        {Change{Deny: []string{"bob"}}, []string{"deny"}, []string{"deny: "}},
		"too many":            {Change{Deny: make([]string, maxListed+1)}, []string{"deny"}, []string{"at most 4096"}},
		"a program":           {Change{DenyPrograms: []string{"miner"}}, []string{"deny_programs"}, []string{"deny_programs: ", "write miner=CID"}},
		"two of three":        {Change{CPU: 1, Slots: 1 << 20, Price: -1}, []string{"slots", "cpu", "price"}, []string{"slots: ", "price: "}},
	} {
		after, err := before.With(c.change, c.fields)
		if err == nil || !reflect.DeepEqual(after, before) {
			t.Errorf("%s: error %v, settings %+v, want an error and no change", name, err, after)
			continue
		}
		for _, want := range c.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: got %q, want %q in it", name, err, want)
			}
		}
	}
}

func TestAProgramMayGoByAName(t *testing.T) {
	one, two, three := codeID(t, 1), codeID(t, 2), codeID(t, 3)
	known := []NamedProgram{{"sum", one}, {"sum", two}, {"other", three}}
	for name, c := range map[string]struct {
		texts []string
		want  []NamedProgram
		err   string
	}{
		"none":                        {nil, nil, ""},
		"an id":                       {[]string{one.String()}, []NamedProgram{{"", one}}, ""},
		"a named id":                  {[]string{"a.b-C_1=" + one.String()}, []NamedProgram{{"a.b-C_1", one}}, ""},
		"a name for two versions":     {[]string{"sum"}, []NamedProgram{{"sum", one}, {"sum", two}}, ""},
		"a name from the list itself": {[]string{"new", "new=" + three.String()}, []NamedProgram{{"new", three}}, ""},
		"a name that nobody knows":    {[]string{"miner"}, nil, "jobs' own names prove nothing; write miner=CID"},
		"nothing":                     {[]string{""}, nil, "write CID or NAME=CID"},
		"a bad id":                    {[]string{"sum=bafk"}, nil, "write CID or NAME=CID"},
		"a bad name":                  {[]string{"a b=" + one.String()}, nil, "letters, digits"},
		"an empty name":               {[]string{"=" + one.String()}, nil, "letters, digits"},
		"a long name":                 {[]string{strings.Repeat("a", 41) + "=" + one.String()}, nil, "1 to 40"},
		"too many":                    {make([]string, maxNamed+1), nil, "at most 1024"},
	} {
		got, err := ParsePrograms(c.texts, known)
		if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: got %v (%v), want %v (%q)", name, got, err, c.want, c.err)
		}
	}
}

func FuzzParsePrograms(f *testing.F) {
	f.Add("sum=" + codeID(f, 1).String())
	f.Add("sum")
	f.Add("=")
	f.Fuzz(func(t *testing.T, text string) {
		list, err := ParsePrograms([]string{text}, []NamedProgram{{"sum", codeID(t, 1)}})
		if err != nil {
			return
		}
		again, err := ParsePrograms(programTexts(list), nil)
		if err != nil || !reflect.DeepEqual(again, list) {
			t.Errorf("%q became %v, then %v: %v", text, list, again, err)
		}
	})
}

func TestNoMoreIsLentThanThereIs(t *testing.T) {
	host := proto.Resources{CPU: 4000, Memory: 8 * gib, Disk: 50 * gib, GPU: 1}
	before := Lending{
		Draining: true, MaxCredit: 9, Share: 0.5, Held: []Hold{{Rule: keyHours}},
		Advert: proto.Advert{Executor: "wasm", Labels: proto.Labels{"a": "b"}, Offered: proto.Resources{GPU: 1}},
	}
	all := Settings{}.Lending(before, host)
	if want := host; all.Advert.Offered != want || all.Advert.Slots != 4 || all.Host != host {
		t.Errorf("no settings lend %+v in %d slots, want all in 4", all.Advert.Offered, all.Advert.Slots)
	}
	if !all.Draining || all.MaxCredit != 9 || all.Share != 0.5 || len(all.Held) != 1 || all.Advert.Executor != "wasm" || all.Advert.Labels["a"] != "b" {
		t.Errorf("got %+v, want all else as it was", all)
	}
	s, err := Settings{}.With(full(t), Fields())
	if err != nil {
		t.Fatal(err)
	}
	s.Lent.Memory = 64 * gib
	l := s.Lending(before, host)
	want := proto.Resources{CPU: 2500, Memory: 8 * gib, Disk: 5 * gib, GPU: 1}
	if l.Advert.Offered != want || l.Advert.Slots != 7 || l.Advert.Price != 250_000 {
		t.Errorf("lends %+v, %d slots, %d, want %+v, 7, 250000", l.Advert.Offered, l.Advert.Slots, l.Advert.Price, want)
	}
	if len(l.Allow) != 1 || len(l.Deny) != 2 || len(l.AllowPrograms) != 1 || len(l.DenyPrograms) != 1 {
		t.Errorf("got lists %v %v %v %v", l.Allow, l.Deny, l.AllowPrograms, l.DenyPrograms)
	}
	if tiny := (Settings{}).Lending(before, proto.Resources{CPU: 500}); tiny.Advert.Slots != 1 {
		t.Errorf("half a core has %d slots, want 1", tiny.Advert.Slots)
	}
}
