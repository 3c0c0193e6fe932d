package scheduler

import (
	"container/heap"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/mustermesh/muster/proto"
)

// A mesh of stragglers: how long an execution takes on a provider is
// known but for a lognormal rest; one in twenty is slowed down, one in fifty
// never ends.
const (
	stragglerUnit  = time.Minute
	stragglerSigma = .25
	slowShare      = .05
	slowAlpha      = 1.2 // slowed down by 1 + Pareto(1.2)
	vanishShare    = .02
	stragglerLoad  = 64 // tasks under way
	silentFor      = 10 // times the mean, until an execution is taken as lost
)

// drawTime draws how long an execution takes, in units of the prediction.
func drawTime(r *rand.Rand) float64 {
	x := math.Exp(stragglerSigma * (r.NormFloat64() - stragglerSigma/2))
	switch u := r.Float64(); {
	case u < vanishShare:
		return math.Inf(1)
	case u < vanishShare+slowShare:
		x *= 1 + math.Pow(1-r.Float64(), -1/slowAlpha)
	}
	return x
}

// A knower predicts from the true distribution.
type knower struct {
	sorted []float64
	mean   float64
	unit   map[proto.PeerID]float64
	usual  float64 // unit of all together
}

func newKnower(unit map[proto.PeerID]float64) *knower {
	r := rand.New(rand.NewPCG(11, 12))
	k := &knower{sorted: make([]float64, 1_000_000), unit: unit}
	n := 0
	for i := range k.sorted {
		k.sorted[i] = drawTime(r)
		if k.sorted[i] <= silentFor {
			k.mean += k.sorted[i]
			n++
		}
	}
	k.mean /= float64(n)
	slices.Sort(k.sorted)
	for _, u := range unit {
		k.usual += u / float64(len(unit))
	}
	return k
}

func inUnits(x float64) time.Duration { return time.Duration(x * float64(stragglerUnit)) }

func (k *knower) Predict(_ time.Time, peer proto.PeerID, _ proto.CID, q float64) (time.Duration, bool) {
	u, ok := k.unit[peer]
	if !ok {
		u = k.usual
	}
	return inUnits(u * k.sorted[int(q*float64(len(k.sorted)))]), true
}

func (k *knower) Mean(time.Time, proto.CID) (time.Duration, bool) {
	return inUnits(k.usual * k.mean), true
}

// A straggling is a run of many tasks over a mesh, through the code that a job
// hedges with.
type straggling struct {
	r      *rand.Rand
	now    time.Time
	peers  []*peer
	unit   map[proto.PeerID]float64
	mean   time.Duration
	h      *hedger
	ends   ends
	counts struct {
		tasks, backups int
		first, backed  map[proto.PeerID]int // tasks given to a peer first, and backups of those
		work           float64
	}
	took []float64
}

type ending struct {
	at   time.Time
	exec *exec
	lost bool
}

type ends []ending

func (e ends) Len() int           { return len(e) }
func (e ends) Less(i, j int) bool { return e[i].at.Before(e[j].at) }
func (e ends) Swap(i, j int)      { e[i], e[j] = e[j], e[i] }
func (e *ends) Push(x any)        { *e = append(*e, x.(ending)) }
func (e *ends) Pop() any {
	last := (*e)[len(*e)-1]
	*e = (*e)[:len(*e)-1]
	return last
}

func newStraggling(p HedgePolicy, learn bool, unit []float64) *straggling {
	s := &straggling{r: rand.New(rand.NewPCG(21, 22)), now: meshStart, unit: make(map[proto.PeerID]float64)}
	s.counts.first, s.counts.backed = make(map[proto.PeerID]int), make(map[proto.PeerID]int)
	for i, u := range unit {
		id := peerN(byte(i + 1))
		s.peers = append(s.peers, &peer{Candidate: Candidate{ID: id, Weight: 1}})
		s.unit[id] = u
	}
	k := newKnower(s.unit)
	s.mean, _ = k.Mean(s.now, proto.CID{})
	s.h = newHedger(p, NewSpeeds(), HedgeBudget(), proto.RawCID([]byte("program")))
	if !learn {
		s.h.predict = k
	}
	if p.Quantile == 0 { // the classic rule has no budget
		s.h.budget = NewBudget(100, 1_000_000)
	}
	return s
}

// run settles n tasks, of which the first warm are not counted.
func (s *straggling) run(n, warm int) {
	begun := 0
	for range stragglerLoad {
		begun++
		s.task()
	}
	for len(s.took) < n {
		e := s.next()
		if e.exec == nil || !e.exec.live() {
			continue
		}
		t := e.exec.task
		if e.lost {
			s.end(e.exec, ExecLost)
			if t.live() == 0 {
				s.give(t, s.peers[s.r.IntN(len(s.peers))])
			}
			continue
		}
		s.end(e.exec, ExecAnswered)
		for _, x := range t.execs {
			if x.live() {
				s.end(x, ExecCancelled)
			}
		}
		s.took = append(s.took, float64(s.now.Sub(t.execs[0].created))/float64(stragglerUnit)/s.unit[t.execs[0].peer])
		if len(s.took) == warm {
			s.counts.tasks, s.counts.backups, s.counts.work = 0, 0, 0
			clear(s.counts.first)
			clear(s.counts.backed)
		}
		s.task()
	}
	s.took = s.took[warm:]
	slices.Sort(s.took)
}

// next hedges and goes to the next event.
func (s *straggling) next() (e ending) {
	wake := s.h.wake(s.now)
	if len(s.ends) > 0 && (wake.IsZero() || !wake.Before(s.ends[0].at)) {
		e = heap.Pop(&s.ends).(ending)
		s.now = e.at
		return e
	}
	s.now = wake
	for _, t := range s.h.due(s.now) {
		var fit []*peer
		for _, p := range s.peers {
			if !slices.ContainsFunc(t.execs, func(x *exec) bool { return x.peer == p.ID }) {
				fit = append(fit, p)
			}
		}
		s.give(t, s.h.draw(s.now, fit, s.r))
	}
	return e
}

func (s *straggling) task() {
	s.counts.tasks++
	s.give(&task{}, s.peers[s.r.IntN(len(s.peers))])
}

func (s *straggling) give(t *task, p *peer) {
	if len(t.execs) == 0 {
		s.counts.first[p.ID]++
	}
	e := &exec{task: t, peer: p.ID, from: p, state: ExecRunning, created: s.now, started: s.now}
	t.execs = append(t.execs, e)
	if s.h.given(s.now, e) {
		s.counts.backups++
		s.counts.backed[t.execs[0].peer]++
	}
	heap.Push(&s.ends, ending{s.now.Add(silentFor * s.mean), e, true})
	if x := drawTime(s.r); !math.IsInf(x, 1) && x < 1e6 {
		heap.Push(&s.ends, ending{s.now.Add(inUnits(x * s.unit[p.ID])), e, false})
	}
}

func (s *straggling) end(e *exec, state ExecState) {
	e.state, e.ended = state, s.now
	s.counts.work += float64(s.now.Sub(e.started)) / float64(stragglerUnit)
	s.h.ended(s.now, e)
}

func (s *straggling) at(q float64) float64 { return s.took[int(q*float64(len(s.took)))] }

func (s *straggling) String() string {
	return fmt.Sprintf("p50 %5.2f  p95 %5.2f  p99 %6.2f  p99.9 %6.2f  backups %.4f  work %.3f",
		s.at(.5), s.at(.95), s.at(.99), s.at(.999), float64(s.counts.backups)/float64(s.counts.tasks), s.counts.work/float64(s.counts.tasks))
}

func manyPeers(n int) []float64 {
	unit := make([]float64, n)
	for i := range unit {
		unit[i] = 1
	}
	return unit
}

// TestStragglers compares the rules: with predictions that are
// known, and with those that are learnt on the way.
func TestStragglers(t *testing.T) {
	if testing.Short() {
		t.Skip("SHORT: not checked how slow the slowest tasks are, and how many backups that costs")
	}
	runs := []struct {
		name    string
		policy  HedgePolicy
		learn   bool
		tasks   int
		p99     float64 // at most; 0: for comparison
		p999    float64
		backups float64
	}{
		{name: "known:  none, lost after 10 x the mean", tasks: 300_000},
		{name: "known:  1.5 x the mean, one backup", policy: MeanHedging(), tasks: 300_000},
		{name: "known:  hedging", policy: Hedging(), tasks: 1_000_000, p99: 2.8, p999: 4.0, backups: .125},
		{name: "learnt: 1.5 x the mean, one backup", policy: MeanHedging(), learn: true, tasks: 300_000},
		{name: "learnt: hedging", policy: Hedging(), learn: true, tasks: 600_000, p99: 2.85, p999: 4.0, backups: .125},
	}
	for _, run := range runs {
		t.Run(run.name, func(t *testing.T) {
			s := newStraggling(run.policy, run.learn, manyPeers(20))
			s.run(run.tasks, 20_000)
			t.Logf("%-40s %s", run.name, s)
			share := float64(s.counts.backups) / float64(s.counts.tasks)
			if run.p99 > 0 && (s.at(.99) > run.p99 || s.at(.999) > run.p999 || share > run.backups) {
				t.Errorf("p99 %.3f, p99.9 %.3f, backups %.4f; want at most %v, %v, %v", s.at(.99), s.at(.999), share, run.p99, run.p999, run.backups)
			}
		})
	}
}

// TestAnHonestPhoneIsNotHedged: one of ten providers takes three times as long
// as the others. By the mean it is always doubted; by what is known of it, as
// often as the others.
func TestAnHonestPhoneIsNotHedged(t *testing.T) {
	unit := manyPeers(10)
	unit[3] = 3
	phone := peerN(4)
	backed := func(name string, p HedgePolicy) float64 {
		s := newStraggling(p, true, unit)
		s.run(60_000, 10_000)
		of := float64(s.counts.backed[phone]) / float64(s.counts.first[phone])
		others := float64(s.counts.backups-s.counts.backed[phone]) / float64(s.counts.tasks-s.counts.first[phone])
		t.Logf("%-20s %s  of the phone's tasks %.3f, of the others' %.3f", name, s, of, others)
		return of
	}
	if mean, hedged := backed("1.5 x the mean", MeanHedging()), backed("hedging", Hedging()); hedged > .15 || mean < .8 {
		t.Errorf("%.3f of the phone's tasks had a backup, want at most .15; by the mean %.3f, want nearly all", hedged, mean)
	}
}
