package scheduler

import (
	"fmt"
	"slices"
	"sort"
	"time"

	"github.com/mustermesh/muster/proto"
)

// Lending is what a provider decided to lend, and to whom.
type Lending struct {
	Advert    proto.Advert // executor, engine, offered resources, slots, price, labels
	MaxCredit proto.Credits
	Allow     []proto.PeerID // empty: everybody
	Deny      []proto.PeerID
	Share     float64 // of the slots, for one requester while others wait; over 0 to 1, else 1
	Draining  bool
	Patience  time.Duration // how long at most a silent requester's tasks go on, and its results are kept

	AllowPrograms []NamedProgram // empty: every program
	DenyPrograms  []NamedProgram
	Held          []Hold          // by the owner's rules, see [Gate]; while there is one, nothing new is taken
	Host          proto.Resources // the most that the machine could lend; a zero field: not known
}

// A Client is what a provider knows of a requester when it decides.
type Client struct {
	ID      proto.PeerID
	Balance proto.Credits // owed to us
	Cached  bool          // its program is here already
}

// A No is a refusal. Its detail is for strangers: it says what a requester can
// act upon, and nothing of the owner's habits. What the owner reads is in
// [Hold] and [No.Change].
type No struct {
	Reason proto.Reason
	Detail string
}

// Offer decides whether an announcement gets a bid, and for how many slots;
// busy is how many are taken, see [Book.BusyFor].
func Offer(l Lending, busy int, a proto.Announcement, c Client) (proto.Bid, *No) {
	if no := l.admits(c); no != nil {
		return proto.Bid{}, no
	}
	if no := l.canRun(a); no != nil {
		return proto.Bid{}, no
	}
	free := min(l.Advert.Slots-busy, fitting(a.Needs, l.Advert.Offered, l.Advert.Slots))
	if free < 1 {
		return proto.Bid{}, &No{proto.ReasonBusy, fmt.Sprintf("all %d slots are taken", l.Advert.Slots)}
	}
	return proto.Bid{
		Job: a.Job, Price: l.Advert.Price, Slots: min(free, a.Tasks*maxCopies),
		ProgramCached: c.Cached, Engine: l.Advert.Engine,
	}, nil
}

// fitting is how many tasks with such needs fit into what is lent at a time, at
// most so many.
func fitting(needs, lent proto.Resources, most int) int {
	return sort.Search(most, func(n int) bool {
		_, ok := needs.Times(n + 1).Fits(lent)
		return !ok
	})
}

func (l Lending) admits(c Client) *No {
	if l.Draining {
		return l.closed()
	}
	switch {
	case slices.Contains(l.Deny, c.ID):
		return &No{proto.ReasonPolicy, saysDenied}
	case len(l.Allow) > 0 && !slices.Contains(l.Allow, c.ID):
		return &No{proto.ReasonPolicy, saysNotAllowed}
	case l.MaxCredit > 0 && c.Balance >= l.MaxCredit:
		return &No{proto.ReasonCredit, fmt.Sprintf("the requester owes %.3f credits; the limit is %.3f", float64(c.Balance)/1e6, float64(l.MaxCredit)/1e6)}
	}
	return l.closed()
}

// closed says why nothing at all is taken; nil: it is.
func (l Lending) closed() *No {
	switch {
	case l.Draining:
		return &No{proto.ReasonDraining, "the node finishes what it has and takes nothing new"}
	case len(l.Held) > 0:
		return &No{proto.ReasonPolicy, saysHeld}
	}
	return nil
}

// What strangers read of an owner's policy. Which rule holds back, and until
// when, would tell when somebody is at home.
const (
	saysDenied            = "the requester is on the provider's deny list"
	saysNotAllowed        = "the requester is not on the provider's allow list"
	saysHeld              = "the provider lends nothing at present, by its owner's rules"
	saysProgramDenied     = "the provider's owner does not run this program"
	saysProgramNotAllowed = "the provider's owner runs chosen programs alone, and not this one"
)

func (l Lending) canRun(a proto.Announcement) *No {
	adv := l.Advert
	switch {
	case hasProgram(l.DenyPrograms, a.Program):
		return &No{proto.ReasonPolicy, saysProgramDenied}
	case len(l.AllowPrograms) > 0 && !hasProgram(l.AllowPrograms, a.Program):
		return &No{proto.ReasonPolicy, saysProgramNotAllowed}
	}
	if a.Executor != adv.Executor || a.Profile != adv.Profile {
		return &No{proto.ReasonExecutor, fmt.Sprintf("offers %s %s, not %s %s", adv.Executor, adv.Profile, a.Executor, a.Profile)}
	}
	if lacking, ok := a.Needs.Fits(adv.Offered); !ok {
		return &No{reasonFor(lacking), fmt.Sprintf("a task needs more %s than is lent", lacking)}
	}
	if adv.Price > a.MaxPrice {
		return &No{proto.ReasonPrice, fmt.Sprintf("asks %.3f credits per core-hour; the job pays up to %.3f", float64(adv.Price)/1e6, float64(a.MaxPrice)/1e6)}
	}
	for _, text := range a.Constraints {
		c, err := ParseConstraint(text)
		if err != nil || !c.Holds(Facts{adv}) {
			return &No{proto.ReasonConstraint, fmt.Sprintf("does not meet %q", text)}
		}
	}
	return nil
}

func reasonFor(resource string) proto.Reason {
	switch resource {
	case "cpu":
		return proto.ReasonCPU
	case "memory":
		return proto.ReasonMemory
	case "disk":
		return proto.ReasonDisk
	default:
		return proto.ReasonGPU
	}
}

// Eligible tells whether a provider with this advert could run a job's tasks,
// by its own word; where not, why.
func Eligible(adv proto.Advert, a proto.Announcement) (*No, bool) {
	no := Lending{Advert: adv}.canRun(a)
	return no, no == nil
}

// maxCopies is how many executions of one task a requester could want: one and
// five checkers.
const maxCopies = 6
