package proto

import (
	"strings"
	"testing"
	"time"

	"github.com/mustermesh/muster/proto/wire"
)

func TestParseAnnouncementRefuses(t *testing.T) {
	type W = wire.Announcement
	checkRefusals(t, make1[Announcement](newMaker(1)).Marshal(), ParseAnnouncement, merge(mutations[W]{
		"no tasks":                   func(w *W) { w.Tasks = 0 },
		"100,001 tasks":              func(w *W) { w.Tasks = MaxTasks + 1 },
		"four thousand million":      func(w *W) { w.Tasks = 1<<32 - 1 },
		"100,001 bids wanted":        func(w *W) { w.BidsWanted = MaxTasks + 1 },
		"a price over 2 to 53":       func(w *W) { w.MaxPrice = maxCredits + 1 },
		"a program over 1 PiB":       func(w *W) { w.ProgramSize = maxBytes + 1 },
		"a program without an id":    func(w *W) { w.Program = nil },
		"a price as high as numbers": func(w *W) { w.MaxPrice = 1<<64 - 1 },
	}, fixed("a job id", func(w *W) *[]byte { return &w.Job }),
		cids(func(w *W) *[]byte { return &w.Program }),
		word("an executor", func(w *W) *string { return &w.Executor }),
		word("a profile", func(w *W) *string { return &w.Profile }),
		resources(func(w *W) **wire.Resources { return &w.Needs }),
		constraints(func(w *W) *[]string { return &w.Constraints }),
		addrs(func(w *W) *[]string { return &w.Addrs })))
}

func TestParseAdvertRefuses(t *testing.T) {
	type W = wire.Advert
	checkRefusals(t, make1[Advert](newMaker(1)).Marshal(), ParseAdvert, merge(mutations[W]{
		"4097 slots":                 func(w *W) { w.Slots = MaxSlots + 1 },
		"more slots free than there": func(w *W) { w.FreeSlots = w.Slots + 1 },
		"a price over 2 to 53":       func(w *W) { w.Price = maxCredits + 1 },
	}, word("an executor", func(w *W) *string { return &w.Executor }),
		word("a profile", func(w *W) *string { return &w.Profile }),
		word("an isolation level", func(w *W) *string { return &w.Isolation }),
		word("a version", func(w *W) *string { return &w.Version }),
		engine(func(w *W) **wire.Engine { return &w.Engine }),
		labels(func(w *W) *[]*wire.Label { return &w.Labels }),
		addrs(func(w *W) *[]string { return &w.Addrs }),
		resources(func(w *W) **wire.Resources { return &w.Offered })))
	checkRefusals(t, make1[Advert](newMaker(1)).Marshal(), ParseAdvert, resources(func(w *W) **wire.Resources { return &w.Free }))
}

func TestParseBidRefuses(t *testing.T) {
	type W = wire.Bid
	checkRefusals(t, make1[Bid](newMaker(1)).Marshal(), ParseBid, merge(mutations[W]{
		"no slots":               func(w *W) { w.Slots = 0 },
		"4097 slots":             func(w *W) { w.Slots = MaxSlots + 1 },
		"a price over 2 to 53":   func(w *W) { w.Price = maxCredits + 1 },
		"a start after 31 days":  func(w *W) { w.StartAfter = 31 * 24 * 3600 * 1000 },
		"a start as late as may": func(w *W) { w.StartAfter = 1<<32 - 1 },
	}, fixed("a job id", func(w *W) *[]byte { return &w.Job }), engine(func(w *W) **wire.Engine { return &w.Engine })))
}

func TestABidThatStartsLateIsClipped(t *testing.T) {
	for _, start := range []time.Duration{-1, 1 << 62} {
		got, err := ParseBid(Bid{Slots: 1, StartAfter: start}.Marshal())
		if err != nil || got.StartAfter < 0 || got.StartAfter > MaxTimeout {
			t.Errorf("%s: got %s, %v", start, got.StartAfter, err)
		}
	}
}

func TestParseRefusalRefuses(t *testing.T) {
	type W = wire.Refusal
	valid := make1[Refusal](newMaker(1))
	checkRefusals(t, valid.Marshal(), ParseRefusal, merge(mutations[W]{
		"a detail of 513 bytes": func(w *W) { w.Detail = strings.Repeat("d", maxDetail+1) },
	}, fixed("a job id", func(w *W) *[]byte { return &w.Job })))
}

func TestAReasonOfALaterVersionIsOther(t *testing.T) {
	for _, n := range []Reason{reasonEnd, 1<<32 - 1} {
		r, err := ParseRefusal(Refusal{Reason: n}.Marshal())
		if err != nil || r.Reason != ReasonOther {
			t.Errorf("reason %d: got %s, %v", uint32(n), r.Reason, err)
		}
		f, err := ParseFrame(Frame{Failure: &Failure{Reason: n}}.Marshal())
		if err != nil || f.Failure.Reason != ReasonOther {
			t.Errorf("reason %d: got %+v, %v", uint32(n), f.Failure, err)
		}
	}
	seen := map[string]bool{}
	for r := ReasonOther; r < reasonEnd; r++ {
		seen[r.String()] = true
	}
	if len(seen) != int(reasonEnd) {
		t.Errorf("%d reasons have %d names", reasonEnd, len(seen))
	}
}

func TestParseHelloRefuses(t *testing.T) {
	type W = wire.HelloReply
	checkRefusals(t, make1[Hello](newMaker(1)).Marshal(), ParseHello, mutations[W]{
		"257 announcements":       func(w *W) { w.Announcements = make([][]byte, MaxHello+1) },
		"an advert of 64 KiB":     func(w *W) { w.Advert = make([]byte, MaxHelloBytes) },
		"announcements of 64 KiB": func(w *W) { w.Announcements = [][]byte{make([]byte, MaxHelloBytes)} },
	})
}

func TestParseBidFrameRefuses(t *testing.T) {
	type W = wire.BidFrame
	checkRefusals(t, BidFrame{Bid: []byte("b")}.Marshal(), ParseBidFrame, mutations[W]{
		"neither bid nor refusal": func(w *W) { w.Kind = nil },
		"an empty bid":            func(w *W) { w.Kind = &wire.BidFrame_Bid{} },
		"an empty refusal":        func(w *W) { w.Kind = &wire.BidFrame_Refusal{} },
	})
}
