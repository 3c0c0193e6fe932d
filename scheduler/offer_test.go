package scheduler

import (
	"strings"
	"testing"
	"time"

	"github.com/mustermesh/muster/proto"
)

const gib = 1 << 30

// codeID gives a program's id by its number.
func codeID(t testing.TB, n byte) proto.CID {
	t.Helper()
	c, err := proto.CIDFromBytes(append([]byte{1, 0x55, 0x12, 32, n}, make([]byte, 31)...))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// A deal is what a provider lends and what a requester asks, which fit.
type deal struct {
	lend   Lending
	ask    proto.Announcement
	client Client
	busy   int
}

func newDeal(t testing.TB, change func(*deal)) *deal {
	t.Helper()
	d := &deal{
		lend: Lending{
			Advert: proto.Advert{
				Executor: "wasm", Profile: "p", Slots: 4, Price: 500_000, Labels: proto.Labels{"region": "eu"},
				Engine: proto.Engine{Name: "e", Version: "1", Arch: "amd64"}, Offered: proto.Resources{CPU: 4000, Memory: 4 * gib, Disk: 4 * gib},
			},
			Host: proto.Resources{CPU: 8000, Memory: 16 * gib, Disk: 100 * gib},
		},
		ask: proto.Announcement{
			Executor: "wasm", Profile: "p", Program: codeID(t, 1), Tasks: 1, MaxPrice: 1_000_000,
			Needs: proto.Resources{CPU: 1000, Memory: gib, Disk: gib},
		},
		client: Client{ID: proto.PeerID{7}},
	}
	if change != nil {
		change(d)
	}
	return d
}

func (d *deal) offer() (proto.Bid, *No) { return Offer(d.lend, d.busy, d.ask, d.client) }

func TestWhatFitsGetsABid(t *testing.T) {
	d := newDeal(t, nil)
	bid, no := d.offer()
	if no != nil || bid.Slots != 4 || bid.Price != 500_000 {
		t.Errorf("got %+v (%+v), want a bid for 4 slots at half a credit", bid, no)
	}
	if s := (No{proto.ReasonBusy, ""}).Changes(d.lend, d.ask); len(s) != 1 || s[0].Key != "lend.slots" {
		t.Errorf("got %v, want slots alone to change", s)
	}
}

// Each refusal says to strangers what they may know, and to the owner what to
// change; where a value is named, the changed provider bids.
func TestEveryRefusalSaysWhatWouldChangeIt(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*deal)
		reason proto.Reason
		detail string // that the requester reads
		want   string // that the owner reads
	}{
		"draining":      {func(d *deal) { d.lend.Draining = true }, proto.ReasonDraining, "takes nothing new", "take work again with muster node resume"},
		"denied":        {func(d *deal) { d.lend.Deny = []proto.PeerID{{7}} }, proto.ReasonPolicy, saysDenied, "take the requester off the deny list: deny"},
		"not allowed":   {func(d *deal) { d.lend.Allow = []proto.PeerID{{8}} }, proto.ReasonPolicy, saysNotAllowed, "put the requester on the allow list: allow"},
		"in debt":       {func(d *deal) { d.lend.MaxCredit, d.client.Balance = 2e6, 3e6 }, proto.ReasonCredit, "owes 3.000", "let a requester owe more than 2 credits: max_credit"},
		"no slot":       {func(d *deal) { d.busy = 4 }, proto.ReasonBusy, "all 4 slots", "lend at least 5 slots: lend.slots"},
		"a bad program": {func(d *deal) { d.lend.DenyPrograms = []NamedProgram{{"", d.ask.Program}} }, proto.ReasonPolicy, saysProgramDenied, "stop refusing the program bafk"},
		"another program": {func(d *deal) { d.lend.AllowPrograms = []NamedProgram{{"sum", codeID(t, 2)}} }, proto.ReasonPolicy, saysProgramNotAllowed,
			"allow the program bafk"},
		"another executor": {func(d *deal) { d.ask.Executor = "oci" }, proto.ReasonExecutor, "not oci p", ""},
		"cores":            {func(d *deal) { d.ask.Needs.CPU = 4500 }, proto.ReasonCPU, "more cpu", "lend at least 4.5 cores: lend.cpu"},
		"memory":           {func(d *deal) { d.ask.Needs.Memory = 5 * gib }, proto.ReasonMemory, "more memory", "lend at least 5GiB memory: lend.memory"},
		"odd memory":       {func(d *deal) { d.ask.Needs.Memory = 5*gib + 1 }, proto.ReasonMemory, "more memory", "lend at least 5121MiB memory: lend.memory"},
		"disk":             {func(d *deal) { d.ask.Needs.Disk = 8 * gib }, proto.ReasonDisk, "more disk", "lend at least 8GiB disk: lend.disk"},
		"too much memory":  {func(d *deal) { d.ask.Needs.Memory = 17 * gib }, proto.ReasonMemory, "more memory", ""},
		"a GPU":            {func(d *deal) { d.ask.Needs.GPU = 1 }, proto.ReasonGPU, "more gpu", ""},
		"the price":        {func(d *deal) { d.ask.MaxPrice = 250_000 }, proto.ReasonPrice, "asks 0.500", "lower the price to 0.25 or less: price"},
		"two at once": {func(d *deal) { d.ask.MaxPrice, d.ask.Needs.Memory = 250_000, 6*gib }, proto.ReasonMemory, "more memory",
			"lend at least 6GiB memory: lend.memory, and lower the price to 0.25 or less: price"},
		"one that can change and one that cannot": {func(d *deal) { d.ask.MaxPrice, d.ask.Needs.GPU = 0, 1 }, proto.ReasonGPU, "more gpu", ""},
		"busy, and too dear":                      {func(d *deal) { d.lend.Draining, d.ask.MaxPrice = true, 0 }, proto.ReasonDraining, "takes nothing", "take work again with muster node resume, and lower the price to 0 or less: price"},
		"a label that is not stated":              {needs("label.gpu == a100"), proto.ReasonConstraint, "does not meet", "if it is true, state the label gpu=a100: labels"},
		"a label among several":                   {needs("label.zone in [b, c]"), proto.ReasonConstraint, "does not meet", "if it is true, state the label zone=b: labels"},
		"a label that would be a lie":             {needs("label.region == us"), proto.ReasonConstraint, "does not meet", ""},
		"a label that must not be":                {needs("label.region != eu"), proto.ReasonConstraint, "does not meet", ""},
		"another architecture":                    {needs("arch == arm64"), proto.ReasonConstraint, "does not meet", ""},
		"more cores than a task needs":            {needs("cpu > 4"), proto.ReasonConstraint, "does not meet", "lend at least 4.001 cores: lend.cpu"},
		"cores beyond all bounds":                 {needs("cpu >= 1e12"), proto.ReasonConstraint, "does not meet", ""},
		"more memory than a task needs":           {needs("memory >= 8GiB"), proto.ReasonConstraint, "does not meet", "lend at least 8GiB memory: lend.memory"},
		"less memory":                             {needs("memory < 1GiB"), proto.ReasonConstraint, "does not meet", ""},
		"more slots":                              {needs("slots >= 6"), proto.ReasonConstraint, "does not meet", "lend at least 6 slots: lend.slots"},
		"more slots than a node can have":         {needs("slots >= 1e9"), proto.ReasonConstraint, "does not meet", ""},
		"a lower price":                           {needs("price < 0.1"), proto.ReasonConstraint, "does not meet", "lower the price to 0.099999 or less: price"},
		"a price that none can have":              {needs("price < 0"), proto.ReasonConstraint, "does not meet", ""},
		"a constraint that nobody understands":    {needs("colour == red"), proto.ReasonConstraint, "does not meet", ""},
	} {
		d := newDeal(t, c.change)
		_, no := d.offer()
		if no == nil || no.Reason != c.reason || !strings.Contains(no.Detail, c.detail) {
			t.Errorf("%s: refused with %+v, want %s: %s", name, no, c.reason, c.detail)
			continue
		}
		if got := no.Change(d.lend, d.ask); got != c.want && (c.want == "" || !strings.HasPrefix(got, c.want)) {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
		d.apply(t, no.Changes(d.lend, d.ask))
		if _, no := d.offer(); c.want != "" && no != nil {
			t.Errorf("%s: refused with %+v after the changes", name, no)
		}
	}
}

func needs(constraint string) func(*deal) {
	return func(d *deal) { d.ask.Constraints = []string{constraint} }
}

// apply does what the owner was told to.
func (d *deal) apply(t *testing.T, all []Setting) {
	t.Helper()
	k := size
	for _, s := range all {
		n, _ := k.quantity(s.Value)
		switch s.Key {
		case "":
			d.lend.Draining = false
		case "deny":
			d.lend.Deny = nil
		case "allow":
			d.lend.Allow = append(d.lend.Allow, d.client.ID)
		case "max_credit":
			d.lend.MaxCredit = 0
		case "deny_programs":
			d.lend.DenyPrograms = nil
		case "allow_programs":
			c, err := proto.ParseCID(s.Value)
			if err != nil {
				t.Error(err)
			}
			d.lend.AllowPrograms = append(d.lend.AllowPrograms, NamedProgram{"", c})
		case "lend.cpu":
			d.lend.Advert.Offered.CPU = uint32(n*1000 + 0.5)
		case "lend.memory":
			d.lend.Advert.Offered.Memory = uint64(n)
		case "lend.disk":
			d.lend.Advert.Offered.Disk = uint64(n)
		case "lend.slots":
			d.lend.Advert.Slots = int(n)
		case "price":
			d.lend.Advert.Price = proto.Credits(n*1e6 + 0.5)
		case "labels":
			name, value, _ := strings.Cut(s.Value, "=")
			d.lend.Advert.Labels[name] = value
		default:
			t.Errorf("nobody knows the key %q", s.Key)
		}
	}
}

// A stranger must not learn from a refusal when somebody is at home.
func TestAHeldProviderTellsNoHabits(t *testing.T) {
	d := newDeal(t, func(d *deal) {
		d.lend.Held = []Hold{
			{keyHours, "outside the hours mon-fri 18:00-08:00", meshStart.Add(time.Hour)}, {keyOnBattery, "on battery", time.Time{}},
			{keyIdleOnly, "in use", time.Time{}}, {keyMaxTemperature, "hot", time.Time{}},
		}
	})
	_, no := d.offer()
	if no == nil || *no != (No{proto.ReasonPolicy, saysHeld}) {
		t.Fatalf("refused with %+v, want %q", no, saysHeld)
	}
	want := "lend at this hour, too: lend.hours, and lend on battery, too: lend.on_battery, and " +
		"lend while the machine is in use, too: lend.idle_only, and raise the ceiling of the temperature: lend.max_temperature"
	if got := no.Change(d.lend, d.ask); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	d.lend.Deny = []proto.PeerID{{7}}
	if _, no := d.offer(); no == nil || no.Detail != saysDenied {
		t.Errorf("refused with %+v, want the reason that does not pass", no)
	}
}

func TestAHeldProviderTakesNoLease(t *testing.T) {
	inn := newInn(t, 4, func(l *Lending) { l.Held = []Hold{{Rule: keyHours}} })
	inn.wantRefusal(inn.Award(inn.now, Client{ID: proto.PeerID{7}}, award(1)), proto.ReasonPolicy)
	l := inn.Lending()
	l.Held = nil
	inn.SetLending(l)
	inn.takes(proto.PeerID{7}, award(1))
}

// One requester's program is judged by its id, whatever else the job says.
func TestProgramsAreJudgedByTheirID(t *testing.T) {
	one, two := NamedProgram{"one", codeID(t, 1)}, NamedProgram{"two", codeID(t, 2)}
	for name, c := range map[string]struct {
		allow, deny []NamedProgram
		ok          bool
	}{
		"no lists":        {nil, nil, true},
		"allowed":         {[]NamedProgram{two, one}, nil, true},
		"not allowed":     {[]NamedProgram{two}, nil, false},
		"denied":          {nil, []NamedProgram{two, one}, false},
		"another denied":  {nil, []NamedProgram{two}, true},
		"both: denied":    {[]NamedProgram{one}, []NamedProgram{one}, false},
		"the same name":   {[]NamedProgram{{"one", codeID(t, 3)}}, nil, false},
		"without a name":  {[]NamedProgram{{"", codeID(t, 1)}}, nil, true},
		"the zero CID is": {[]NamedProgram{{"one", proto.CID{}}}, nil, false},
	} {
		_, no := newDeal(t, func(d *deal) { d.lend.AllowPrograms, d.lend.DenyPrograms = c.allow, c.deny }).offer()
		if (no == nil) != c.ok {
			t.Errorf("%s: got %+v, want a bid: %t", name, no, c.ok)
		}
	}
}
