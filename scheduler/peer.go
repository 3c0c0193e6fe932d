package scheduler

import (
	"slices"
	"time"

	"github.com/mustermesh/muster/proto"
)

// A peer is a candidate and what this job knows of it.
type peer struct {
	Candidate
	present     bool // in the working set now
	wrong       bool // proven so in this job: never chosen again
	unlike      bool // its engine is, in this job's program: the same
	bid         *proto.Bid
	refusal     *No
	word        *No // its refusal, if that is its signed word
	answeredBid bool
	misses      int       // declines, failures and losses since its last answer
	notBefore   time.Time // do not ask again before
	lease       *lease

	heard                   time.Time // of its latest bid or refusal
	given, answered, failed int       // executions
}

// Peers brings the working set up to date: every provider whose advert is known
// and which can be reached. A bid's word about price and engine stands above
// the advert's.
func (j *Job) Peers(cs []Candidate) {
	j.event = true
	was := make(map[proto.PeerID]bool, len(j.peers))
	for _, p := range j.peers {
		was[p.ID], p.present = p.present, false
	}
	for _, c := range cs {
		p := j.peer(c.ID)
		if p == nil {
			continue
		}
		if l := p.lease; !was[c.ID] && l != nil && !l.away.IsZero() && !l.attachAt.IsZero() {
			l.attachAt = j.now // it is back
		}
		p.Candidate, p.present = c, true
		if p.bid != nil {
			p.Engine, p.Price = p.bid.Engine, p.bid.Price
		}
	}
	if len(j.peers) > 2*len(cs)+64 {
		j.forgetAbsent()
	}
}

// forgetAbsent drops peers that are gone and of which nothing need be known.
func (j *Job) forgetAbsent() {
	j.peers = slices.DeleteFunc(j.peers, func(p *peer) bool {
		gone := !p.present && !p.shunned() && p.bid == nil && p.lease == nil && !j.now.Before(p.notBefore)
		if gone {
			delete(j.byID, p.ID)
		}
		return gone
	})
}

// Bid takes the bid of a candidate. One that asks more than the job pays is
// noted as refused.
func (j *Job) Bid(c Candidate, b proto.Bid) {
	j.event = true
	if b.Price > j.cfg.Announcement.MaxPrice {
		j.unfit(c.ID, b, No{proto.ReasonPrice, "its bid is above the job's limit"})
		return
	}
	p := j.peer(c.ID)
	if p == nil {
		return
	}
	c.Engine, c.Price, c.Ineligible = b.Engine, b.Price, nil
	if c.Offered == (proto.Resources{}) {
		c.Offered = p.Offered // a bid does not say
	}
	p.Candidate, p.bid, p.refusal, p.answeredBid, p.heard = c, &b, nil, true, j.now
	if p.misses < peerTries { // who only bids and declines waits like everybody
		p.notBefore = time.Time{}
	}
}

// unfit notes why a bid is of no use.
func (j *Job) unfit(from proto.PeerID, b proto.Bid, no No) {
	j.Refused(from, no)
	if p := j.byID[from]; p != nil {
		p.word, p.Price = nil, b.Price
	}
}

// Refused takes a provider's refusal to bid. One that is busy, with a lease of
// this job, is busy with its tasks: its bid stands.
func (j *Job) Refused(from proto.PeerID, no No) {
	j.event = true
	p := j.peer(from)
	if p == nil {
		return
	}
	p.answeredBid, p.heard = true, j.now
	if p.lease != nil && no.Reason == proto.ReasonBusy {
		return
	}
	p.refusal, p.word, p.bid = &no, &no, nil
}

// peer gives what is known of a peer, making it up if need be; nil for the
// requester itself, and where too many are known already.
func (j *Job) peer(id proto.PeerID) *peer {
	if p, ok := j.byID[id]; ok {
		return p
	}
	if id == j.cfg.Self || len(j.peers) >= maxPeers {
		return nil
	}
	p := &peer{Candidate: Candidate{ID: id}}
	// Who differed in an earlier job of this program is of no use for it, unless
	// that was for a fault of the requester's own engine.
	p.unlike = slices.Contains(j.cfg.Conflicts, id) && !slices.Contains(j.cfg.Conflicts, j.cfg.Self)
	j.byID[id] = p
	j.peers = append(j.peers, p)
	return p
}

// trusted tells whether a peer may be given anything.
func (p *peer) trusted() bool { return p.Weight > 0 && !p.shunned() }

// shunned tells whether this job has no more dealings with p.
func (p *peer) shunned() bool { return p.wrong || p.unlike }

// distrusted tells whether p was proven wrong, or unlike the others, here or
// before. Of one that was never seen in the working set, and never bid, nothing
// is known.
func (p *peer) distrusted() bool { return p.shunned() || p.Weight <= 0 && (p.present || p.bid != nil) }

// missed notes that p let the job down; the pause until it is asked again
// doubles each time, until it answers something.
func (p *peer) missed(now time.Time, base time.Duration) {
	p.notBefore = now.Add(min(base<<min(p.misses, 10), slowestBackoff))
	p.misses++
}

// A lease is slots that a peer gave to this job.
type lease struct {
	id       proto.LeaseID
	peer     *peer
	epoch    uint64
	slots    int
	accepted bool
	live     []*exec       // in flight
	answered int           // executions so far
	wall     time.Duration // smoothed, of one execution
	sign     time.Time     // of life: the last execution that began or ended
	idle     time.Time     // since when nothing is in flight
	resumed  bool          // given a task when the provider may have let it go, no sign since
	away     time.Time     // since when its stream is broken; zero: it stands
	since    time.Time     // made, or restored in this run
	back     time.Time     // when it was taken up again last
	apart    time.Duration // how long it was away before, in all
	doubted  bool          // away for so long that its executions do not count
	restored bool          // from an earlier run of this node: that it broke is not its provider's fault
	doubtAt  time.Time
	attachAt time.Time     // when to try again; zero: under way
	gap      time.Duration // until the next attempt
	first    []Assign      // tasks that ride with the award; nil once it was sent
}

// newLease makes a lease that the end of this dispatch awards.
func (j *Job) newLease(p *peer, slots int) *lease {
	j.epoch++
	return &lease{
		id: proto.LeaseID(j.randomID()), peer: p, epoch: j.epoch,
		slots: min(slots, slotsMost), sign: j.now, since: j.now, first: []Assign{},
	}
}

// depth is how many tasks may be in flight: the slots, and as many again as
// finish in [pipelineTarget], so that short tasks do not wait for the wire. Who
// has answered little is trusted with little ahead.
func (l *lease) depth() int {
	if !l.accepted {
		return min(l.slots, pipelineMost)
	}
	if l.wall <= 0 {
		return l.slots
	}
	ahead := int(float64(pipelineTarget) / float64(l.wall) * float64(l.slots))
	return l.slots + min(ahead, l.answered, max(pipelineMost-l.slots, 0))
}

// lived notes that a lease showed a sign of life.
func (l *lease) lived(now time.Time) { l.sign, l.resumed = now, false }

func (l *lease) add(now time.Time, e *exec) {
	if len(l.live) == 0 && !l.idle.IsZero() && now.Sub(l.idle) >= IdleLease/2 {
		l.resumed = true
	}
	e.lease, e.at = l, len(l.live)
	l.live = append(l.live, e)
}

func (l *lease) remove(now time.Time, e *exec) {
	last := len(l.live) - 1
	l.live[e.at] = l.live[last]
	l.live[e.at].at = e.at
	l.live[last] = nil
	l.live = l.live[:last]
	if last == 0 {
		l.idle = now
	}
}

// capacity is how many more executions p can be given now.
func (j *Job) capacity(p *peer) int {
	if !p.trusted() {
		return 0
	}
	if j.now.Before(p.notBefore) {
		j.wakeAt(p.notBefore)
		return 0
	}
	if l := p.lease; l != nil {
		if !l.accepted && l.first == nil || !l.away.IsZero() {
			return 0 // award under way, or out of touch
		}
		return l.depth() - len(l.live)
	}
	if p.bid != nil {
		return max(p.bid.Slots, 1)
	}
	return p.Free
}
