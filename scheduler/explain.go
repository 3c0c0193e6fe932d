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
	PeerLost        Verdict = "lost"        // has work, and is out of touch
	PeerSilent      Verdict = "silent"      // has not answered the announcement
	PeerRefused     Verdict = "refused"     // said no
	PeerUnfit       Verdict = "unfit"       // cannot, by its own advert
	PeerUnreachable Verdict = "unreachable" // not there now
	PeerDistrusted  Verdict = "distrusted"  // proven wrong
)

var verdictOrder = []Verdict{
	PeerChosen, PeerAvailable, PeerResting, PeerLost, PeerSilent, PeerRefused, PeerUnfit, PeerUnreachable, PeerDistrusted,
}

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

	reason proto.Reason // of a peer that is refused or unfit
}

// An Explanation says why a job is in its state.
type Explanation struct {
	Why      string   // one sentence
	Needs    string   // what a task needs
	Change   []string // what would have to change, the most useful first
	Peers    []PeerWhy
	Left     int       // peers that its record had no room for
	Troubled []int     // tasks that failed somewhere and are not settled, or have no good result
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
	if waits && j.live == 0 && j.cfg.QueueTimeout > 0 {
		x.Expires = j.expires()
	}
	x.Why = j.sentence(waits, x.Peers)
	if waits || j.state == Expired {
		x.Change = j.changes(x.Peers)
	}
	return x
}

func (j *Job) sentence(waits bool, peers []PeerWhy) string {
	done := fmt.Sprintf("%d of %s settled", j.settled, countText(len(j.tasks), "task"))
	switch {
	case j.state == Expired:
		return fmt.Sprintf("It expired, with %s: %s", done, j.lacks(peers))
	case j.state.Ended() && j.reason != "":
		return fmt.Sprintf("It is %s: %s.", j.state, j.reason)
	case j.state.Ended():
		return fmt.Sprintf("It is %s: %s.", j.state, done)
	case waits:
		return fmt.Sprintf("It waits, with %s: %s", done, j.lacks(peers))
	}
	text := fmt.Sprintf("It runs: %s, %s under way", done, countText(j.live-j.doubted, "execution"))
	if j.doubted > 0 {
		text += fmt.Sprintf(", %d more on providers that are out of touch", j.doubted)
	}
	if j.fetching > 0 {
		text += fmt.Sprintf(", %s on the way here", countText(j.fetching, "output"))
	}
	return text + "."
}

// lacks says exactly what a waiting job lacks.
func (j *Job) lacks(peers []PeerWhy) string {
	if j.cfg.LocalOnly {
		return "this node's own sandbox has to run it, and is busy."
	}
	if len(peers) == 0 {
		return "no provider is known."
	}
	var parts []string
	if s, ok := j.nearest(); ok {
		parts = append(parts, s)
	} else {
		parts = append(parts, fmt.Sprintf("none of %s can take a task now: %s", countText(len(peers), "known provider"), obstacles(peers)))
	}
	if why := j.stuck(); why != "" {
		parts = append(parts, why)
	}
	return strings.Join(parts, "; ") + "."
}

// maxObstacles is how many obstacles one sentence lists: strangers word some.
const maxObstacles = 8

// obstacles counts what keeps peers from taking a task, the most frequent first.
func obstacles(peers []PeerWhy) string {
	counts := make(map[string]int)
	var order []string
	for _, w := range peers {
		o := w.obstacle()
		if counts[o]++; counts[o] == 1 {
			order = append(order, o)
		}
	}
	slices.SortStableFunc(order, func(a, b string) int { return counts[b] - counts[a] })
	for i, o := range order {
		order[i] = fmt.Sprintf("%s (%d)", o, counts[o])
	}
	if more := len(order) - maxObstacles; more > 0 {
		order = append(order[:maxObstacles], "and "+countText(more, "other reason"))
	}
	return strings.Join(order, ", ")
}

func (w PeerWhy) obstacle() string {
	switch w.Verdict {
	case PeerRefused, PeerUnfit:
		if text, ok := obstacleTexts[w.reason]; ok {
			return text
		}
		return w.Detail
	case PeerLost:
		return "out of touch"
	case PeerUnreachable:
		return "not reachable"
	case PeerDistrusted:
		return "proven wrong before"
	case PeerResting:
		return "failed or declined just now"
	case PeerSilent:
		return "no answer to the announcement yet"
	}
	return "busy, or has done its part already"
}

var obstacleTexts = map[proto.Reason]string{
	proto.ReasonCPU:        "too few cores",
	proto.ReasonMemory:     "too little memory",
	proto.ReasonDisk:       "too little disk",
	proto.ReasonGPU:        "no GPU",
	proto.ReasonConstraint: "a constraint that is not met",
	proto.ReasonExecutor:   "a sandbox that cannot run it or whose results this node could not check",
	proto.ReasonPrice:      "a price above the job's limit",
	proto.ReasonPolicy:     "the owner's rules",
	proto.ReasonCredit:     "too much owed to it",
	proto.ReasonDraining:   "takes nothing new",
	proto.ReasonBusy:       "no free slot",
}

// peerWhy says what the job makes of one peer.
func (j *Job) peerWhy(now time.Time, p *peer) PeerWhy {
	w := PeerWhy{Peer: p.ID, Price: p.Price, Heard: p.heard, Given: p.given, Answered: p.answered, Failed: p.failed, Class: ClassNone}
	switch {
	case p.unlike:
		w.Verdict, w.Class, w.Detail = PeerDistrusted, ClassTrust, unlikeText
	case p.distrusted():
		w.Verdict, w.Class, w.Detail = PeerDistrusted, ClassTrust, "gave a wrong answer, proven by this node's own run"
	case p.lease != nil && !p.lease.away.IsZero():
		w.Verdict, w.Class = PeerLost, ClassReach
		w.Detail = fmt.Sprintf("has %s, and is out of touch for %s", countText(len(p.lease.live), "task"), now.Sub(p.lease.away).Round(time.Second))
	case p.lease != nil:
		w.Verdict, w.Detail = PeerChosen, fmt.Sprintf("%d of up to %s under way", len(p.lease.live), countText(p.lease.depth(), "task"))
	case p.refusal != nil:
		w.Verdict, w.Class, w.Detail, w.reason = PeerRefused, classOf(p.refusal.Reason), p.refusal.text(), p.refusal.Reason
		w.Signed = p.refusal == p.word
	case p.Ineligible != nil:
		w.Verdict, w.Class, w.Detail, w.reason = PeerUnfit, classOf(p.Ineligible.Reason), p.Ineligible.text(), p.Ineligible.Reason
	case !p.present && p.bid == nil:
		w.Verdict, w.Class, w.Detail = PeerUnreachable, ClassReach, "not connected now"
	case now.Before(p.notBefore):
		w.Verdict, w.Class = PeerResting, ClassCapacity
		w.Detail = fmt.Sprintf("failed or declined %s in a row; asked again in %s", countText(p.misses, "time"), p.notBefore.Sub(now).Round(100*time.Millisecond))
	case p.given > 0:
		w.Verdict, w.Detail = PeerChosen, "did "+countText(p.answered, "execution")
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

func needsText(a proto.Announcement) string {
	parts := []string{
		strings.TrimSpace(a.Executor + " " + a.Profile), countedCores(a.Needs.CPU),
		sizeText(a.Needs.Memory) + " of memory", sizeText(a.Needs.Disk) + " of disk",
	}
	if a.Needs.GPU > 0 {
		parts = append(parts, countText(int(a.Needs.GPU), "GPU"))
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

func countedCores(milli uint32) string {
	if milli == 1000 {
		return "1 core"
	}
	return fmt.Sprintf("%g cores", float64(milli)/1000)
}

// sizeText gives bytes as people say them: exactly where that is short, else to
// two digits after the point.
func sizeText(n uint64) string {
	for i, unit := range []string{"TiB", "GiB", "MiB", "KiB"} {
		size := uint64(1) << (40 - 10*i)
		if n >= size {
			return strings.TrimSuffix(strings.TrimRight(fmt.Sprintf("%.2f", float64(n)/float64(size)), "0"), ".") + " " + unit
		}
	}
	return fmt.Sprintf("%d bytes", n)
}
