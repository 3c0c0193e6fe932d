package scheduler

import (
	"fmt"
	"slices"
	"sort"

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
}

// A Client is what a provider knows of a requester when it decides.
type Client struct {
	ID      proto.PeerID
	Balance proto.Credits // owed to us
	Cached  bool          // its program is here already
}

// A No is a refusal with what a person should read.
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
	switch {
	case l.Draining:
		return &No{proto.ReasonDraining, "the node finishes what it has and takes nothing new"}
	case slices.Contains(l.Deny, c.ID):
		return &No{proto.ReasonPolicy, "the requester is on the provider's deny list"}
	case len(l.Allow) > 0 && !slices.Contains(l.Allow, c.ID):
		return &No{proto.ReasonPolicy, "the requester is not on the provider's allow list"}
	case l.MaxCredit > 0 && c.Balance >= l.MaxCredit:
		return &No{proto.ReasonCredit, fmt.Sprintf("the requester owes %.3f credits; the limit is %.3f", float64(c.Balance)/1e6, float64(l.MaxCredit)/1e6)}
	}
	return nil
}

func (l Lending) canRun(a proto.Announcement) *No {
	adv := l.Advert
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
