package p2p

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/mustermesh/muster/proto"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/peer"
	"golang.org/x/sync/errgroup"
)

const (
	// MaxGossip is the size of the largest message of gossip, in bytes.
	MaxGossip = 4 << 10

	gossipRPC     = 64 << 10 // bytes of what gossip sends at once: many messages and its own talk
	gossipQueue   = 1024     // messages of a topic that wait for Handle: a burst of a thousand jobs
	gossipSeen    = 5 * time.Minute
	validateQueue = 256
	outboundQueue = 256 // for each peer; the library's 32 loses bursts
)

// A Verdict says what becomes of a message of gossip.
type Verdict int

// Verdicts.
const (
	Accept Verdict = iota + 1 // handle it and pass it on
	Ignore                    // drop it; the sender did nothing wrong
	Reject                    // drop it; the sender is to blame
)

// A Topic is a kind of gossip. Gossip is best effort: nothing may depend on every
// message arriving, nor on one arriving once.
type Topic struct {
	// Name is the part of the topic after the network: "jobs/1".
	Name string
	// MaxMessage bounds a message, in bytes; at most [MaxGossip].
	MaxMessage int
	// Validate judges a message by its author, whose signature the library has
	// checked. It must be quick, is called from several goroutines at once, and
	// should see that a message is not stale.
	Validate func(author proto.PeerID, data []byte) Verdict
	// Handle gets what Validate accepted, of other authors than this node, one
	// message at a time, off a queue of 1024; what finds no room there is dropped
	// and counted. Nil: this node only publishes.
	Handle func(author proto.PeerID, data []byte)
}

// topic is a Topic that takes part.
type topic struct {
	Topic
	count *counters
	queue chan gossiped // see gossipQueue
	out   *pubsub.Topic // set before Host.started is closed
}

type gossiped struct {
	from proto.PeerID
	data []byte
}

// Join takes part in a topic from Run on; call it before. A field that is
// missing or too large is our own mistake and panics.
func (h *Host) Join(t Topic) {
	if t.Name == "" || t.MaxMessage <= 0 || t.MaxMessage > MaxGossip || t.Validate == nil {
		panic(fmt.Sprintf("p2p: incomplete topic %q", t.Name))
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.mustBeEarly("Join " + t.Name)
	h.topics[t.Name] = &topic{Topic: t, count: h.stats.of(t.Name), queue: make(chan gossiped, gossipQueue)}
}

// Publish sends data to all who joined a topic that this node joined too. It
// returns once the message is on its way; nobody knows whether it arrives. The
// same bytes within five minutes count as one message: put a nonce in.
func (h *Host) Publish(ctx context.Context, name string, data []byte) error {
	if err := h.Ready(ctx); err != nil {
		return err
	}
	h.mu.Lock()
	t := h.topics[name]
	h.mu.Unlock()
	switch {
	case t == nil:
		return fmt.Errorf("publish: topic %q not joined", name)
	case len(data) > t.MaxMessage:
		return fmt.Errorf("publish to %s: %w: %d bytes; at most %d", name, ErrTooLarge, len(data), t.MaxMessage)
	}
	err := t.out.Publish(ctx, data)
	if errors.As(err, new(pubsub.ValidationError)) {
		return fmt.Errorf("publish to %s: own message refused: %w", name, err)
	}
	if err != nil {
		return fmt.Errorf("publish to %s: %w", name, err)
	}
	t.count.messagesOut.Add(1)
	t.count.bytesOut.Add(uint64(len(data)))
	return nil
}

// startGossip joins all topics; what it starts ends with ctx.
func (h *Host) startGossip(ctx context.Context, g *errgroup.Group) (err error) {
	names := make([]string, 0, len(h.topics))
	for name := range h.topics {
		names = append(names, h.prefix+name)
	}
	h.gossip, err = pubsub.NewGossipSub(ctx, h.net, h.gossipOptions(names)...)
	if err != nil {
		return err
	}
	for _, t := range h.topics {
		if err := h.joinTopic(ctx, g, t); err != nil {
			return fmt.Errorf("join %s: %w", t.Name, err)
		}
	}
	return nil
}

func (h *Host) gossipOptions(topics []string) []pubsub.Option {
	params := pubsub.DefaultGossipSubParams()
	return []pubsub.Option{
		pubsub.WithGossipSubParams(params),
		pubsub.WithSubscriptionFilter(pubsub.WrapLimitSubscriptionFilter(pubsub.NewAllowlistSubscriptionFilter(topics...), 100)),
		pubsub.WithMessageIdFn(gossipID),
		pubsub.WithMaxMessageSize(gossipRPC),
		pubsub.WithMaxControlMessageSize(gossipRPC / 2),
		pubsub.WithPeerOutboundQueueSize(outboundQueue),
		pubsub.WithValidateQueueSize(validateQueue),
		pubsub.WithSeenMessagesTTL(gossipSeen),
		pubsub.WithFloodPublish(true),
		pubsub.WithPeerScore(h.scoreParams(topics), scoreThresholds()),
	}
}

// gossipID makes equal bytes one message, whoever sends them.
func gossipID(m *pb.Message) string {
	s := sha256.New()
	s.Write([]byte(m.GetTopic()))
	s.Write([]byte{0})
	s.Write(m.GetData())
	return string(s.Sum(nil)[:20])
}

func scoreThresholds() *pubsub.PeerScoreThresholds {
	return &pubsub.PeerScoreThresholds{
		GossipThreshold: -500, PublishThreshold: -1000, GraylistThreshold: -2500,
		AcceptPXThreshold: 1000, OpportunisticGraftThreshold: 3.5,
	}
}

// scoreParams are light: no penalty for few deliveries, which small and
// asymmetric networks do not deserve; much for messages that are provably bad.
func (h *Host) scoreParams(topics []string) *pubsub.PeerScoreParams {
	p := &pubsub.PeerScoreParams{
		AppSpecificScore: h.gossipScore, AppSpecificWeight: 1,
		IPColocationFactorWeight: -100, IPColocationFactorThreshold: 5, IPColocationFactorWhitelist: localNets(),
		BehaviourPenaltyWeight: -10, BehaviourPenaltyThreshold: 6, BehaviourPenaltyDecay: pubsub.ScoreParameterDecay(time.Hour),
		DecayInterval: time.Second, DecayToZero: 0.01, RetainScore: time.Hour, SeenMsgTTL: gossipSeen,
		Topics: make(map[string]*pubsub.TopicScoreParams, len(topics)),
	}
	for _, name := range topics {
		p.Topics[name] = &pubsub.TopicScoreParams{
			TopicWeight: 1, TimeInMeshWeight: 0.0003, TimeInMeshQuantum: time.Second, TimeInMeshCap: 3600,
			FirstMessageDeliveriesWeight: 0.1, FirstMessageDeliveriesDecay: pubsub.ScoreParameterDecay(time.Hour), FirstMessageDeliveriesCap: 100,
			InvalidMessageDeliveriesWeight: -1000, InvalidMessageDeliveriesDecay: pubsub.ScoreParameterDecay(time.Hour),
		}
	}
	return p
}

func localNets() []*net.IPNet {
	var out []*net.IPNet
	for _, s := range localPrefixes {
		_, n, err := net.ParseCIDR(s)
		if err != nil {
			panic(err) // a constant of ours
		}
		out = append(out, n)
	}
	return out
}

func (h *Host) joinTopic(ctx context.Context, g *errgroup.Group, t *topic) (err error) {
	full := h.prefix + t.Name
	if err := h.gossip.RegisterTopicValidator(full, h.validator(t), pubsub.WithValidatorConcurrency(64)); err != nil {
		return err
	}
	var opts []pubsub.TopicOpt
	if t.Handle == nil {
		opts = append(opts, pubsub.FanoutOnly())
	}
	if t.out, err = h.gossip.Join(full, opts...); err != nil || t.Handle == nil {
		return err
	}
	sub, err := t.out.Subscribe(pubsub.WithBufferSize(gossipQueue))
	if err != nil {
		return err
	}
	g.Go(func() error { return h.pump(ctx, t, sub) })
	g.Go(func() error { return t.handle(ctx) })
	return nil
}

func (h *Host) validator(t *topic) pubsub.ValidatorEx {
	return func(_ context.Context, _ peer.ID, m *pubsub.Message) pubsub.ValidationResult {
		if m.GetFrom() == h.net.ID() {
			return pubsub.ValidationAccept
		}
		from, err := fromPeer(m.GetFrom())
		verdict := Reject
		if err == nil && len(m.Data) <= t.MaxMessage {
			verdict = t.Validate(from, m.Data)
		}
		switch verdict {
		case Accept:
			return pubsub.ValidationAccept
		case Ignore:
			return pubsub.ValidationIgnore
		}
		t.count.rejected.Add(1)
		return pubsub.ValidationReject
	}
}

// pump moves messages from the library's queue, which drops silently, to ours.
func (h *Host) pump(ctx context.Context, t *topic, sub *pubsub.Subscription) error {
	defer sub.Cancel()
	for {
		m, err := sub.Next(ctx)
		if err != nil {
			return nil // ctx has ended, and the subscription with it
		}
		from, err := fromPeer(m.GetFrom())
		if err != nil || m.GetFrom() == h.net.ID() {
			continue
		}
		t.count.messagesIn.Add(1)
		t.count.bytesIn.Add(uint64(len(m.Data)))
		select {
		case t.queue <- gossiped{from, slices.Clone(m.Data)}:
		default:
			t.count.dropped.Add(1)
		}
	}
}

func (t *topic) handle(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case m := <-t.queue:
			t.Handle(m.from, m.data)
		}
	}
}
