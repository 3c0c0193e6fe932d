package overlay

import (
	"testing"
	"time"

	"github.com/mustermesh/muster/proto"
	"github.com/mustermesh/muster/scheduler"
)

// clock is a time that a test moves.
type clock struct{ t time.Time }

func (c *clock) now() time.Time { return c.t }

func newClock() *clock { return &clock{time.Unix(1_700_000_000, 0)} }

func peerOf(i int) (p proto.PeerID) {
	p[0], p[1], p[2] = byte(i), byte(i>>8), byte(i>>16)
	return p
}

func TestTheLatestAdvertOfAPeerCounts(t *testing.T) {
	c := newClock()
	d := NewDirectory(c.now)
	changes := 0
	d.changed = func() { changes++ }
	env := proto.Envelope{Signer: peerOf(1), Statement: proto.Statement{Expires: c.t.Add(advertLifetime)}}
	for _, s := range []struct {
		sequence uint64
		news     bool
	}{{5, true}, {5, false}, {4, false}, {6, true}} {
		if got := d.addAdvert(env, advertOf(s.sequence), "gossip"); got != s.news {
			t.Errorf("sequence %d: news %v, want %v", s.sequence, got, s.news)
		}
	}
	if k, ok := d.AdvertOf(peerOf(1)); !ok || k.Advert.Sequence != 6 || changes != 2 {
		t.Errorf("sequence %d (%v) after %d changes, want 6 after 2", k.Advert.Sequence, ok, changes)
	}
	c.t = c.t.Add(advertLifetime + time.Second)
	if _, ok := d.AdvertOf(peerOf(1)); ok {
		t.Error("an expired advert counts")
	}
	if ids, _ := d.Providers(); len(ids) != 0 || len(d.adverts) != 0 {
		t.Errorf("%d providers, %d kept; want none", len(ids), len(d.adverts))
	}
	d.dropPeer(peerOf(1))
	if changes != 2 {
		t.Error("dropping an unknown peer is a change")
	}
}

func TestTheDirectoryNeverGrowsOverItsBounds(t *testing.T) {
	c := newClock()
	d := NewDirectory(c.now)
	for i := range maxAdverts + 100 {
		c.t = c.t.Add(time.Millisecond)
		env := proto.Envelope{Signer: peerOf(i), Statement: proto.Statement{Expires: c.t.Add(advertLifetime)}}
		d.addAdvert(env, advertOf(1), "gossip")
	}
	if len(d.adverts) != maxAdverts {
		t.Errorf("%d adverts, want %d", len(d.adverts), maxAdverts)
	}
	if _, ok := d.AdvertOf(peerOf(0)); ok {
		t.Error("the oldest advert is here still, want it to have made room")
	}
	if _, ok := d.AdvertOf(peerOf(maxAdverts + 99)); !ok {
		t.Error("the latest advert found no room")
	}
	for i := range MaxHeard + 100 {
		c.t = c.t.Add(time.Millisecond)
		if !d.AddHeard(peerOf(i), announcementOf(1, 1), nil, c.t.Add(AnnounceLifetime)) {
			t.Fatalf("announcement %d is no news", i)
		}
	}
	if len(d.heard) != MaxHeard || len(d.Open()) != MaxHeard {
		t.Errorf("%d announcements, want %d", len(d.heard), MaxHeard)
	}
	c.t = c.t.Add(AnnounceLifetime + proto.MaxSkew + time.Second)
	if open := d.Open(); len(open) != 0 || len(d.heard) != 0 {
		t.Errorf("%d announcements open, %d kept, after all expired", len(open), len(d.heard))
	}
}

func TestAnAnnouncementOfAnotherSignerTakesNobodysPlace(t *testing.T) {
	c := newClock()
	d := NewDirectory(c.now)
	a := announcementOf(1, 5)
	if !d.AddHeard(peerOf(1), a, nil, c.t.Add(AnnounceLifetime)) || !d.AddHeard(peerOf(2), a, nil, c.t.Add(AnnounceLifetime)) {
		t.Error("two signers of one job id are not told apart")
	}
	if d.AddHeard(peerOf(1), announcementOf(1, 5), nil, c.t.Add(AnnounceLifetime)) || d.AddHeard(peerOf(1), announcementOf(1, 4), nil, c.t.Add(AnnounceLifetime)) {
		t.Error("a repetition without a greater sequence is news")
	}
	if !d.AddHeard(peerOf(1), announcementOf(1, 6), nil, c.t.Add(AnnounceLifetime)) {
		t.Error("a greater sequence is no news")
	}
	d.CloseJob(peerOf(1), a.Job)
	if open := d.Open(); len(open) != 1 || open[0].From != peerOf(2) {
		t.Errorf("%d open after closing one, want the other's", len(open))
	}
}

func TestCandidatesSayWhatStandsAgainstThem(t *testing.T) {
	c := newClock()
	d := NewDirectory(c.now)
	fit, dear := advertOf(1), advertOf(1)
	dear.Price = 100
	for i, a := range []proto.Advert{fit, dear} {
		d.addAdvert(proto.Envelope{Signer: peerOf(i + 1), Statement: proto.Statement{Expires: c.t.Add(advertLifetime)}}, a, "gossip")
	}
	got := d.Candidates(announcementOf(1, 1), func(*scheduler.Candidate) {})
	if len(got) != 2 || got[0].Ineligible != nil || got[1].Ineligible == nil || got[1].Ineligible.Reason != proto.ReasonPrice {
		t.Errorf("candidates %+v, want the first to fit and the second too dear", got)
	}
}

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
