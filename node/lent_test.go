package node

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/mustermesh/muster/node/overlay"
	"github.com/mustermesh/muster/p2p"
	"github.com/mustermesh/muster/proto"
)

// program is one that a stranger serves, as an award has it.
func (e *stranger) program(t testing.TB, name string) proto.Program {
	t.Helper()
	code := guestBytes(t, name)
	return proto.Program{
		Executor: proto.ExecutorWASM, Profile: proto.ProfileWASM, Code: e.add(code), CodeSize: uint64(len(code)),
		Resources: proto.Resources{CPU: 1000, Memory: 16 << 20, Disk: 4 << 20}, Fuel: 1 << 50, Timeout: 20 * time.Second,
	}
}

func (e *stranger) award(t testing.TB, name string) proto.Award {
	return proto.Award{Job: proto.JobID{1}, Lease: proto.LeaseID(newID()), Epoch: 1, Slots: 2, Grace: time.Minute, Program: e.program(t, name)}
}

// opens opens a lease stream and says the first word.
func (e *stranger) opens(t testing.TB, n *running, first []byte) *p2p.Stream {
	t.Helper()
	s, err := e.OpenStream(testContext(t), n.Self, overlay.ProtoLease, proto.MaxLeaseFrame)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Reset)
	if err := s.Send(first); err != nil {
		t.Fatal(err)
	}
	return s
}

// leases takes a lease that the node must accept.
func (e *stranger) leases(t testing.TB, n *running, a proto.Award, tasks ...proto.Assignment) *p2p.Stream {
	t.Helper()
	s := e.opens(t, n, proto.Frame{Award: &proto.AwardFrame{Award: e.seal(proto.PurposeAward, n.Self, a.Marshal()), Tasks: tasks}}.Marshal())
	f, err := overlay.RecvFrame(s)
	if err != nil || f.Reply == nil || !f.Reply.Accepted {
		t.Fatalf("reply: %+v, err %v, want accepted", f.Reply, err)
	}
	return s
}

func assignment(id byte) proto.Assignment {
	return proto.Assignment{Execution: proto.ExecutionID{id}, Task: proto.Task{Count: 1}}
}

// frameOf reads frames until one is of the kind wanted.
func frameOf(t testing.TB, s *p2p.Stream, want func(proto.Frame) bool) proto.Frame {
	t.Helper()
	for {
		f, err := overlay.RecvFrame(s)
		if err != nil {
			t.Fatalf("lease stream: %v", err)
		}
		if want(f) {
			return f
		}
	}
}

func isAnswer(f proto.Frame) bool  { return f.Answer != nil }
func isFailure(f proto.Frame) bool { return f.Failure != nil }
func isStarted(f proto.Frame) bool { return f.Started != nil }

// cutOff tells whether a stream ends without another frame but those that say
// nothing.
func cutOff(s *p2p.Stream) bool {
	for {
		f, err := overlay.RecvFrame(s)
		if err != nil {
			return true
		}
		if !f.Ping && !f.Release {
			return false
		}
	}
}

// struck tells how many breaches a node has counted.
func (n *running) struck() uint64 { return n.Net.Stats().Misbehaved }

// stillServes takes a lease as an honest requester and has a task run.
func stillServes(t testing.TB, n *running) {
	t.Helper()
	e := newStranger(t, n.Network, nil).meets(t, n)
	s := e.leases(t, n, e.award(t, "noop"), assignment(1))
	f := frameOf(t, s, func(f proto.Frame) bool { return f.Answer != nil || f.Failure != nil })
	if f.Answer == nil {
		t.Errorf("an honest task failed: %+v", f.Failure)
	}
}

func TestAProviderAnswersAnHonestLease(t *testing.T) {
	n := startNode(t, testConfig(t, randomNetwork()))
	e := newStranger(t, n.Network, nil).meets(t, n)
	a := e.award(t, "noop")
	s := e.leases(t, n, a, assignment(7))
	f := frameOf(t, s, isAnswer)
	env, err := proto.OpenEnvelope(f.Answer.Answer, proto.Expect{Network: n.Network, Purpose: proto.PurposeAnswer, Addressee: e.ID(), Now: time.Now()})
	if err != nil || env.Signer != n.Self {
		t.Fatalf("answer: signer %s, err %v", env.Signer, err)
	}
	answer, err := proto.ParseAnswer(env.Body)
	if err != nil || answer.Lease != a.Lease || answer.Epoch != a.Epoch || answer.Execution != (proto.ExecutionID{7}) {
		t.Errorf("answer %+v, err %v", answer, err)
	}
	if want := proto.TaskDigest(a.Program, proto.Task{Count: 1}); answer.Digest != want {
		t.Errorf("digest %s, want %s", answer.Digest, want)
	}
	if err := e.gets(t, n, answer.Output, nil); err != nil {
		t.Errorf("the requester cannot have its output: %v", err)
	}
}

// TestABadFirstWordEndsALeaseStreamAndCounts: what a stranger can say first.
func TestABadFirstWordEndsALeaseStreamAndCounts(t *testing.T) {
	n := startNode(t, testConfig(t, randomNetwork()))
	spoiled := func(spoil func(*proto.Statement)) func(e *stranger) []byte {
		return func(e *stranger) []byte {
			s := e.statement(proto.PurposeAward, n.Self, e.award(t, "noop").Marshal())
			spoil(&s)
			return proto.Frame{Award: &proto.AwardFrame{Award: proto.Seal(e.key, s)}}.Marshal()
		}
	}
	victim := newStranger(t, n.Network, nil)
	for _, c := range []struct {
		name  string
		first func(e *stranger) []byte
	}{
		{"garbage", func(*stranger) []byte { return []byte("\xff\xff\xff garbage") }},
		{"an empty message", func(*stranger) []byte { return nil }},
		{"a frame that is no award", func(*stranger) []byte { return proto.Frame{Ping: true}.Marshal() }},
		{"a truncated award", func(e *stranger) []byte {
			b := e.seal(proto.PurposeAward, n.Self, e.award(t, "noop").Marshal())
			return proto.Frame{Award: &proto.AwardFrame{Award: b[:len(b)/2]}}.Marshal()
		}},
		{"an award for another node", spoiled(func(s *proto.Statement) { s.Addressee = proto.PeerID{3} })},
		{"an award of another network", spoiled(func(s *proto.Statement) { s.Network = "elsewhere" })},
		{"a bid in place of an award", spoiled(func(s *proto.Statement) { s.Purpose = proto.PurposeBid })},
		{"an award that makes no sense", spoiled(func(s *proto.Statement) { s.Body = []byte{1, 2, 3} })},
		{"an award that lives for ever", spoiled(func(s *proto.Statement) { s.Expires = s.Issued.Add(48 * time.Hour) })},
		{"an award that somebody else signed", func(e *stranger) []byte {
			b := victim.seal(proto.PurposeAward, n.Self, e.award(t, "noop").Marshal())
			return proto.Frame{Award: &proto.AwardFrame{Award: b}}.Marshal()
		}},
		{"an award with a bent signature", func(e *stranger) []byte {
			b := e.seal(proto.PurposeAward, n.Self, e.award(t, "noop").Marshal())
			b[bytes.Index(b, e.key[32:])+40] ^= 1
			return proto.Frame{Award: &proto.AwardFrame{Award: b}}.Marshal()
		}},
	} {
		e := newStranger(t, n.Network, nil).meets(t, n)
		before := n.struck()
		s := e.opens(t, n, c.first(e))
		if !cutOff(s) {
			t.Errorf("%s: answered, want cut off", c.name)
		}
		if n.struck() != before+1 {
			t.Errorf("%s: %d breaches counted, want 1", c.name, n.struck()-before)
		}
	}
	stillServes(t, n)
}

func TestAnAwardFromAClockTooFarOffIsDeclinedWithoutBlame(t *testing.T) {
	n := startNode(t, testConfig(t, randomNetwork()))
	for _, off := range []time.Duration{-10 * time.Minute, 10 * time.Minute} {
		e := newStranger(t, n.Network, nil).meets(t, n)
		s := e.statement(proto.PurposeAward, n.Self, e.award(t, "noop").Marshal())
		s.Issued, s.Expires = s.Issued.Add(off), s.Expires.Add(off)
		stream := e.opens(t, n, proto.Frame{Award: &proto.AwardFrame{Award: proto.Seal(e.key, s)}}.Marshal())
		f, err := overlay.RecvFrame(stream)
		if err != nil || f.Reply == nil || f.Reply.Accepted || !strings.Contains(f.Reply.Detail, "clock") {
			t.Errorf("off by %s: reply %+v, err %v, want declined with a word about the clock", off, f.Reply, err)
		}
		if n.struck() != 0 {
			t.Errorf("off by %s: blamed", off)
		}
	}
}

func TestAnOversizeLeaseFrameIsNotRead(t *testing.T) {
	n := startNode(t, testConfig(t, randomNetwork()))
	e := newStranger(t, n.Network, nil).meets(t, n)
	s, err := e.OpenStream(testContext(t), n.Self, overlay.ProtoLease, proto.MaxLeaseFrame)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Reset()
	_ = s.Send(make([]byte, proto.MaxLeaseFrame+1)) // may be cut off while it is on its way
	if !cutOff(s) {
		t.Error("answered, want cut off")
	}
	stillServes(t, n)
}

func TestAnAwardIsNoUseToThePeerThatReplaysIt(t *testing.T) {
	n := startNode(t, testConfig(t, randomNetwork()))
	e := newStranger(t, n.Network, nil).meets(t, n)
	thief := newStranger(t, n.Network, nil).meets(t, n)
	a := e.award(t, "noop")
	envelope := proto.Frame{Award: &proto.AwardFrame{Award: e.seal(proto.PurposeAward, n.Self, a.Marshal())}}.Marshal()
	if !cutOff(thief.opens(t, n, envelope)) || n.struck() != 1 {
		t.Errorf("a stolen award was answered, or not counted (%d)", n.struck())
	}
	first := e.opens(t, n, envelope)
	if f, err := overlay.RecvFrame(first); err != nil || f.Reply == nil || !f.Reply.Accepted {
		t.Fatalf("the award itself: %+v %v", f.Reply, err)
	}
	if f, err := overlay.RecvFrame(e.opens(t, n, envelope)); err != nil || f.Reply == nil || f.Reply.Accepted || f.Reply.Reason != proto.ReasonNoLease {
		t.Errorf("the same award twice: %+v %v, want declined: no lease", f.Reply, err)
	}
	newer := a
	newer.Lease, newer.Epoch = proto.LeaseID{2}, 2
	e.leases(t, n, newer)
	stale := proto.Frame{Award: &proto.AwardFrame{Award: e.seal(proto.PurposeAward, n.Self, proto.Award{
		Job: a.Job, Lease: proto.LeaseID{3}, Epoch: 1, Slots: 1, Program: a.Program,
	}.Marshal())}}.Marshal()
	if f, err := overlay.RecvFrame(e.opens(t, n, stale)); err != nil || f.Reply == nil || f.Reply.Reason != proto.ReasonNoLease {
		t.Errorf("an older epoch: %+v %v, want declined: no lease", f.Reply, err)
	}
}

func TestFramesOutOfTurnEndALease(t *testing.T) {
	n := startNode(t, testConfig(t, randomNetwork()))
	id := proto.ExecutionID{1}
	for name, frame := range map[string][]byte{
		"a second award": proto.Frame{Award: &proto.AwardFrame{Award: []byte{1}}}.Marshal(),
		"a reply":        proto.Frame{Reply: &proto.AwardReply{Accepted: true}}.Marshal(),
		"an answer":      proto.Frame{Answer: &proto.AnswerFrame{Answer: []byte{1}}}.Marshal(),
		"a failure":      proto.Frame{Failure: &proto.Failure{Execution: id}}.Marshal(),
		"started":        proto.Frame{Started: &id}.Marshal(),
		"garbage":        []byte("\xff\xff"),
		"a task too far": proto.Frame{Task: &proto.Assignment{Execution: id, Task: proto.Task{Index: 5, Count: 1}}}.Marshal(),
	} {
		e := newStranger(t, n.Network, nil).meets(t, n)
		s := e.leases(t, n, e.award(t, "noop"))
		before := n.struck()
		if err := s.Send(frame); err != nil {
			t.Fatal(err)
		}
		if !cutOff(s) || n.struck() != before+1 {
			t.Errorf("%s: not cut off, or %d breaches counted, want 1", name, n.struck()-before)
		}
	}
	eventually(t, "all leases are gone", func() bool { return n.leaseCount() == 0 })
}

func (n *running) leaseCount() int {
	return n.provider.Stats().Leases
}

func (n *running) busy() int {
	s := n.provider.Stats()
	return s.Busy + s.Queued
}

// TestOneExecutionTwiceDoesNotEndTheNode: a requester names two tasks alike.
func TestOneExecutionTwiceDoesNotEndTheNode(t *testing.T) {
	n := startNode(t, testConfig(t, randomNetwork()))
	e := newStranger(t, n.Network, nil).meets(t, n)
	s := e.leases(t, n, e.award(t, "noop"), assignment(1), assignment(1), assignment(1))
	eventually(t, "the slots are free again", func() bool { s := n.provider.Stats(); return s.Done+s.Failed > 0 && s.Busy+s.Queued == 0 })
	s.Reset()
	stillServes(t, n)
}

func TestReceiptsThatFitNothingAreCountedOrPassedOver(t *testing.T) {
	cfg := testConfig(t, randomNetwork())
	cfg.Price = 1
	n := startNode(t, cfg)
	e := newStranger(t, n.Network, nil).meets(t, n)
	a := e.award(t, "noop")
	a.Price = credits(1)
	s := e.leases(t, n, a, assignment(1))
	f := frameOf(t, s, isAnswer)
	env, err := proto.OpenEnvelope(f.Answer.Answer, proto.Expect{Network: n.Network, Purpose: proto.PurposeAnswer, Addressee: e.ID(), Now: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	answer, err := proto.ParseAnswer(env.Body)
	if err != nil {
		t.Fatal(err)
	}
	receipt := func(id byte, amount proto.Credits) proto.Receipt {
		return proto.Receipt{Answer: env.Hash, Job: a.Job, Execution: proto.ExecutionID{id}, Digest: answer.Digest, Output: answer.Output, Amount: amount}
	}
	ack := func(execution byte, r []byte) {
		if err := s.Send(proto.Frame{Ack: &proto.Ack{Execution: proto.ExecutionID{execution}, Receipt: r}}.Marshal()); err != nil {
			t.Fatal(err)
		}
	}
	ack(9, e.seal(proto.PurposeReceipt, n.Self, receipt(9, 1000).Marshal())) // an execution that never was
	ack(1, nil)
	eventually(t, "both were read", func() bool { return n.Net.Stats().Protocols[overlay.ProtoLease].MessagesIn >= 3 })
	if got := n.acct.Owed(e.ID()); got != 0 {
		t.Errorf("a receipt for nothing counts %d", got)
	}
	bad := 0
	for _, r := range [][]byte{
		[]byte("garbage"), e.seal(proto.PurposeReceipt, n.Self, []byte{1, 2}),
		e.seal(proto.PurposeReceipt, n.Self, receipt(2, 1).Marshal()), // of another execution than the frame says
	} {
		ack(1, r)
		bad++
		eventually(t, "a bad receipt counts", func() bool { return n.struck() == uint64(bad) })
	}
	ack(1, e.seal(proto.PurposeReceipt, n.Self, receipt(1, 1).Marshal()))
	eventually(t, "the output is no longer pinned", func() bool { return len(n.pins(t, "result:")) == 0 })
	ack(1, e.seal(proto.PurposeReceipt, n.Self, receipt(1, 1).Marshal())) // twice
	s.Reset()
	eventually(t, "the lease is over", func() bool { return n.leaseCount() == 0 })
	if got := n.acct.Owed(e.ID()); got > 1 {
		t.Errorf("owed %d, want at most 1: the receipt counts once", got)
	}
}

func (n *running) pins(t testing.TB, prefix string) (tags []string) {
	t.Helper()
	pins, err := n.content.Pins()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pins {
		if strings.HasPrefix(p.Tag, prefix) {
			tags = append(tags, p.Tag)
		}
	}
	return tags
}

func TestOneRequesterCannotHaveAllLeases(t *testing.T) {
	n := startNode(t, testConfig(t, randomNetwork()))
	e := newStranger(t, n.Network, nil).meets(t, n)
	accepted, declined, cut := 0, 0, 0
	for range 70 {
		a := e.award(t, "noop")
		s := e.opens(t, n, proto.Frame{Award: &proto.AwardFrame{Award: e.seal(proto.PurposeAward, n.Self, a.Marshal())}}.Marshal())
		switch f, err := overlay.RecvFrame(s); {
		case err != nil:
			cut++
		case f.Reply != nil && f.Reply.Accepted:
			accepted++
		default:
			declined++
		}
	}
	if accepted > 64 || accepted == 0 || cut+declined < 6 {
		t.Errorf("%d accepted, %d declined, %d cut off; want at most 64 accepted", accepted, declined, cut)
	}
	stillServes(t, n)
}

func TestARequesterThatIsGoneFreesItsSlots(t *testing.T) {
	n := startNode(t, testConfig(t, randomNetwork()))
	e := newStranger(t, n.Network, nil).meets(t, n)
	s := e.leases(t, n, e.award(t, "spin"), assignment(1), assignment(2), assignment(3))
	frameOf(t, s, isStarted)
	frameOf(t, s, isStarted)
	if n.busy() != 3 {
		t.Errorf("%d tasks, want 3", n.busy())
	}
	s.Reset()
	eventually(t, "slots are free", func() bool { return n.busy() == 0 && n.leaseCount() == 0 })
	stillServes(t, n)
}

func TestACancelledExecutionStopsAndFreesItsSlot(t *testing.T) {
	n := startNode(t, testConfig(t, randomNetwork()))
	e := newStranger(t, n.Network, nil).meets(t, n)
	s := e.leases(t, n, e.award(t, "spin"), assignment(1))
	frameOf(t, s, isStarted)
	id := proto.ExecutionID{1}
	if err := s.Send(proto.Frame{Cancel: &id}.Marshal()); err != nil {
		t.Fatal(err)
	}
	if f := frameOf(t, s, isFailure); f.Failure.Reason != proto.ReasonCancelled {
		t.Errorf("reason %s, want %s", f.Failure.Reason, proto.ReasonCancelled)
	}
	eventually(t, "the slot is free", func() bool { return n.busy() == 0 })
}

// TestAnIdleLeaseEndsEvenIfItsRequesterHoldsOn: pings alone keep nothing.
func TestAnIdleLeaseEndsEvenIfItsRequesterHoldsOn(t *testing.T) {
	n := startNode(t, testConfig(t, randomNetwork()))
	e := newStranger(t, n.Network, nil).meets(t, n)
	s := e.leases(t, n, e.award(t, "noop"))
	frameOf(t, s, func(f proto.Frame) bool { return f.Release })
	eventually(t, "the lease is gone", func() bool {
		_ = s.Send(proto.Frame{Ping: true}.Marshal())
		return n.leaseCount() == 0
	})
}

func TestOutputsStayForTheGraceAndAreThenUnpinned(t *testing.T) {
	n := startNode(t, testConfig(t, randomNetwork()))
	e := newStranger(t, n.Network, nil).meets(t, n)
	s := e.leases(t, n, e.award(t, "noop"), assignment(1))
	frameOf(t, s, isAnswer)
	s.Reset()
	eventually(t, "the lease is over", func() bool { return n.leaseCount() == 0 })
	n.provider.Sweep(t.Context())
	if got := n.pins(t, "result:"); len(got) != 1 {
		t.Errorf("within the grace %d outputs are pinned, want 1", len(got))
	}
	n.skew.Store(int64(2 * time.Minute))
	n.provider.Sweep(t.Context())
	if got := n.pins(t, "result:"); len(got) != 0 {
		t.Errorf("after the grace %d outputs are pinned, want none", len(got))
	}
}
