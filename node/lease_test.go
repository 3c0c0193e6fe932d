package node

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"github.com/mustermesh/muster/internal/content"
	"github.com/mustermesh/muster/node/api"
	"github.com/mustermesh/muster/node/overlay"
	"github.com/mustermesh/muster/node/requester"
	"github.com/mustermesh/muster/node/sandbox"
	"github.com/mustermesh/muster/p2p"
	"github.com/mustermesh/muster/proto"
	"github.com/mustermesh/muster/scheduler"
)

// An offer is a lease stream that a node opened to a lender, with what it said
// first.
type offer struct {
	*p2p.Stream
	award proto.Award
	tasks []proto.Assignment
	done  chan struct{} // closed by the test: the stream may end
}

// lender is a stranger that advertises, and hands every lease to the test.
type lender struct {
	*stranger
	offers   chan *offer
	attaches chan proto.Attach // are all declined
	engine   proto.Engine
}

func newLender(t testing.TB, n *running) *lender {
	t.Helper()
	l := &lender{offers: make(chan *offer, 64), attaches: make(chan proto.Attach, 64), engine: n.box.Engine()}
	l.stranger = hellosWith(t, n, func(e *stranger) []byte {
		a := advertOf(1)
		a.Engine = l.engine
		return proto.Hello{Advert: e.seal(proto.PurposeAdvert, proto.PeerID{}, a.Marshal())}.Marshal()
	}, func(e *stranger) {
		e.Serve(p2p.Service{Name: overlay.ProtoLease, MaxMessage: proto.MaxLeaseFrame, Deadline: overlay.LeaseSilence, MaxStreamsPerPeer: 64,
			Handle: func(ctx context.Context, s *p2p.Stream) error {
				f, err := overlay.RecvFrame(s)
				if err == nil && f.Attach != nil {
					l.attaches <- *f.Attach
					return s.Send(proto.Frame{Reply: &proto.AwardReply{Reason: proto.ReasonNoLease}}.Marshal())
				}
				if err != nil || f.Award == nil {
					return err
				}
				env, err := proto.OpenEnvelope(f.Award.Award, proto.Expect{Network: e.network, Purpose: proto.PurposeAward, Addressee: e.ID(), Now: time.Now()})
				if err != nil {
					return err
				}
				a, err := proto.ParseAward(env.Body)
				if err != nil {
					return err
				}
				o := &offer{Stream: s, award: a, tasks: f.Award.Tasks, done: make(chan struct{})}
				l.offers <- o
				select {
				case <-o.done:
				case <-ctx.Done():
				}
				return nil
			}})
	})
	l.meets(t, n)
	eventually(t, "the lender's advert", func() bool { _, ok := n.Directory.AdvertOf(l.ID()); return ok })
	return l
}

// bids offers to run a job.
func (l *lender) bids(t testing.TB, n *running, j *requester.Job) {
	t.Helper()
	b := proto.Bid{Job: j.ID(), Slots: 2, Engine: l.engine}
	if _, err := l.Call(testContext(t), n.Self, overlay.ProtoBid, proto.BidFrame{Bid: l.seal(proto.PurposeBid, n.Self, b.Marshal())}.Marshal(), 64); err != nil {
		t.Fatal(err)
	}
}

// gets the next lease.
func (l *lender) next(t testing.TB) *offer {
	t.Helper()
	select {
	case o := <-l.offers:
		t.Cleanup(func() {
			select {
			case <-o.done:
			default:
				close(o.done)
			}
		})
		return o
	case <-time.After(patience):
		t.Fatal("no lease")
		return nil
	}
}

func (o *offer) says(t testing.TB, fs ...proto.Frame) {
	t.Helper()
	for _, f := range fs {
		if err := o.Send(f.Marshal()); err != nil {
			t.Fatal(err)
		}
	}
}

func (o *offer) accepts(t testing.TB) *offer {
	t.Helper()
	o.says(t, proto.Frame{Reply: &proto.AwardReply{Accepted: true}})
	return o
}

// answer is one that the requester takes, for a test to spoil: an output of four
// empty entries, as noop leaves it.
func (l *lender) answer(t testing.TB, n *running, o *offer) (proto.Answer, []proto.Block) {
	t.Helper()
	ctx := t.Context()
	root := emptyOutput(t, n)
	var blocks []proto.Block
	for id, err := range n.content.Blocks(ctx, root.CID) {
		if err != nil {
			t.Fatal(err)
		}
		b, err := n.content.Get(ctx, id)
		if err != nil {
			t.Fatal(err)
		}
		blocks = append(blocks, proto.Block{CID: id, Data: bytes.Clone(b)})
		l.blocks.Put(ctx, id, b)
	}
	task := o.tasks[0]
	return proto.Answer{
		Execution: task.Execution, Lease: o.award.Lease, Epoch: o.award.Epoch, Digest: proto.TaskDigest(o.award.Program, task.Task),
		Output: root.CID, OutputSize: uint64(root.Size), Outcome: proto.OutcomeExited, Fuel: 1000, Engine: l.engine,
	}, blocks
}

// emptyOutput puts the output root of a guest that wrote nothing into a node's
// store.
func emptyOutput(t testing.TB, n *running) content.Node {
	t.Helper()
	var parts []content.Part
	for _, p := range [][2]string{{"status", "exited 0\n"}, {"stdout", ""}, {"stderr", ""}} {
		f, err := n.content.AddReader(t.Context(), strings.NewReader(p[1]))
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, content.Part{Path: p[0], Node: f})
	}
	dir, err := n.content.NewDir(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	root, err := n.content.BuildTree(t.Context(), append(parts, content.Part{Path: "out", Node: dir}))
	if err != nil {
		t.Fatal(err)
	}
	return root
}

func (l *lender) sealed(n *running, a proto.Answer, blocks ...proto.Block) proto.Frame {
	return proto.Frame{Answer: &proto.AnswerFrame{Answer: l.seal(proto.PurposeAnswer, n.Self, a.Marshal()), Blocks: blocks}}
}

// accepted is a job of one task that is taken on standing alone: nobody checks.
func unchecked(t testing.TB) *api.SubmitJobRequest {
	return &api.SubmitJobRequest{Job: small(t, "noop")}
}

func newRequesterNode(t testing.TB) *running {
	cfg := testConfig(t, randomNetwork())
	cfg.Roles = []string{RoleRequester}
	return startNode(t, cfg)
}

func TestAnHonestAnswerSettlesATask(t *testing.T) {
	n := newRequesterNode(t)
	l := newLender(t, n)
	j := submit(t, n.node, unchecked(t))
	l.bids(t, n, j)
	o := l.next(t).accepts(t)
	a, blocks := l.answer(t, n, o)
	o.says(t, l.sealed(n, a, blocks...))
	frameOf(t, o.Stream, func(f proto.Frame) bool { return f.Ack != nil && len(f.Ack.Receipt) == 0 })
	f := frameOf(t, o.Stream, func(f proto.Frame) bool { return f.Ack != nil && len(f.Ack.Receipt) > 0 })
	if env, err := proto.OpenEnvelope(f.Ack.Receipt, proto.Expect{Network: n.Network, Purpose: proto.PurposeReceipt, Addressee: l.ID(), Now: time.Now()}); err != nil || env.Signer != n.Self {
		t.Errorf("receipt: %v", err)
	}
	if s := ends(t, j); s.State != "completed" || s.Accepted != 1 || s.Verified != 0 {
		t.Errorf("job %s: %d accepted, %d verified; want completed, 1, 0: nobody checked", s.State, s.Accepted, s.Verified)
	}
}

// taken counts the records of leases that this node was lent.
func (n *running) taken(t testing.TB) (count int) {
	t.Helper()
	err := n.db.Scan([]byte("j/"), func(k, _ []byte) error {
		if bytes.Contains(k, []byte("/l/0/")) {
			count++
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return count
}

// A provider may die before it has read that a lease is over, and find the lease
// on its disk again.
func TestALeaseIsOverWhenItsProviderHasHeardItOut(t *testing.T) {
	for dies, want := range map[bool]int{false: 0, true: 1} {
		n := newRequesterNode(t)
		l := newLender(t, n)
		j := submit(t, n.node, unchecked(t))
		l.bids(t, n, j)
		o := l.next(t).accepts(t)
		l.answers(t, n, o)
		frameOf(t, o.Stream, func(f proto.Frame) bool { return f.Release })
		if !dies {
			o.says(t, proto.Frame{Reply: &proto.AwardReply{Reason: proto.ReasonNoLease}})
		}
		close(o.done)
		if s := ends(t, j); s.State != "completed" {
			t.Errorf("the job is %s", s.State)
		}
		eventually(t, "no lease is on record", func() bool { return n.taken(t) == 0 })
		if got := len(l.attaches); got != want {
			t.Errorf("dies %t: %d times told again, want %d", dies, got, want)
		}
	}
}

// TestAnAnswerThatDoesNotFitCountsForNothing: each costs the lease, or is passed
// over; none settles the task.
func TestAnAnswerThatDoesNotFitCountsForNothing(t *testing.T) {
	n := newRequesterNode(t)
	third := newStranger(t, n.Network, nil)
	for _, c := range []struct {
		name   string
		spoil  func(l *lender, a proto.Answer) proto.Frame
		strike bool
	}{
		{"garbage", func(*lender, proto.Answer) proto.Frame {
			return proto.Frame{Answer: &proto.AnswerFrame{Answer: []byte("x")}}
		}, true},
		{"signed by a third", func(_ *lender, a proto.Answer) proto.Frame {
			return proto.Frame{Answer: &proto.AnswerFrame{Answer: third.seal(proto.PurposeAnswer, n.Self, a.Marshal())}}
		}, true},
		{"for another requester", func(l *lender, a proto.Answer) proto.Frame {
			return proto.Frame{Answer: &proto.AnswerFrame{Answer: l.seal(proto.PurposeAnswer, third.ID(), a.Marshal())}}
		}, true},
		{"of another purpose", func(l *lender, a proto.Answer) proto.Frame {
			return proto.Frame{Answer: &proto.AnswerFrame{Answer: l.seal(proto.PurposeReceipt, n.Self, a.Marshal())}}
		}, true},
		{"of another task", func(l *lender, a proto.Answer) proto.Frame {
			a.Digest[0] ^= 1
			return l.sealed(n, a)
		}, true},
		{"of another lease", func(l *lender, a proto.Answer) proto.Frame {
			a.Lease[0] ^= 1
			return l.sealed(n, a)
		}, false},
		{"of an older epoch", func(l *lender, a proto.Answer) proto.Frame {
			a.Epoch--
			return l.sealed(n, a)
		}, false},
		{"of an execution that is not in flight", func(l *lender, a proto.Answer) proto.Frame {
			a.Execution[0] ^= 1
			return l.sealed(n, a)
		}, false},
		{"a frame out of turn", func(*lender, proto.Answer) proto.Frame {
			return proto.Frame{Reply: &proto.AwardReply{Accepted: true}}
		}, true},
		{"an award from the wrong side", func(*lender, proto.Answer) proto.Frame {
			return proto.Frame{Award: &proto.AwardFrame{Award: []byte{1}}}
		}, true},
	} {
		l := newLender(t, n)
		j := submit(t, n.node, unchecked(t))
		l.bids(t, n, j)
		o := l.next(t).accepts(t)
		a, blocks := l.answer(t, n, o)
		before := n.struck()
		o.says(t, c.spoil(l, a))
		if c.strike {
			if !cutOff(o.Stream) || n.struck() != before+1 {
				t.Errorf("an answer %s: not cut off, or %d breaches counted, want 1", c.name, n.struck()-before)
			}
		} else { // the true answer still counts
			_ = o.Send(l.sealed(n, a, blocks...).Marshal())
			if s := ends(t, j); s.Accepted != 1 || n.struck() != before {
				t.Errorf("an answer %s: %d accepted, %d breaches; want 1 by the true answer, 0", c.name, s.Accepted, n.struck()-before)
			}
		}
		if s := j.Summary(); c.strike && s.Accepted != 0 {
			t.Errorf("an answer %s settled the task", c.name)
		}
		if !j.Ended() {
			j.Cancel("the test is over")
			ends(t, j)
		}
		close(o.done)
		n.Net.Unblock(l.ID())
	}
}

func TestAnAnswerTwiceCountsOnce(t *testing.T) {
	n := newRequesterNode(t)
	l := newLender(t, n)
	req := unchecked(t)
	req.Job.Count = 2
	j := submit(t, n.node, req)
	l.bids(t, n, j)
	o := l.next(t).accepts(t)
	a, blocks := l.answer(t, n, o)
	o.says(t, l.sealed(n, a, blocks...), l.sealed(n, a, blocks...), l.sealed(n, a))
	eventually(t, "one task is accepted", func() bool { return j.Summary().Accepted == 1 })
	if s := j.Summary(); j.Ended() || s.Accepted != 1 {
		t.Errorf("job %s with %d accepted, want 1 of 2", s.State, s.Accepted)
	}
	j.Cancel("the test is over")
	if s := ends(t, j); s.State != "cancelled" {
		t.Errorf("state %s, want cancelled", s.State)
	}
}

// TestBlocksWithWrongIdsBesideAnAnswerCount: the output is then fetched.
func TestBlocksWithWrongIdsBesideAnAnswerCount(t *testing.T) {
	n := newRequesterNode(t)
	l := newLender(t, n)
	j := submit(t, n.node, unchecked(t))
	l.bids(t, n, j)
	o := l.next(t).accepts(t)
	a, blocks := l.answer(t, n, o)
	forged := proto.RawCID([]byte("forged"))
	o.says(t, l.sealed(n, a, append(blocks, proto.Block{CID: forged, Data: []byte("else")})...))
	eventually(t, "it counts", func() bool { return n.struck() == 1 })
	if has, err := n.content.Has(t.Context(), forged); has || err != nil {
		t.Errorf("the forged block is here: %v %v", has, err)
	}
	if s := ends(t, j); s.Accepted != 1 {
		t.Errorf("%s, %d accepted; want 1: the output itself is right", s.State, s.Accepted)
	}
}

// TestAnOutputThatIsNoResultDoesNotEndTheNode: whatever a provider names as its
// output, and nobody checks.
func TestAnOutputThatIsNoResultDoesNotEndTheNode(t *testing.T) {
	n := newRequesterNode(t)
	for _, c := range []struct {
		name string
		root func() (content.Node, error)
	}{
		{"a file", func() (content.Node, error) { return n.content.AddReader(t.Context(), bytes.NewReader([]byte("file"))) }},
		{"an empty directory", func() (content.Node, error) { return n.content.NewDir(t.Context()) }},
	} {
		for _, count := range []uint32{1, 2} {
			node, err := c.root()
			if err != nil {
				t.Fatal(err)
			}
			l := newLender(t, n)
			req := unchecked(t)
			req.Job.Count = count
			j := submit(t, n.node, req)
			l.bids(t, n, j)
			o := l.next(t).accepts(t)
			for _, task := range o.tasks {
				a, _ := l.answer(t, n, o)
				a.Execution, a.Digest = task.Execution, proto.TaskDigest(o.award.Program, task.Task)
				a.Output, a.OutputSize = node.CID, uint64(node.Size)
				o.says(t, l.sealed(n, a))
			}
			eventually(t, "the answers count as lost", func() bool {
				task := described(t, j).Tasks[0]
				return len(task.Executions) > 0 && task.Executions[0].State == string(scheduler.ExecLost)
			})
			if s := j.Summary(); s.Accepted != 0 {
				t.Errorf("%s: %d accepted, want none", c.name, s.Accepted)
			}
			j.Cancel("the test is over")
			ends(t, j)
		}
	}
	if s := ends(t, submit(t, n.node, &api.SubmitJobRequest{Job: small(t, "noop"), Local: true})); s.State != "completed" {
		t.Errorf("afterwards a job is %s, want completed", s.State)
	}
}

// TestJobContentOpensWithTheLeaseAndClosesWithIt: the whole way, over a job.
func TestJobContentOpensWithTheLeaseAndClosesWithIt(t *testing.T) {
	n := newRequesterNode(t)
	l, other := newLender(t, n), newStranger(t, n.Network, nil).meets(t, n)
	req := unchecked(t)
	req.Job.Inputs = []*api.Input{{Source: guest(t, "noop"), Target: "/in/x"}}
	req.Job.Private = true
	j := submit(t, n.node, req)
	input, code := j.Specification().Tasks[0].Input, j.Specification().Program.Code
	wantRefused(t, "before the lease", l.gets(t, n, input, nil))
	l.bids(t, n, j)
	o := l.next(t).accepts(t)
	wantServed(t, "input, with the lease", l.gets(t, n, input, nil))
	wantServed(t, "private program, with the lease", l.gets(t, n, code, nil))
	wantRefused(t, "specification", l.gets(t, n, specRoot(t, n, j), nil))
	wantRefused(t, "another peer", other.gets(t, n, input, nil))
	wantRefused(t, "private program to another peer", other.gets(t, n, code, nil))
	j.Cancel("enough")
	ends(t, j)
	close(o.done)
	wantRefused(t, "after the job", l.gets(t, n, input, nil))
	wantRefused(t, "private program after the job", l.gets(t, n, code, nil))
}

func TestAPublicProgramIsServedToAnybody(t *testing.T) {
	n := newRequesterNode(t)
	other := newStranger(t, n.Network, nil).meets(t, n)
	j := submit(t, n.node, unchecked(t))
	wantServed(t, "the program of a job that is not private", other.gets(t, n, j.Specification().Program.Code, nil))
	j.Cancel("enough")
	ends(t, j)
}

// TestAProviderWithoutSpaceForWordsLosesTheLease: one that never reads.
func TestAFailureIsTriedElsewhere(t *testing.T) {
	n := newRequesterNode(t)
	bad := newLender(t, n)
	j := submit(t, n.node, unchecked(t))
	bad.bids(t, n, j)
	o := bad.next(t).accepts(t)
	o.says(t, proto.Frame{Failure: &proto.Failure{Execution: o.tasks[0].Execution, Reason: proto.ReasonDisk, Detail: "full"}})
	good := newLender(t, n)
	good.bids(t, n, j)
	o = good.next(t).accepts(t)
	a, blocks := good.answer(t, n, o)
	o.says(t, good.sealed(n, a, blocks...))
	if s := ends(t, j); s.Accepted != 1 {
		t.Errorf("%s: %d accepted, want 1", s.State, s.Accepted)
	}
}

// TestAStrangersTaskCannotReadWhatIsNotItsOwners: a node that holds the private
// content of one requester does not let another's task have it by its id.
func TestAStrangersTaskCannotReadWhatIsNotItsOwners(t *testing.T) {
	n := startNode(t, testConfig(t, randomNetwork()))
	e := newStranger(t, n.Network, nil).meets(t, n)
	secret := n.hold(t, content.Use{Class: content.Job, Tag: sandbox.JobTag(proto.PeerID{7}, proto.JobID{7})})
	own := n.hold(t, content.Use{Class: content.Result, Tag: sandbox.JobTag(n.Self, proto.JobID{8}) + ":out"})
	for name, id := range map[string]proto.CID{"another requester's": secret, "the node's own": own} {
		a := e.award(t, "noop")
		job := newID()
		copy(a.Job[:], job[:])
		task := assignment(1)
		task.Task.Stdin = id
		s := e.leases(t, n, a, task)
		f := frameOf(t, s, func(f proto.Frame) bool { return isAnswer(f) || isFailure(f) })
		if f.Failure == nil || f.Failure.Reason != proto.ReasonInput {
			t.Errorf("%s content as standard input: answered (%+v), want a failure: input", name, f.Failure)
		}
		// As a part of something of its own that is said to be public code.
		dir, block := dirBlock(t, id)
		e.blocks.Put(t.Context(), dir, block)
		a.Lease, a.Epoch, a.Program.Code = proto.LeaseID(newID()), a.Epoch+1, dir
		s = e.leases(t, n, a, assignment(2))
		frameOf(t, s, func(f proto.Frame) bool { return isAnswer(f) || isFailure(f) })
		if err := e.gets(t, n, dir, nil); err == nil {
			t.Errorf("%s content: served as part of a stranger's program", name)
		}
	}
}

// dirBlock makes a directory that links to id, which need not be known.
func dirBlock(t testing.TB, id proto.CID) (proto.CID, []byte) {
	t.Helper()
	cfg := testConfig(t, "dirs")
	cfg.Roles = []string{RoleRequester}
	n, closeNode, err := open(t.Context(), cfg, testLog(t), Parts{}, true)
	if err != nil {
		t.Fatal(err)
	}
	defer closeNode()
	root, err := n.content.BuildTree(t.Context(), []content.Part{{Path: "x", Node: content.Node{CID: id, Size: 100}}})
	if err != nil {
		t.Fatal(err)
	}
	b, err := n.content.Get(t.Context(), root.CID)
	if err != nil {
		t.Fatal(err)
	}
	return root.CID, bytes.Clone(b)
}
