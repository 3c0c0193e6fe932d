package executor

import "math"

const (
	clockRealtime  = 0
	clockMonotonic = 1
	clockLast      = 3 // the CPU time of the thread; of the process is 2

	// clockEpoch is what the realtime clock shows at the start:
	// 2000-01-01T00:00:00Z in nanoseconds since 1970.
	clockEpoch = 946_684_800_000_000_000
	// clockStep is the resolution, in nanoseconds: the clock moves on by one with
	// each unit of fuel.
	clockStep = 1
)

// clock is the virtual time since the start, in nanoseconds. It is the fuel used.
func (h *host) clock() uint64 { return h.meter.used() }

// now gives what clock id shows.
func (h *host) now(id uint64) (uint64, errno) {
	switch {
	case id > clockLast:
		return 0, eInval
	case id == clockRealtime:
		return clockEpoch + h.clock(), eOK
	}
	return h.clock(), eOK
}

func (h *host) clockResGet(s []uint64) errno {
	if s[0] > clockLast {
		return eInval
	}
	h.g.put64(uint32(s[1]), clockStep)
	return eOK
}

func (h *host) clockTimeGet(s []uint64) errno {
	t, e := h.now(s[0])
	if e == 0 {
		h.g.put64(uint32(s[2]), t)
	}
	return e
}

// A subscription is one thing that poll_oneoff waits for.
type subscription struct {
	user  uint64
	tag   byte
	err   errno
	due   uint64 // for a clock: virtual time
	ready bool   // for a file
	bytes uint64 // that a file has to read
}

const (
	tagClock = iota
	tagRead
	tagWrite

	maxSubscriptions = 4096
)

// pollOneoff never waits: files are always ready, and if there are only
// clocks, the clock jumps to the earliest deadline: sleeping takes fuel as
// computing does.
func (h *host) pollOneoff(s []uint64) errno {
	in, out, n := uint32(s[0]), uint32(s[1]), uint32(s[2])
	if n == 0 || n > maxSubscriptions {
		return eInval
	}
	h.meter.spend(fuelEntry * uint64(n))
	subs, ready, first := make([]subscription, n), false, uint64(math.MaxUint64)
	for i := range subs {
		sub := h.subscription(in + uint32(i)*48)
		ready = ready || sub.ready || sub.err != 0
		if sub.tag == tagClock && sub.err == 0 {
			first = min(first, sub.due)
		}
		subs[i] = sub
	}
	if h.g.fault {
		return eFault
	}
	if !ready {
		h.meter.spend(first - min(h.clock(), first))
	}
	count := uint32(0)
	for _, sub := range subs {
		if sub.err != 0 || sub.ready || sub.tag == tagClock && sub.due <= h.clock() {
			h.putEvent(out+count*32, sub)
			count++
		}
	}
	h.g.put32(uint32(s[3]), count)
	return eOK
}

func (h *host) subscription(at uint32) subscription {
	sub := subscription{user: h.g.u64(at), tag: byte(h.g.u32(at + 8))}
	switch sub.tag {
	case tagClock:
		id, timeout, absolute := uint64(h.g.u32(at+16)), h.g.u64(at+24), h.g.u32(at+40)&1 != 0
		sub.due, sub.err = h.deadline(id, timeout, absolute)
	case tagRead, tagWrite:
		d, e := h.fd(uint64(h.g.u32(at + 16)))
		sub.ready, sub.err = e == 0, e
		if e == 0 && sub.tag == tagRead {
			sub.bytes = uint64(max(h.size(d)-d.pos, 0))
		}
	default:
		sub.err = eInval
	}
	return sub
}

// deadline gives the virtual time at which a subscription to a clock is due.
func (h *host) deadline(id, timeout uint64, absolute bool) (uint64, errno) {
	now, e := h.now(id)
	if e != 0 {
		return 0, e
	}
	if absolute {
		timeout -= min(now, timeout) // what is left
	}
	return h.clock() + min(timeout, math.MaxUint64-h.clock()), eOK
}

func (h *host) putEvent(at uint32, sub subscription) {
	h.g.put64(at, sub.user)
	h.g.put64(at+8, uint64(sub.err)|uint64(sub.tag)<<16)
	h.g.put64(at+16, sub.bytes)
	h.g.put64(at+24, 0)
}
