package scheduler

import (
	"bytes"
	"errors"
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/mustermesh/muster/proto"
)

func programN(n int) proto.CID { return proto.RawCID([]byte{byte(n), byte(n >> 8)}) }

// feed observes n executions of program on peer that take about usual each.
func feed(s *Speeds, peer proto.PeerID, program int, usual time.Duration, n int) {
	r := rand.New(rand.NewPCG(uint64(peer[0]), uint64(program)))
	for range n {
		s.Observe(meshStart, peer, programN(program), time.Duration(float64(usual)*math.Exp(.25*r.NormFloat64())))
	}
}

// predicted fails the test unless a quantile is predicted within the part off of
// want.
func predicted(t *testing.T, s *Speeds, peer proto.PeerID, program int, q float64, want time.Duration, off float64) {
	t.Helper()
	got, known := s.Predict(meshStart, peer, programN(program), q)
	if !known || math.Abs(math.Log(float64(got)/float64(want))) > off {
		t.Errorf("p%.0f of program %d: %s, known %v; want about %s", 100*q, program, got, known, want)
	}
}

func TestBarsCoverMicrosecondsToMonths(t *testing.T) {
	for d := time.Duration(1); d < 140*24*time.Hour; d = d*21/20 + 1 {
		i := float64(barOf(d))
		if d >= time.Microsecond && (barStart(i) > d+d/1000 || barStart(i+1) < d-d/1000) {
			t.Fatalf("%s in the bar from %s to %s", d, barStart(i), barStart(i+1))
		}
	}
	if barOf(1) != 0 || barOf(math.MaxInt64) != lastBar {
		t.Errorf("the extremes fall in bars %d and %d", barOf(1), barOf(math.MaxInt64))
	}
}

func TestTimesArePredictedFromTheSame(t *testing.T) {
	for _, usual := range []time.Duration{3 * time.Millisecond, 7 * time.Second, 20 * time.Hour} {
		s := NewSpeeds()
		feed(s, peerN(1), 1, usual, 2000)
		for q, z := range map[float64]float64{.5: 0, .9: 1.2816, .95: 1.6449} {
			predicted(t, s, peerN(1), 1, q, time.Duration(float64(usual)*math.Exp(.25*z)), .08)
		}
		if mean, known := s.Mean(meshStart, programN(1)); !known || math.Abs(float64(mean)/float64(usual)-1.032) > .06 {
			t.Errorf("mean %s, %v; want a little over %s", mean, known, usual)
		}
	}
}

func TestNothingIsPredictedFromTooLittle(t *testing.T) {
	s := NewSpeeds()
	for i := range 6 {
		if _, known := s.Predict(meshStart, peerN(1), programN(1), .9); known != (i >= 5) {
			t.Fatalf("after %d observations: known %v", i, known)
		}
		feed(s, peerN(byte(1+i)), 1, time.Second, 1)
	}
	if _, known := s.Predict(meshStart, peerN(1), programN(2), .9); known {
		t.Error("a program never seen is predicted")
	}
	if _, known := s.Mean(meshStart, programN(2)); known {
		t.Error("the mean of a program never seen is known")
	}
	if _, known := s.Predict(meshStart.Add(30*24*time.Hour), peerN(1), programN(1), .9); known {
		t.Error("six observations are still good after a month")
	}
}

func TestANewPeerIsPredictedFromOthersAndFromItsPaceElsewhere(t *testing.T) {
	s := NewSpeeds()
	for n := range byte(5) {
		feed(s, peerN(n+1), 1, time.Second, 40)
		feed(s, peerN(n+1), 2, time.Minute, 40)
	}
	feed(s, peerN(9), 1, 3*time.Second, 40)
	predicted(t, s, peerN(8), 2, .5, time.Minute, .1)
	predicted(t, s, peerN(9), 2, .5, 3*time.Minute, .25)
	feed(s, peerN(8), 2, 5*time.Minute, 40)
	predicted(t, s, peerN(8), 2, .5, 5*time.Minute, .1)
}

func TestASlowPeerIsKnownForOneThoughItNeverFinishes(t *testing.T) {
	s := NewSpeeds()
	for n := range byte(5) {
		feed(s, peerN(n+1), 1, time.Minute, 100)
	}
	for range 30 {
		patience, _ := s.Predict(meshStart, peerN(9), programN(1), .9)
		s.ObserveAtLeast(meshStart, peerN(9), programN(1), min(patience+time.Minute, 5*time.Minute))
	}
	if d, _ := s.Predict(meshStart, peerN(9), programN(1), .5); d < 3*time.Minute {
		t.Errorf("half of its executions are expected within %s; none ended within three minutes", d)
	}
	predicted(t, s, peerN(1), 1, .5, time.Minute, .1)
}

func TestWhoWasStoppedEarlyShowsNothing(t *testing.T) {
	s := NewSpeeds()
	feed(s, peerN(1), 1, time.Minute, 100)
	before, _ := s.MarshalBinary()
	s.ObserveAtLeast(meshStart, peerN(2), programN(1), 40*time.Second)
	s.ObserveAtLeast(meshStart, peerN(2), programN(1), 0)
	s.Observe(meshStart, peerN(2), programN(1), -time.Second)
	if after, _ := s.MarshalBinary(); !bytes.Equal(before, after) {
		t.Error("something was learnt")
	}
}

func TestTheNewCountsForMore(t *testing.T) {
	s := NewSpeeds()
	feed(s, peerN(1), 1, time.Second, 1000)
	feed(s, peerN(1), 1, 4*time.Second, 250) // 1 - 2^(-250/200) is 0.58
	predicted(t, s, peerN(1), 1, .5, 4*time.Second, .3)
	s = NewSpeeds()
	feed(s, peerN(1), 1, time.Second, 100)
	later := meshStart.Add(2 * halfLife)
	for range 40 {
		s.Observe(later, peerN(1), programN(1), 4*time.Second)
	}
	if d, _ := s.Predict(later, peerN(1), programN(1), .5); d < 3*time.Second {
		t.Errorf("half within %s: old times are to fade", d)
	}
}

func TestSpeedsAreBounded(t *testing.T) {
	s := NewSpeeds()
	feed(s, peerN(250), 1000, time.Second, 50)
	for i := range 40_000 {
		if i%200 == 0 {
			predicted(t, s, peerN(250), 1000, .5, time.Second, .2) // in use
		}
		peer, program := proto.PeerID{byte(i), byte(i >> 8), 1}, i%200
		if i > 30_000 {
			program = i % 300
		}
		s.Observe(meshStart, peer, programN(program), time.Duration(i+1)*time.Microsecond)
		n := 0
		if i%1000 == 0 {
			for _, p := range s.programs {
				n += len(p.peers)
			}
			if n != s.count || n > historiesMost || len(s.programs) > programsMost || len(s.paces) > pacesMost {
				t.Fatalf("%d histories (%d counted), %d programs, %d paces", n, s.count, len(s.programs), len(s.paces))
			}
		}
		if h := s.programs[programN(program)].peers[peer]; h == nil || len(h.bars) > barsMost {
			t.Fatal("what was just seen is forgotten, or has too many bars")
		}
	}
	b, _ := s.MarshalBinary()
	if t.Logf("%d bytes", len(b)); len(b) > 1<<20 || NewSpeeds().UnmarshalBinary(b) != nil {
		t.Errorf("%d bytes on disk, or they cannot be read", len(b))
	}
}

func TestAHistogramMergesItsShortest(t *testing.T) {
	var h histogram
	for i := range 200 {
		h.observe(meshStart, bar{uint8(199 - i), 1})
	}
	if len(h.bars) > barsMost || h.bars[len(h.bars)-1].index < 150 || h.bars[0].weight < 1 {
		t.Errorf("%d bars from %v to %v", len(h.bars), h.bars[0], h.bars[len(h.bars)-1])
	}
}

func someSpeeds() *Speeds {
	s := NewSpeeds()
	for n := range 6 {
		feed(s, peerN(byte(n+1)), n%2, time.Second<<n, 30)
		feed(s, peerN(byte(n+1)), 3, time.Minute<<n, 3)
	}
	s.ObserveAtLeast(meshStart.Add(time.Hour), peerN(2), programN(3), 20*time.Minute)
	return s
}

func TestSpeedsSurviveARestart(t *testing.T) {
	s, again := someSpeeds(), NewSpeeds()
	b, _ := s.MarshalBinary()
	if err := again.UnmarshalBinary(b); err != nil {
		t.Fatal(err)
	}
	for n := range byte(8) {
		for program := range 4 {
			want, known := s.Predict(meshStart.Add(time.Hour), peerN(n), programN(program), .9)
			got, k := again.Predict(meshStart.Add(time.Hour), peerN(n), programN(program), .9)
			if k != known || math.Abs(float64(got-want)) > float64(want)/50 {
				t.Errorf("peer %d, program %d: %s, %v; want %s, %v", n, program, got, k, want, known)
			}
		}
	}
}

func TestOtherBytesAreNoSpeeds(t *testing.T) {
	s := someSpeeds()
	good, _ := s.MarshalBinary()
	empty, _ := NewSpeeds().MarshalBinary()
	bad := map[string][]byte{
		"nothing":              nil,
		"another version":      append([]byte{2}, good[1:]...),
		"a byte more":          append(bytes.Clone(good), 0),
		"a byte less":          good[:len(good)-1],
		"a long number":        {1, 0x80, 0, 0, 0},
		"too many programs":    {1, 0xff, 0xff, 3, 0, 0},
		"histories of nothing": {1, 0, 1, 0, 0},
		"no bars":              append(append([]byte{1, 1}, programN(1).Bytes()...), 0, 0, 0, 0),
		"bars out of order":    append(append([]byte{1, 1}, programN(1).Bytes()...), 0, 2, 5, 1, 5, 1, 0, 0),
		"a bar of no weight":   append(append([]byte{1, 1}, programN(1).Bytes()...), 0, 1, 5, 0, 0, 0),
	}
	for name, b := range bad {
		into := someSpeeds()
		if err := into.UnmarshalBinary(b); !errors.Is(err, ErrSpeeds) {
			t.Errorf("%s: error %v", name, err)
		}
		if after, _ := into.MarshalBinary(); !bytes.Equal(after, good) {
			t.Errorf("%s: what was known is changed", name)
		}
	}
	if err := s.UnmarshalBinary(empty); err != nil || len(s.programs) != 0 {
		t.Errorf("empty speeds: %v", err)
	}
}

func FuzzSpeeds(f *testing.F) {
	b, _ := someSpeeds().MarshalBinary()
	empty, _ := NewSpeeds().MarshalBinary()
	f.Add(b)
	f.Add(empty)
	f.Fuzz(func(t *testing.T, b []byte) {
		s := NewSpeeds()
		if s.UnmarshalBinary(b) != nil {
			return
		}
		if again, _ := s.MarshalBinary(); !bytes.Equal(again, b) {
			t.Fatalf("%x read, %x written", b, again)
		}
		for id, p := range s.programs {
			for peer := range p.peers {
				if d, known := s.Predict(meshStart, peer, id, .9); known && d <= 0 {
					t.Fatalf("predicts %s", d)
				}
				s.Observe(meshStart, peer, id, time.Second)
				s.ObserveAtLeast(meshStart, peer, id, time.Minute)
			}
		}
	})
}

func TestSpeedsMayBeShared(t *testing.T) {
	s := NewSpeeds()
	var all sync.WaitGroup
	for n := range byte(4) {
		all.Go(func() {
			feed(s, peerN(n), 1, time.Second, 100)
			s.Predict(meshStart, peerN(n), programN(1), .9)
			_, _ = s.MarshalBinary()
		})
	}
	all.Wait()
	predicted(t, s, peerN(1), 1, .5, time.Second, .15)
}
