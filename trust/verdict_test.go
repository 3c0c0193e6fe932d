package trust

import (
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/mustermesh/muster/proto"
)

func peer(n byte) proto.PeerID { return proto.PeerID{n} }

func peers(ns ...byte) (list []proto.PeerID) {
	for _, n := range ns {
		list = append(list, peer(n))
	}
	return list
}

// said gives peer n's answer on engine amd64 of a fixed task.
func said(n byte, output string) Answered {
	return Answered{Peer: peer(n), Answer: proto.Answer{
		Execution: proto.ExecutionID{n}, Digest: proto.Digest{7}, Output: proto.RawCID([]byte(output)),
		Outcome: proto.OutcomeExited, Engine: proto.Engine{Name: "wazero", Version: "1", Arch: "amd64"},
	}}
}

func with(a Answered, change func(*Answered)) Answered {
	change(&a)
	return a
}

func onArm(a *Answered)      { a.Engine.Arch = "arm64" }
func otherTask(a *Answered)  { a.Digest = proto.Digest{8} }
func failing(a *Answered)    { a.ExitCode = 1 }
func trapped(a *Answered)    { a.Outcome, a.Trap = proto.OutcomeTrapped, "unreachable" }
func outOfRange(a *Answered) { a.Outcome, a.Trap = proto.OutcomeTrapped, "out of bounds" }
func slow(a *Answered)       { a.CPU, a.Wall, a.PeakMemory, a.Fuel = 9, 9, 9, 9 }

func TestJudge(t *testing.T) {
	for _, c := range []struct {
		name     string
		answers  []Answered
		want     Finding
		groups   [][]proto.PeerID
		checkers int
	}{
		{"no answer means nothing", nil, Unanswered, nil, 0},
		{"one answer agrees with itself and confirms nothing", []Answered{said(1, "x")}, Agreed, [][]proto.PeerID{peers(1)}, 0},
		{"two equal answers agree", []Answered{said(1, "x"), said(2, "x")}, Agreed, [][]proto.PeerID{peers(1, 2)}, 1},
		{"a peer that answers twice confirms nothing", []Answered{said(1, "x"), said(1, "x")}, Agreed, [][]proto.PeerID{peers(1)}, 0},
		{"time, memory and fuel may differ", []Answered{said(1, "x"), with(said(2, "x"), slow)}, Agreed, [][]proto.PeerID{peers(1, 2)}, 1},
		{"equal answers from two engines agree", []Answered{said(1, "x"), with(said(2, "x"), onArm)}, Agreed, [][]proto.PeerID{peers(1, 2)}, 1},
		{"two outputs conflict", []Answered{said(1, "x"), said(2, "y")}, Conflict, [][]proto.PeerID{peers(1), peers(2)}, 0},
		{"two against one is a conflict, not a vote", []Answered{said(1, "x"), said(2, "y"), said(3, "y")}, Conflict, [][]proto.PeerID{peers(2, 3), peers(1)}, 0},
		{"two exit codes conflict", []Answered{said(1, "x"), with(said(2, "x"), failing)}, Conflict, [][]proto.PeerID{peers(1), peers(2)}, 0},
		{"an exit and a trap conflict", []Answered{said(1, "x"), with(said(2, "x"), trapped)}, Conflict, [][]proto.PeerID{peers(1), peers(2)}, 0},
		{"two traps conflict", []Answered{with(said(1, "x"), outOfRange), with(said(2, "x"), trapped)}, Conflict, [][]proto.PeerID{peers(1), peers(2)}, 0},
		{"a peer conflicts with itself", []Answered{said(1, "x"), with(said(1, "y"), func(a *Answered) { a.Execution[1] = 1 })}, Conflict, [][]proto.PeerID{peers(1), peers(1)}, 0},
		{"different answers from two engines prove nothing", []Answered{said(1, "x"), with(said(2, "y"), onArm)}, Incomparable, [][]proto.PeerID{peers(1), peers(2)}, 0},
		{"one engine in conflict is enough", []Answered{said(1, "x"), with(said(2, "y"), onArm), with(said(3, "x"), onArm)}, Conflict, [][]proto.PeerID{peers(1, 3), peers(2)}, 0},
		{"answers to two tasks prove nothing", []Answered{said(1, "x"), with(said(2, "x"), otherTask)}, Incomparable, [][]proto.PeerID{peers(1), peers(2)}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			for range 10 {
				got := Judge(c.answers)
				var groups [][]proto.PeerID
				for _, g := range got.Groups {
					groups = append(groups, g.Peers)
				}
				if got.Finding != c.want || !reflect.DeepEqual(groups, c.groups) || got.Checkers() != c.checkers {
					t.Fatalf("got %s %v, %d checkers; want %s %v, %d", got.Finding, groups, got.Checkers(), c.want, c.groups, c.checkers)
				}
				rand.Shuffle(len(c.answers), func(i, j int) { c.answers[i], c.answers[j] = c.answers[j], c.answers[i] })
			}
		})
	}
}

func TestSettle(t *testing.T) {
	for _, c := range []struct {
		name    string
		answers []Answered
		want    Settlement
	}{
		{"nobody answered", nil, Settlement{}},
		{"who says what the referee says is right", []Answered{said(2, "x"), said(1, "x")}, Settlement{Right: peers(1, 2)}},
		{"who says otherwise is wrong", []Answered{said(1, "x"), said(2, "y")}, Settlement{Right: peers(1), Wrong: peers(2)}},
		{"many that agree are as wrong as one", []Answered{said(1, "y"), said(2, "x"), said(3, "y")}, Settlement{Right: peers(2), Wrong: peers(1, 3)}},
		{"the right output with a wrong exit code is wrong", []Answered{said(1, "x"), with(said(2, "x"), failing)}, Settlement{Right: peers(1), Wrong: peers(2)}},
		{"nobody is blamed for another engine", []Answered{said(1, "x"), with(said(2, "y"), onArm)}, Settlement{Right: peers(1), Unsettled: peers(2)}},
		{"another engine with the same answer is right", []Answered{with(said(2, "x"), onArm)}, Settlement{Right: peers(2)}},
		{"nobody is blamed for another task", []Answered{said(1, "x"), with(said(2, "y"), otherTask)}, Settlement{Right: peers(1), Unsettled: peers(2)}},
		{"one wrong answer of two makes a peer wrong", []Answered{said(1, "x"), said(1, "y"), said(2, "x")}, Settlement{Right: peers(2), Wrong: peers(1)}},
		{"a referee whom nobody confirms is to run again", []Answered{said(1, "y"), said(2, "z")}, Settlement{Wrong: peers(1, 2), Alone: true}},
		{"also against one answer", []Answered{said(1, "y")}, Settlement{Wrong: peers(1), Alone: true}},
		{"not where nobody is wrong", []Answered{with(said(1, "y"), onArm)}, Settlement{Unsettled: peers(1)}},
	} {
		if got := Settle(c.answers, said(9, "x")); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: got %+v, want %+v", c.name, got, c.want)
		}
	}
}

// Whoever gives the same answer as the referee is never blamed, whatever the
// others say and however many they are.
func TestNobodyIsBlamedWhileRight(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	blamed := 0
	for range 2000 {
		referee := said(9, "x")
		var answers []Answered
		honest := map[proto.PeerID]bool{}
		for n := range byte(1 + r.IntN(7)) {
			a := said(n+1, []string{"x", "y", "z"}[r.IntN(3)])
			if r.IntN(4) == 0 {
				onArm(&a)
			}
			honest[a.Peer] = a.Output == referee.Output
			answers = append(answers, a)
		}
		s := Settle(answers, referee)
		if i := slices.IndexFunc(s.Wrong, func(p proto.PeerID) bool { return honest[p] }); i >= 0 {
			t.Fatalf("%x is blamed while right: %+v", s.Wrong[i][:1], s)
		}
		if len(s.Right)+len(s.Wrong)+len(s.Unsettled) != len(answers) {
			t.Fatalf("of %d peers some are nowhere or twice: %+v", len(answers), s)
		}
		blamed += len(s.Wrong)
	}
	if blamed == 0 {
		t.Fatal("nobody was ever blamed: the test tests nothing")
	}
}
