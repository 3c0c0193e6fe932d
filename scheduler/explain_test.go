package scheduler

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mustermesh/muster/proto"
)

var (
	smallOffer = proto.Resources{CPU: 2000, Memory: 4 << 30, Disk: 1 << 30}
	bigNeeds   = func(c *JobConfig) { c.Announcement.Needs = proto.Resources{CPU: 1000, Memory: 64 << 30, Disk: 1 << 20} }
	bidAbove   = func(s *script, id proto.PeerID) { s.bid(id, 1, 3_000_000) }
)

// lends lets a provider appear that offers so much, with what its advert then
// lacks for the job.
func lends(offer proto.Resources) func(*script, proto.PeerID) {
	return func(s *script, id proto.PeerID) {
		s.appear(id, func(c *Candidate) {
			c.Offered = offer
			a := s.j.cfg.Announcement
			if no, ok := Eligible(proto.Advert{Offered: offer, Executor: a.Executor, Profile: a.Profile}, a); !ok {
				c.Ineligible = no
			}
		})
	}
}

func refuses(reason proto.Reason, detail string) func(*script, proto.PeerID) {
	return func(s *script, id proto.PeerID) {
		lends(smallOffer)(s, id)
		s.j.Refused(id, No{reason, detail})
	}
}

func TestAPeerIsExplainedByWhatKeptIt(t *testing.T) {
	constrained := func(c *JobConfig) { c.Announcement.Constraints = []string{"label.region == eu"} }
	for _, c := range []struct {
		name    string
		job     func(*JobConfig)
		peer    func(*script, proto.PeerID)
		verdict Verdict
		class   Class
		detail  string
		change  string
		signed  bool
	}{
		{"its advert lends too little memory", bigNeeds, lends(smallOffer), PeerUnfit, ClassRequirement, "memory: a task needs more memory than is lent", "ask for at most 4 GiB of memory", false},
		{"it says itself that it lends too little", bigNeeds, refuses(proto.ReasonMemory, "too little"), PeerRefused, ClassRequirement, "memory: too little", "ask for at most 4 GiB of memory", true},
		{"it lacks two things", func(c *JobConfig) { c.Announcement.Needs = proto.Resources{CPU: 3000, Memory: 5 << 30} }, lends(smallOffer), PeerUnfit, ClassRequirement, "cpu: ", "ask for at most 2 cores and 4 GiB of memory", false},
		{"a constraint", constrained, refuses(proto.ReasonConstraint, `does not meet "label.region == eu"`), PeerRefused, ClassRequirement, "constraint: ", "drop or loosen the constraint label.region == eu", true},
		{"its bid is above the limit", func(c *JobConfig) { c.Announcement.MaxPrice = 1_000_000 }, bidAbove, PeerRefused, ClassPrice, "its bid is above the job's limit", "pay up to 3 credits per core-hour", false},
		{"it refused for the price", nil, refuses(proto.ReasonPrice, ""), PeerRefused, ClassPrice, "price", "pay more", true},
		{"it does not let the requester in", nil, refuses(proto.ReasonPolicy, saysNotAllowed), PeerRefused, ClassPolicy, saysNotAllowed, "ask its owner to let this node in", true},
		{"it does not run the program", nil, refuses(proto.ReasonPolicy, saysProgramDenied), PeerRefused, ClassPolicy, saysProgramDenied, "ask its owner to allow the program", true},
		{"its owner's rules hold it back", nil, refuses(proto.ReasonPolicy, saysHeld), PeerRefused, ClassPolicy, saysHeld, "wait until its owner's rules let it lend", true},
		{"too much is owed to it", nil, refuses(proto.ReasonCredit, ""), PeerRefused, ClassPolicy, "credit", "do work for this provider, or ask its owner to let this node owe more", true},
		{"it drains", nil, refuses(proto.ReasonDraining, ""), PeerRefused, ClassPolicy, "draining", "wait until it takes work again", true},
		{"it is busy", nil, refuses(proto.ReasonBusy, ""), PeerRefused, ClassCapacity, "busy", "wait until it has a free slot", true},
		{"it is distrusted", nil, func(s *script, id proto.PeerID) { s.appear(id, func(c *Candidate) { c.Weight = 0 }) }, PeerDistrusted, ClassTrust, "gave a wrong answer", "", false},
		{"it is gone", nil, func(s *script, id proto.PeerID) {
			lends(smallOffer)(s, id)
			delete(s.seen, id)
			s.j.Peers(s.candidates())
		}, PeerUnreachable, ClassReach, "not connected now", "", false},
		{"it has not answered", nil, lends(smallOffer), PeerSilent, ClassBid, "has not answered the announcement", "", false},
		{"it bid", nil, func(s *script, id proto.PeerID) { s.bid(id, 1, 0) }, PeerAvailable, ClassBid, "was not drawn so far", "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newScript(t, 1, 0, func(cfg *JobConfig) {
				if c.job != nil {
					c.job(cfg)
				}
			})
			c.peer(s, p1)
			x := s.j.Explain(s.now)
			if len(x.Peers) != 1 {
				t.Fatalf("%d peers, want 1", len(x.Peers))
			}
			w := x.Peers[0]
			if w.Verdict != c.verdict || w.Class != c.class || !strings.Contains(w.Detail, c.detail) || w.Change != c.change || w.Signed != c.signed {
				t.Errorf("got %s, %s: %q, change %q, signed %v\nwant %s, %s: %q, change %q, signed %v",
					w.Verdict, w.Class, w.Detail, w.Change, w.Signed, c.verdict, c.class, c.detail, c.change, c.signed)
			}
		})
	}
}

func TestAPeerWithWorkIsExplained(t *testing.T) {
	s := newScript(t, 2, 0)
	s.bids(1, 1)
	s.step(bidWindow)
	s.accept()
	want := func(verdict Verdict, detail string) {
		t.Helper()
		if w := s.j.Explain(s.now).Peers[0]; w.Verdict != verdict || !strings.Contains(w.Detail, detail) {
			t.Errorf("%s: %q, want %s: %q", w.Verdict, w.Detail, verdict, detail)
		}
	}
	want(PeerChosen, "1 of up to 1 task under way")
	s.j.LeaseBroken(s.now, p1, s.lease(p1), "reset")
	s.now = s.now.Add(3 * time.Second)
	want(PeerLost, "has 1 task, and is out of touch for 3s")
	s.lose(p1)
	want(PeerResting, "failed or declined 1 time in a row")
}

// TestADeclinedAwardIsNoSignedWord: it came over a stream, and nobody else could
// check it.
func TestADeclinedAwardIsNoSignedWord(t *testing.T) {
	s := newScript(t, 1, 0)
	s.bids(1, 1)
	s.step(bidWindow)
	s.decline(p1, proto.ReasonPolicy)
	if w := s.j.Explain(s.now).Peers[0]; w.Verdict != PeerRefused || w.Signed {
		t.Errorf("%s, signed %v; want refused, not signed", w.Verdict, w.Signed)
	}
}

func TestAWaitingJobSaysExactlyWhatIsMissing(t *testing.T) {
	near := proto.Resources{CPU: 2000, Memory: 8 << 30, Disk: 1 << 30}
	for _, c := range []struct {
		name   string
		job    func(*JobConfig)
		happen func(*script)
		why    string
		change []string // beginnings, in order
	}{
		{"nobody is known", nil, func(*script) {}, "It waits, with 0 of 3 tasks settled: no provider is known.", []string{"start a provider", "if providers run"}},
		{"all lend too little", bigNeeds, func(s *script) { lends(smallOffer)(s, p1); lends(near)(s, p2); lends(smallOffer)(s, p3) },
			"It waits, with 0 of 3 tasks settled: a task needs 64 GiB of memory; the nearest of 3 providers, " + p2.Short() + ", lends 8 GiB of memory.",
			[]string{"ask for at most 4 GiB of memory (2 providers)", "ask for at most 8 GiB of memory (1 provider)"}},
		{"the only one lends too little", bigNeeds, lendsAs(p1, smallOffer),
			"a task needs 64 GiB of memory; the only provider that is known, " + p1.Short() + ", lends 4 GiB of memory.", []string{"ask for at most 4 GiB"}},
		{"a liar that lends enough is no help", bigNeeds, func(s *script) {
			lends(smallOffer)(s, p1)
			s.appear(p2, func(c *Candidate) {
				c.Offered, c.Weight = proto.Resources{CPU: 9000, Memory: 1 << 40, Disk: 1 << 40}, 0
			})
		}, "a task needs 64 GiB of memory; the only provider", []string{"ask for at most 4 GiB"}},
		{"all ask too much", func(c *JobConfig) { c.Announcement.MaxPrice = 1_000_000 }, func(s *script) {
			s.bid(p1, 1, 3_000_000)
			s.bid(p2, 1, 2_000_000)
			s.bid(p3, 1, 2_000_000)
		}, "none of 3 known providers can take a task now: a price above the job's limit (3).", []string{"pay up to 2 credits per core-hour (2 providers)"}},
		{"for many reasons", nil, func(s *script) {
			lends(smallOffer)(s, p1)
			refuses(proto.ReasonBusy, "")(s, p2)
			refuses(proto.ReasonBusy, "")(s, p3)
			refuses(proto.ReasonPolicy, saysDenied)(s, peerN(4))
		}, "none of 4 known providers can take a task now: no free slot (2), ", []string{"ask its owner to let this node in (1 provider)", "wait until it has a free slot (2 providers)"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newScript(t, 3, 0, func(cfg *JobConfig) {
				cfg.QueueTimeout = time.Minute
				if c.job != nil {
					c.job(cfg)
				}
			})
			c.happen(s)
			s.step(0)
			x := s.j.Explain(s.now)
			if !strings.Contains(x.Why, c.why) {
				t.Errorf("why: %q\nwant   %q", x.Why, c.why)
			}
			if len(x.Change) != len(c.change) || !slices.EqualFunc(x.Change, c.change, strings.HasPrefix) {
				t.Errorf("changes %q, want %q", x.Change, c.change)
			}
			if want := s.now.Add(time.Minute); !x.Expires.Equal(want) {
				t.Errorf("it expires at %s, want %s", x.Expires, want)
			}
			s.step(time.Minute)
			if x := s.j.Explain(s.now); !strings.HasPrefix(x.Why, "It expired, with 0 of 3 tasks settled: ") || len(x.Change) == 0 || !x.Expires.IsZero() {
				t.Errorf("once it has expired: %q, changes %q, expires %s", x.Why, x.Change, x.Expires)
			}
		})
	}
}

func lendsAs(id proto.PeerID, offer proto.Resources) func(*script) {
	return func(s *script) { lends(offer)(s, id) }
}

func TestAJobThatMovesOrEndedSaysSo(t *testing.T) {
	s := newScript(t, 2, 0, func(c *JobConfig) { c.QueueTimeout = time.Minute })
	s.bids(1, 1)
	s.step(bidWindow)
	x := s.j.Explain(s.now)
	if x.Why != "It runs: 0 of 2 tasks settled, 1 execution under way." || len(x.Change) > 0 || !x.Expires.IsZero() {
		t.Errorf("while it runs: %+v", x)
	}
	s.accept()
	s.answer(0, p1, "x")
	s.step(0)
	s.answer(1, p1, "x")
	s.step(0)
	if x := s.j.Explain(s.now); x.Why != "It is completed: 2 of 2 tasks settled." || len(x.Troubled) > 0 {
		t.Errorf("at its end: %+v", x)
	}
}

func TestTasksInTroubleAreNamed(t *testing.T) {
	s := newScript(t, 3, 0, func(c *JobConfig) { c.Retries = 1 })
	s.bids(1, 3)
	s.step(bidWindow)
	s.accept()
	s.answer(0, p1, "x")
	s.fail(1, p1, proto.ReasonKilled)
	s.step(0)
	x := s.j.Explain(s.now)
	if !slices.Equal(x.Troubled, []int{1}) || !s.j.Task(1).Settlement.Dead {
		t.Errorf("in trouble: %v, dead %v; want task 1, given up", x.Troubled, s.j.Task(1).Settlement)
	}
}

func TestATaskThatTooFewCanCheckIsExplained(t *testing.T) {
	s := newScript(t, 1, 1, func(c *JobConfig) { c.QueueTimeout = time.Minute })
	s.bids(1, 1)
	s.step(bidWindow)
	s.accept()
	s.answer(0, p1, "x")
	s.step(0)
	x := s.j.Explain(s.now)
	if !strings.Contains(x.Why, "task 0 has an answer, but too few distinct peers to check it") || len(x.Change) == 0 || !strings.Contains(x.Change[0], "more providers") {
		t.Errorf("why %q, changes %q", x.Why, x.Change)
	}
}

func TestSizesAreTold(t *testing.T) {
	for n, want := range map[uint64]string{0: "0 bytes", 1023: "1023 bytes", 1024: "1 KiB", 64 << 30: "64 GiB", 1<<30 + 1<<29: "1.5 GiB", 3 << 40: "3 TiB", 7_516_192_768: "7 GiB", 1 << 20 * 100: "100 MiB"} {
		if got := sizeText(n); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
}
