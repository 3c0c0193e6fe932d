package p2p

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mustermesh/muster/proto"

	"golang.org/x/sync/errgroup"
)

// echo answers a message with the same message.
var echo = Service{
	Name: "echo/1.0.0", MaxMessage: 1 << 20, Deadline: patience, MaxStreamsPerPeer: 64,
	Handle: func(_ context.Context, s *Stream) error {
		for {
			b, err := s.Recv()
			if err == io.EOF {
				return nil
			}
			if err != nil {
				return err
			}
			if err := s.Send(b); err != nil {
				return err
			}
		}
	},
}

// serving gives two connected nodes, of which the second serves.
func serving(t testing.TB, services ...Service) (client, server *node) {
	network := randomNetwork()
	client, server = openNode(t, testConfig(t, network)), openNode(t, testConfig(t, network))
	for _, s := range services {
		server.Serve(s)
	}
	client.run(t)
	server.run(t)
	join(t, client, server)
	return client, server
}

func TestCallAnswers(t *testing.T) {
	a, b := serving(t, echo)
	for _, size := range []int{0, 1, 127, 128, 100_000, 1 << 20} {
		want := make([]byte, size)
		rand.Read(want)
		got, err := a.Call(testContext(t), b.ID(), echo.Name, want, 1<<20)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes: got %d, %v", size, len(got), err)
		}
	}
	s := a.Stats().Protocols[echo.Name]
	if s.MessagesOut != 6 || s.MessagesIn != 6 || s.StreamsOut != 6 || s.BytesOut != s.BytesIn || s.Failed != 0 {
		t.Errorf("counted %+v", s)
	}
}

func TestCallRefusals(t *testing.T) {
	a, b := serving(t, echo)
	ctx := testContext(t)
	if _, err := a.Call(ctx, b.ID(), "nothing/1.0.0", nil, 10); !errors.Is(err, ErrNotSpoken) {
		t.Errorf("unknown service: got %v, want ErrNotSpoken", err)
	}
	if _, err := a.Call(ctx, b.ID(), echo.Name, make([]byte, 100), 10); !errors.Is(err, ErrTooLarge) {
		t.Errorf("answer too large: got %v, want ErrTooLarge", err)
	}
	if _, err := a.Call(ctx, b.ID(), echo.Name, make([]byte, 1<<20+1), 10); !errors.Is(err, ErrReset) {
		t.Errorf("request too large: got %v, want ErrReset", err)
	}
	if got := b.Stats().Misbehaved; got != 1 {
		t.Errorf("the server counted %d breaches, want 1", got)
	}
	stranger := proto.PeerID{1, 2, 3}
	short, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if _, err := a.Call(short, stranger, echo.Name, nil, 10); err == nil {
		t.Error("a peer that nobody knows answered")
	}
}

func TestCallEndsWithItsContext(t *testing.T) {
	waiting := make(chan struct{})
	a, b := serving(t, Service{
		Name: "slow/1.0.0", MaxMessage: 10, Deadline: patience, MaxStreamsPerPeer: 1,
		Handle: func(ctx context.Context, s *Stream) error {
			close(waiting)
			<-ctx.Done()
			return nil
		},
	})
	ctx, cancel := context.WithCancel(testContext(t))
	go func() {
		<-waiting
		cancel()
	}()
	if _, err := a.Call(ctx, b.ID(), "slow/1.0.0", nil, 10); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want Canceled", err)
	}
}

func TestDuplexStreamKeepsOrderUnderConcurrentSends(t *testing.T) {
	a, b := serving(t, echo)
	s, err := a.OpenStream(testContext(t), b.ID(), echo.Name, 100)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Reset()
	const senders, each = 8, 500
	var g errgroup.Group
	for i := range senders {
		g.Go(func() error {
			for j := range each {
				if err := s.Send(fmt.Appendf(nil, "%d %d", i, j)); err != nil {
					return err
				}
			}
			return nil
		})
	}
	next := make([]int, senders)
	for range senders * each {
		m, err := s.Recv()
		if err != nil {
			t.Fatal(err)
		}
		var i, j int
		if _, err := fmt.Sscanf(string(m), "%d %d", &i, &j); err != nil {
			t.Fatalf("%q: %v", m, err)
		}
		if next[i] != j {
			t.Fatalf("sender %d: got message %d, want %d", i, j, next[i])
		}
		next[i]++
	}
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
	if err := s.CloseWrite(); err != nil {
		t.Error(err)
	}
	if _, err := s.Recv(); err != io.EOF {
		t.Errorf("after the end: got %v, want io.EOF", err)
	}
}

func TestSendTakesSeveralMessages(t *testing.T) {
	a, b := serving(t, echo)
	s, err := a.OpenStream(testContext(t), b.ID(), echo.Name, 100)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Reset()
	if err := s.Send([]byte("one"), nil, []byte("three")); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"one", "", "three"} {
		if got, err := s.Recv(); err != nil || string(got) != want {
			t.Errorf("got %q, %v; want %q", got, err, want)
		}
	}
}

func TestStreamsOverTheLimitAreReset(t *testing.T) {
	svc := echo
	svc.MaxStreamsPerPeer = 2
	a, b := serving(t, svc)
	ctx := testContext(t)
	var open []*Stream
	for range 2 {
		s, err := a.OpenStream(ctx, b.ID(), svc.Name, 10)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Send(nil); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Recv(); err != nil {
			t.Fatal(err)
		}
		open = append(open, s)
	}
	if _, err := a.Call(ctx, b.ID(), svc.Name, nil, 10); !errors.Is(err, ErrReset) {
		t.Errorf("third stream: got %v, want ErrReset", err)
	}
	open[0].Close()
	eventually(t, "a closed stream makes room", func() bool {
		_, err := a.Call(ctx, b.ID(), svc.Name, nil, 10)
		return err == nil
	})
	if got := b.Stats().Protocols[svc.Name].Rejected; got == 0 {
		t.Error("the rejected stream was not counted")
	}
}

// A peer that drips bytes holds a stream no longer than one message may take.
func TestDrippingDoesNotExtendTheDeadline(t *testing.T) {
	ended := make(chan error, 1)
	a, b := serving(t, Service{
		Name: "slow/1.0.0", MaxMessage: 1 << 20, Deadline: 300 * time.Millisecond, MaxStreamsPerPeer: 1,
		Handle: func(_ context.Context, s *Stream) error {
			_, err := s.Recv()
			ended <- err
			return err
		},
	})
	s, err := a.OpenStream(testContext(t), b.ID(), "slow/1.0.0", 10)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Reset()
	var drip errgroup.Group
	drip.Go(func() error {
		_, err := s.s.Write(binary.AppendUvarint(nil, 1<<20))
		for tick := time.NewTicker(20 * time.Millisecond); err == nil; <-tick.C {
			_, err = s.s.Write([]byte{1})
		}
		return nil
	})
	select {
	case err := <-ended:
		if !errors.Is(err, ErrTimeout) {
			t.Errorf("got %v, want ErrTimeout", err)
		}
	case <-time.After(patience):
		t.Error("still waiting for the message")
	}
	s.Reset()
	_ = drip.Wait()
}

// A peer that sends but never reads does not hold us for longer either.
func TestUnreadAnswersTimeOut(t *testing.T) {
	ended := make(chan error, 1)
	a, b := serving(t, Service{
		Name: "flood/1.0.0", MaxMessage: 10, Deadline: 300 * time.Millisecond, MaxStreamsPerPeer: 1,
		Handle: func(_ context.Context, s *Stream) error {
			for {
				if err := s.Send(make([]byte, 1<<20)); err != nil {
					ended <- err
					return err
				}
			}
		},
	})
	s, err := a.OpenStream(testContext(t), b.ID(), "flood/1.0.0", 10)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Reset()
	if err := s.Send(nil); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if !errors.Is(err, ErrTimeout) {
			t.Errorf("got %v, want ErrTimeout", err)
		}
	case <-time.After(patience):
		t.Error("still writing")
	}
}

func TestGarbageEndsTheStreamOnly(t *testing.T) {
	a, b := serving(t, echo)
	ctx := testContext(t)
	for name, garbage := range map[string][]byte{
		"endless length": bytes.Repeat([]byte{0xff}, 20),
		"huge length":    binary.AppendUvarint(nil, 1<<60),
		"half a message": append(binary.AppendUvarint(nil, 100), "abc"...),
	} {
		s, err := a.OpenStream(ctx, b.ID(), echo.Name, 10)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.s.Write(garbage); err != nil {
			t.Fatal(err)
		}
		if err := s.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Recv(); !errors.Is(err, ErrReset) {
			t.Errorf("%s: got %v, want ErrReset", name, err)
		}
	}
	if _, err := a.Call(ctx, b.ID(), echo.Name, nil, 10); err != nil {
		t.Errorf("a good call after garbage: %v", err)
	}
}

func TestStoppingResetsStreamsAndWaits(t *testing.T) {
	var running sync.WaitGroup
	running.Add(1)
	a, b := serving(t, Service{
		Name: "wait/1.0.0", MaxMessage: 10, Deadline: patience, MaxStreamsPerPeer: 1,
		Handle: func(_ context.Context, s *Stream) error {
			running.Done()
			_, err := s.Recv()
			return err
		},
	})
	s, err := a.OpenStream(testContext(t), b.ID(), "wait/1.0.0", 10)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Reset()
	if _, err := s.s.Write([]byte{5}); err != nil { // half a message, so that the handler waits for the rest
		t.Fatal(err)
	}
	running.Wait()
	b.stop()
	if _, err := s.Recv(); !errors.Is(err, ErrReset) {
		t.Errorf("got %v, want ErrReset", err)
	}
}

func TestServeMistakesPanic(t *testing.T) {
	n := startNode(t, testConfig(t, randomNetwork()))
	for name, f := range map[string]func(){
		"incomplete": func() { n.Serve(Service{Name: "x"}) },
		"late":       func() { n.Serve(echo) },
		"late topic": func() {
			n.Join(Topic{Name: "x", MaxMessage: 1, Validate: func(proto.PeerID, []byte) Verdict { return Accept }})
		},
		"big topic": func() { n.Join(Topic{Name: "x", MaxMessage: MaxGossip + 1}) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			f()
		}()
	}
}

func TestErrorsNameTheProtocolAndPeer(t *testing.T) {
	a, b := serving(t)
	_, err := a.Call(testContext(t), b.ID(), "nothing/1.0.0", nil, 10)
	if err == nil || !strings.Contains(err.Error(), "nothing/1.0.0") || !strings.Contains(err.Error(), b.ID().String()) {
		t.Errorf("got %v", err)
	}
}
