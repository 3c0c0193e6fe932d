package provider

import (
	"strings"
	"testing"
	"time"

	"github.com/mustermesh/muster/proto"
	"github.com/mustermesh/muster/scheduler"
)

var noon = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)

func refusedFor(reason proto.Reason, detail string, changes ...scheduler.Setting) Considered {
	return Considered{Time: noon, No: &scheduler.No{Reason: reason, Detail: detail}, Changes: changes}
}

func bidAgo(ago time.Duration) Considered {
	return Considered{Time: noon.Add(-ago), Bid: &proto.Bid{Price: 2e6, Slots: 1}, bid: noon.Add(-ago), Tasks: 9, MaxPrice: 5e6}
}

func setting(key, value string) scheduler.Setting {
	return scheduler.Setting{Key: key, Value: value, Text: "set " + value}
}

func TestEveryAnnouncementHasItsOutcome(t *testing.T) {
	won := refusedFor(proto.ReasonBusy, "full")
	won.Won = true
	for want, c := range map[Outcome]Considered{
		OutcomeRefused: refusedFor(proto.ReasonBusy, "full"), OutcomeUnreached: {Unreached: "no way"}, OutcomeWon: won,
		OutcomeLost: bidAgo(lostAfter + 1), OutcomeOpen: bidAgo(lostAfter),
	} {
		if got := c.Outcome(noon); got != want {
			t.Errorf("%+v: %s, want %s", c, got, want)
		}
		if detail := c.Detail(noon); (detail == "") != (want == OutcomeWon || want == OutcomeOpen) {
			t.Errorf("%s: detail %q", want, detail)
		}
	}
	if got := bidAgo(time.Minute).Detail(noon); !strings.Contains(got, "bid 2 credits for 1 slots") || !strings.Contains(got, "up to 5 for 9 tasks") {
		t.Errorf("a lost bid: %q; want our price and slots against the job's", got)
	}
}

func TestTheCountsAndReasonsAddUp(t *testing.T) {
	x := Explain([]Considered{
		refusedFor(proto.ReasonPrice, "asks 2; pays 1"), refusedFor(proto.ReasonPrice, "asks 2; pays 0.5"), refusedFor(proto.ReasonMemory, "a task needs more memory than is lent"),
		bidAgo(0), bidAgo(time.Minute), {Won: true, Ran: 7}, {Unreached: "no way"}, {Unreached: saysCrowded},
	}, noon)
	if x.Seen != 8 || x.Bids != 3 || x.Won != 1 || x.Lost != 1 || x.Open != 1 || x.Refused != 3 || x.Unreached != 2 || x.Ran != 7 {
		t.Errorf("counts %+v", x)
	}
	if len(x.Reasons) != 5 || x.Reasons[0] != (Count{"the job pays less than this node asks", 2}) {
		t.Errorf("reasons %v; want five, that of the price first", x.Reasons)
	}
	if !strings.Contains(x.Summary, "3 of 8") || !strings.Contains(x.Summary, "newcomer") {
		t.Errorf("summary %q; want the counts, and what is known of lost bids", x.Summary)
	}
	if x := Explain(nil, noon); x.Summary == "" || x.Seen != 0 || strings.Contains(x.Summary, "newcomer") {
		t.Errorf("nothing heard: %+v", x)
	}
}

func TestTheChangeThatWinsMostComesFirst(t *testing.T) {
	gib := func(n string) scheduler.Setting { return setting("lend.memory", n) }
	for _, c := range []struct {
		name    string
		refused []Considered
		want    []Count
	}{
		{"a larger size covers a smaller", []Considered{refusedFor(proto.ReasonMemory, "", gib("512MiB")), refusedFor(proto.ReasonMemory, "", gib("2GiB")), refusedFor(proto.ReasonMemory, "", gib("1GiB"))},
			[]Count{{"set 2GiB: lend.memory", 3}, {"set 1GiB: lend.memory", 2}, {"set 512MiB: lend.memory", 1}}},
		{"a lower price covers a higher", []Considered{refusedFor(proto.ReasonPrice, "", setting("price", "3")), refusedFor(proto.ReasonPrice, "", setting("price", "2")), refusedFor(proto.ReasonPrice, "", setting("price", "3"))},
			[]Count{{"set 2: price", 3}, {"set 3: price", 2}}},
		{"two settings cover what each would win", []Considered{refusedFor(proto.ReasonMemory, "", gib("1GiB"), setting("lend.cpu", "4")), refusedFor(proto.ReasonMemory, "", gib("1GiB"))},
			[]Count{{"set 1GiB: lend.memory, and set 4: lend.cpu", 2}, {"set 1GiB: lend.memory", 1}}},
		{"what covers no more than the smaller is left out", []Considered{refusedFor(proto.ReasonConstraint, "", setting("labels", "a=1")), refusedFor(proto.ReasonConstraint, "", setting("labels", "a=1"))},
			[]Count{{"set a=1: labels", 2}}},
		{"other words are another change", []Considered{refusedFor(proto.ReasonConstraint, "", setting("labels", "a=1")), refusedFor(proto.ReasonConstraint, "", setting("labels", "a=2"))},
			[]Count{{"set a=1: labels", 1}, {"set a=2: labels", 1}}},
		{"nothing that the owner can do", []Considered{refusedFor(proto.ReasonExecutor, "")}, nil},
	} {
		got := Explain(c.refused, noon).Changes
		if len(got) != len(c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
			continue
		}
		for i := range got {
			if got[i] != c.want[i] {
				t.Errorf("%s: %v, want %v", c.name, got, c.want)
				break
			}
		}
	}
}
