package scheduler

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/mustermesh/muster/proto"
)

// A mesh is a requester's job and its providers in virtual time: one heap of
// events, one source of randomness, no goroutine. It does what the job's
// actions say, and books what it saw.
type mesh struct {
	r         *rand.Rand
	start     time.Time
	now       time.Time
	events    events
	seq       int
	job       *Job
	cfg       JobConfig
	providers []*provider
	byID      map[proto.PeerID]*provider
	perEngine bool // the program's output depends on the engine

	localWall time.Duration
	localFail func() (proto.Reason, bool)
	wake      time.Time
	steps     int
	handled   int
	check     func(Actions) // after every step
	stop      bool          // the check found a fault

	execs    map[proto.ExecutionID]ran // what was asked for
	opened   map[proto.LeaseID]bool    // leases that are not over
	settled  map[int]int
	wrong    map[proto.PeerID]bool
	evidence map[EvidenceKind]int
	states   []Transition
	announce int
}

// ran is one execution that the job asked for.
type ran struct {
	task  int
	peer  proto.PeerID
	lease proto.LeaseID
	local bool
	over  bool
}

type timed struct {
	at  time.Time
	seq int
	do  func()
}

type events []timed

func (e events) Len() int      { return len(e) }
func (e events) Swap(a, b int) { e[a], e[b] = e[b], e[a] }
func (e events) Less(a, b int) bool {
	if e[a].at.Equal(e[b].at) {
		return e[a].seq < e[b].seq
	}
	return e[a].at.Before(e[b].at)
}
func (e *events) Push(x any) { *e = append(*e, x.(timed)) }
func (e *events) Pop() any {
	last := (*e)[len(*e)-1]
	*e = (*e)[:len(*e)-1]
	return last
}

var meshStart = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

var engine1 = proto.Engine{Name: "e", Version: "1", Arch: "amd64"}
var engine2 = proto.Engine{Name: "e", Version: "2", Arch: "amd64"}

func newMesh(r *rand.Rand, cfg JobConfig) *mesh {
	m := &mesh{
		r: r, start: meshStart, now: meshStart, cfg: cfg, byID: make(map[proto.PeerID]*provider), localWall: 5 * time.Millisecond,
		execs: make(map[proto.ExecutionID]ran), opened: make(map[proto.LeaseID]bool), settled: make(map[int]int),
		wrong: make(map[proto.PeerID]bool), evidence: make(map[EvidenceKind]int),
		localFail: func() (proto.Reason, bool) { return 0, false }, check: func(Actions) {},
	}
	m.cfg.Rand = r
	m.cfg.Self = proto.PeerID{255}
	m.cfg.Announcement.Executor, m.cfg.Announcement.Profile = "wasm", "p"
	m.cfg.Announcement.Tasks = max(cfg.Tasks, 1)
	m.job = NewJob(m.now, m.cfg)
	return m
}

func (m *mesh) after(d time.Duration, do func()) {
	m.seq++
	heap.Push(&m.events, timed{m.now.Add(d), m.seq, do})
}

// run goes on until the job ends, nothing is left to happen, or the virtual
// time is over; it tells whether the job ended.
func (m *mesh) run(limit time.Duration) bool {
	m.refresh()
	m.step()
	for len(m.events) > 0 && !m.ended() && !m.stop && m.now.Sub(m.start) < limit {
		e := heap.Pop(&m.events).(timed)
		m.now = e.at
		m.handled++
		e.do()
		m.step()
	}
	return m.ended()
}

func (m *mesh) ended() bool {
	s, _ := m.job.State()
	return s.Ended()
}

func (m *mesh) step() {
	m.steps++
	out := m.job.Step(m.now)
	m.book(out)
	for _, o := range out.Open {
		m.byID[o.Peer].awarded(o)
	}
	for _, a := range out.Assign {
		m.byID[m.execs[a.Execution].peer].assigned(a)
	}
	for _, l := range out.Local {
		m.runLocal(l)
	}
	for _, f := range out.Fetch {
		m.byID[f.Peer].fetched(f)
	}
	for _, c := range out.Cancel {
		if !c.Local {
			m.byID[m.execs[c.Execution].peer].cancelled(c)
		}
	}
	for _, id := range out.Close {
		m.closed(id)
	}
	if out.Announce != 0 {
		m.announce++
		for _, p := range m.providers {
			p.heard()
		}
	}
	m.check(out)
	if !out.Wake.IsZero() && !out.Wake.Equal(m.wake) {
		m.wake = out.Wake
		m.after(max(out.Wake.Sub(m.now), 0), func() {})
	}
}

// book notes what a step asked for.
func (m *mesh) book(out Actions) {
	for _, e := range out.Evidence {
		m.evidence[e.Kind]++
		if e.Kind == EvidenceWrong {
			m.wrong[e.Peer] = true
		}
	}
	for _, t := range out.Settled {
		m.settled[t]++
	}
	m.states = append(m.states, out.States...)
	leases := make(map[proto.LeaseID]proto.PeerID)
	for _, o := range out.Open {
		leases[o.Lease] = o.Peer
		m.opened[o.Lease] = true
		for _, a := range o.Tasks {
			m.execs[a.Execution] = ran{task: a.Task, peer: o.Peer, lease: o.Lease}
		}
	}
	for _, a := range out.Assign {
		m.execs[a.Execution] = ran{task: a.Task, peer: m.holder(a.Lease), lease: a.Lease}
	}
	for _, l := range out.Local {
		m.execs[l.Execution] = ran{task: l.Task, local: true}
	}
}

func (m *mesh) holder(id proto.LeaseID) proto.PeerID {
	for _, p := range m.providers {
		if _, ok := p.leases[id]; ok {
			return p.id
		}
	}
	panic(fmt.Sprintf("a task for lease %s, which nobody holds", id))
}

func (m *mesh) closed(id proto.LeaseID) {
	delete(m.opened, id)
	for _, p := range m.providers {
		if l, ok := p.leases[id]; ok {
			m.after(p.latency, func() { p.end(l) })
		}
	}
}

// refresh tells the job who is there, now and again.
func (m *mesh) refresh() {
	var cs []Candidate
	for _, p := range m.providers {
		if p.up && !p.unseen {
			cs = append(cs, p.candidate())
		}
	}
	m.job.Peers(cs)
}

func (m *mesh) runLocal(l RunLocal) {
	m.after(m.localWall, func() {
		if reason, fails := m.localFail(); fails {
			m.job.ExecutionFailed(m.now, l.Execution, reason, "")
			return
		}
		m.job.Answered(m.now, l.Execution, m.right(l.Task, engine1))
	})
}

// right is what a task gives.
func (m *mesh) right(task int, e proto.Engine) Outcome {
	text := fmt.Sprint("right ", task)
	if m.perEngine {
		text += e.Version
	}
	return Outcome{Output: proto.RawCID([]byte(text)), Engine: e, Result: proto.OutcomeExited, Wall: m.localWall}
}

func (m *mesh) isRight(task int, o Outcome) bool {
	return o.result() == m.right(task, engine1).result() || o.result() == m.right(task, engine2).result()
}

// A behaviour is how a provider treats its tasks.
type behaviour string

const (
	honest     behaviour = "honest"
	slow       behaviour = "slow"
	liar       behaviour = "liar"        // all liars tell the same lie
	exitLiar   behaviour = "exit liar"   // right output, another exit code
	engineLiar behaviour = "engine liar" // a lie under another engine's name
	hollowLiar behaviour = "hollow liar" // a lie whose output cannot be fetched
	vanisher   behaviour = "vanisher"    // its stream dies while it has tasks
	mute       behaviour = "mute"        // keeps its stream alive and does nothing
	decliner   behaviour = "decliner"    // bids, and takes no award
	refuser    behaviour = "refuser"     // takes the award, refuses the tasks
	crasher    behaviour = "crasher"
	exhausted  behaviour = "exhausted"  // every task times out
	pretender  behaviour = "pretender"  // says so at once
	withholder behaviour = "withholder" // its outputs cannot be fetched
	flaky      behaviour = "flaky"      // honest, and fails every other task in some way
)

func (b behaviour) lies() bool {
	return b == liar || b == exitLiar || b == engineLiar || b == hollowLiar
}

type provider struct {
	m       *mesh
	id      proto.PeerID
	does    behaviour
	up      bool
	unseen  bool // not in the working set
	latency time.Duration
	wall    time.Duration
	engine  proto.Engine
	group   string
	weight  float64
	book    *Book
	leases  map[proto.LeaseID]*lentLease
	gone    map[proto.ExecutionID]bool
	reheard bool // to bid when a slot is free
}

// lentLease is the provider's end of a lease.
type lentLease struct {
	id   proto.LeaseID
	dead bool // nothing travels any more
	over bool
}

func (m *mesh) add(does behaviour, slots int, price proto.Credits) *provider {
	n := len(m.providers) + 1
	p := &provider{
		m: m, id: proto.PeerID{byte(n), byte(n >> 8), 1}, does: does, up: true, latency: time.Millisecond, wall: 3 * time.Millisecond,
		engine: engine1, weight: 1, leases: make(map[proto.LeaseID]*lentLease), gone: make(map[proto.ExecutionID]bool),
	}
	p.book = NewBook(Lending{Share: 0.5, Advert: proto.Advert{Executor: "wasm", Profile: "p", Slots: slots, Price: price, Engine: p.engine}})
	m.providers = append(m.providers, p)
	m.byID[p.id] = p
	return p
}

func (p *provider) candidate() Candidate {
	adv := p.book.Lending().Advert
	c := Candidate{ID: p.id, Weight: p.weight, Group: p.group, Free: adv.Slots - p.book.Busy(), Price: adv.Price, Engine: p.engine}
	if no, ok := Eligible(adv, p.m.cfg.Announcement); !ok {
		c.Ineligible = no
	}
	return c
}

func (p *provider) heard() {
	if p.up {
		p.m.after(p.latency, p.consider)
	}
}

func (p *provider) consider() {
	l := p.book.Lending()
	l.Advert.Engine = p.engine
	bid, no := Offer(l, p.book.BusyFor(p.m.cfg.Self), p.m.cfg.Announcement, Client{ID: p.m.cfg.Self})
	p.reheard = no != nil && no.Reason == proto.ReasonBusy
	p.m.after(p.latency, func() {
		if no != nil {
			p.m.job.Refused(p.id, *no)
		} else {
			p.m.job.Bid(p.candidate(), bid)
		}
	})
}

// lost tells the requester in a while that a lease's stream is dead.
func (p *provider) lost(l *lentLease, in time.Duration) {
	if l.dead {
		return
	}
	l.dead = true
	p.end(l)
	p.m.after(in, func() {
		delete(p.m.opened, l.id)
		p.over(l.id)
		p.m.job.LeaseLost(p.m.now, p.id, l.id, "stream reset")
	})
}

// over notes that nothing of a lease runs any more.
func (p *provider) over(id proto.LeaseID) {
	for e, r := range p.m.execs {
		if r.lease == id {
			r.over = true
			p.m.execs[e] = r
		}
	}
}

func (p *provider) awarded(o OpenLease) {
	l := &lentLease{id: o.Lease}
	p.leases[o.Lease] = l
	if !p.up {
		p.lost(l, p.latency)
		return
	}
	p.m.after(p.latency, func() {
		no := p.book.Award(p.m.now, Client{ID: p.m.cfg.Self}, proto.Award{
			Lease: o.Lease, Epoch: o.Epoch, Slots: o.Slots, Price: o.Price, Program: proto.Program{Executor: "wasm", Profile: "p"},
		})
		if p.does == decliner {
			no = &No{proto.ReasonBusy, "no longer free"}
		}
		if no != nil {
			l.over = true
			p.book.End(o.Lease)
			p.m.after(p.latency, func() {
				delete(p.m.opened, o.Lease)
				p.over(o.Lease)
				p.m.job.LeaseDeclined(p.m.now, p.id, o.Lease, *no)
			})
			return
		}
		p.reply(l, func() { p.m.job.LeaseAccepted(p.id, o.Lease) })
		for _, a := range o.Tasks {
			p.enqueue(l, a)
		}
		p.sweep(l)
	})
}

// reply delivers a message on a lease's stream, unless the stream is dead.
func (p *provider) reply(l *lentLease, do func()) {
	p.m.after(p.latency, func() {
		if !l.dead && p.m.opened[l.id] {
			do()
		}
	})
}

func (p *provider) sweep(l *lentLease) {
	p.m.after(IdleLease/4, func() {
		if l.over {
			return
		}
		if slices.Contains(p.book.Sweep(p.m.now).Idle, l.id) {
			p.lost(l, p.latency)
			return
		}
		p.sweep(l)
	})
}

func (p *provider) assigned(a Assign) {
	l := p.leases[a.Lease]
	p.m.after(p.latency, func() {
		if !l.over {
			p.enqueue(l, a)
		}
	})
}

func (p *provider) enqueue(l *lentLease, a Assign) {
	if p.gone[a.Execution] {
		return
	}
	no := p.book.Enqueue(l.id, proto.Assignment{Execution: a.Execution, Task: proto.Task{Index: a.Task}})
	if p.does == refuser {
		p.book.Cancel(p.m.now, l.id, a.Execution)
		no = &No{proto.ReasonBusy, "not now"}
	}
	if no != nil {
		p.reply(l, func() { p.fail(a.Execution, no.Reason) })
		return
	}
	p.next()
}

func (p *provider) fail(e proto.ExecutionID, why proto.Reason) {
	p.m.done(e)
	p.m.job.ExecutionFailed(p.m.now, e, why, "")
}

func (m *mesh) done(e proto.ExecutionID) {
	r := m.execs[e]
	r.over = true
	m.execs[e] = r
}

func (p *provider) next() {
	for _, q := range p.book.Next() {
		p.start(q)
	}
}

func (p *provider) start(q Queued) {
	l, e := p.leases[q.Lease], q.Assignment.Execution
	if p.does == mute {
		return
	}
	p.reply(l, func() { p.m.job.Started(p.m.now, e) })
	wall := p.wall
	if p.does == exhausted {
		wall = p.m.cfg.Timeout
	}
	if p.does == vanisher && p.m.r.IntN(3) == 0 {
		p.m.after(wall/2, func() { p.lost(l, time.Duration(p.m.r.IntN(15))*time.Second) })
	}
	p.m.after(wall, func() {
		p.book.Done(p.m.now, q.Lease, e, Result{})
		if !l.over && !p.gone[e] {
			p.reply(l, func() { p.finish(e, q.Assignment.Task.Index) })
		}
		p.next()
		if p.reheard {
			p.consider()
		}
	})
}

// finish is what the requester hears of an execution that came to its end.
func (p *provider) finish(e proto.ExecutionID, task int) {
	does := p.does
	if does == flaky && p.m.r.IntN(2) == 0 {
		does = []behaviour{crasher, pretender, withholder, refuser}[p.m.r.IntN(4)]
	}
	switch does {
	case crasher:
		p.fail(e, proto.ReasonKilled)
		return
	case exhausted, pretender:
		p.fail(e, proto.ReasonTimeout)
		return
	case refuser:
		p.fail(e, proto.ReasonBusy)
		return
	}
	o := p.m.right(task, p.engine)
	o.Wall = p.wall
	switch does {
	case liar, hollowLiar:
		o.Output = proto.RawCID([]byte(fmt.Sprint("lie ", task)))
	case exitLiar:
		o.ExitCode = 7
	case engineLiar:
		o.Output = proto.RawCID([]byte(fmt.Sprint("lie ", task)))
		o.Engine.Version = "9"
	}
	p.m.done(e)
	if p.m.job.Answered(p.m.now, e, o) && p.m.r.IntN(2) == 0 && does != withholder && does != hollowLiar {
		p.m.job.Held(p.m.now, task, o.Output) // small outputs ride with the answer
	}
}

func (p *provider) fetched(f Fetch) {
	p.m.after(2*p.latency, func() {
		if !p.up || p.does == withholder || p.does == hollowLiar || p.does == flaky && p.m.r.IntN(3) == 0 {
			p.m.job.FetchFailed(p.m.now, f.Execution, "not found")
			return
		}
		p.m.job.Held(p.m.now, f.Task, f.Output)
	})
}

func (p *provider) cancelled(c Cancel) {
	p.m.done(c.Execution)
	p.m.after(p.latency, func() {
		p.gone[c.Execution] = true
		p.book.Cancel(p.m.now, c.Lease, c.Execution)
		p.next()
	})
}

func (p *provider) end(l *lentLease) {
	l.over = true
	p.book.End(l.id)
	p.next()
}

// leave takes the provider off the mesh; its streams break.
func (p *provider) leave() {
	p.up = false
	for _, l := range p.leases {
		if !l.over {
			p.lost(l, 2*p.latency)
		}
	}
	p.m.refresh()
}

func (p *provider) join() {
	p.up = true
	p.m.refresh()
	p.heard()
}
