package scheduler

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/mustermesh/muster/proto"
)

// A tally is what many runs gave.
type tally struct {
	ends      map[State]int
	verified  int
	accepted  int
	colluded  int // settled wrong: everybody that was drawn lied
	evidence  map[EvidenceKind]int
	ownRuns   int
	stepsMost int
}

var meshKinds = []behaviour{
	honest, slow, liar, exitLiar, engineLiar, hollowLiar, vanisher, mute, decliner, refuser, crasher, exhausted, pretender, withholder, flaky,
}

// randomMesh makes a mesh of a few to ten providers, about half of them honest,
// in one of many conditions.
func randomMesh(seed uint64) *mesh {
	r := rand.New(rand.NewPCG(seed, 1))
	cfg := JobConfig{
		Tasks: 1 + r.IntN(30), Checkers: r.IntN(4), LocalSlots: r.IntN(3), Timeout: time.Second, QueueTimeout: 5 * time.Minute,
	}
	cfg.Announcement.MaxPrice = 100
	if r.IntN(2) == 0 {
		cfg.StandIn = meshStart.Add(time.Duration(r.IntN(3000)) * time.Millisecond)
	}
	m := newMesh(r, cfg)
	if r.IntN(8) == 0 {
		m.localFail = func() (proto.Reason, bool) {
			return []proto.Reason{proto.ReasonBusy, proto.ReasonKilled}[m.r.IntN(2)], m.r.IntN(2) == 0
		}
	}
	for range 1 + r.IntN(10) {
		m.addRandom()
	}
	if r.IntN(6) == 0 {
		m.mixEngines()
	}
	m.adverts()
	return m
}

func (m *mesh) addRandom() {
	does := honest
	if m.r.IntN(2) == 0 {
		does = meshKinds[m.r.IntN(len(meshKinds))]
	}
	p := m.add(does, 1+m.r.IntN(4), proto.Credits(m.r.IntN(110)))
	p.latency = time.Duration(1+m.r.IntN(50)) * time.Millisecond
	p.wall = time.Duration(1+m.r.IntN(20)) * time.Millisecond
	if does == slow {
		p.wall = time.Duration(500+m.r.IntN(500)) * time.Millisecond
	}
	if m.r.IntN(3) == 0 {
		p.group = fmt.Sprint("g", m.r.IntN(3))
	}
	if m.r.IntN(4) == 0 { // joins late
		p.up = false
		m.after(time.Duration(m.r.IntN(10000))*time.Millisecond, p.join)
	}
	if m.r.IntN(4) == 0 { // leaves
		m.after(time.Duration(m.r.IntN(2000))*time.Millisecond, p.leave)
		if m.r.IntN(2) == 0 { // and comes again
			m.after(time.Duration(2000+m.r.IntN(10000))*time.Millisecond, p.join)
		}
	}
	p.unseen = m.r.IntN(10) == 0 // bids though its advert is not known
}

func (m *mesh) mixEngines() {
	m.perEngine = m.r.IntN(2) == 0
	for _, p := range m.providers {
		switch {
		case m.r.IntN(2) == 0:
			p.engine = engine2
		case p.does.lies():
			p.engine = proto.Engine{Name: "evil", Version: "1", Arch: "amd64"} // so that only liars can check liars
		}
	}
}

// adverts refreshes the working set now and again, and breaks a lease at times.
func (m *mesh) adverts() {
	m.after(3*time.Second, func() {
		m.refresh()
		if p := m.providers[m.r.IntN(len(m.providers))]; m.r.IntN(3) == 0 {
			for _, l := range p.leases {
				if !l.over {
					p.lost(l, 0)
					break
				}
			}
		}
		m.adverts()
	})
}

func TestAnyMeshKeepsTheInvariants(t *testing.T) {
	seeds := 3000
	if testing.Short() {
		seeds = 300
	}
	sum := tally{ends: make(map[State]int), evidence: make(map[EvidenceKind]int)}
	for seed := range seeds {
		m := randomMesh(uint64(seed))
		k := newKeeper(m)
		if !m.run(time.Hour) && len(k.faults) == 0 {
			k.fault("the job never ended: %s; %s", m.job, m.job.Why(m.now))
		}
		if len(k.faults) == 0 {
			k.end(&sum)
		}
		if len(k.faults) > 0 {
			t.Fatalf("seed %d, at %s: %v", seed, m.now.Sub(m.start), k.faults)
		}
	}
	t.Logf("%d meshes ended: %v; %d tasks verified, %d accepted, %d settled wrong; own runs %d; evidence %v; most steps %d",
		seeds, sum.ends, sum.verified, sum.accepted, sum.colluded, sum.ownRuns, sum.evidence, sum.stepsMost)
	for _, s := range []State{Completed, Failed, Disputed, Expired} {
		if sum.ends[s] == 0 {
			t.Errorf("no mesh ended %s: the mix does not try that", s)
		}
	}
	for _, k := range []EvidenceKind{EvidenceChecked, EvidenceUnchecked, EvidenceWrong, EvidenceFailed, EvidenceLost} {
		if sum.evidence[k] == 0 {
			t.Errorf("no evidence %q: the mix does not try that", k)
		}
	}
}

func TestOneSeedGivesOneRun(t *testing.T) {
	trace := func(seed uint64) (s string) {
		m := randomMesh(seed)
		m.check = func(out Actions) {
			s += fmt.Sprintln(m.now.Sub(m.start), out.Settled, len(out.Assign), len(out.Open), out.States)
		}
		m.run(time.Hour)
		return s
	}
	for seed := range uint64(20) {
		if a, b := trace(seed), trace(seed); a != b {
			t.Fatalf("seed %d: two runs differ", seed)
		}
	}
}

// A keeper looks after every step whether the invariants hold.
type keeper struct {
	m      *mesh
	faults []string
}

func newKeeper(m *mesh) *keeper {
	k := &keeper{m: m}
	m.check = k.step
	return k
}

func (k *keeper) fault(format string, args ...any) {
	k.m.stop = true
	if len(k.faults) < 5 {
		k.faults = append(k.faults, fmt.Sprintf(format, args...))
	}
}

func (k *keeper) step(out Actions) {
	j := k.m.job
	for task, n := range k.m.settled {
		if n != 1 {
			k.fault("task %d was settled %d times", task, n)
		}
	}
	for _, i := range out.Changed {
		k.task(j.Task(i))
	}
	for _, e := range out.Evidence {
		if p := k.m.byID[e.Peer]; e.Kind == EvidenceWrong && !p.does.lies() {
			k.fault("%s, who is %s, was blamed", e.Peer.Short(), p.does)
		}
	}
	k.chosen(out)
	k.leases(out)
	if !out.Wake.IsZero() && !out.Wake.After(k.m.now) {
		k.fault("to be woken at %s, it is %s", out.Wake, k.m.now)
	}
	if out.Wake.IsZero() && !k.m.ended() && len(k.m.events) == 0 {
		k.fault("nothing goes on, and nobody is to wake it")
	}
	if k.m.steps > 1000+20*k.m.handled+200*int(k.m.now.Sub(k.m.start)/time.Second) || k.m.handled > 200_000 {
		k.fault("busy loop: %d steps, %d events in %s", k.m.steps, k.m.handled, k.m.now.Sub(k.m.start))
	}
}

// task looks whether distinct peers run one task.
func (k *keeper) task(v TaskView) {
	peers, groups := make(map[proto.PeerID]bool), make(map[string]bool)
	for _, e := range v.Executions {
		if e.State != ExecAssigned && e.State != ExecRunning && e.State != ExecAnswered || e.Peer == k.m.cfg.Self {
			continue
		}
		p := k.m.byID[e.Peer]
		if peers[e.Peer] || p.group != "" && groups[p.group] {
			k.fault("task %d: %s or its group %q twice", v.Index, e.Peer.Short(), p.group)
		}
		peers[e.Peer], groups[p.group] = true, true
	}
	if len(v.Executions) > 24+6+3*len(k.m.providers) {
		k.fault("task %d keeps %d executions", v.Index, len(v.Executions))
	}
	if s := v.Settlement; s != nil {
		k.settlement(v, *s)
	}
}

func (k *keeper) settlement(v TaskView, s Settlement) {
	agreeing, own := make(map[proto.PeerID]bool), false
	for _, e := range v.Executions {
		if e.State == ExecAnswered && e.Outcome.result() == s.Outcome.result() {
			if e.Peer == k.m.cfg.Self {
				own = true
			} else {
				agreeing[e.Peer] = true
			}
		}
	}
	switch s.State {
	case TaskVerified:
		if !own && len(agreeing) < 2 {
			k.fault("task %d is verified by %d peers, own %t", v.Index, len(agreeing), own)
		}
		if s.Own != own || !own && s.Checkers > len(agreeing)-1 {
			k.fault("task %d says own %t and %d checkers; it was %t and %d", v.Index, s.Own, s.Checkers, own, len(agreeing)-1)
		}
	case TaskAccepted:
		if k.m.cfg.Checkers > 0 || len(agreeing) != 1 {
			k.fault("task %d was accepted without %d checkers", v.Index, k.m.cfg.Checkers)
		}
	}
	if s.State == TaskVerified && s.Checkers < k.m.cfg.Checkers && !s.Own {
		k.fault("task %d has %d of %d checkers", v.Index, s.Checkers, k.m.cfg.Checkers)
	}
	if (s.State == TaskVerified || s.State == TaskAccepted) && !k.m.isRight(v.Index, s.Outcome) {
		if own {
			k.fault("task %d: the requester ran it, and has a wrong result", v.Index)
		}
		for id := range agreeing {
			if !k.m.byID[id].does.lies() {
				k.fault("task %d is wrong, and %s was among the agreeing", v.Index, k.m.byID[id].does)
			}
		}
	}
}

// chosen looks at who was given something new.
func (k *keeper) chosen(out Actions) {
	wrong := make(map[proto.PeerID]bool)
	for id := range k.m.wrong {
		wrong[id] = true
	}
	give := func(id proto.ExecutionID) {
		e := k.m.execs[id]
		if wrong[e.peer] {
			k.fault("%s was proven wrong, and chosen again", e.peer.Short())
		}
		if price := k.m.byID[e.peer].book.Lending().Advert.Price; price > k.m.cfg.Announcement.MaxPrice {
			k.fault("%s asks %d, and was chosen", e.peer.Short(), price)
		}
	}
	for _, o := range out.Open {
		if len(o.Tasks) == 0 || len(o.Tasks) > o.Slots || o.Slots < 1 {
			k.fault("a lease of %d slots with %d tasks", o.Slots, len(o.Tasks))
		}
		for _, a := range o.Tasks {
			give(a.Execution)
		}
	}
	for _, a := range out.Assign {
		give(a.Execution)
	}
}

// leases compares the job's counts with what is under way by the mesh's own.
func (k *keeper) leases(out Actions) {
	j := k.m.job
	live, local := make(map[proto.LeaseID]int), 0
	for _, t := range j.tasks {
		if t.settled != nil && t.live() > 0 {
			k.fault("task %d is settled and runs", t.index)
		}
		for _, e := range t.execs {
			switch {
			case e.live() && e.local:
				local++
			case e.live():
				live[e.lease.id]++
			}
		}
	}
	total := local
	for _, p := range j.peers {
		if p.lease == nil {
			continue
		}
		n := live[p.lease.id]
		total += n
		delete(live, p.lease.id)
		if n != len(p.lease.live) {
			k.fault("%s has %d in flight, its lease says %d", p.ID.Short(), n, len(p.lease.live))
		}
		if n > max(p.lease.slots+p.lease.answered, pipelineMost) || !p.lease.accepted && n > p.lease.slots {
			k.fault("%s has %d in flight on %d slots", p.ID.Short(), n, p.lease.slots)
		}
		if p.lease.first != nil {
			k.fault("%s was to get a lease and did not", p.ID.Short())
		}
	}
	if len(live) > 0 {
		k.fault("%d leases that are over have tasks in flight", len(live))
	}
	if local != j.localBusy || local > j.cfg.LocalSlots || total != j.live {
		k.fault("%d run here of %d under way; the job says %d of %d", local, total, j.localBusy, j.live)
	}
}

func (k *keeper) end(sum *tally) {
	j := k.m.job
	state, reason := j.State()
	if state != Completed && reason == "" {
		k.fault("%s without a reason", state)
	}
	if j.live != 0 || j.localBusy != 0 || state != Expired && j.fetching != 0 {
		k.fault("at the end %d executions, %d of them here, and %d transfers", j.live, j.localBusy, j.fetching)
	}
	if len(k.m.opened) > 0 {
		k.fault("%d leases were never closed", len(k.m.opened))
	}
	if state == Completed && j.settled != len(j.tasks) || len(k.m.settled) != j.settled {
		k.fault("%s with %d of %d tasks settled, %d reported", state, j.settled, len(j.tasks), len(k.m.settled))
	}
	if state == Disputed && j.cfg.LocalSlots > 0 && !k.ownFailed() {
		k.fault("disputed, though the requester could settle it: %s", reason)
	}
	if why := k.needless(state); why != "" {
		k.fault("%s (%s), though %s", state, reason, why)
	}
	sum.ends[state]++
	for kind, n := range k.m.evidence {
		sum.evidence[kind] += n
	}
	for _, e := range k.m.execs {
		if e.local {
			sum.ownRuns++
		}
	}
	for i := range j.tasks {
		s := j.Task(i).Settlement
		switch {
		case s == nil:
		case s.State == TaskVerified:
			sum.verified++
		case s.State == TaskAccepted:
			sum.accepted++
		}
		if s != nil && (s.State == TaskVerified || s.State == TaskAccepted) && !k.m.isRight(i, s.Outcome) {
			sum.colluded++
		}
	}
	sum.stepsMost = max(sum.stepsMost, k.m.steps)
}

// needless tells whether a job gave up though enough good peers were there.
// That programs fail, or time out, can be a lie that nobody was to check.
func (k *keeper) needless(s State) string {
	if s != Expired && s != Failed {
		return ""
	}
	groups := make(map[string]bool)
	for i, p := range k.m.providers {
		if p.does == exhausted || p.does.lies() {
			return ""
		}
		if (p.engine == engine1 || !k.m.perEngine) && (p.does == honest || p.does == slow) && p.up && !p.unseen && p.book.Lending().Advert.Price <= 100 {
			group := p.group
			if group == "" {
				group = fmt.Sprint("alone ", i)
			}
			groups[group] = true
		}
	}
	if len(groups) <= k.m.cfg.Checkers {
		return ""
	}
	return fmt.Sprintf("%d good providers are apart, for %d checkers", len(groups), k.m.cfg.Checkers)
}

func (k *keeper) ownFailed() bool {
	for _, t := range k.m.job.tasks {
		if t.localFailed != "" {
			return true
		}
	}
	return false
}
