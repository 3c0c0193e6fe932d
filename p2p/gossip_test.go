package p2p

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/mustermesh/muster/proto"
)

// talk is a topic that accepts all but what begins with '!' and hands on what it
// hears.
func talk(heard chan<- string) Topic {
	return Topic{
		Name: "talk/1", MaxMessage: 1000,
		Validate: func(_ proto.PeerID, data []byte) Verdict {
			if len(data) > 0 && data[0] == '!' {
				return Reject
			}
			return Accept
		},
		Handle: func(_ proto.PeerID, data []byte) { heard <- string(data) },
	}
}

// subscribed waits until a knows n peers that hear the topic.
func subscribed(t testing.TB, a *node, name string, n int) {
	t.Helper()
	eventually(t, "the peers' subscriptions are known", func() bool { return len(a.topics[name].out.ListPeers()) >= n })
}

func TestGossipReachesThoseWhoAreNotNeighbours(t *testing.T) {
	network := randomNetwork()
	heard := make([]chan string, 4)
	nodes := make([]*node, 4)
	for i := range nodes {
		heard[i] = make(chan string, 10)
		nodes[i] = openNode(t, testConfig(t, network))
		nodes[i].Join(talk(heard[i]))
		nodes[i].run(t)
		if i > 0 {
			join(t, nodes[i], nodes[i-1])
		}
	}
	for i, n := range nodes {
		want := 2
		if i == 0 || i == len(nodes)-1 {
			want = 1
		}
		subscribed(t, n, "talk/1", want)
	}
	for i := 0; ; i++ { // a message may be lost before all meshes have formed
		if err := nodes[0].Publish(testContext(t), "talk/1", fmt.Appendf(nil, "hello %d", i)); err != nil {
			t.Fatal(err)
		}
		arrived := false
		eventually(t, "somebody hears", func() bool { arrived = len(heard[3]) > 0; return arrived || len(heard[1]) > i })
		if arrived {
			break
		}
		if i == 9 {
			break
		}
	}
	eventually(t, "the last of the line hears", func() bool { return len(heard[3]) > 0 })
	if len(heard[0]) != 0 {
		t.Error("a node hears itself")
	}
}

func TestGossipRefusals(t *testing.T) {
	network := randomNetwork()
	a, b := openNode(t, testConfig(t, network)), openNode(t, testConfig(t, network))
	heard := make(chan string, 10)
	quiet := talk(nil)
	quiet.Handle = nil // publishes only
	a.Join(quiet)
	b.Join(talk(heard))
	a.run(t)
	b.run(t)
	join(t, a, b)
	subscribed(t, a, "talk/1", 1)
	ctx := testContext(t)
	if err := a.Publish(ctx, "talk/1", make([]byte, 1001)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("too large: got %v, want ErrTooLarge", err)
	}
	if err := a.Publish(ctx, "other/1", nil); err == nil {
		t.Error("published to a topic that was not joined")
	}
	for _, s := range []string{"!bad", "good"} {
		if err := a.Publish(ctx, "talk/1", []byte(s)); err != nil {
			t.Fatal(err)
		}
	}
	await(t, heard, "good")
	eventually(t, "the rejected message is counted", func() bool { return b.Stats().Protocols["talk/1"].Rejected == 1 })
	if len(heard) != 0 {
		t.Errorf("also heard %q", <-heard)
	}
}

// A burst while Handle stands still fills our queue, is dropped and counted, and
// holds up nobody.
func TestGossipBurstIsQueuedThenDropped(t *testing.T) {
	network := randomNetwork()
	a, b := openNode(t, testConfig(t, network)), openNode(t, testConfig(t, network))
	release := make(chan struct{})
	var handled atomic.Int64
	slow := talk(nil)
	slow.Handle = func(proto.PeerID, []byte) {
		<-release
		handled.Add(1)
	}
	a.Join(talk(make(chan string, 1)))
	b.Join(slow)
	a.run(t)
	b.run(t)
	join(t, a, b)
	subscribed(t, a, "talk/1", 1)
	in := func() uint64 { return b.Stats().Protocols["talk/1"].MessagesIn }
	const sent = gossipQueue + 200
	for i := range sent {
		if err := a.Publish(testContext(t), "talk/1", fmt.Appendf(nil, "message %d", i)); err != nil {
			t.Fatal(err)
		}
		if i%100 == 99 { // no faster than the sockets of a busy machine
			eventually(t, "the messages arrive", func() bool { return in() >= uint64(i+1) })
		}
	}
	eventually(t, "all have come", func() bool { return in() == sent })
	dropped := b.Stats().Protocols["talk/1"].Dropped
	if dropped == 0 || dropped > 200 {
		t.Errorf("%d of %d dropped, want what is over the queue of %d", dropped, sent, gossipQueue)
	}
	close(release)
	eventually(t, "what was queued is handled", func() bool { return handled.Load() == int64(sent-dropped) })
}

func TestPublishWaitsForRun(t *testing.T) {
	n := openNode(t, testConfig(t, randomNetwork()))
	n.Join(talk(make(chan string, 1)))
	ctx, cancel := context.WithCancel(testContext(t))
	cancel()
	if err := n.Publish(ctx, "talk/1", nil); !errors.Is(err, context.Canceled) {
		t.Errorf("before Run: got %v, want to wait until ctx ends", err)
	}
	n.run(t)
	if err := n.Publish(testContext(t), "talk/1", nil); err != nil {
		t.Errorf("after: %v", err)
	}
}
