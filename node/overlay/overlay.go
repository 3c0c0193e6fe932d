package overlay

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
	TopicJobs    = "jobs/wasm/1"
	TopicAdverts = "adverts/1"
)

// Capabilities that providers publish in the DHT: coarse, so that they seldom
// change.
const capabilityWASM = "executor/wasm"

// A Considerer answers announcements: the lending side of the node.
type Considerer interface {
	// Consider has an announcement answered, beside the caller: it does not wait.
	Consider(h Heard)
	// Advert says what is lent now.
	Advert() proto.Advert
}

// A Seeker says whether providers are wanted: the asking side of the node.
type Seeker interface {
	// Looking tells whether more providers are wanted than those that are known.
	Looking() bool
}

// A Overlay is how this node takes part in the network: it hears announcements and
// adverts, tells its own, and greets every new connection.
type Overlay struct {
	*Local
	lends  Considerer // nil: lends nothing
	asks   Seeker
	opened *opened
	news   chan struct{} // holds one while the advert is to be told soon
	Clocks Clocks        // of the peers that greeted us
}

// New makes the overlay of a node; lends is nil where nothing is lent.
func New(local *Local, lends Considerer, asks Seeker) *Overlay {
	return &Overlay{Local: local, lends: lends, asks: asks, opened: newOpened(2 * MaxHeard), news: make(chan struct{}, 1)}
}

// Join registers topics, greetings and their handlers with the network. Call it
// before the network runs.
func (o *Overlay) Join() {
	o.Net.Join(p2p.Topic{Name: TopicJobs, MaxMessage: proto.MaxGossip, Validate: o.validateJob, Handle: o.heardJob})
	o.Net.Join(p2p.Topic{Name: TopicAdverts, MaxMessage: proto.MaxGossip, Validate: o.validateAdvert, Handle: o.heardAdvert})
	o.Net.Serve(p2p.Service{Name: ProtoHello, MaxMessage: 64, Deadline: 10 * time.Second, MaxStreamsPerPeer: 4, Handle: o.serveHello})
	o.Net.OnConnect(o.greet)
	o.Net.OnDisconnect(func(id proto.PeerID) { o.Directory.dropPeer(id) })
}

func (o *Overlay) validateJob(author proto.PeerID, data []byte) p2p.Verdict {
	env, _, err := o.parseAnnouncement(data)
	return VerdictOf(errors.Join(err, byAuthor(env, author)))
}

func (o *Overlay) validateAdvert(author proto.PeerID, data []byte) p2p.Verdict {
	env, _, err := o.parseAdvert(data)
	return VerdictOf(errors.Join(err, byAuthor(env, author)))
}

// byAuthor refuses gossip that says what somebody else signed: wrapped in other
// bytes, it would be a new message each time.
func byAuthor(env proto.Envelope, author proto.PeerID) error {
	if !env.Signer.IsZero() && env.Signer != author {
		return fmt.Errorf("%w: %s published what %s signed", proto.ErrSignature, author, env.Signer)
	}
	return nil
}

// VerdictOf rejects what can only be malice or a bug, and ignores what may just
// be old.
func VerdictOf(err error) p2p.Verdict {
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
func (o *Overlay) openBrief(data []byte, p proto.Purpose, most time.Duration) (proto.Envelope, error) {
	env, err := o.Open(data, p)
	if err == nil && env.Expires.Sub(env.Issued) > most {
		err = fmt.Errorf("%w: %s lives for %s, longer than %s", proto.ErrMalformed, p, env.Expires.Sub(env.Issued), most)
	}
	return env, err
}

func (o *Overlay) parseAnnouncement(data []byte) (proto.Envelope, proto.Announcement, error) {
	if known, ok := o.opened.get(data); ok && o.Now().Before(known.env.Expires) {
		return known.env, known.announcement, nil
	}
	env, err := o.openBrief(data, proto.PurposeAnnouncement, AnnounceLifetime)
	if err != nil {
		return env, proto.Announcement{}, err
	}
	a, err := proto.ParseAnnouncement(env.Body)
	if err == nil {
		o.opened.put(data, openedAnnouncement{env, a})
	}
	return env, a, err
}

func (o *Overlay) parseAdvert(data []byte) (proto.Envelope, proto.Advert, error) {
	env, err := o.openBrief(data, proto.PurposeAdvert, advertLifetime)
	if err != nil {
		return env, proto.Advert{}, err
	}
	a, err := proto.ParseAdvert(env.Body)
	return env, a, err
}

func (o *Overlay) heardJob(_ proto.PeerID, data []byte) {
	if err := o.takeAnnouncement(data); err != nil {
		o.Log.Debug("announcement dropped", "err", err)
	}
}

// takeAnnouncement notes an announcement, and has the provider consider it.
func (o *Overlay) takeAnnouncement(data []byte) error {
	env, a, err := o.parseAnnouncement(data)
	if err != nil {
		return err
	}
	if env.Signer == o.Self || !o.Directory.AddHeard(env.Signer, a, data, env.Expires) {
		return nil
	}
	if o.lends != nil {
		o.lends.Consider(Heard{Announcement: a, From: env.Signer, Expires: env.Expires})
	}
	return nil
}

func (o *Overlay) heardAdvert(_ proto.PeerID, data []byte) {
	if err := o.takeAdvert(data, "gossip"); err != nil {
		o.Log.Debug("advert dropped", "err", err)
	}
}

func (o *Overlay) takeAdvert(data []byte, source string) error {
	env, a, err := o.parseAdvert(data)
	if err != nil {
		return err
	}
	if env.Signer != o.Self {
		o.Directory.addAdvert(env, a, source)
	}
	return nil
}

// serveHello tells a peer our advert and the announcements that are open. What
// we heard from others goes along: they carry their own signatures.
func (o *Overlay) serveHello(_ context.Context, s *p2p.Stream) error {
	if _, err := s.Recv(); err != nil {
		return err
	}
	var h proto.Hello
	if o.lends != nil {
		h.Advert = o.sealAdvert()
	}
	open := o.Directory.Open()
	slices.SortStableFunc(open, func(a, b Heard) int { // ours first: what does not fit is left out
		switch {
		case a.From == o.Self && b.From != o.Self:
			return -1
		case a.From != o.Self && b.From == o.Self:
			return 1
		}
		return 0
	})
	for _, a := range open {
		h.Announcements = append(h.Announcements, a.envelope)
	}
	return s.Send(h.Marshal())
}

// greet asks a new peer for its advert and the announcements that it knows.
func (o *Overlay) greet(ctx context.Context, id proto.PeerID) {
	b, err := o.Net.Call(ctx, id, ProtoHello, []byte{}, proto.MaxHelloBytes)
	if err != nil {
		o.Log.Debug("hello failed", "peer", id, "err", err)
		return
	}
	h, err := proto.ParseHello(b)
	if err != nil {
		o.Net.Misbehaved(id, "malformed hello")
		return
	}
	if err := o.takeHello(id, h); err != nil && VerdictOf(err) == p2p.Reject {
		o.Net.Misbehaved(id, "bad statement in a hello")
	}
}

// takeHello notes what a peer told; the error is the first that is to blame on
// the peer, or else the last of any kind.
func (o *Overlay) takeHello(id proto.PeerID, h proto.Hello) (worst error) {
	note := func(what string, err error) {
		if err == nil {
			return
		}
		o.Log.Debug(what+" dropped", "peer", id, "err", err)
		if worst == nil || VerdictOf(worst) != p2p.Reject {
			worst = err
		}
	}
	if len(h.Advert) > 0 {
		o.noteClock(id, h.Advert)
		env, _, err := o.parseAdvert(h.Advert)
		if err = errors.Join(err, byAuthor(env, id)); err == nil {
			err = o.takeAdvert(h.Advert, "hello")
		}
		note("advert", err)
	}
	for _, a := range h.Announcements {
		note("announcement", o.takeAnnouncement(a))
	}
	return worst
}

func (o *Overlay) sealAdvert() []byte {
	return o.Sign(proto.PurposeAdvert, proto.PeerID{}, advertLifetime, o.lends.Advert().Marshal())
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
func (o *Overlay) Run(ctx context.Context) error {
	advert := time.NewTicker(advertEvery)
	defer advert.Stop()
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	looked := time.Time{}
	if o.lends != nil {
		o.Net.SetCapabilities([]string{capabilityWASM})
		o.publishAdvert(ctx)
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-advert.C:
			o.publishAdvert(ctx)
		case <-o.news:
			o.publishAdvert(ctx)
		case <-look.C:
			if o.asks.Looking() || o.Now().Sub(looked) > lookSeldom {
				looked = o.Now()
				o.Workers.Try(o.look)
			}
		}
	}
}

// Readvertise has the advert told soon, because another is lent than it says. It
// does not wait.
func (o *Overlay) Readvertise() {
	select {
	case o.news <- struct{}{}:
	default: // it is about to be told anyway
	}
}

func (o *Overlay) publishAdvert(ctx context.Context) {
	if o.lends == nil {
		return
	}
	if err := o.Net.Publish(ctx, TopicAdverts, o.sealAdvert()); err != nil && ctx.Err() == nil {
		o.Log.Debug("advert not published", "err", err)
	}
}

// Survey looks for providers, again and again before until, for who has just
// come knows nobody yet; it returns when those that it reached have told what
// they lend.
func (o *Overlay) Survey(ctx context.Context, until time.Time) {
	again := time.NewTicker(surveyEvery)
	defer again.Stop()
	for {
		for _, p := range o.seek(ctx) {
			if _, known := o.Directory.AdvertOf(p.ID); !known && o.Connected(p.ID) {
				o.greet(ctx, p.ID)
			}
		}
		if !o.Now().Before(until) {
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

func (o *Overlay) look(ctx context.Context) { o.seek(ctx) }

// seek asks the DHT for providers and connects to those that are new.
func (o *Overlay) seek(ctx context.Context) []p2p.PeerInfo {
	ctx, cancel := context.WithTimeout(ctx, BidTimeout)
	defer cancel()
	found, err := o.Net.FindCapable(ctx, capabilityWASM, lookLimit)
	if err != nil {
		o.Log.Debug("no providers found in the DHT", "err", err)
		return nil
	}
	at := make(chan struct{}, connectAtOnce)
	for _, p := range found {
		if o.Connected(p.ID) {
			continue
		}
		at <- struct{}{}
		if !o.Workers.Try(func(context.Context) {
			defer func() { <-at }()
			if err := o.Net.ConnectPeer(ctx, p.ID, p.Addrs); err != nil {
				o.Log.Debug("provider not reached", "peer", p.ID, "err", err)
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
