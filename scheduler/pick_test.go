package scheduler

import (
	"math/rand/v2"
	"testing"

	"github.com/mustermesh/muster/proto"
)

func TestTheExecutorIsDrawn(t *testing.T) {
	type offer struct {
		weight float64
		price  proto.Credits
		want   float64 // share of the draws
	}
	cases := []struct {
		name   string
		offers []offer
	}{
		{"alone it gets all", []offer{{0.1, 5, 1}}},
		{"of equals in equal parts", []offer{{1, 5, 0.25}, {1, 5, 0.25}, {1, 5, 0.25}, {1, 5, 0.25}}},
		{"by standing where the price is equal", []offer{{3, 5, 0.75}, {1, 5, 0.25}}},
		{"of two equals the cheaper more often, but not always", []offer{{1, 6, 0.25}, {1, 5, 0.75}}},
		{"the dearest only when it is drawn twice", []offer{{1, 9, 1. / 9}, {1, 6, 3. / 9}, {1, 5, 5. / 9}}},
		{"a lowball bid wins nothing: it counts as the median", []offer{{1, 24, 4. / 9}, {1, 100, 4. / 9}, {1, 110, 1. / 9}}},
		{"a quarter of the median is no lowball bid", []offer{{1, 25, 5. / 9}, {1, 100, 3. / 9}, {1, 110, 1. / 9}}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var peers []*peer
			for i, o := range c.offers {
				peers = append(peers, &peer{Candidate: Candidate{ID: peerN(byte(i)), Weight: o.weight, Price: o.price}})
			}
			const draws = 50_000
			r, got := rand.New(rand.NewPCG(3, 4)), make(map[proto.PeerID]float64)
			for range draws {
				got[drawExecutor(peers, r).ID] += 1. / draws
			}
			for i, o := range c.offers {
				if d := got[peerN(byte(i))] - o.want; d > 0.01 || d < -0.01 {
					t.Errorf("offer %d (%+v) won %.3f, want %.3f", i, o, got[peerN(byte(i))], o.want)
				}
			}
		})
	}
}

func TestAQueueKeepsItsOrder(t *testing.T) {
	var q queue
	var want []int
	r := rand.New(rand.NewPCG(5, 6))
	for i := range 20_000 {
		t1 := &task{index: i}
		switch n := r.IntN(5); {
		case n < 2:
			q.push(t1)
			want = append(want, i)
		case n == 2:
			q.unshift(t1)
			want = append([]int{i}, want...)
		case len(want) > 0:
			if q.peek() != q.items[q.head] || q.shift().index != want[0] {
				t.Fatalf("after %d: out of order", i)
			}
			want = want[1:]
		}
		if q.len() != len(want) {
			t.Fatalf("after %d: %d in the queue, want %d", i, q.len(), len(want))
		}
	}
}
