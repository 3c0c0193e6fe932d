package scheduler

import (
	"fmt"
	"slices"
	"strings"

	"github.com/mustermesh/muster/proto"
)

// waiting begins the changes that need nobody to do anything.
const waiting = "wait"

// changeFor says what of the job would have to be different for p to fit.
func (j *Job) changeFor(p *peer, w PeerWhy) string {
	switch w.reason {
	case proto.ReasonMemory, proto.ReasonDisk, proto.ReasonCPU, proto.ReasonGPU:
		if p.Offered != (proto.Resources{}) {
			return askLess(j.cfg.Announcement.Needs, p.Offered)
		}
	case proto.ReasonPrice:
		if p.Price > j.cfg.Announcement.MaxPrice {
			return fmt.Sprintf("pay up to %g credits per core-hour", float64(p.Price)/1e6)
		}
		return "pay more"
	case proto.ReasonConstraint:
		return j.loosen(w.Detail)
	case proto.ReasonCredit:
		return "do work for this provider, or ask its owner to let this node owe more"
	case proto.ReasonPolicy:
		if p.refusal != nil && (p.refusal.Detail == saysDenied || p.refusal.Detail == saysNotAllowed) {
			return "ask its owner to let this node in"
		}
		if p.refusal != nil && (p.refusal.Detail == saysProgramDenied || p.refusal.Detail == saysProgramNotAllowed) {
			return "ask its owner to allow the program"
		}
		return waiting + " until its owner's rules let it lend"
	case proto.ReasonBusy:
		return waiting + " until it has a free slot"
	case proto.ReasonDraining:
		return waiting + " until it takes work again"
	}
	return ""
}

// loosen names the constraint that a peer said it does not meet.
func (j *Job) loosen(detail string) string {
	for _, c := range j.cfg.Announcement.Constraints {
		if strings.HasSuffix(detail, fmt.Sprintf("does not meet %q", c)) {
			return "drop or loosen the constraint " + c
		}
	}
	return "drop or loosen a constraint"
}

// askLess says how much less a task would have to need to fit into what is
// offered; "" where it fits.
func askLess(needs, offered proto.Resources) string {
	var parts []string
	if needs.CPU > offered.CPU {
		parts = append(parts, countedCores(offered.CPU))
	}
	if needs.Memory > offered.Memory {
		parts = append(parts, sizeText(offered.Memory)+" of memory")
	}
	if needs.Disk > offered.Disk {
		parts = append(parts, sizeText(offered.Disk)+" of disk")
	}
	if needs.GPU > offered.GPU && offered.GPU == 0 {
		parts = append(parts, "no GPU")
	} else if needs.GPU > offered.GPU {
		parts = append(parts, countText(int(offered.GPU), "GPU"))
	}
	switch n := len(parts); n {
	case 0:
		return ""
	case 1:
		return "ask for at most " + parts[0]
	default:
		return "ask for at most " + strings.Join(parts[:n-1], ", ") + " and " + parts[n-1]
	}
}

// changes says what would let a waiting job move, the most useful first: what
// brings the most providers in, and at the end what only takes patience.
func (j *Job) changes(peers []PeerWhy) (cs []string) {
	if len(peers) == 0 {
		if j.cfg.LocalOnly {
			return nil
		}
		return []string{
			"start a provider in this mesh, on any machine: muster daemon --role provider --network NAME --bootstrap ADDR",
			"if providers run, see why this node does not reach them: muster doctor, muster peer list",
		}
	}
	if j.stuck() != "" {
		cs = append(cs, "let more providers join, distinct ones: a task is never checked by the one that ran it")
	}
	type advice struct {
		text    string
		count   int
		waiting bool
	}
	var all []advice
	for _, w := range peers {
		if w.Change == "" || w.reason == proto.ReasonPrice && w.Price > j.cfg.Announcement.MaxPrice {
			continue
		}
		i := slices.IndexFunc(all, func(a advice) bool { return a.text == w.Change })
		if i < 0 {
			i = len(all)
			all = append(all, advice{text: w.Change, waiting: strings.HasPrefix(w.Change, waiting)})
		}
		all[i].count++
	}
	if text, n := j.payMore(peers); n > 0 {
		all = append(all, advice{text: text, count: n})
	}
	slices.SortStableFunc(all, func(a, b advice) int {
		if a.waiting != b.waiting {
			if a.waiting {
				return 1
			}
			return -1
		}
		return b.count - a.count
	})
	for _, a := range all[:min(len(all), maxChanges)] {
		cs = append(cs, fmt.Sprintf("%s (%s)", a.text, countText(a.count, "provider")))
	}
	return cs
}

// maxChanges is how many changes an explanation lists.
const maxChanges = 8

// payMore says what the cheapest of those asks that are too dear, and how many
// would then do it.
func (j *Job) payMore(peers []PeerWhy) (text string, n int) {
	least := proto.Credits(0)
	for _, w := range peers {
		if w.reason != proto.ReasonPrice || w.Price <= j.cfg.Announcement.MaxPrice {
			continue
		}
		switch {
		case n == 0 || w.Price < least:
			least, n = w.Price, 1
		case w.Price == least:
			n++
		}
	}
	return fmt.Sprintf("pay up to %g credits per core-hour", float64(least)/1e6), n
}

// nearest says which provider comes closest to what a task needs, where no
// provider that is trusted lends as much of a resource.
func (j *Job) nearest() (string, bool) {
	needs := j.cfg.Announcement.Needs
	var best *peer
	bestPart, known := 0.0, 0
	for _, p := range j.peers {
		if p.distrusted() {
			continue
		}
		if p.Offered == (proto.Resources{}) || p.refusal != nil && classOf(p.refusal.Reason) != ClassRequirement {
			return "", false // it may lend as much, or that is not what keeps it
		}
		lacking, fits := needs.Fits(p.Offered)
		if fits {
			return "", false
		}
		known++
		if part := partOf(lacking, p.Offered, needs); best == nil || part > bestPart {
			best, bestPart = p, part
		}
	}
	if best == nil {
		return "", false
	}
	lacking, _ := needs.Fits(best.Offered)
	who := "the nearest of " + countText(known, "provider") + ", "
	if known == 1 {
		who = "the only provider that is known, "
	}
	return fmt.Sprintf("a task needs %s; %s%s, lends %s", amountText(lacking, needs), who, best.ID.Short(), amountText(lacking, best.Offered)), true
}

// partOf is which part of what is needed of one resource somebody has.
func partOf(resource string, has, needs proto.Resources) float64 {
	switch resource {
	case "cpu":
		return float64(has.CPU) / float64(max(needs.CPU, 1))
	case "memory":
		return float64(has.Memory) / float64(max(needs.Memory, 1))
	case "disk":
		return float64(has.Disk) / float64(max(needs.Disk, 1))
	}
	return float64(has.GPU) / float64(max(needs.GPU, 1))
}

func amountText(resource string, r proto.Resources) string {
	switch resource {
	case "cpu":
		return countedCores(r.CPU)
	case "memory":
		return sizeText(r.Memory) + " of memory"
	case "disk":
		return sizeText(r.Disk) + " of disk"
	}
	if r.GPU == 0 {
		return "no GPU"
	}
	return countText(int(r.GPU), "GPU")
}
