package scheduler

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/mustermesh/muster/proto"
)

// A fixed predictor knows the median and all above; of a peer not in it, and of
// all together, base.
type fixed struct {
	base time.Duration
	of   map[proto.PeerID]time.Duration
}

func (f fixed) Predict(_ time.Time, peer proto.PeerID, _ proto.CID, q float64) (time.Duration, bool) {
	d, ok := f.of[peer]
	if !ok {
		d = f.base
	}
	return time.Duration(float64(d) * 2 * q), f.base > 0
}

func (f fixed) Mean(time.Time, proto.CID) (time.Duration, bool) { return f.base, f.base > 0 }

func TestPatience(t *testing.T) {
	at90 := HedgePolicy{Quantile: .9, Factor: 1, Most: 3, Floor: 2 * time.Second, Ceiling: 4}
	of := map[proto.PeerID]time.Duration{peerN(1): 20 * time.Second, peerN(2): 3 * time.Minute}
	cases := []struct {
		name    string
		policy  HedgePolicy
		predict fixed
		peer    proto.PeerID
		want    time.Duration // 0: none
	}{
		{"nothing known, nothing hedged", at90, fixed{}, peerN(1), 0},
		{"the zero policy never hedges", HedgePolicy{}, fixed{10 * time.Second, of}, peerN(1), 0},
		{"what this peer takes", at90, fixed{10 * time.Second, of}, peerN(1), 36 * time.Second},
		{"never under the floor", at90, fixed{10 * time.Millisecond, nil}, peerN(1), 2 * time.Second},
		{"never over the ceiling", at90, fixed{10 * time.Second, of}, peerN(2), 72 * time.Second},
		{"the mean of all, whoever has it", MeanHedging(), fixed{10 * time.Second, of}, peerN(2), 15 * time.Second},
		{"the mean must be known", MeanHedging(), fixed{}, peerN(2), 0},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got, ok := c.policy.Patience(meshStart, c.predict, c.peer, proto.CID{})
			if ok != (c.want > 0) || ok && got != c.want {
				t.Errorf("got %s, %v; want %s", got, ok, c.want)
			}
		})
	}
}

func TestABudgetIsNeverOverdrawn(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for round := range 200 {
		b := HedgeBudget()
		counted, taken := []int{0}, []int{0} // so far, after each operation
		for range 2000 {
			c, n := 0, 0
			if r.IntN(10) > round%10 {
				b.Count()
				c = 1
			} else if b.Take() {
				n = 1
			}
			counted, taken = append(counted, counted[len(counted)-1]+c), append(taken, taken[len(taken)-1]+n)
		}
		for range 500 {
			i := r.IntN(len(taken))
			j := i + r.IntN(len(taken)-i)
			if took, of := taken[j]-taken[i], counted[j]-counted[i]; 100*took > hedgeShare*of+100*hedgeBurst {
				t.Fatalf("%d backups for %d executions", took, of)
			}
		}
	}
}

func TestABudgetIsSpentToTheLast(t *testing.T) {
	b, burst := HedgeBudget(), 0
	for b.Take() {
		burst++
	}
	taken := 0
	for range 10_000 {
		b.Count()
		if b.Take() {
			taken++
		}
	}
	if burst != 8 || taken != 1200 {
		t.Errorf("%d at once and %d of 10000 executions; want 8 and 1200", burst, taken)
	}
	b.Return()
	if !b.Take() || b.Take() {
		t.Error("what was given back cannot be taken once, or can be taken twice")
	}
}

// A watched task under a hedger with a patience of 18 s, or 17 s for backups.
type watched struct {
	*hedger
	*task
}

func newWatched(want int) watched {
	h := newHedger(Hedging(), NewSpeeds(), HedgeBudget(), proto.CID{})
	h.predict = fixed{base: 10 * time.Second}
	return watched{h, &task{want: want}}
}

func (w watched) start(at time.Duration, n byte) *exec {
	e := &exec{task: w.task, peer: peerN(n), from: &peer{}, state: ExecRunning, created: meshStart.Add(at), started: meshStart.Add(at)}
	w.execs = append(w.execs, e)
	w.given(e.started, e)
	return e
}

// dues gives how many tasks want one more.
func (w watched) dues(at time.Duration) int { return len(w.due(meshStart.Add(at))) }

func (w watched) stop(at time.Duration, e *exec, s ExecState) {
	e.state = s
	w.ended(meshStart.Add(at), e)
}

func TestASlowExecutionIsBackedUp(t *testing.T) {
	w := newWatched(0)
	first := w.start(0, 1)
	if got, want := w.wake(meshStart), meshStart.Add(17800*time.Millisecond); !got.Equal(want) {
		t.Fatalf("wakes at %s, want %s", got, want)
	}
	if n := w.dues(17 * time.Second); n != 0 {
		t.Fatalf("%d due too early", n)
	}
	if n, extra := w.dues(18*time.Second), w.extra(w.task); n != 1 || extra != 1 {
		t.Fatalf("%d due, %d extra; want 1, 1", n, extra)
	}
	second := w.start(18*time.Second, 2)
	if w.overdue[first] != placed || w.dues(34*time.Second) != 0 || w.dues(35*time.Second) != 1 {
		t.Fatal("a backup is to be backed up after its own time, and not before")
	}
	w.stop(36*time.Second, second, ExecAnswered)
	w.stop(36*time.Second, first, ExecCancelled)
	if len(w.overdue)+len(w.alarms.due)+len(w.alarms.place) != 0 || !w.wake(meshStart).IsZero() {
		t.Error("something is left of a task that is done")
	}
}

func TestATaskHasSoManyBackupsAtMost(t *testing.T) {
	w := newWatched(0)
	backups := 0
	w.start(0, 1)
	for at := time.Duration(0); at < 5*time.Minute; at += time.Second {
		for range w.dues(at) {
			backups++
			w.start(at, byte(1+backups))
		}
	}
	if backups != 3 {
		t.Errorf("%d backups, want 3", backups)
	}
}

func TestWithoutABudgetNobodyIsBackedUp(t *testing.T) {
	w := newWatched(0)
	w.start(0, 1)
	for w.budget.Take() {
	}
	if w.dues(20*time.Second) != 0 || w.extra(w.task) != 0 {
		t.Fatal("a backup beyond the budget")
	}
	if at := meshStart.Add(20 * time.Second); !w.wake(at).Equal(at.Add(time.Second)) {
		t.Errorf("looks again at %s, want a second later", w.wake(at))
	}
	w.budget.Return()
	if w.dues(21*time.Second) != 1 {
		t.Error("no backup when the budget bears it again")
	}
}

func TestABackupThatWasNotPlacedIsGivenBack(t *testing.T) {
	for _, isPlaced := range []bool{false, true} {
		w := newWatched(0)
		first := w.start(0, 1)
		for w.budget.Take() {
		}
		w.budget.Return()
		w.dues(20 * time.Second)
		if isPlaced {
			w.start(20*time.Second, 2)
		}
		w.stop(21*time.Second, first, ExecAnswered)
		if back := w.budget.Take(); back == isPlaced {
			t.Errorf("placed %v: given back %v", isPlaced, back)
		}
	}
}

func TestABackupThatDoesNotAnswerIsFollowedByAnother(t *testing.T) {
	cases := []struct {
		state     ExecState
		left      int // backups that the budget bears, besides the first
		want      int // tasks due at once
		wantExtra int
	}{
		{ExecDeclined, 0, 0, 1}, // the grant stands
		{ExecLost, 1, 1, 1},
		{ExecFailed, 1, 1, 1},
		{ExecLost, 0, 0, 0}, // it was a backup, and another is too dear
	}
	for _, c := range cases {
		w := newWatched(0)
		w.start(0, 1)
		for w.budget.Take() {
		}
		for range 1 + c.left {
			w.budget.Return()
		}
		w.dues(20 * time.Second)
		w.stop(21*time.Second, w.start(20*time.Second, 2), c.state)
		if n, extra := w.dues(21*time.Second), w.extra(w.task); n != c.want || extra != c.wantExtra {
			t.Errorf("%s, budget for %d more: %d due, %d extra; want %d, %d", c.state, c.left, n, extra, c.want, c.wantExtra)
		}
	}
}

func TestRefusalsFillNoBudget(t *testing.T) {
	w := newWatched(0)
	for w.budget.Take() {
	}
	for range 1000 {
		w.stop(0, w.start(0, 1), ExecDeclined)
	}
	if w.budget.Take() {
		t.Error("refused executions made room for a backup")
	}
}

func TestWhoIsOverdueTwiceIsGrantedOneBackup(t *testing.T) {
	w := newWatched(1)
	w.start(0, 1)
	for w.budget.Take() {
	}
	w.dues(20 * time.Second) // waits for the budget
	w.again(meshStart.Add(20*time.Second), w.task)
	for range 3 {
		w.budget.Return()
	}
	if n := w.dues(time.Minute); n != 1 {
		t.Errorf("%d grants, want 1", n)
	}
	left := 0
	for w.budget.Take() {
		left++
	}
	if left != 2 {
		t.Errorf("the budget bears %d more, want 2", left)
	}
}

func TestASlowTwinMayServeAsCheck(t *testing.T) {
	w := newWatched(0)
	slow := w.start(0, 1)
	w.dues(18 * time.Second)
	backup := w.start(18*time.Second, 2)
	w.stop(19*time.Second, backup, ExecAnswered)
	w.want = 1 // drawn now that an answer is held
	w.again(meshStart.Add(19*time.Second), w.task)
	if missing := 1 + w.want + w.extra(w.task) - w.live() - w.answered(); missing != 0 || slow.state != ExecRunning {
		t.Fatalf("%d more wanted, want none: the slow one will do", missing)
	}
	if w.dues(36*time.Second) != 0 || w.dues(37*time.Second) != 1 {
		t.Error("the check has its time once more, and then a backup")
	}
}

func TestWhatWasSeenOfSpeedIsNoted(t *testing.T) {
	w := newWatched(0)
	for i := range 20 {
		e := w.start(0, 1)
		w.stop(time.Minute, e, []ExecState{ExecAnswered, ExecCancelled}[i%2])
		w.stop(time.Second, w.start(0, 2), ExecLost)
		w.stop(time.Second, w.start(0, 2), ExecFailed)
	}
	if d, known := w.speeds.Predict(meshStart, peerN(1), proto.CID{}, .2); !known || d < 50*time.Second {
		t.Errorf("predicts %s, %v; want a minute: who failed shows nothing of speed", d, known)
	}
}

func TestTheFasterBacksUp(t *testing.T) {
	w := newWatched(0)
	w.predict = fixed{base: 10 * time.Second, of: map[proto.PeerID]time.Duration{peerN(2): 5 * time.Second}}
	fit := []*peer{{Candidate: Candidate{ID: peerN(1), Weight: 1}}, {Candidate: Candidate{ID: peerN(2), Weight: 1}}}
	r, fast := rand.New(rand.NewPCG(1, 2)), 0
	for range 10_000 {
		if w.draw(meshStart, fit, r).ID == peerN(2) {
			fast++
		}
	}
	if fast < 7300 || fast > 7700 {
		t.Errorf("the faster of two was drawn %d times in 10000, want three in four", fast)
	}
}

func TestAlarmsComeInOrder(t *testing.T) {
	a, r := newAlarms(), rand.New(rand.NewPCG(7, 8))
	want := make(map[*exec]time.Time)
	execs := make([]*exec, 100)
	for i := range execs {
		execs[i] = new(exec)
	}
	for range 5000 {
		e := execs[r.IntN(len(execs))]
		if r.IntN(3) == 0 {
			a.drop(e)
			delete(want, e)
			continue
		}
		want[e] = meshStart.Add(time.Duration(r.IntN(1e9)))
		a.set(e, want[e])
	}
	times := make([]time.Time, 0, len(want))
	for _, at := range want {
		times = append(times, at)
	}
	slices.SortFunc(times, time.Time.Compare)
	for _, at := range times {
		if e := a.pop(); !want[e].Equal(at) {
			t.Fatalf("an alarm of %s, want %s", want[e], at)
		}
	}
	if len(a.due)+len(a.place) != 0 {
		t.Error("more alarms than were set")
	}
}
