package scheduler

import (
	"slices"
	"testing"

	"github.com/mustermesh/muster/proto"
)

// hands lets a peer, or the requester's own run, answer task 0, on an engine, with
// an output that comes along.
func (s *script) hands(id proto.PeerID, e proto.Engine, text string) {
	s.Helper()
	o := says(text)
	o.Engine = e
	s.j.Answered(s.now, s.must(0, id), o)
	s.j.Held(s.now, 0, o.Output)
}

// twoEngines leases a task to p1 and to p2, which runs another engine.
func twoEngines(t *testing.T, change ...func(*JobConfig)) *script {
	s := newScript(t, 1, 1, append(change, localSlots(1))...)
	s.step(0)
	s.bid(p1, 1, 0)
	s.appear(p2, func(c *Candidate) { c.Engine = engine2 })
	s.bid(p2, 1, 0)
	s.step(0)
	s.accept()
	return s
}

var engineWord = proto.Engine{Name: "e-interpreter", Version: "1", Arch: "amd64"}

// wantSetAside wants that nothing was proven of a peer, and that it gets nothing
// for its one answer and no more of the job.
func (s *script) wantSetAside(id proto.PeerID) {
	s.Helper()
	s.wantEvidence(id, EvidenceFailed, 1)
	if p := s.j.byID[id]; !p.distrusted() || p.wrong {
		s.Errorf("of %s: distrusted %t, proven wrong %t", id.Short(), p.distrusted(), p.wrong)
	}
	for _, e := range s.j.Task(0).Executions {
		if e.Peer == id && e.State == ExecAnswered {
			s.Errorf("the answer of %s counts", id.Short())
		}
	}
}

func (s *script) wantNobodyBlamed() {
	s.Helper()
	if i := slices.IndexFunc(s.all.Evidence, func(e Evidence) bool { return e.Kind == EvidenceWrong }); i >= 0 {
		s.Errorf("evidence %+v", s.all.Evidence[i])
	}
}

func TestEnginesCheckEachOther(t *testing.T) {
	s := twoEngines(t)
	s.answer(0, p1, "x")
	s.hands(p2, engine2, "x")
	s.step(0)
	s.wantTask(0, TaskVerified, "1 independent checker agreed")
	s.wantEvidence(p2, EvidenceChecked, 1)
}

func TestAnAnswerByAnotherEngineThanOfferedIsAFailure(t *testing.T) {
	s := newScript(t, 1, 0)
	s.step(0)
	s.bids(1, 1)
	s.step(0)
	s.accept()
	o := says("x")
	o.Engine = engine2
	if s.j.Answered(s.now, s.must(0, p1), o) {
		t.Error("somebody waited for it")
	}
	s.step(0)
	s.wantEvidence(p1, EvidenceFailed, 1)
}

func TestTheInterpreterDecidesWhereAnEngineMayBeAtFault(t *testing.T) {
	t.Run("so a fault of the requester's own is not blamed on those that are right", func(t *testing.T) {
		s := newScript(t, 1, 1, localSlots(1))
		s.step(0)
		s.bids(2, 1)
		s.step(0)
		s.accept()
		s.answer(0, p1, "right")
		s.hands(p2, engine1, "lie")
		s.step(0)
		s.answer(0, self, "miscomputed")
		s.step(0)
		if l := s.last.Local; len(l) != 1 || !l[0].Interpret {
			t.Fatalf("runs %+v, want one on the interpreter", l)
		}
		s.hands(self, engineWord, "right")
		s.step(0)
		s.wantTask(0, TaskVerified, "settled on the interpreter, with which 1 peer agreed: engine e/1/amd64 computes this program wrongly; nobody is blamed")
		s.wantNobodyBlamed()
		s.wantEvidence(p1, EvidenceChecked, 1)
		if got := s.j.Task(0).Settlement.Outcome.Output; got != says("right").Output {
			t.Errorf("the output is %s", got)
		}
	})
	t.Run("and where it says what the compiler said, the peers are wrong", func(t *testing.T) {
		s := conflict(t, localSlots(1))
		s.answer(0, self, "third")
		s.step(0)
		s.hands(self, engineWord, "third")
		s.step(0)
		s.wantTask(0, TaskVerified, "2 of 2 answers were wrong")
		s.wantEvidence(p1, EvidenceWrong, 1)
	})
	t.Run("and where it does not end in time, nobody is blamed", func(t *testing.T) {
		s := conflict(t, localSlots(1))
		s.answer(0, self, "third")
		s.step(0)
		s.fail(0, self, proto.ReasonTimeout)
		s.step(0)
		s.wantTask(0, TaskVerified, "own run alone")
		s.wantNobodyBlamed()
		if got := s.all.Conflicts; !slices.Equal(got, []proto.PeerID{self}) {
			t.Errorf("conflicts %v, want the requester's alone", got)
		}
	})
	t.Run("and who differed lately gets nothing, unless the requester's own engine is at fault", func(t *testing.T) {
		for _, own := range []bool{false, true} {
			s := newScript(t, 1, 0, func(c *JobConfig) {
				if c.Conflicts = []proto.PeerID{p1}; own {
					c.Conflicts = append(c.Conflicts, self)
				}
			})
			s.step(0)
			s.bid(p1, 1, 0)
			if out := s.step(bidWindow); (len(out.Open) == 1) != own {
				t.Errorf("own %t: opens %v", own, out.Open)
			}
		}
	})
	t.Run("and is not asked where a peer agrees with the compiler", func(t *testing.T) {
		s := conflict(t, localSlots(1))
		s.answer(0, self, "right")
		s.step(0)
		s.wantTask(0, TaskVerified, "1 of 2 answers were wrong")
		if n := len(s.all.Local); n != 1 {
			t.Errorf("%d own runs, want 1", n)
		}
	})
	t.Run("but where two who differ say the same", func(t *testing.T) {
		s := newScript(t, 1, 2, localSlots(1))
		s.step(0)
		s.bids(3, 1)
		s.step(0)
		s.accept()
		for id, text := range map[proto.PeerID]string{p1: "right", p2: "lie", p3: "lie"} {
			s.hands(id, engine1, text)
		}
		s.step(0)
		s.answer(0, self, "right")
		s.step(0)
		s.wantTask(0, TaskChecking, "")
		s.hands(self, engineWord, "right")
		s.step(0)
		s.wantTask(0, TaskVerified, "2 of 3 answers were wrong")
		s.wantEvidence(p2, EvidenceWrong, 1)
	})
	t.Run("and where it took too long, who differs from others too is set aside", func(t *testing.T) {
		s := twoEngines(t)
		s.answer(0, p1, "right")
		s.hands(p2, engine2, "lie")
		s.step(0)
		s.answer(0, self, "right")
		s.step(0)
		s.fail(0, self, proto.ReasonTimeout)
		s.step(0)
		s.wantTask(0, TaskVerified, "agreed; of 2 answers 1 differed")
		s.wantSetAside(p2)
		if !s.j.wordless {
			t.Error("the interpreter will be asked again, for as long")
		}
	})
	t.Run("unless somebody differed in the program before", func(t *testing.T) {
		s := conflict(t, localSlots(1), func(c *JobConfig) { c.Conflicts = []proto.PeerID{peerN(77)} })
		s.answer(0, self, "right")
		s.step(0)
		s.wantTask(0, TaskChecking, "")
		s.hands(self, engineWord, "right")
		s.step(0)
		s.wantTask(0, TaskVerified, "1 of 2 answers were wrong")
		s.wantEvidence(p2, EvidenceWrong, 1)
	})
	t.Run("and after three peers differed without proof, nobody is blamed for the program", func(t *testing.T) {
		s := conflict(t, localSlots(1), func(c *JobConfig) {
			c.Conflicts = []proto.PeerID{peerN(77), peerN(78), peerN(79)}
		})
		s.answer(0, self, "right")
		s.step(0)
		s.hands(self, engineWord, "right")
		s.step(0)
		s.wantTask(0, TaskVerified, "nobody is blamed, for 3 peers differed in this program")
		s.wantNobodyBlamed()
		s.wantSetAside(p2)
		s.wantEvidence(p1, EvidenceChecked, 1)
	})
}
