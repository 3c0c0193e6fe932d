package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/mustermesh/muster/p2p"
	"github.com/mustermesh/muster/proto"
)

// Topics of gossip. docs/wire.md §1.
const (
	topicJobs    = "jobs/wasm/1"
	topicAdverts = "adverts/1"
)

// Capabilities that providers publish in the DHT: coarse, so that they seldom
// change.
const capabilityWASM = "executor/wasm"

// A town is how this node takes part in the network: it hears announcements and
// adverts, tells its own, and greets every new connection.
type town struct {
	*common
	provider  *provider  // nil: lends nothing
	requester *requester // nil: asks nothing
	advert    func() proto.Advert
	looking   func() bool // does the requester want more providers?
	crew      *crew
	opened    *opened
}

func (t *town) join() {
	t.net.Join(p2p.Topic{Name: topicJobs, MaxMessage: proto.MaxGossip, Validate: t.validateJob, Handle: t.heardJob})
	t.net.Join(p2p.Topic{Name: topicAdverts, MaxMessage: proto.MaxGossip, Validate: t.validateAdvert, Handle: t.heardAdvert})
	t.net.Serve(p2p.Service{Name: protoHello, MaxMessage: 64, Deadline: 10 * time.Second, MaxStreamsPerPeer: 4, Handle: t.serveHello})
	t.net.OnConnect(t.greet)
	t.net.OnDisconnect(func(id proto.PeerID) { t.directory.dropPeer(id) })
}

func (t *town) validateJob(author proto.PeerID, data []byte) p2p.Verdict {
	env, _, err := t.parseAnnouncement(data)
	return verdictOf(errors.Join(err, byAuthor(env, author)))
}

func (t *town) validateAdvert(author proto.PeerID, data []byte) p2p.Verdict {
	env, _, err := t.parseAdvert(data)
	return verdictOf(errors.Join(err, byAuthor(env, author)))
}

// byAuthor refuses gossip that says what somebody else signed: wrapped in other
// bytes, it would be a new message each time.
func byAuthor(env proto.Envelope, author proto.PeerID) error {
	if !env.Signer.IsZero() && env.Signer != author {
		return fmt.Errorf("%w: %s published what %s signed", proto.ErrSignature, author, env.Signer)
	}
	return nil
}

// verdictOf rejects what can only be malice or a bug, and ignores what may just
// be old.
func verdictOf(err error) p2p.Verdict {
	switch {
	case err == nil:
		return p2p.Accept
	case errors.Is(err, proto.ErrSignature):
		return p2p.Reject
	case errors.Is(err, proto.ErrExpired), errors.Is(err, proto.ErrSkew):
		return p2p.Ignore
	}
	return p2p.Reject
}

// openBrief opens a statement that may live for so long at most: as long as one
// counts, its replays are remembered. docs/wire.md §2.
func (t *town) openBrief(data []byte, p proto.Purpose, most time.Duration) (proto.Envelope, error) {
	env, err := t.open(data, p)
	if err == nil && env.Expires.Sub(env.Issued) > most {
		err = fmt.Errorf("%w: %s lives for %s, longer than %s", proto.ErrMalformed, p, env.Expires.Sub(env.Issued), most)
	}
	return env, err
}

func (t *town) parseAnnouncement(data []byte) (proto.Envelope, proto.Announcement, error) {
	if o, ok := t.opened.get(data); ok && t.now().Before(o.env.Expires) {
		return o.env, o.announcement, nil
	}
	env, err := t.openBrief(data, proto.PurposeAnnouncement, announceLifetime)
	if err != nil {
		return env, proto.Announcement{}, err
	}
	a, err := proto.ParseAnnouncement(env.Body)
	if err == nil {
		t.opened.put(data, openedAnnouncement{env, a})
	}
	return env, a, err
}

func (t *town) parseAdvert(data []byte) (proto.Envelope, proto.Advert, error) {
	env, err := t.openBrief(data, proto.PurposeAdvert, advertLifetime)
	if err != nil {
		return env, proto.Advert{}, err
	}
	a, err := proto.ParseAdvert(env.Body)
	return env, a, err
}

func (t *town) heardJob(_ proto.PeerID, data []byte) {
	if err := t.takeAnnouncement(data); err != nil {
		t.log.Debug("announcement dropped", "err", err)
	}
}

// takeAnnouncement notes an announcement, and has the provider consider it.
func (t *town) takeAnnouncement(data []byte) error {
	env, a, err := t.parseAnnouncement(data)
	if err != nil {
		return err
	}
	if env.Signer == t.self || !t.directory.addHeard(env.Signer, a, data, env.Expires) {
		return nil
	}
	if t.provider != nil {
		h := heard{announcement: a, from: env.Signer, expires: env.Expires}
		t.provider.bidders.try(func(ctx context.Context) { t.provider.consider(ctx, h) })
	}
	return nil
}

func (t *town) heardAdvert(_ proto.PeerID, data []byte) {
	if err := t.takeAdvert(data, "gossip"); err != nil {
		t.log.Debug("advert dropped", "err", err)
	}
}

func (t *town) takeAdvert(data []byte, source string) error {
	env, a, err := t.parseAdvert(data)
	if err != nil {
		return err
	}
	if env.Signer != t.self {
		t.directory.addAdvert(env, a, source)
	}
	return nil
}

// serveHello tells a peer our advert and the announcements that are open. What
// we heard from others goes along: they carry their own signatures.
func (t *town) serveHello(_ context.Context, s *p2p.Stream) error {
	if _, err := s.Recv(); err != nil {
		return err
	}
	var h proto.Hello
	if t.provider != nil {
		h.Advert = t.sealAdvert()
	}
	open := t.directory.open()
	slices.SortStableFunc(open, func(a, b heard) int { // ours first: what does not fit is left out
		switch {
		case a.from == t.self && b.from != t.self:
			return -1
		case a.from != t.self && b.from == t.self:
			return 1
		}
		return 0
	})
	for _, o := range open {
		h.Announcements = append(h.Announcements, o.envelope)
	}
	return s.Send(h.Marshal())
}

// greet asks a new peer for its advert and the announcements that it knows.
func (t *town) greet(ctx context.Context, id proto.PeerID) {
	b, err := t.net.Call(ctx, id, protoHello, []byte{}, proto.MaxHelloBytes)
	if err != nil {
		t.log.Debug("hello failed", "peer", id, "err", err)
		return
	}
	h, err := proto.ParseHello(b)
	if err != nil {
		t.net.Misbehaved(id, "malformed hello")
		return
	}
	if err := t.takeHello(id, h); err != nil && verdictOf(err) == p2p.Reject {
		t.net.Misbehaved(id, "bad statement in a hello")
	}
}

// takeHello notes what a peer told; the error is the first that is to blame on
// the peer, or else the last of any kind.
func (t *town) takeHello(id proto.PeerID, h proto.Hello) (worst error) {
	note := func(what string, err error) {
		if err == nil {
			return
		}
		t.log.Debug(what+" dropped", "peer", id, "err", err)
		if worst == nil || verdictOf(worst) != p2p.Reject {
			worst = err
		}
	}
	if len(h.Advert) > 0 {
		env, _, err := t.parseAdvert(h.Advert)
		if err = errors.Join(err, byAuthor(env, id)); err == nil {
			err = t.takeAdvert(h.Advert, "hello")
		}
		note("advert", err)
	}
	for _, a := range h.Announcements {
		note("announcement", t.takeAnnouncement(a))
	}
	return worst
}

func (t *town) sealAdvert() []byte {
	return t.sign(proto.PurposeAdvert, proto.PeerID{}, advertLifetime, t.advert().Marshal())
}

// How often adverts are repeated, and providers looked for.
const (
	advertEvery   = 30 * time.Second
	lookEvery     = time.Second // while a job waits or the node is young
	lookSeldom    = time.Minute
	lookLimit     = 32
	connectAtOnce = 8
)

// Run repeats the advert and looks for providers until ctx ends.
func (t *town) Run(ctx context.Context) error {
	advert := time.NewTicker(advertEvery)
	defer advert.Stop()
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	looked := time.Time{}
	if t.provider != nil {
		t.net.SetCapabilities([]string{capabilityWASM})
		t.publishAdvert(ctx)
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-advert.C:
			t.publishAdvert(ctx)
		case <-look.C:
			if t.requester != nil && (t.looking() || t.now().Sub(looked) > lookSeldom) {
				looked = t.now()
				t.crew.try(t.look)
			}
		}
	}
}

func (t *town) publishAdvert(ctx context.Context) {
	if t.provider == nil {
		return
	}
	if err := t.net.Publish(ctx, topicAdverts, t.sealAdvert()); err != nil && ctx.Err() == nil {
		t.log.Debug("advert not published", "err", err)
	}
}

// survey looks for providers, again and again before until, for who has just
// come knows nobody yet; it returns when those that it reached have told what
// they lend.
func (t *town) survey(ctx context.Context, until time.Time) {
	again := time.NewTicker(surveyEvery)
	defer again.Stop()
	for {
		for _, p := range t.seek(ctx) {
			if _, known := t.directory.advertOf(p.ID); !known && t.connected(p.ID) {
				t.greet(ctx, p.ID)
			}
		}
		if !t.now().Before(until) {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-again.C:
		}
	}
}

const surveyEvery = 100 * time.Millisecond

func (t *town) look(ctx context.Context) { t.seek(ctx) }

// seek asks the DHT for providers and connects to those that are new.
func (t *town) seek(ctx context.Context) []p2p.PeerInfo {
	ctx, cancel := context.WithTimeout(ctx, bidTimeout)
	defer cancel()
	found, err := t.net.FindCapable(ctx, capabilityWASM, lookLimit)
	if err != nil {
		t.log.Debug("no providers found in the DHT", "err", err)
		return nil
	}
	at := make(chan struct{}, connectAtOnce)
	for _, p := range found {
		if t.connected(p.ID) {
			continue
		}
		at <- struct{}{}
		if !t.crew.try(func(context.Context) {
			defer func() { <-at }()
			if err := t.net.ConnectPeer(ctx, p.ID, p.Addrs); err != nil {
				t.log.Debug("provider not reached", "peer", p.ID, "err", err)
			}
		}) {
			<-at
		}
	}
	for range connectAtOnce { // wait for those under way, before ctx is cancelled
		at <- struct{}{}
	}
	return found
}
