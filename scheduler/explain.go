package scheduler

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mustermesh/muster/proto"
)

// A Verdict says in a word what a job makes of a peer.
type Verdict string

// Verdicts, in the order in which an [Explanation] lists peers.
const (
	PeerChosen      Verdict = "chosen"      // has or had work of this job
	PeerAvailable   Verdict = "available"   // could be given some
	PeerResting     Verdict = "resting"     // failed just now, is asked again shortly
	PeerSilent      Verdict = "silent"      // has not answered the announcement
	PeerRefused     Verdict = "refused"     // said no
	PeerUnfit       Verdict = "unfit"       // cannot, by its own advert
	PeerUnreachable Verdict = "unreachable" // not there now
	PeerDistrusted  Verdict = "distrusted"  // proven wrong
)

var verdictOrder = []Verdict{PeerChosen, PeerAvailable, PeerResting, PeerSilent, PeerRefused, PeerUnfit, PeerUnreachable, PeerDistrusted}

// A Class says what kind of thing a decision hung on.
type Class string

// Classes.
const (
	ClassNone        Class = "none"
	ClassRequirement Class = "requirement" // what a task needs
	ClassPrice       Class = "price"
	ClassPolicy      Class = "policy" // of the provider
	ClassTrust       Class = "trust"
	ClassReach       Class = "reach"
	ClassBid         Class = "bid" // the draw among those that bid
	ClassCapacity    Class = "capacity"
)

func classOf(r proto.Reason) Class {
	switch r {
	case proto.ReasonExecutor, proto.ReasonCPU, proto.ReasonMemory, proto.ReasonDisk, proto.ReasonGPU, proto.ReasonConstraint:
		return ClassRequirement
	case proto.ReasonPrice:
		return ClassPrice
	case proto.ReasonPolicy, proto.ReasonCredit, proto.ReasonDraining:
		return ClassPolicy
	case proto.ReasonBusy:
		return ClassCapacity
	}
	return ClassNone
}

// A PeerWhy says why one peer was or was not chosen.
type PeerWhy struct {
	Peer                    proto.PeerID
	Verdict                 Verdict
	Class                   Class
	Detail                  string
	Change                  string // of the job, that would make the peer fit; "" where none is known
	Signed                  bool   // the detail is the peer's own signed word
	Price                   proto.Credits
	Heard                   time.Time // of its latest bid or refusal; zero: never
	Given, Answered, Failed int       // executions

	reason proto.Reason
}

// An Explanation says why a job is in its state.
type Explanation struct {
	Why      string   // one sentence
	Needs    string   // what a task needs
	Change   []string // what would have to change, the most useful first
	Peers    []PeerWhy
	Troubled []int     // tasks that failed somewhere and are not settled, or were given up
	Expires  time.Time // when the job is given up for want of progress; zero: never, or it moves
}

// maxTroubled is how many tasks in trouble an explanation names.
const maxTroubled = 50

// Explain says why the job is in its state, and of every peer that it heard of
// why it was or was not chosen.
func (j *Job) Explain(now time.Time) Explanation {
	x := Explanation{Needs: needsText(j.cfg.Announcement)}
	for _, p := range j.peers {
		x.Peers = append(x.Peers, j.peerWhy(now, p))
	}
	slices.SortStableFunc(x.Peers, func(a, b PeerWhy) int {
		return cmp.Or(cmp.Compare(slices.Index(verdictOrder, a.Verdict), slices.Index(verdictOrder, b.Verdict)), cmp.Compare(b.Given, a.Given))
	})
	for _, t := range j.tasks {
		if len(x.Troubled) < maxTroubled && (t.failures > 0 && t.settled == nil || t.settled != nil && !t.settled.Ok()) {
			x.Troubled = append(x.Troubled, t.index)
		}
	}
	waits := !j.state.Ended() && !j.moving()
	if waits && j.cfg.QueueTimeout > 0 {
		x.Expires = j.since.Add(j.cfg.QueueTimeout)
	}
	x.Why = j.sentence(now, waits)
	if waits {
		x.Change = j.changes(x.Peers)
	}
	return x
}

func (j *Job) sentence(now time.Time, waits bool) string {
	done := fmt.Sprintf("%d of %d tasks settled", j.settled, len(j.tasks))
	switch {
	case j.state.Ended() && j.reason != "":
		return fmt.Sprintf("It is %s: %s.", j.state, j.reason)
	case j.state.Ended():
		return fmt.Sprintf("It is %s: %s.", j.state, done)
	case waits:
		return fmt.Sprintf("It waits; %s: %s.", done, j.Why(now))
	}
	text := fmt.Sprintf("It runs: %s, %d executions under way", done, j.live-j.doubted)
	if j.doubted > 0 {
		text += fmt.Sprintf(", %d more on providers that are out of touch", j.doubted)
	}
	if j.fetching > 0 {
		text += fmt.Sprintf(", %d outputs on their way", j.fetching)
	}
	return text + "."
}

// peerWhy says what the job makes of one peer.
func (j *Job) peerWhy(now time.Time, p *peer) PeerWhy {
	w := PeerWhy{Peer: p.ID, Price: p.Price, Heard: p.heard, Given: p.given, Answered: p.answered, Failed: p.failed, Class: ClassNone}
	switch {
	case !p.trusted():
		w.Verdict, w.Class, w.Detail = PeerDistrusted, ClassTrust, "gave a wrong answer, proven by this node's own run"
	case p.lease != nil && !p.lease.away.IsZero():
		w.Verdict, w.Class = PeerUnreachable, ClassReach
		w.Detail = fmt.Sprintf("has %d tasks, and is out of touch since %s", len(p.lease.live), p.lease.away.Format(time.TimeOnly))
	case p.lease != nil:
		w.Verdict, w.Detail = PeerChosen, fmt.Sprintf("%d of up to %d tasks under way", len(p.lease.live), p.lease.depth())
	case p.refusal != nil:
		w.Verdict, w.Class, w.Detail, w.Signed, w.reason = PeerRefused, classOf(p.refusal.Reason), p.refusal.text(), true, p.refusal.Reason
	case p.Ineligible != nil:
		w.Verdict, w.Class, w.Detail, w.reason = PeerUnfit, classOf(p.Ineligible.Reason), p.Ineligible.text(), p.Ineligible.Reason
	case !p.present && p.bid == nil:
		w.Verdict, w.Class, w.Detail = PeerUnreachable, ClassReach, "not connected now"
	case now.Before(p.notBefore):
		w.Verdict, w.Class, w.Detail = PeerResting, ClassCapacity, fmt.Sprintf("failed or declined %d times in a row; asked again in %s", p.misses, p.notBefore.Sub(now).Round(100*time.Millisecond))
	case p.given > 0:
		w.Verdict, w.Detail = PeerChosen, fmt.Sprintf("did %d executions", p.answered)
	case p.bid == nil:
		w.Verdict, w.Class, w.Detail = PeerSilent, ClassBid, "has not answered the announcement; it may still be asked to check"
	default:
		w.Verdict, w.Class, w.Detail = PeerAvailable, ClassBid, "bid, and was not drawn so far: who wins is drawn by standing and price"
	}
	w.Change = j.changeFor(p, w)
	return w
}

func (n *No) text() string {
	if n.Detail == "" {
		return n.Reason.String()
	}
	return n.Reason.String() + ": " + n.Detail
}

// changeFor says what of the job would have to be different for p to fit.
func (j *Job) changeFor(p *peer, w PeerWhy) string {
	needs := j.cfg.Announcement.Needs
	switch w.reason {
	case proto.ReasonMemory:
		if p.Offered.Memory > 0 && p.Offered.Memory < needs.Memory {
			return fmt.Sprintf("ask for at most %s of memory", bytesText(p.Offered.Memory))
		}
	case proto.ReasonDisk:
		if p.Offered.Disk > 0 && p.Offered.Disk < needs.Disk {
			return fmt.Sprintf("ask for at most %s of disk", bytesText(p.Offered.Disk))
		}
	case proto.ReasonCPU:
		if p.Offered.CPU > 0 && p.Offered.CPU < needs.CPU {
			return fmt.Sprintf("ask for at most %g cores", float64(p.Offered.CPU)/1000)
		}
	case proto.ReasonGPU:
		return "ask for no GPU"
	case proto.ReasonPrice:
		if p.Price > j.cfg.Announcement.MaxPrice {
			return fmt.Sprintf("pay up to %g credits per core-hour", float64(p.Price)/1e6)
		}
		return "pay more"
	case proto.ReasonConstraint:
		return "drop or loosen the constraint"
	case proto.ReasonCredit:
		return "do work for this provider, or wait until it forgives"
	case proto.ReasonBusy, proto.ReasonDraining:
		return "wait"
	}
	return ""
}

// changes says what would let a waiting job move, the most useful first.
func (j *Job) changes(peers []PeerWhy) (cs []string) {
	if len(peers) == 0 {
		return []string{
			"start a provider that knows this mesh: muster daemon --role provider --network NAME --bootstrap ADDR",
			"if providers run, see whether this node reaches them: muster doctor, muster peer list",
		}
	}
	if nearest, ok := j.nearest(); ok {
		cs = append(cs, nearest)
	}
	seen := make(map[string]int)
	var order []string
	for _, w := range peers {
		if w.Change == "" || w.reason == proto.ReasonMemory || w.reason == proto.ReasonDisk || w.reason == proto.ReasonCPU {
			continue
		}
		if seen[w.Change]++; seen[w.Change] == 1 {
			order = append(order, w.Change)
		}
	}
	slices.SortStableFunc(order, func(a, b string) int { return seen[b] - seen[a] })
	for _, c := range order {
		cs = append(cs, fmt.Sprintf("%s (%s)", c, countText(seen[c], "provider")))
	}
	if why := j.stuck(); why != "" {
		cs = append(cs, "more distinct providers are needed: "+why)
	}
	return cs
}

// nearest says which provider comes closest to what a task needs, where what is
// lacking is a resource.
func (j *Job) nearest() (string, bool) {
	needs := j.cfg.Announcement.Needs
	var best *peer
	bestPart := 0.0
	for _, p := range j.peers {
		lacking, fits := needs.Fits(p.Offered)
		if fits || p.Offered == (proto.Resources{}) {
			continue
		}
		if part := partOf(lacking, p.Offered, needs); best == nil || part > bestPart {
			best, bestPart = p, part
		}
	}
	if best == nil || slices.ContainsFunc(j.peers, func(p *peer) bool { _, fits := needs.Fits(p.Offered); return fits && p.trusted() }) {
		return "", false
	}
	lacking, _ := needs.Fits(best.Offered)
	return fmt.Sprintf("ask for less %s: a task needs %s, and the nearest provider, %s, lends %s",
		lacking, amountText(lacking, needs), best.ID.Short(), amountText(lacking, best.Offered)), true
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
	return 0
}

func amountText(resource string, r proto.Resources) string {
	switch resource {
	case "cpu":
		return fmt.Sprintf("%g cores", float64(r.CPU)/1000)
	case "memory":
		return bytesText(r.Memory)
	case "disk":
		return bytesText(r.Disk)
	}
	return fmt.Sprint(r.GPU)
}

func needsText(a proto.Announcement) string {
	parts := []string{
		strings.TrimSpace(a.Executor + " " + a.Profile), fmt.Sprintf("%g cores", float64(a.Needs.CPU)/1000),
		bytesText(a.Needs.Memory) + " memory", bytesText(a.Needs.Disk) + " disk",
	}
	if a.Needs.GPU > 0 {
		parts = append(parts, fmt.Sprintf("%d GPUs", a.Needs.GPU))
	}
	parts = append(parts, fmt.Sprintf("at most %g credits per core-hour", float64(a.MaxPrice)/1e6))
	return strings.Join(append(parts, a.Constraints...), ", ")
}

func countText(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
