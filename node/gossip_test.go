package node

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/mustermesh/muster/node/overlay"
	"github.com/mustermesh/muster/p2p"
	"github.com/mustermesh/muster/proto"
)

func announcementOf(job byte, sequence uint64) proto.Announcement {
	return proto.Announcement{
		Job: proto.JobID{job}, Executor: proto.ExecutorWASM, Profile: proto.ProfileWASM,
		Needs: proto.Resources{CPU: 1000, Memory: 1 << 20, Disk: 1 << 20}, Program: proto.RawCID([]byte{job}), ProgramSize: 1,
		Tasks: 1, BidsWanted: 1, Sequence: sequence,
	}
}

func advertOf(sequence uint64) proto.Advert {
	return proto.Advert{
		Executor: proto.ExecutorWASM, Profile: proto.ProfileWASM, Isolation: "none", Slots: 2, FreeSlots: 2,
		Offered: proto.Resources{CPU: 8000, Memory: 8 << 30, Disk: 8 << 30}, Sequence: sequence, Version: "test",
	}
}

func TestGossipReachesTheDirectoryAndGarbageDoesNot(t *testing.T) {
	n := startNode(t, testConfig(t, randomNetwork()))
	e := newStranger(t, n.Network, nil).meets(t, n)
	publish := func(topic string, data []byte) {
		if err := e.Publish(testContext(t), topic, data); err != nil {
			t.Fatal(err)
		}
	}
	seq := uint64(0)
	eventually(t, "an advert and an announcement by gossip", func() bool {
		seq++ // repeated until the two sides know of each other's topics
		publish(overlay.TopicAdverts, e.seal(proto.PurposeAdvert, proto.PeerID{}, advertOf(seq).Marshal()))
		publish(overlay.TopicJobs, e.seal(proto.PurposeAnnouncement, proto.PeerID{}, announcementOf(1, seq).Marshal()))
		_, known := n.Directory.AdvertOf(e.ID())
		return known && len(n.Directory.Open()) == 1
	})
	publish(overlay.TopicJobs, []byte("garbage"))
	eventually(t, "garbage is counted", func() bool { return n.Net.Stats().Protocols[overlay.TopicJobs].Rejected > 0 })
	if got := len(n.Directory.Open()); got != 1 {
		t.Errorf("%d announcements, want 1", got)
	}
	stillServes(t, n)
}

// hellos makes a stranger that answers a greeting so.
func hellos(t testing.TB, n *running, answer func(e *stranger) []byte) *stranger {
	return hellosWith(t, n, answer, func(*stranger) {})
}

func hellosWith(t testing.TB, n *running, answer func(e *stranger) []byte, setup func(*stranger)) *stranger {
	return newStranger(t, n.Network, func(e *stranger) {
		setup(e)
		e.Serve(p2p.Service{Name: overlay.ProtoHello, MaxMessage: 64, Deadline: 10 * time.Second, MaxStreamsPerPeer: 4,
			Handle: func(_ context.Context, s *p2p.Stream) error {
				if _, err := s.Recv(); err != nil {
					return err
				}
				return s.Send(answer(e))
			}})
	})
}

func TestAHelloIsTakenApartWithCare(t *testing.T) {
	n := startNode(t, testConfig(t, randomNetwork()))
	third := newStranger(t, n.Network, nil)
	elsewhere := newStranger(t, randomNetwork(), nil)
	announce := func(e *stranger, job byte) []byte {
		return e.seal(proto.PurposeAnnouncement, proto.PeerID{}, announcementOf(job, 1).Marshal())
	}
	old := third.statement(proto.PurposeAnnouncement, proto.PeerID{}, announcementOf(1, 1).Marshal())
	old.Issued, old.Expires = old.Issued.Add(-time.Hour), old.Issued.Add(-50*time.Minute)
	for _, c := range []struct {
		name    string
		answer  func(e *stranger) []byte
		strikes uint64
	}{
		{"garbage", func(*stranger) []byte { return []byte("\xff\xff") }, 1},
		{"a bad advert", func(*stranger) []byte { return proto.Hello{Advert: []byte("bad")}.Marshal() }, 1},
		{"the advert of another", func(*stranger) []byte {
			return proto.Hello{Advert: third.seal(proto.PurposeAdvert, proto.PeerID{}, advertOf(1).Marshal())}.Marshal()
		}, 1},
		{"bad announcements count once", func(*stranger) []byte {
			return proto.Hello{Announcements: [][]byte{[]byte("bad"), []byte("worse"), announce(elsewhere, 1)}}.Marshal()
		}, 1},
		{"an old announcement", func(*stranger) []byte {
			return proto.Hello{Announcements: [][]byte{proto.Seal(third.key, old)}}.Marshal()
		}, 0},
	} {
		before := n.struck()
		greeted := n.Net.Stats().Protocols[overlay.ProtoHello].MessagesIn
		e := hellos(t, n, c.answer)
		e.meets(t, n)
		eventually(t, c.name+": the greeting was judged", func() bool {
			return n.Net.Stats().Protocols[overlay.ProtoHello].MessagesIn > greeted && n.struck() >= before+c.strikes
		})
		if got := n.struck() - before; got != c.strikes {
			t.Errorf("%s: %d breaches counted, want %d", c.name, got, c.strikes)
		}
	}
	if ids, _ := n.Directory.Providers(); len(ids) != 0 || len(n.Directory.Open()) != 0 {
		t.Errorf("%d adverts and %d announcements were taken, want none", len(ids), len(n.Directory.Open()))
	}
	good := hellos(t, n, func(e *stranger) []byte {
		return proto.Hello{Advert: e.seal(proto.PurposeAdvert, proto.PeerID{}, advertOf(1).Marshal()), Announcements: [][]byte{announce(third, 1)}}.Marshal()
	}).meets(t, n)
	eventually(t, "an honest greeting is taken", func() bool {
		_, known := n.Directory.AdvertOf(good.ID())
		return known && len(n.Directory.Open()) == 1
	})
}

// TestOwnAnnouncementsComeFirstInAHello: others' must not crowd them out.
func TestOwnAnnouncementsComeFirstInAHello(t *testing.T) {
	n := startNode(t, testConfig(t, randomNetwork()))
	crowd := newStranger(t, n.Network, nil)
	for i := range overlay.MaxHeard {
		a := announcementOf(byte(i), uint64(i))
		a.Job[1] = byte(i >> 8)
		for k := range 6 {
			a.Constraints = append(a.Constraints, fmt.Sprintf("label.x%d == %0200d", k, 0))
		}
		b := crowd.seal(proto.PurposeAnnouncement, proto.PeerID{}, a.Marshal())
		n.Directory.AddHeard(crowd.ID(), a, b, time.Now().Add(time.Hour))
	}
	a := announcementOf(1, 1)
	n.Directory.AddHeard(n.Self, a, n.Sign(proto.PurposeAnnouncement, proto.PeerID{}, overlay.AnnounceLifetime, a.Marshal()), time.Now().Add(overlay.AnnounceLifetime))
	e := newStranger(t, n.Network, nil).meets(t, n)
	b, err := e.Call(testContext(t), n.Self, overlay.ProtoHello, nil, proto.MaxHelloBytes)
	if err != nil {
		t.Fatal(err)
	}
	h, err := proto.ParseHello(b)
	if err != nil {
		t.Fatal(err)
	}
	env, err := proto.OpenEnvelope(h.Announcements[0], proto.Expect{Network: n.Network, Purpose: proto.PurposeAnnouncement, Now: time.Now()})
	if err != nil || env.Signer != n.Self {
		t.Errorf("the first announcement is of %s, err %v; want our own", env.Signer, err)
	}
}

func TestABadBidCutsTheStreamOffAndCounts(t *testing.T) {
	n := startNode(t, testConfig(t, randomNetwork()))
	third := newStranger(t, n.Network, nil)
	bid := proto.Bid{Job: proto.JobID{1}, Slots: 1}.Marshal()
	refusal := proto.Refusal{Job: proto.JobID{1}, Reason: proto.ReasonBusy}.Marshal()
	spoil := func(e *stranger, f func(*proto.Statement)) []byte {
		s := e.statement(proto.PurposeBid, n.Self, bid)
		f(&s)
		return proto.BidFrame{Bid: proto.Seal(e.key, s)}.Marshal()
	}
	for _, c := range []struct {
		name    string
		frame   func(e *stranger) []byte
		ok      bool
		strikes uint64
	}{
		{"for a job that is not here", func(e *stranger) []byte { return spoil(e, func(*proto.Statement) {}) }, true, 0},
		{"a refusal for a job that is not here", func(e *stranger) []byte {
			return proto.BidFrame{Refusal: e.seal(proto.PurposeRefusal, n.Self, refusal)}.Marshal()
		}, true, 0},
		{"garbage", func(*stranger) []byte { return []byte("\xff") }, false, 1},
		{"nothing", func(*stranger) []byte { return nil }, false, 1},
		{"for another node", func(e *stranger) []byte { return spoil(e, func(s *proto.Statement) { s.Addressee = third.ID() }) }, false, 1},
		{"for everybody", func(e *stranger) []byte { return spoil(e, func(s *proto.Statement) { s.Addressee = proto.PeerID{} }) }, false, 1},
		{"of another network", func(e *stranger) []byte { return spoil(e, func(s *proto.Statement) { s.Network = "elsewhere" }) }, false, 1},
		{"that is an award", func(e *stranger) []byte { return spoil(e, func(s *proto.Statement) { s.Purpose = proto.PurposeAward }) }, false, 1},
		{"without sense", func(e *stranger) []byte { return spoil(e, func(s *proto.Statement) { s.Body = []byte{1} }) }, false, 1},
		{"of another, replayed", func(*stranger) []byte {
			return proto.BidFrame{Bid: third.seal(proto.PurposeBid, n.Self, bid)}.Marshal()
		}, false, 1},
		{"a refusal of another, replayed", func(*stranger) []byte {
			return proto.BidFrame{Refusal: third.seal(proto.PurposeRefusal, n.Self, refusal)}.Marshal()
		}, false, 1},
		{"expired", func(e *stranger) []byte {
			return spoil(e, func(s *proto.Statement) {
				s.Issued, s.Expires = s.Issued.Add(-time.Hour), s.Issued.Add(-time.Minute*50)
			})
		}, false, 0},
		{"from the future", func(e *stranger) []byte {
			return spoil(e, func(s *proto.Statement) { s.Issued, s.Expires = s.Issued.Add(time.Hour), s.Issued.Add(2*time.Hour) })
		}, false, 0},
		{"too long", func(*stranger) []byte { return make([]byte, proto.MaxGossip+1) }, false, 1},
	} {
		e := newStranger(t, n.Network, nil).meets(t, n)
		before := n.struck()
		_, err := e.Call(testContext(t), n.Self, overlay.ProtoBid, c.frame(e), 64)
		if (err == nil) != c.ok {
			t.Errorf("a bid %s: err %v, want acknowledged %v", c.name, err, c.ok)
		}
		if got := n.struck() - before; got != c.strikes {
			t.Errorf("a bid %s: %d breaches counted, want %d", c.name, got, c.strikes)
		}
	}
}

func TestAPeerThatGoesOnMisbehavingIsKeptOut(t *testing.T) {
	n := startNode(t, testConfig(t, randomNetwork()))
	e := newStranger(t, n.Network, nil).meets(t, n)
	for range 5 {
		_, _ = e.Call(testContext(t), n.Self, overlay.ProtoBid, []byte("\xff"), 64) // what comes back is the node's affair
	}
	eventually(t, "it is disconnected", func() bool { return !n.Connected(e.ID()) })
	if _, err := e.Connect(testContext(t), n.info.Addrs[0]); err == nil && n.Connected(e.ID()) {
		t.Error("it is back at once, want kept out")
	}
	stillServes(t, n)
}
