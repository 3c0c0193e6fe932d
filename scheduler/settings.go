package scheduler

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/mustermesh/muster/proto"
)

// A Change is what an owner asks to have changed, in the words of the control
// API. An empty list or a zero means: no such rule.
type Change struct {
	Hours          []string // see [ParseHours]
	IdleOnly       bool
	OnBattery      bool
	MaxTemperature float64 // °C
	MaxLoad        float64
	CPU            float64 // cores
	Memory, Disk   uint64  // bytes
	Slots          uint32
	Allow, Deny    []string // requesters, by id
	AllowPrograms  []string // see [ParsePrograms]
	DenyPrograms   []string
	Price          float64 // credits of a core-hour
}

// Fields gives the names of a change's fields, as in the control API.
func Fields() []string {
	return []string{
		"hours", "idle_only", "on_battery", "max_temperature", "max_load", "cpu", "memory", "disk", "slots",
		"allow", "deny", "allow_programs", "deny_programs", "price",
	}
}

// Settings are all that an owner can change while the node runs.
type Settings struct {
	Rules
	Lent  proto.Resources // of all tasks together; a zero field: all that the host of [Settings.Lending] has, where node puts half of the memory and 4 GiB of disk
	Slots int             // tasks at a time; 0: one per core
	Price proto.Credits   // of a core-hour
	Allow []proto.PeerID  // requesters; empty: everybody
	Deny  []proto.PeerID
}

// Bounds of settings: far above any machine.
const (
	maxLentCores = 1024 // docs/wire.md §3
	maxLentBytes = 1 << 50
	maxPrice     = 1 << 53 / 1e6 // credits; docs/wire.md §3
	maxListed    = 4096          // requesters
)

// With gives the settings with the named fields taken out of c; all others stay.
// It changes all of them or none: the error says of each that is wrong what
// would be right.
func (s Settings) With(c Change, fields []string) (Settings, error) {
	if len(fields) == 0 {
		return s, fmt.Errorf("nothing to change: name one or more of %s", strings.Join(Fields(), ", "))
	}
	next := s
	var wrong []error
	for _, f := range fields {
		if err := next.set(f, c, s.known()); err != nil {
			wrong = append(wrong, err)
		}
	}
	if err := errors.Join(wrong...); err != nil {
		return s, err
	}
	return next, nil
}

// known gives the programs that have a name here.
func (s Settings) known() []NamedProgram { return slices.Concat(s.AllowPrograms, s.DenyPrograms) }

func (s *Settings) set(field string, c Change, known []NamedProgram) (err error) {
	switch field {
	case "hours":
		s.Hours, err = ParseHours(c.Hours)
		return err
	case "idle_only":
		s.IdleOnly = c.IdleOnly
	case "on_battery":
		s.OnBattery = c.OnBattery
	case "max_temperature":
		s.MaxTemperature = c.MaxTemperature
		return Rules{MaxTemperature: c.MaxTemperature}.Validate()
	case "max_load":
		s.MaxLoad = c.MaxLoad
		return Rules{MaxLoad: c.MaxLoad}.Validate()
	case "allow_programs":
		s.AllowPrograms, err = ParsePrograms(c.AllowPrograms, known)
	case "deny_programs":
		s.DenyPrograms, err = ParsePrograms(c.DenyPrograms, known)
	case "allow":
		s.Allow, err = parsePeers(c.Allow)
	case "deny":
		s.Deny, err = parsePeers(c.Deny)
	default:
		return s.setAmount(field, c)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", field, err)
	}
	return nil
}

// setAmount sets what is a quantity.
func (s *Settings) setAmount(field string, c Change) error {
	switch field {
	case "cpu":
		if !(c.CPU == 0 || c.CPU >= 0.001 && c.CPU <= maxLentCores) { // NaN is neither
			return fmt.Errorf("cpu: %v cores; it is from 0.001 to %d, or 0 for all that the machine has", c.CPU, maxLentCores)
		}
		s.Lent.CPU = uint32(math.Round(c.CPU * 1000))
	case "memory":
		s.Lent.Memory = c.Memory
		return checkBytes(field, c.Memory)
	case "disk":
		s.Lent.Disk = c.Disk
		return checkBytes(field, c.Disk)
	case "slots":
		if c.Slots > proto.MaxSlots {
			return fmt.Errorf("slots: %d; at most %d, or 0 for one per core", c.Slots, proto.MaxSlots)
		}
		s.Slots = int(c.Slots)
	case "price":
		if !(c.Price >= 0 && c.Price <= maxPrice) {
			return fmt.Errorf("price: %v credits; it is from 0 to %.0f", c.Price, float64(maxPrice))
		}
		s.Price = proto.Credits(math.Round(c.Price * 1e6))
	default:
		return fmt.Errorf("there is no rule %.40q; there are %s", field, strings.Join(Fields(), ", "))
	}
	return nil
}

func checkBytes(field string, n uint64) error {
	if n > maxLentBytes {
		return fmt.Errorf("%s: %d bytes; at most %s, or 0 for all that the machine has", field, n, bytesText(maxLentBytes))
	}
	return nil
}

func parsePeers(texts []string) (ids []proto.PeerID, err error) {
	if len(texts) > maxListed {
		return nil, fmt.Errorf("%d requesters; at most %d", len(texts), maxListed)
	}
	for _, text := range texts {
		id, err := proto.ParsePeerID(text)
		if err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, nil
}

// Change gives the settings in the words of the control API.
func (s Settings) Change() Change {
	c := Change{
		Hours: s.Hours.Texts(), IdleOnly: s.IdleOnly, OnBattery: s.OnBattery, MaxTemperature: s.MaxTemperature, MaxLoad: s.MaxLoad,
		CPU: float64(s.Lent.CPU) / 1000, Memory: s.Lent.Memory, Disk: s.Lent.Disk, Slots: uint32(s.Slots), Price: float64(s.Price) / 1e6,
		AllowPrograms: programTexts(s.AllowPrograms), DenyPrograms: programTexts(s.DenyPrograms),
	}
	for _, id := range s.Allow {
		c.Allow = append(c.Allow, id.String())
	}
	for _, id := range s.Deny {
		c.Deny = append(c.Deny, id.String())
	}
	return c
}

// Lending gives l with these settings: never more than host has, which is the
// most that the machine could lend. What they do not speak of stays as it is in
// l, as do l's holds.
func (s Settings) Lending(l Lending, host proto.Resources) Lending {
	offered := &l.Advert.Offered
	offered.CPU = lendable(s.Lent.CPU, host.CPU)
	offered.Memory = lendable(s.Lent.Memory, host.Memory)
	offered.Disk = lendable(s.Lent.Disk, host.Disk)
	if l.Advert.Slots = s.Slots; s.Slots == 0 {
		l.Advert.Slots = min(max(int(host.CPU/1000), 1), proto.MaxSlots)
	}
	l.Advert.Price, l.Allow, l.Deny = s.Price, s.Allow, s.Deny
	l.AllowPrograms, l.DenyPrograms, l.Host = s.AllowPrograms, s.DenyPrograms, host
	return l
}

// lendable is what of a resource is lent; 0 is wanted where nothing was said.
func lendable[T uint32 | uint64](wanted, has T) T {
	if wanted == 0 {
		return has
	}
	return min(wanted, has)
}
