package scheduler

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/mustermesh/muster/proto"
)

// A Setting is one change to a provider's own settings.
type Setting struct {
	Key   string // of the configuration, such as lend.memory
	Value string // in the form that the configuration takes; "" where there is no one value
	Text  string // for the owner, such as "lend at least 2GiB memory"
}

// String gives "lend at least 2GiB memory: lend.memory".
func (s Setting) String() string {
	if s.Key == "" {
		return s.Text
	}
	return s.Text + ": " + s.Key
}

// Change gives the changes of [No.Changes] in one line; "" where there are none.
func (no No) Change(l Lending, a proto.Announcement) string {
	var texts []string
	for _, s := range no.Changes(l, a) {
		texts = append(texts, s.String())
	}
	return strings.Join(texts, ", and ")
}

// Changes gives the smallest changes of this provider's settings that, together,
// would have let it bid where it said no; l is what it lent then. None: nothing
// that the owner can set would have, because the job wants another machine, more
// than this one has, or a fact that would be a lie here.
func (no No) Changes(l Lending, a proto.Announcement) []Setting {
	adv, ok := l.fitted(a)
	if !ok {
		return nil
	}
	var all []Setting
	switch no.Reason {
	case proto.ReasonDraining:
		all = []Setting{{Text: "take work again with muster node resume"}}
	case proto.ReasonCredit:
		all = []Setting{{"max_credit", "", fmt.Sprintf("let a requester owe more than %s credits", creditText(l.MaxCredit))}}
	case proto.ReasonBusy:
		n := strconv.Itoa(l.Advert.Slots + 1)
		all = []Setting{{"lend.slots", n, "lend at least " + n + " slots"}}
	case proto.ReasonPolicy:
		all = no.policyChanges(l)
	}
	return slices.Concat(all, l.programChanges(a), difference(l.Advert, adv))
}

// policyChanges lets a requester in, or lifts what holds back.
func (no No) policyChanges(l Lending) (all []Setting) {
	switch no.Detail {
	case saysDenied:
		return []Setting{{"deny", "", "take the requester off the deny list"}}
	case saysNotAllowed:
		return []Setting{{"allow", "", "put the requester on the allow list"}}
	case saysHeld:
		for _, h := range l.Held {
			all = append(all, h.change())
		}
	}
	return all
}

// change gives what would lift a hold.
func (h Hold) change() Setting {
	switch h.Rule {
	case keyOnBattery:
		return Setting{h.Rule, "true", "lend on battery, too"}
	case keyIdleOnly:
		return Setting{h.Rule, "false", "lend while the machine is in use, too"}
	case keyMaxTemperature:
		return Setting{h.Rule, "", "raise the ceiling of the temperature"}
	}
	return Setting{h.Rule, "", "lend at this hour, too"}
}

// programChanges lets a program in.
func (l Lending) programChanges(a proto.Announcement) (all []Setting) {
	if hasProgram(l.DenyPrograms, a.Program) {
		all = append(all, Setting{"deny_programs", "", "stop refusing the program " + a.Program.String()})
	}
	if len(l.AllowPrograms) > 0 && !hasProgram(l.AllowPrograms, a.Program) {
		all = append(all, Setting{"allow_programs", a.Program.String(), "allow the program " + a.Program.String()})
	}
	return all
}

// fitted gives the advert that is nearest to l's and could run the job.
func (l Lending) fitted(a proto.Announcement) (adv proto.Advert, ok bool) {
	adv = l.Advert
	adv.Labels = maps.Clone(adv.Labels)
	adv.Offered.CPU = max(adv.Offered.CPU, a.Needs.CPU)
	raise(&adv.Offered.Memory, a.Needs.Memory)
	raise(&adv.Offered.Disk, a.Needs.Disk)
	adv.Price = min(adv.Price, a.MaxPrice)
	for _, text := range a.Constraints {
		if c, err := ParseConstraint(text); err == nil && !c.Holds(Facts{adv}) {
			c.meet(&adv)
		}
	}
	if _, ok := Eligible(adv, a); !ok {
		return adv, false
	}
	return adv, l.has(adv.Offered)
}

// has tells whether the machine could lend so much, as far as it is known.
func (l Lending) has(r proto.Resources) bool {
	return (l.Host.CPU == 0 || r.CPU <= max(l.Host.CPU, l.Advert.Offered.CPU)) &&
		(l.Host.Memory == 0 || r.Memory <= max(l.Host.Memory, l.Advert.Offered.Memory)) &&
		(l.Host.Disk == 0 || r.Disk <= max(l.Host.Disk, l.Advert.Offered.Disk))
}

// raise makes a size at least so large, as people write it.
func raise(size *uint64, least uint64) {
	if *size < least {
		*size = roundUp(least)
	}
}

// meet changes an advert so that it meets the constraint, where its owner may:
// lend more, ask less, state a label that is not stated yet. It tries; whether it
// did is for [Eligible] to say.
func (c Constraint) meet(adv *proto.Advert) {
	if name, ok := strings.CutPrefix(c.Field, labelPrefix); ok {
		if _, stated := adv.Labels[name]; !stated && c.Op != "!=" && c.Op != "<" && c.Op != ">" {
			adv.Labels = maps.Clone(adv.Labels)
			if adv.Labels == nil {
				adv.Labels = proto.Labels{}
			}
			adv.Labels[name] = c.Values[0]
		}
		return
	}
	k, _ := kindOf(c.Field)
	n, ok := k.quantity(c.Values[0])
	if !ok || n < 0 || n > maxLentBytes { // also keeps the conversions below in range
		return
	}
	switch c.Field {
	case "cpu":
		adv.Offered.CPU = max(adv.Offered.CPU, uint32(min(least(c.Op, n*1000), maxLentCores*1000)))
	case "memory":
		raise(&adv.Offered.Memory, least(c.Op, n))
	case "disk":
		raise(&adv.Offered.Disk, least(c.Op, n))
	case "slots":
		adv.Slots = max(adv.Slots, int(min(least(c.Op, n), proto.MaxSlots)))
	case "price":
		adv.Price = min(adv.Price, proto.Credits(most(c.Op, min(n, maxPrice)*1e6)))
	}
}

// least is the smallest whole number that meets >= n, == n or > n.
func least(op string, n float64) uint64 {
	if op == ">" {
		return uint64(math.Floor(n)) + 1
	}
	return uint64(math.Ceil(n))
}

// most is the largest whole number that meets <= n, == n or < n; 0 if none does.
func most(op string, n float64) uint64 {
	if op == "<" {
		return uint64(max(math.Ceil(n)-1, 0))
	}
	return uint64(math.Floor(n))
}

// difference gives the settings that make the second advert out of the first.
func difference(from, to proto.Advert) (all []Setting) {
	if to.Offered.CPU != from.Offered.CPU {
		v := strconv.FormatFloat(float64(to.Offered.CPU)/1000, 'f', -1, 64)
		all = append(all, Setting{"lend.cpu", v, "lend at least " + v + " cores"})
	}
	if to.Offered.Memory != from.Offered.Memory {
		v := bytesText(to.Offered.Memory)
		all = append(all, Setting{"lend.memory", v, "lend at least " + v + " memory"})
	}
	if to.Offered.Disk != from.Offered.Disk {
		v := bytesText(to.Offered.Disk)
		all = append(all, Setting{"lend.disk", v, "lend at least " + v + " disk"})
	}
	if to.Slots != from.Slots {
		v := strconv.Itoa(to.Slots)
		all = append(all, Setting{"lend.slots", v, "lend at least " + v + " slots"})
	}
	if to.Price != from.Price {
		v := creditText(to.Price)
		all = append(all, Setting{"price", v, "lower the price to " + v + " or less"})
	}
	for _, name := range slices.Sorted(maps.Keys(to.Labels)) {
		if _, stated := from.Labels[name]; !stated {
			v := name + "=" + to.Labels[name]
			all = append(all, Setting{"labels", v, "if it is true, state the label " + v})
		}
	}
	return all
}

func creditText(c proto.Credits) string { return strconv.FormatFloat(float64(c)/1e6, 'f', -1, 64) }

// roundUp gives a size that people write: whole KiB, from a GiB on whole MiB.
func roundUp(n uint64) uint64 {
	step := uint64(1 << 10)
	if n >= 1<<30 {
		step = 1 << 20
	}
	if rest := n % step; rest > 0 && n <= maxLentBytes {
		n += step - rest
	}
	return n
}

// bytesText gives a size exactly, in the largest unit that it is whole in.
func bytesText(n uint64) string {
	for i, unit := range []string{"TiB", "GiB", "MiB", "KiB"} {
		if size := uint64(1) << (40 - 10*i); n >= size && n%size == 0 {
			return strconv.FormatUint(n/size, 10) + unit
		}
	}
	return strconv.FormatUint(n, 10)
}
