package node

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"testing"
	"time"

	"github.com/mustermesh/muster/internal/content"
	"github.com/mustermesh/muster/node/sandbox"
	"github.com/mustermesh/muster/proto"
)

// held puts some bytes of their own into a node's store under one use.
func (n *running) hold(t testing.TB, u content.Use) proto.CID {
	t.Helper()
	data := make([]byte, 100)
	rand.Read(data)
	node, err := n.content.AddReader(t.Context(), bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	if u.Class == 0 {
		return node.CID
	}
	if err := n.content.Record(t.Context(), node, u); err != nil {
		t.Fatal(err)
	}
	return node.CID
}

func wantServed(t *testing.T, what string, err error) {
	t.Helper()
	if err != nil {
		t.Errorf("%s: refused (%v), want served", what, err)
	}
}

func wantRefused(t *testing.T, what string, err error) {
	t.Helper()
	if err == nil {
		t.Errorf("%s: served, want refused", what)
	}
}

func TestPublicContentIsServedToAnyPeer(t *testing.T) {
	n := startNode(t, testConfig(t, randomNetwork()))
	public := n.hold(t, content.Use{Class: content.Public, Tag: "blob:" + n.Self.String() + ":"})
	unrecorded := n.hold(t, content.Use{})
	for range 2 {
		e := newStranger(t, n.Network, nil).meets(t, n)
		wantServed(t, "public", e.gets(t, n, public, nil))
		wantRefused(t, "content without a class", e.gets(t, n, unrecorded, nil))
	}
}

func TestJobContentIsServedToThoseWhoHoldALeaseOfThatJob(t *testing.T) {
	n := startNode(t, testConfig(t, randomNetwork()))
	e := newStranger(t, n.Network, nil).meets(t, n)
	other := newStranger(t, n.Network, nil).meets(t, n)
	job, another := proto.JobID{1}, proto.JobID{2}
	input := n.hold(t, content.Use{Class: content.Job, Tag: sandbox.JobTag(n.Self, job)})
	blob := n.hold(t, content.Use{Class: content.Job, Tag: "blob:" + n.Self.String() + ":"})

	wantRefused(t, "before the lease", e.gets(t, n, input, nil))
	n.lease(another, e.ID(), true)
	wantRefused(t, "with a lease of another job", e.gets(t, n, input, nil))
	n.lease(job, e.ID(), true)
	wantServed(t, "with a lease", e.gets(t, n, input, nil))
	wantRefused(t, "another peer", other.gets(t, n, input, nil))
	wantRefused(t, "a private blob of no job", e.gets(t, n, blob, nil))
	n.lease(job, e.ID(), false)
	wantRefused(t, "after the lease", e.gets(t, n, input, nil))
}

func TestALeaseOfSomebodyElsesJobOpensNothing(t *testing.T) {
	n := startNode(t, testConfig(t, randomNetwork()))
	e := newStranger(t, n.Network, nil).meets(t, n)
	requester := newStranger(t, n.Network, nil)
	job := proto.JobID{1}
	input := n.hold(t, content.Use{Class: content.Job, Tag: sandbox.JobTag(requester.ID(), job)})
	n.lease(job, e.ID(), true)
	wantRefused(t, "a lease here of the same id", e.gets(t, n, input, nil))
	n.lease(job, requester.ID(), true)
	wantRefused(t, "the job's own requester without a grant", requester.meets(t, n).gets(t, n, input, nil))
}

func TestAGrantOpensOneRootOfOneJobToOnePeerForAWhile(t *testing.T) {
	n := startNode(t, testConfig(t, randomNetwork()))
	asker := newStranger(t, n.Network, nil).meets(t, n)
	requester := newStranger(t, n.Network, nil)
	job := proto.JobID{1}
	input := n.hold(t, content.Use{Class: content.Job, Tag: sandbox.JobTag(requester.ID(), job)})
	result := n.hold(t, content.Use{Class: content.Result, Tag: sandbox.ResultTag(requester.ID(), proto.ExecutionID{1})})
	_, wrongKey, _ := ed25519.GenerateKey(nil)
	good := proto.Grant{Job: job, Root: input}

	for _, c := range []struct {
		name   string
		served bool
		key    ed25519.PrivateKey
		grant  proto.Grant
		spoil  func(*proto.Statement)
	}{
		{"as it should be", true, requester.key, good, func(*proto.Statement) {}},
		{"just expired, within what clocks may differ", true, requester.key, good, func(s *proto.Statement) { s.Issued, s.Expires = s.Issued.Add(-time.Minute), s.Issued }},
		{"expired", false, requester.key, good, func(s *proto.Statement) {
			s.Issued, s.Expires = s.Issued.Add(-time.Hour), s.Issued.Add(-3*time.Minute)
		}},
		{"from the future", false, requester.key, good, func(s *proto.Statement) {
			s.Issued, s.Expires = s.Issued.Add(time.Hour), s.Issued.Add(2*time.Hour)
		}},
		{"for ever", false, requester.key, good, func(s *proto.Statement) { s.Expires = s.Issued.Add(25 * time.Hour) }},
		{"for another asker", false, requester.key, good, func(s *proto.Statement) { s.Addressee = proto.PeerID{9} }},
		{"for everybody", false, requester.key, good, func(s *proto.Statement) { s.Addressee = proto.PeerID{} }},
		{"of another root", false, requester.key, proto.Grant{Job: job, Root: result}, func(*proto.Statement) {}},
		{"of another job", false, requester.key, proto.Grant{Job: proto.JobID{2}, Root: input}, func(*proto.Statement) {}},
		{"of another network", false, requester.key, good, func(s *proto.Statement) { s.Network = "elsewhere" }},
		{"of another purpose", false, requester.key, good, func(s *proto.Statement) { s.Purpose = proto.PurposeReceipt }},
		{"signed by the asker itself", false, asker.key, good, func(*proto.Statement) {}},
		{"signed by a third", false, wrongKey, good, func(*proto.Statement) {}},
	} {
		s := requester.statement(proto.PurposeGrant, asker.ID(), c.grant.Marshal())
		c.spoil(&s)
		if got := asker.gets(t, n, input, proto.Seal(c.key, s)) == nil; got != c.served {
			t.Errorf("a grant %s: served %v, want %v", c.name, got, c.served)
		}
	}
	wantRefused(t, "garbage for a grant", asker.gets(t, n, input, []byte("please")))
	wantRefused(t, "a grant of a result", asker.gets(t, n, result,
		requester.seal(proto.PurposeGrant, asker.ID(), proto.Grant{Job: job, Root: result}.Marshal())))
	third := newStranger(t, n.Network, nil).meets(t, n)
	wantRefused(t, "a grant shown by another", third.gets(t, n, input, requester.seal(proto.PurposeGrant, asker.ID(), good.Marshal())))
}

func TestAResultIsServedToItsRequesterAlone(t *testing.T) {
	n := startNode(t, testConfig(t, randomNetwork()))
	requester := newStranger(t, n.Network, nil).meets(t, n)
	other := newStranger(t, n.Network, nil).meets(t, n)
	result := n.hold(t, content.Use{Class: content.Result, Tag: sandbox.ResultTag(requester.ID(), proto.ExecutionID{1})})
	own := n.hold(t, content.Use{Class: content.Result, Tag: sandbox.JobTag(n.Self, proto.JobID{1}) + ":out"})
	wantServed(t, "the requester", requester.gets(t, n, result, nil))
	wantRefused(t, "another peer", other.gets(t, n, result, nil))
	n.lease(proto.JobID{1}, other.ID(), true)
	wantRefused(t, "an output of a job that the peer has a lease of", other.gets(t, n, own, nil))
}

func TestARefusalAndAnAbsenceLookAlikeOnTheWire(t *testing.T) {
	n := startNode(t, testConfig(t, randomNetwork()))
	e := newStranger(t, n.Network, nil).meets(t, n)
	refused := n.hold(t, content.Use{Class: content.Job, Tag: sandbox.JobTag(n.Self, proto.JobID{1})})
	ask := func(root proto.CID) []byte {
		req := proto.ContentRequest{Root: root, Mode: proto.ContentAll}
		b, err := e.Call(testContext(t), n.Self, "content/1.0.0", req.Marshal(), proto.MaxContentFrame)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	no, absent := ask(refused), ask(proto.RawCID([]byte("nobody has this")))
	if !bytes.Equal(no, absent) {
		t.Errorf("refused: %x, absent: %x, want the same", no, absent)
	}
	if f, err := proto.ParseContentFrame(absent); err != nil || f.End != proto.ContentNotFound {
		t.Errorf("absent: %v %v, want %s", f.End, err, proto.ContentNotFound)
	}
}
