package node

import (
	"runtime"
	"sync"
	"time"

	"github.com/mustermesh/muster/internal/hostinfo"
	"github.com/mustermesh/muster/proto"
	"github.com/mustermesh/muster/scheduler"
)

// A machine is what this node's provider has to lend. Safe for concurrent use.
type machine struct {
	n    *node
	base scheduler.Lending // what no setting speaks of
	most proto.Resources   // that there is
}

// lentShare is the part of the slots that one requester gets while others wait.
const lentShare = 0.5

func newMachine(n *node) machine {
	return machine{n: n, most: n.cfg.hostResources(), base: scheduler.Lending{
		Advert: proto.Advert{
			Executor: n.print.Name, Profile: n.print.Profile, Engine: n.box.Engine(), Isolation: n.print.Level.String(),
			Labels: n.cfg.Labels, Version: Version,
		},
		MaxCredit: credits(n.cfg.MaxCredit), Share: lentShare, Patience: n.cfg.Patience,
	}}
}

// Lending gives what is lent under these settings: for what they leave open, the
// default.
func (m machine) Lending(s scheduler.Settings) scheduler.Lending {
	usual := DefaultConfig().Lend
	if s.Lent.Memory == 0 {
		s.Lent.Memory = usual.Memory
	}
	if s.Lent.Disk == 0 {
		s.Lent.Disk = usual.Disk
	}
	l := s.Lending(m.base, m.most)
	l.Advert.Slots = min(l.Advert.Slots, m.n.cfg.mostSlots())
	l.Advert.Offered.Memory = min(l.Advert.Offered.Memory, m.n.print.MaxMemory*uint64(l.Advert.Slots))
	return l
}

// Host reads what the machine says of itself.
func (m machine) Host(now time.Time) scheduler.Host { return m.n.readHost(now) }

// Changed has the network told what is lent now.
func (m machine) Changed() { m.n.overlay.Readvertise() }

// hostResources is the most that this machine could lend.
func (c Config) hostResources() proto.Resources {
	disk := uint64(maxTaskDisk)
	if free := hostinfo.FreeDisk(c.Home); free.Known {
		disk = min(disk, free.Value)
	}
	return proto.Resources{CPU: uint32(runtime.NumCPU() * 1000), Memory: hostMemory(), Disk: disk}
}

// mostSlots is how many tasks at a time the sandbox is laid out for: more slots
// than that can only be lent after a restart.
func (c Config) mostSlots() int {
	return min(2*max(c.Lend.Slots, runtime.NumCPU()), proto.MaxSlots)
}

// newHost makes the reader of what the machine says of itself.
func newHost() func(now time.Time) scheduler.Host {
	var mu sync.Mutex // guards r
	r := hostinfo.New()
	return func(now time.Time) scheduler.Host {
		mu.Lock()
		defer mu.Unlock()
		f := r.Read(now)
		return scheduler.Host{
			CPUs: f.CPUs, Temperature: f.Temperature.Value, TemperatureKnown: f.Temperature.Known,
			OnBattery: f.OnBattery.Value, BatteryKnown: f.OnBattery.Known, Load: f.Load.Value, LoadKnown: f.Load.Known,
			Idle: f.UserIdle.Value, IdleKnown: f.UserIdle.Known,
		}
	}
}

// advert says what this node lends now, and how much of it is free.
func (n *node) advert() proto.Advert {
	l, s := n.provider.Lending(), n.provider.Stats()
	a := l.Advert
	a.Sequence = n.sequence.Add(1)
	if !l.Draining && len(l.Held) == 0 {
		a.FreeSlots = max(a.Slots-s.Busy-s.Queued, 0)
	}
	a.Free = a.Offered.Sub(share(a, a.Slots-a.FreeSlots))
	addrs := n.Net.Addrs()
	a.Addrs = addrs[:min(len(addrs), 8)]
	return a
}

// share is about what so many busy slots use of what is offered.
func share(a proto.Advert, busy int) proto.Resources {
	if a.Slots == 0 {
		return proto.Resources{}
	}
	part := func(v uint64) uint64 { return v / uint64(a.Slots) * uint64(busy) }
	return proto.Resources{CPU: uint32(part(uint64(a.Offered.CPU))), Memory: part(a.Offered.Memory), Disk: part(a.Offered.Disk)}
}
