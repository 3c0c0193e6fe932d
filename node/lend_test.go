package node

import (
	"context"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/mustermesh/muster/node/api"
	"github.com/mustermesh/muster/node/overlay"
	"github.com/mustermesh/muster/p2p"
	"github.com/mustermesh/muster/proto"
	"github.com/mustermesh/muster/scheduler"
)

// An asker is a stranger that announces jobs, and hands what it hears to the
// test.
type asker struct {
	*stranger
	heard chan proto.BidFrame
}

func newAsker(t testing.TB, n *running, jobs ...proto.Announcement) *asker {
	t.Helper()
	k := &asker{heard: make(chan proto.BidFrame, 64)}
	k.stranger = hellosWith(t, n, func(e *stranger) []byte {
		var h proto.Hello
		for _, a := range jobs {
			h.Announcements = append(h.Announcements, e.seal(proto.PurposeAnnouncement, proto.PeerID{}, a.Marshal()))
		}
		return h.Marshal()
	}, func(e *stranger) {
		e.Serve(p2p.Service{Name: overlay.ProtoBid, MaxMessage: proto.MaxGossip, Deadline: overlay.BidTimeout, MaxStreamsPerPeer: 64,
			Handle: func(_ context.Context, s *p2p.Stream) error {
				b, err := s.Recv()
				if err != nil {
					return err
				}
				f, err := proto.ParseBidFrame(b)
				if err != nil {
					return err
				}
				k.heard <- f
				return s.Send([]byte{})
			}})
	})
	k.meets(t, n)
	return k
}

// next gives the next refusal, or bid.
func (k *asker) next(t testing.TB, n *running) (*proto.Refusal, *proto.Bid) {
	t.Helper()
	var f proto.BidFrame
	select {
	case f = <-k.heard:
	case <-time.After(patience):
		t.Fatal("the announcement is not answered")
	}
	purpose, b := proto.PurposeBid, f.Bid
	if len(b) == 0 {
		purpose, b = proto.PurposeRefusal, f.Refusal
	}
	env, err := proto.OpenEnvelope(b, proto.Expect{Network: n.Network, Purpose: purpose, Addressee: k.ID(), Now: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	if len(f.Bid) > 0 {
		bid, err := proto.ParseBid(env.Body)
		if err != nil {
			t.Fatal(err)
		}
		return nil, &bid
	}
	r, err := proto.ParseRefusal(env.Body)
	if err != nil {
		t.Fatal(err)
	}
	return &r, nil
}

func (k *asker) wantRefusal(t testing.TB, n *running, why proto.Reason) {
	t.Helper()
	if r, bid := k.next(t, n); r == nil || r.Reason != why {
		t.Fatalf("refused %+v, bid %+v; want refused: %s", r, bid, why)
	}
}

func (k *asker) wantBid(t testing.TB, n *running) *proto.Bid {
	t.Helper()
	r, bid := k.next(t, n)
	if bid == nil {
		t.Fatalf("refused: %+v; want a bid", r)
	}
	return bid
}

func (n *running) api() *server { return &server{n: n.node} }

func (n *running) sets(t testing.TB, change *api.Rules, fields ...string) *api.RulesResponse {
	t.Helper()
	r, err := n.api().Rules(t.Context(), connect.NewRequest(&api.RulesRequest{Change: change, Fields: fields}))
	if err != nil {
		t.Fatal(err)
	}
	return r.Msg
}

func (n *running) explains(t testing.TB) *api.ExplainProviderResponse {
	t.Helper()
	r, err := n.api().ExplainProvider(t.Context(), connect.NewRequest(&api.ExplainProviderRequest{}))
	if err != nil {
		t.Fatal(err)
	}
	return r.Msg
}

func (n *running) status(t testing.TB) *api.ProviderStatusResponse {
	t.Helper()
	r, err := n.api().ProviderStatus(t.Context(), connect.NewRequest(&api.ProviderStatusRequest{}))
	if err != nil {
		t.Fatal(err)
	}
	return r.Msg
}

func (n *running) drains(t testing.TB, req *api.DrainRequest) *api.DrainResponse {
	t.Helper()
	r, err := n.api().Drain(t.Context(), connect.NewRequest(req))
	if err != nil {
		t.Fatal(err)
	}
	return r.Msg
}

// TestTheChangeThatAnExplanationNamesGetsABid: said, done, and the requester
// hears of it without announcing again.
func TestTheChangeThatAnExplanationNamesGetsABid(t *testing.T) {
	cfg := testConfig(t, randomNetwork())
	cfg.Lend.Memory = 64 << 20
	n := startNode(t, cfg)
	a := announcementOf(1, 1)
	a.Needs.Memory = 100 << 20
	k := newAsker(t, n, a)
	k.wantRefusal(t, n, proto.ReasonMemory)
	var x *api.ExplainProviderResponse
	eventually(t, "the announcement is remembered", func() bool { x = n.explains(t); return x.Seen == 1 })
	if !x.Enabled || x.Bids != 0 || len(x.Change) != 1 || !strings.Contains(x.Change[0], "lend.memory") || x.Recent[0].Outcome != "refused" || x.Recent[0].Reason != "memory" {
		t.Fatalf("explained: %v; want one refusal for memory, and the change of lend.memory", x)
	}
	change := n.provider.Past(time.Time{})[0].Changes
	if len(change) != 1 || change[0].Key != "lend.memory" || change[0].Value != "100MiB" {
		t.Fatalf("changes %+v, want lend.memory of 100MiB", change)
	}
	n.sets(t, &api.Rules{Memory: 100 << 20}, "memory")
	k.wantBid(t, n)
	eventually(t, "the bid is remembered", func() bool { return n.explains(t).Bids == 1 })
	if x := n.explains(t); len(x.Change) != 0 || x.Recent[0].Outcome != "open" {
		t.Errorf("afterwards: %v; want an open bid, and nothing to change", x)
	}
	if got := n.advert().Offered.Memory; got != 100<<20 {
		t.Errorf("the advert offers %d bytes, want 100 MiB", got)
	}
}

func TestRulesChangeAllOrNothing(t *testing.T) {
	n := startNode(t, testConfig(t, randomNetwork()))
	before := n.sets(t, nil)
	_, err := n.api().Rules(t.Context(), connect.NewRequest(&api.RulesRequest{
		Change: &api.Rules{Price: 3, MaxTemperature: 5, Hours: []string{"someday"}}, Fields: []string{"price", "max_temperature", "hours", "wings"},
	}))
	if connect.CodeOf(err) != connect.CodeInvalidArgument {
		t.Fatalf("got %v, want an invalid argument", err)
	}
	for _, fault := range []string{"max_temperature", "someday", "wings"} {
		if !strings.Contains(err.Error(), fault) {
			t.Errorf("%v; want %s named", err, fault)
		}
	}
	if got := n.sets(t, nil); got.Rules.Price != before.Rules.Price || n.provider.Lending().Advert.Price != 0 {
		t.Errorf("the price is %v after a refused change", got.Rules.Price)
	}
	got := n.sets(t, &api.Rules{Price: 3, Slots: 1}, "price", "slots")
	if l := n.provider.Lending().Advert; got.Rules.Price != 3 || l.Price != credits(3) || l.Slots != 1 || !got.Lending {
		t.Errorf("price %v, advert %+v, lending %v; want 3 credits and one slot", got.Rules.Price, l, got.Lending)
	}
	n.sets(t, &api.Rules{}, "price", "slots", "memory")
	if l := n.provider.Lending().Advert; l.Price != 0 || l.Slots < 1 || l.Offered.Memory != min(DefaultConfig().Lend.Memory, n.print.MaxMemory*uint64(l.Slots)) {
		t.Errorf("without rules %+v is lent, want the default", l)
	}
}

// TestARuleHoldsBackAndLetsGo: what waits goes elsewhere, what runs goes on, and
// who was refused hears when that is over.
func TestARuleHoldsBackAndLetsGo(t *testing.T) {
	n := startNode(t, testConfig(t, randomNetwork()))
	e := newStranger(t, n.Network, nil).meets(t, n)
	s := e.leases(t, n, e.award(t, "spin"), assignment(1), assignment(2), assignment(3))
	frameOf(t, s, isStarted)
	frameOf(t, s, isStarted)
	n.host.Store(&scheduler.Host{CPUs: 2, BatteryKnown: true, OnBattery: true})
	n.provider.Look()
	if f := frameOf(t, s, isFailure).Failure; f.Reason != proto.ReasonPolicy || f.Execution != (proto.ExecutionID{3}) || strings.Contains(f.Detail, "battery") {
		t.Errorf("the task that waits: %+v; want it given back for the owner's policy, and not which", f)
	}
	st := n.status(t)
	if st.SlotsBusy != 2 || len(st.Guests) != 2 || !strings.Contains(st.HeldBack, "lend.on_battery") || n.advert().FreeSlots != 0 {
		t.Errorf("status %v, %d slots advertised; want two guests that go on, held back by lend.on_battery, no free slot", st, n.advert().FreeSlots)
	}
	if x := n.explains(t); x.Enabled || !strings.Contains(x.WhyNot, "lend.on_battery") {
		t.Errorf("explained: %v", x)
	}
	k := newAsker(t, n, announcementOf(1, 1))
	k.wantRefusal(t, n, proto.ReasonPolicy)
	for _, id := range []proto.ExecutionID{{1}, {2}} {
		if err := s.Send(proto.Frame{Cancel: &id}.Marshal()); err != nil {
			t.Fatal(err)
		}
		if f := frameOf(t, s, isFailure).Failure; f.Reason != proto.ReasonCancelled {
			t.Errorf("a task that ran: %+v, want cancelled by us alone", f)
		}
	}
	n.host.Store(&scheduler.Host{CPUs: 2, BatteryKnown: true})
	n.provider.Look()
	k.wantBid(t, n)
	if got := n.status(t); got.HeldBack != "" || got.WhyNot != "" {
		t.Errorf("status %v, want nothing that holds back", got)
	}
}

func TestAMachineThatIsFarTooHotStopsItsGuests(t *testing.T) {
	cfg := testConfig(t, randomNetwork())
	cfg.Rules.MaxTemperature = 80
	n := startNode(t, cfg)
	e := newStranger(t, n.Network, nil).meets(t, n)
	s := e.leases(t, n, e.award(t, "spin"), assignment(1))
	frameOf(t, s, isStarted)
	n.host.Store(&scheduler.Host{CPUs: 2, Temperature: 91, TemperatureKnown: true})
	n.provider.Look()
	if f := frameOf(t, s, isFailure).Failure; f.Reason != proto.ReasonPolicy || strings.Contains(f.Detail, "91") {
		t.Errorf("%+v; want stopped for the owner's policy, without saying more", f)
	}
}

func TestADrainLetsWhatRunsComeToItsEnd(t *testing.T) {
	n := startNode(t, testConfig(t, randomNetwork()))
	e := newStranger(t, n.Network, nil).meets(t, n)
	a := e.award(t, "spin")
	a.Slots = 1
	s := e.leases(t, n, a, assignment(1), assignment(2))
	frameOf(t, s, isStarted)
	got := n.drains(t, &api.DrainRequest{On: true, Wait: true, TimeoutMs: 1})
	if !got.Draining || got.Running != 1 || got.Queued != 0 {
		t.Errorf("%v; want one that still runs when waiting is over, and none that waits", got)
	}
	if f := frameOf(t, s, isFailure).Failure; f.Reason != proto.ReasonDraining || f.Execution != (proto.ExecutionID{2}) {
		t.Errorf("the task that waits: %+v, want given back: draining", f)
	}
	if st := n.status(t); !st.Draining || st.WhyNot == "" || n.advert().FreeSlots != 0 {
		t.Errorf("status %v; want draining", st)
	}
	drained := make(chan *api.DrainResponse, 1)
	go func() { drained <- n.drains(t, &api.DrainRequest{On: true, Wait: true}) }()
	id := proto.ExecutionID{1}
	if err := s.Send(proto.Frame{Cancel: &id}.Marshal()); err != nil {
		t.Fatal(err)
	}
	select {
	case got := <-drained:
		if got.Running != 0 {
			t.Errorf("%v; want nothing that runs", got)
		}
	case <-time.After(patience):
		t.Fatal("the wait for a drained node does not end")
	}
	if got := n.drains(t, &api.DrainRequest{}); got.Draining {
		t.Errorf("%v; want it to take work again", got)
	}
	s.Reset()
	stillServes(t, n)
}

// TestANodeThatIsToldToEndFinishesWhatRuns, and gives back what waits.
func TestANodeThatIsToldToEndFinishesWhatRuns(t *testing.T) {
	cfg := testConfig(t, randomNetwork())
	cfg.DrainTimeout = time.Hour
	n := startNode(t, cfg)
	e := newStranger(t, n.Network, nil).meets(t, n)
	a := e.award(t, "spin")
	a.Slots, a.Program.Timeout = 1, 1500*time.Millisecond
	s := e.leases(t, n, a, assignment(1), assignment(2))
	frameOf(t, s, isStarted)
	go n.stop()
	if f := frameOf(t, s, isFailure).Failure; f.Reason != proto.ReasonDraining || f.Execution != (proto.ExecutionID{2}) {
		t.Errorf("the task that waits: %+v, want given back: draining", f)
	}
	if f := frameOf(t, s, isFailure).Failure; f.Reason != proto.ReasonTimeout || f.Execution != (proto.ExecutionID{1}) {
		t.Errorf("the task that runs: %+v; want it to come to its end, at its time limit", f)
	}
	s.Reset()
	n.stop() // waits for the end
}

// TestWhatADrainDoesNotWaitForIsTakenUpByTheNextRun: here it runs anew.
func TestWhatADrainDoesNotWaitForIsTakenUpByTheNextRun(t *testing.T) {
	cfg := testConfig(t, randomNetwork())
	cfg.DrainTimeout = time.Millisecond
	n := startNode(t, cfg)
	e := newStranger(t, n.Network, nil).meets(t, n)
	a := e.award(t, "spin")
	a.Silence = time.Minute
	s := e.leases(t, n, a, assignment(1))
	frameOf(t, s, isStarted)
	n.stop()
	n = startNode(t, cfg)
	eventually(t, "the task runs again", func() bool {
		g := n.status(t).Guests
		return len(g) == 1 && g[0].Orphan && g[0].Requester == e.ID().String()
	})
}

func TestANodeWithoutGuestsLeavesAtOnce(t *testing.T) {
	cfg := testConfig(t, randomNetwork())
	cfg.DrainTimeout = time.Hour
	startNode(t, cfg).stop() // which fails where it takes long
}

func TestWhyANodeLendsNothing(t *testing.T) {
	cfg := testConfig(t, randomNetwork())
	cfg.Roles = []string{RoleRequester}
	n := startNode(t, cfg)
	if x := n.explains(t); x.Enabled || !strings.Contains(x.WhyNot, "role") {
		t.Errorf("without the role: %v", x)
	}
	if st := n.status(t); st.Enabled || st.WhyNot == "" {
		t.Errorf("without the role: %v", st)
	}
	if r := n.sets(t, &api.Rules{Price: 2}, "price"); r.Lending || r.Rules.Price != 2 {
		t.Errorf("a rule of a node that lends nothing: %v; want it checked and shown, for it may be saved", r)
	}
	if _, err := n.api().Drain(t.Context(), connect.NewRequest(&api.DrainRequest{})); err == nil {
		t.Error("it says that it takes work again")
	}
	cfg = testConfig(t, randomNetwork())
	cfg.Rules.Hours = []string{time.Now().AddDate(0, 0, 3).Format("Mon") + " 00:00-00:01"}
	n = startNode(t, cfg)
	if x := n.explains(t); x.Enabled || !strings.Contains(x.WhyNot, "lend.hours") || !strings.Contains(x.WhyNot, "until") {
		t.Errorf("outside its hours: %v; want the rule, and until when", x)
	}
}
