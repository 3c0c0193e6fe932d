package overlay

import (
	"bytes"
	"crypto/ed25519"
	"log/slog"
	"testing"
	"time"

	"github.com/mustermesh/muster/p2p"
	"github.com/mustermesh/muster/proto"
)

const testNetwork = "test"

// newTestOverlay makes an overlay without a network: what it judges, it judges
// alone.
func newTestOverlay(t *testing.T) *Overlay {
	t.Helper()
	local, err := NewLocal(newSigner(t).key, testNetwork, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return New(local, nil, nil)
}

// A signer is a peer that signs what a test makes it say.
type signer struct {
	id  proto.PeerID
	key ed25519.PrivateKey
}

func newSigner(t *testing.T) signer {
	t.Helper()
	public, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	id, err := proto.PeerIDFromBytes(public)
	if err != nil {
		t.Fatal(err)
	}
	return signer{id, key}
}

// statement is one that is taken, for a test to spoil.
func (s signer) statement(p proto.Purpose, to proto.PeerID, body []byte) proto.Statement {
	now := time.Now()
	return proto.Statement{Network: testNetwork, Purpose: p, Issued: now, Expires: now.Add(AnnounceLifetime), Addressee: to, Body: body}
}

// rewrapped gives the same signed statement in other bytes: an unknown field
// more, which every reader passes over.
func rewrapped(envelope []byte, n byte) []byte {
	return append(bytes.Clone(envelope), 0x98, 0x06, n&0x7f) // field 99, varint
}

// TestGossipIsJudgedByWhatItSays: what is malice is rejected, what is old is
// passed over, and nobody can pass on what another signed as a new message.
func TestGossipIsJudgedByWhatItSays(t *testing.T) {
	n, e, other := newTestOverlay(t), newSigner(t), newSigner(t)
	type message struct {
		purpose proto.Purpose
		body    []byte
		judge   func(proto.PeerID, []byte) p2p.Verdict
	}
	for _, m := range []message{
		{proto.PurposeAnnouncement, announcementOf(1, 1).Marshal(), n.validateJob},
		{proto.PurposeAdvert, advertOf(1).Marshal(), n.validateAdvert},
	} {
		spoil := func(f func(*proto.Statement)) []byte {
			s := e.statement(m.purpose, proto.PeerID{}, m.body)
			f(&s)
			return proto.Seal(e.key, s)
		}
		good := spoil(func(*proto.Statement) {})
		bent := bytes.Clone(good)
		bent[bytes.Index(bent, e.key[32:])+40] ^= 1
		for _, c := range []struct {
			name string
			from proto.PeerID
			data []byte
			want p2p.Verdict
		}{
			{"as it should be", e.id, good, p2p.Accept},
			{"published by another than its signer", other.id, rewrapped(good, 1), p2p.Reject},
			{"garbage", e.id, []byte("garbage"), p2p.Reject},
			{"nothing", e.id, nil, p2p.Reject},
			{"truncated", e.id, good[:len(good)-5], p2p.Reject},
			{"wrongly signed", e.id, bent, p2p.Reject},
			{"of another network", e.id, spoil(func(s *proto.Statement) { s.Network = "elsewhere" }), p2p.Reject},
			{"of another purpose", e.id, spoil(func(s *proto.Statement) { s.Purpose = proto.PurposeBid }), p2p.Reject},
			{"without sense", e.id, spoil(func(s *proto.Statement) { s.Body = []byte{9, 9} }), p2p.Reject},
			{"expired", e.id, spoil(func(s *proto.Statement) {
				s.Issued, s.Expires = s.Issued.Add(-10*time.Minute), s.Issued.Add(-9*time.Minute)
			}), p2p.Ignore},
			{"from the future", e.id, spoil(func(s *proto.Statement) {
				s.Issued, s.Expires = s.Issued.Add(10*time.Minute), s.Issued.Add(11*time.Minute)
			}), p2p.Ignore},
		} {
			if got := m.judge(c.from, c.data); got != c.want {
				t.Errorf("%s %s: verdict %v, want %v", m.purpose, c.name, got, c.want)
			}
		}
	}
}

// TestAnExpiredAnnouncementThatIsReplayedIsNoNews: clocks may differ, so a
// statement is taken for a while after its expiry; for as long it is remembered.
func TestAnExpiredAnnouncementThatIsReplayedIsNoNews(t *testing.T) {
	n, e := newTestOverlay(t), newSigner(t)
	s := e.statement(proto.PurposeAnnouncement, proto.PeerID{}, announcementOf(1, 1).Marshal())
	s.Issued, s.Expires = s.Issued.Add(-time.Minute), s.Issued.Add(-30*time.Second)
	b := proto.Seal(e.key, s)
	env, a, err := n.parseAnnouncement(b)
	if err != nil {
		t.Fatal(err)
	}
	if !n.Directory.AddHeard(env.Signer, a, b, env.Expires) {
		t.Fatal("the first time is no news")
	}
	if got := n.Directory.Open(); len(got) != 0 {
		t.Errorf("%d open announcements, want none: it is expired", len(got))
	}
	if n.Directory.AddHeard(env.Signer, a, rewrapped(b, 1), env.Expires) {
		t.Error("the replay is news, want it remembered")
	}
}
