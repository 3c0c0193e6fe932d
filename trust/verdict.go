package trust

import (
	"bytes"
	"slices"

	"github.com/mustermesh/muster/proto"
)

// An Answered is one peer's answer to a task; its signature and its addressee
// have been checked.
type Answered struct {
	Peer proto.PeerID
	proto.Answer
}

// same tells whether two answers say the same of one task. Only what the program
// determines is compared: not the fuel (profile wasip1/0 meters none), nor times
// and memory.
func same(a, b Answered) bool {
	return a.Digest == b.Digest && a.Output == b.Output &&
		a.Outcome == b.Outcome && a.ExitCode == b.ExitCode && a.Trap == b.Trap
}

// mustEqual tells whether a difference between two answers proves that one of
// them is wrong. Profile wasip1/0 promises equal bytes between equal engine,
// version and architecture only.
func mustEqual(a, b Answered) bool {
	return a.Digest == b.Digest && a.Engine == b.Engine
}

// A Finding is what a set of answers to one task amounts to.
type Finding int

// Findings.
const (
	Unanswered   Finding = iota // there is no answer
	Agreed                      // all say the same
	Conflict                    // two that must be equal differ: the requester has to settle it
	Incomparable                // they differ, but come from different engines: nobody is to blame
)

// String gives the finding's word.
func (f Finding) String() string {
	switch f {
	case Unanswered:
		return "unanswered"
	case Agreed:
		return "agreed"
	case Conflict:
		return "conflict"
	case Incomparable:
		return "incomparable"
	}
	return "unknown"
}

// A Verdict is what [Judge] found. It blames nobody: only [Settle] does.
type Verdict struct {
	Finding Finding
	Groups  []Group // of equal answers, the one with most peers first
}

// A Group is a set of equal answers.
type Group struct {
	Answer Answered       // one of them, by the least peer
	Peers  []proto.PeerID // who gave it, each once, sorted
}

// Checkers gives how many peers confirmed the answer of another, for [Reached]:
// of an agreed verdict the peers but one, of any other none.
func (v Verdict) Checkers() int {
	if v.Finding != Agreed {
		return 0
	}
	return len(v.Groups[0].Peers) - 1
}

// Judge compares answers to one task. Their order has no effect, and their
// number decides nothing: two peers that agree against one are in conflict as
// much as one against one, because who would win a vote can buy it. A peer that
// answered twice counts once.
func Judge(answers []Answered) Verdict {
	if len(answers) == 0 {
		return Verdict{}
	}
	v := Verdict{Groups: group(answers)}
	switch {
	case len(v.Groups) == 1:
		v.Finding = Agreed
	case anyConflict(answers):
		v.Finding = Conflict
	default:
		v.Finding = Incomparable
	}
	return v
}

func anyConflict(answers []Answered) bool {
	for i, a := range answers {
		for _, b := range answers[i+1:] {
			if mustEqual(a, b) && !same(a, b) {
				return true
			}
		}
	}
	return false
}

func group(answers []Answered) (groups []Group) {
	sorted := slices.Clone(answers)
	slices.SortStableFunc(sorted, byAnswer)
	for _, a := range sorted {
		i := slices.IndexFunc(groups, func(g Group) bool { return same(g.Answer, a) })
		if i < 0 {
			groups = append(groups, Group{Answer: a})
			i = len(groups) - 1
		}
		if g := &groups[i]; !slices.Contains(g.Peers, a.Peer) {
			g.Peers = append(g.Peers, a.Peer)
		}
	}
	slices.SortStableFunc(groups, func(a, b Group) int { return len(b.Peers) - len(a.Peers) })
	return groups
}

// byAnswer orders by peer, and the answers of one peer by execution.
func byAnswer(a, b Answered) int {
	if c := bytes.Compare(a.Peer[:], b.Peer[:]); c != 0 {
		return c
	}
	return bytes.Compare(a.Execution[:], b.Execution[:])
}

// A Settlement is what the requester's own re-execution of a task says about the
// answers to it. The lists hold each peer once, sorted.
type Settlement struct {
	Right     []proto.PeerID // said the same
	Wrong     []proto.PeerID // said something else, on the same engine: proven wrong
	Unsettled []proto.PeerID // said something else on another engine: neither
	// Alone: somebody is Wrong and nobody is Right. Before it blames anybody the
	// requester runs the task again: if that differs too, its own machine is
	// faulty, or the program not deterministic.
	Alone bool
}

// Settle judges answers by referee, the requester's own execution of the task.
// A peer that gave several answers is Wrong if one of them is, and Right only if
// all of them are.
func Settle(answers []Answered, referee Answered) Settlement {
	var s Settlement
	byPeer := map[proto.PeerID][]Answered{}
	for _, a := range answers {
		byPeer[a.Peer] = append(byPeer[a.Peer], a)
	}
	for peer, given := range byPeer {
		differs := func(a Answered) bool { return !same(a, referee) }
		proves := func(a Answered) bool { return differs(a) && mustEqual(a, referee) }
		switch {
		case slices.ContainsFunc(given, proves):
			s.Wrong = append(s.Wrong, peer)
		case slices.ContainsFunc(given, differs):
			s.Unsettled = append(s.Unsettled, peer)
		default:
			s.Right = append(s.Right, peer)
		}
	}
	for _, list := range [][]proto.PeerID{s.Right, s.Wrong, s.Unsettled} {
		slices.SortFunc(list, byPeerID)
	}
	s.Alone = len(s.Right) == 0 && len(s.Wrong) > 0
	return s
}

func byPeerID(a, b proto.PeerID) int { return bytes.Compare(a[:], b[:]) }
